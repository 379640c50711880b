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

  it("gives back the sample corpus", function()
    local list = io.popen "ls ../shared/corpus/messages/*.hl7 2>/dev/null"
    local files = {}
    for line in list:lines() do files[#files + 1] = line end
    list:close()
    if #files == 0 then return pending "no ../shared/corpus: the sample corpus is not here" end
    assert.equal("bad 0\n", run(files))
  end)
end)
