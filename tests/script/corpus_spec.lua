-- Values whose escapes parsers read differently, over the sample corpus that is no part of the
-- project: what stands in the message, and our reading of it (docs/message.md): delimiters, \X..\
-- and \.br\ are decoded, everything else stays.
local hl7 = require "support.hl7"
local json = require "support.json"
local tmp = require "support.tmp"

local corpus = "../shared/corpus"

describe("script/corpus", function()
  if not tmp.exists(corpus .. "/expected_formatting.jsonl") then
    pending(corpus .. " is absent")
    return
  end

  it("reads formatting escapes as documented, wherever parsers differ", function()
    local n = 0
    for _, e in ipairs(json.lines(assert(tmp.read(corpus .. "/expected_formatting.jsonl")))) do
      local m = assert(hl7.parse((tmp.read(corpus .. "/" .. e.file))), e.file)
      local path = e.path:gsub("%((%d+)%)", "[%1]")
      assert.equal(e.raw, m:raw(path), e.file .. " " .. path)
      local escape = m:delimiters().escape
      local at = "%" .. escape
      -- The bytes of \X..\ are characters of the message's set.
      local latin = m:charset() == "8859/1"
      local function byte(digits)
        local c = tonumber(digits, 16)
        if not latin or c < 128 then return string.char(c) end
        return string.char(c < 192 and 194 or 195, c < 192 and c or c - 64)
      end
      local want = e.std_escapes_only:gsub(at .. "X(%x+)" .. at, function(digits)
        return #digits % 2 == 0 and digits:gsub("%x%x", byte) or nil
      end):gsub(at .. "%.br" .. at, "\n")
      assert.equal(want, m[path], e.file .. " " .. path)
      n = n + 1
    end
    assert.is_true(n > 0)
  end)
end)
