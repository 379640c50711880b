-- Runs every Lua example of docs/coming-from.md.
local examples = require "support.examples"

describe("docs/coming-from", function()
  local count = examples.define("docs/coming-from.md", it)
  it("has examples", function() assert.is_true(count >= 10) end)
end)
