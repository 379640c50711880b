-- Does what docs/tutorial.md says, in an empty folder: what is printed must be what stands there.
-- `UPDATE=1 make test SPEC=tests/docs/tutorial_spec.lua` writes it anew.
local transcript = require "support.transcript"
local terminal = require "support.terminal"
local site = require "support.site"

describe("docs/tutorial", function()
  lazy_teardown(function()
    terminal.cleanup()
    site.cleanup()
  end)

  local count = transcript.define("docs/tutorial.md", it)
  it("has commands", function() assert.is_true(count > 20) end)
end)
