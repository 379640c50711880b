-- Runs every example of docs/validation.md.
local examples = require "support.examples"

describe("docs/validation", function()
  local count = examples.define("docs/validation.md", it)
  it("has examples", function() assert.is_true(count >= 10) end)
end)
