-- hl7.to_json and hl7.from_json: byte for byte there and back.
local site = require "support.site"
local tmp = require "support.tmp"

local SCRIPT = [[
local bad = 0
for i = 1, #arg do
  local f = assert(io.open(arg[i], "rb"))
  local msg = hl7.parse(f:read "*a")
  f:close()
  if msg then
    local again = hl7.from_json(hl7.to_json(msg))
    if tostring(again) ~= tostring(msg) then
      bad = bad + 1
      print("differs: " .. arg[i])
    end
  end
end
print("bad " .. bad)
]]

local function run(files)
  local s = site.new { ["x.lua"] = SCRIPT }
  local status, out, err = s:run("lua", s.path .. "/x.lua", unpack(files))
  assert.equal(0, status, err)
  return out
end

describe("script/message_json", function()
  after_each(site.cleanup)

  it("gives back nulls, escapes, odd bytes, empty parts and trailing delimiters", function()
    local file = tmp.file("MSH|^~\\&|A|B|C||2026||ADT^A01|1|P|2.5|\rPID|1||7^^^H~8~~||D\\T\\O^\"\"^|x&y&"
      .. "||caf\233|\\X0D\\|\\bad|\\.br\\\rZZZ\rOBX||||\r")
    assert.equal("bad 0\n", run { file })
  end)

  it("has the text of messages in other sets, which gives the same bytes", function()
    local jis = "MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5||||||~ISO IR87\rPID|||1||\27$B;3ED\27(B^\27$BB@O:\27(B\r"
    local sjis = "MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5\rPID|||1||\149\92^\131\92\r" -- trails like \\
    local latin = "MSH$%*!?$A$B$$$2026$$ADT%A01$1$P$2.5$$$$$$8859/2\rPID$$$1$$\161b%\177!T!\r"
    local hex = "MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5||||||8859/1\rPID|||1||\\XE9\\^\233\r" -- bytes stay
    local s = site.new { ["x.lua"] = ([[
      local m = %s
      for i, t in ipairs(m) do
        local msg = hl7.parse(t, { charset = i == 2 and { force = "SHIFT_JIS" } or nil })
        local text = hl7.to_json(msg)
        local back = assert(hl7.from_json(text))
        local value = json.decode(text).segments[2][6]
        print(tostring(back) == t, json.decode(text).charset, back["PID-5.1"] == msg["PID-5.1"],
          type(value[1][1]) == "string" and table.concat(value[1], " "))
      end
      print(hl7.from_json((hl7.to_json(hl7.parse(m[1])):gsub("~ISO IR87\"", "ISO IR78\"", 1))))
      print(hl7.from_json((hl7.to_json(hl7.parse(m[3])):gsub("\196\132", "\230\188\162"))))
    ]]):format(("{%q,%q,%q,%q}"):format(jis, sjis, latin, hex)) }
    local status, out, err = s:run("lua", s.path .. "/x.lua")
    assert.equal(0, status, err)
    local lines = {}
    for line in out:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal("true\t~ISO IR87\ttrue\t山田 太郎", lines[1])
    assert.equal("true\tSHIFT_JIS\ttrue\t表 ソ", lines[2])
    assert.equal("true\t8859/2\ttrue\tĄb ą?", lines[3])
    assert.equal("true\tnil\ttrue\tfalse", lines[4])
    assert.truthy(lines[5]:find("charset: .*no character set 'ISO IR78'"), lines[5])
    assert.truthy(lines[6]:find("charset: PID%-5, byte 1: the character U%+6F22"), lines[6])
  end)

  it("takes messages alone, and says so at the caller's line", function()
    local s = site.new { ["x.lua"] = "print(pcall(function() local t = hl7.to_json(5) return t end))\n"
      .. "local m = hl7.parse 'MSH|^~\\\\&|A\\r'\nprint(pcall(function() local t = m.raw('PID') return t end))\n"
      .. "print(pcall(function() m['MSH-3'] = m end))" }
    local _, out = s:run("lua", s.path .. "/x.lua")
    assert.truthy(out:find("x.lua:1: hl7.to_json takes a message, not a number", 1, true), out)
    assert.truthy(out:find("x.lua:3: message expected, got string: write msg:raw(...)", 1, true), out)
    assert.truthy(out:find("x.lua:4: a message is no value for a field", 1, true), out)
  end)

  it("gives back the sample corpus", function()
    local list = io.popen "ls ../shared/corpus/messages/*.hl7 ../shared/corpus/charset/*.hl7 2>/dev/null"
    local files = {}
    for line in list:lines() do files[#files + 1] = line end
    list:close()
    if #files == 0 then return pending "no ../shared/corpus: the sample corpus is not here" end
    assert.equal("bad 0\n", run(files))
  end)
end)
