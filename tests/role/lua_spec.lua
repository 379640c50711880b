-- `lunate lua FILE [ARG...]`: a channel script's globals, the whole library, errors with file:line.
local site = require "support.site"
local proc = require "support.proc"
local tmp = require "support.tmp"

local function run(s, code, ...)
  return proc.run { os.getenv "LUNATE", "-C", s.path, "lua", tmp.file(code, "t.lua"), ... }
end

describe("role/lua", function()
  after_each(function()
    proc.cleanup()
    tmp.cleanup()
  end)

  it("has a channel script's globals, the site's lib and tables, arg, io and os", function()
    local s = site.new { ["lib/up.lua"] = "return string.upper", ["tables/t.csv"] = "a,1\n" }
    local status, out = run(s, [[
      local m = hl7.parse("MSH|^~\\&|A|B|C|D|2026||ADT^A01|9|P|2.5\r")
      kv.n = 1
      io.write(m.control_id, " ", require "up" "x", " ", lookup("t", "a"), " ", kv.n, " ",
        json.encode { arg[1], (select(2, ...)) }, " ", type(os.execute), " ", #now(), "\n")]],
      "one", "two")
    assert.equal("9 X 1 1 [\"one\",\"two\"] function 19\n", out)
    assert.equal(0, status)
  end)

  it("says file:line of an error and ends with 1", function()
    local s = site.new {}
    local status, _, err = run(s, "local x\nerror 'no such thing'")
    assert.equal(1, status)
    assert.truthy(err:find "t%.lua:2: no such thing\n$", err)
    status, _, err = run(s, "local x = = 1")
    assert.equal(1, status)
    assert.truthy(err:find "t%.lua:1: unexpected symbol near '='\n$", err)
    status, _, err = proc.run { os.getenv "LUNATE", "lua", "/nonexistent.lua" }
    assert.equal(1, status)
    assert.equal("lunate lua: /nonexistent.lua: No such file or directory\n", err)
  end)

  it("says what is wrong usage, with status 2", function()
    for _, words in ipairs { {}, { "--fast", "x.lua" }, { "-x" } } do
      local status, _, err = proc.run { os.getenv "LUNATE", "lua", unpack(words) }
      assert.equal(2, status)
      assert.matches("^lunate lua: .*%(see `lunate help lua`%)\n$", err)
    end
  end)
end)
