-- Functions of text alone need no message and no engine.
local normalize = require "normalize"

describe("normalize.name", function()
  it("makes upper case and single spaces", function()
    assert.equal("VAN DER BERG", normalize.name "  van  der Berg ")
    assert.equal("O'NEIL-SMITH", normalize.name "O'Neil-Smith")
    assert.equal("", normalize.name "  ")
  end)

  it("knows Latin letters with marks, and leaves others alone", function()
    assert.equal("MÜLLER ÉÀÞ", normalize.name "müller éàþ")
    assert.equal("÷ ß ÿ", normalize.name "÷ ß ÿ")
    assert.equal("山田", normalize.name "山田")
  end)

  it("gives the same when done twice", function()
    for _, name in ipairs { "jürgen von x", "Ünal", "ÇA" } do
      local once = normalize.name(name)
      assert.equal(once, normalize.name(once))
    end
  end)
end)

describe("normalize.phone", function()
  it("writes numbers of this country with its code", function()
    assert.equal("+12025550123", normalize.phone "(202) 555-0123")
    assert.equal("+12025550123", normalize.phone "202.555.0123")
    assert.equal("+12025550123", normalize.phone "1-202-555-0123")
    assert.equal("+12025550123", normalize.phone "+1 202 555 0123")
  end)

  it("keeps the code of another country, and an extension", function()
    assert.equal("+4930901820", normalize.phone "+49 30 901820")
    assert.equal("+12025550187X45", normalize.phone "202.555.0187X45")
  end)

  it("gives back what is not surely a number", function()
    for _, text in ipairs { "", "555-0123", "ask at the desk", "ext. 4", "030 901820", "911" } do
      assert.equal(text, normalize.phone(text))
    end
  end)
end)

describe("normalize.each", function()
  local function message(pid)
    return hl7.parse("MSH|^~\\&|EHR|A|LAB|A|20260105||ADT^A08|1|P|2.5.1\r" .. pid .. "\r")
  end

  it("reaches every repetition and every subcomponent", function()
    local msg = message "PID|||1||von berg&von&berg^ada~^eve~lee"
    normalize.each(msg.PID[5], 1, normalize.name)
    assert.equal("VON BERG&VON&BERG^ada~^eve~LEE", msg:raw "PID-5")
  end)

  it("changes neither null nor absent values", function()
    local msg = message 'PID|||1||""~^ada|'
    normalize.each(msg.PID[5], 1, function() return "changed" end)
    normalize.each(msg.PID[13], 1, function() return "changed" end)
    assert.equal('""~^ada', msg:raw "PID-5")
    assert.is_nil(msg["PID-13"])
  end)
end)
