-- What the README shows must be right: its first channel loads and does what the text says.
local site = require "support.site"
local tmp = require "support.tmp"

describe("README.md", function()
  after_each(site.cleanup)

  local function first_channel()
    return assert(tmp.read "README.md"):match "```lua\n(.-)```"
  end

  it("shows a first channel in ten lines", function()
    local _, lines = first_channel():gsub("\n", "")
    assert.equal(10, lines)
  end)

  it("that upper-cases the family name of an ADT, and filters the rest", function()
    local s = site.new { ["channels/adt_in.lua"] = first_channel() }
    local status, out, err = s:run("check")
    assert.equal(0, status, out .. err)
    local msh = "MSH|^~\\&|A|B|C|D|20260105||%s|1|P|2.5.1\rPID|1||9||Sample^Anna\r"
    local adt, oru = tmp.file(msh:format "ADT^A01"), tmp.file(msh:format "ORU^R01")
    status, out, err = s:run("eval", "-c", "adt_in", adt, oru)
    assert.equal(0, status, out .. err)
    assert.matches("-> lab.-PID|1||9||SAMPLE^Anna", out)
    assert.matches("filtered: not an ADT", out, 1, true)
  end)
end)
