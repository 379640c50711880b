-- Runs every example of docs/dictionary.md.
local examples = require "support.examples"

describe("docs/dictionary", function()
  local count = examples.define("docs/dictionary.md", it)
  it("has examples", function() assert.is_true(count >= 5) end)
end)
