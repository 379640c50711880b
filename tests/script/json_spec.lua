-- json in scripts: exact numbers, stable output, strict reading. Run under `lunate lua`.
local proc = require "support.proc"
local tmp = require "support.tmp"

local function run(code)
  local status, out, err = proc.run { os.getenv "LUNATE", "lua", tmp.file(code, "t.lua") }
  return out .. (status == 0 and "" or err)
end

local function eval(expression)
  return (run("io.write(tostring(" .. expression .. "))"))
end

describe("script/json", function()
  after_each(function()
    proc.cleanup()
    tmp.cleanup()
  end)

  it("gives back every number's value, and its text when asked", function()
    for text, want in pairs {
      ["1"] = "1", ["-0"] = "-0", ["1.5"] = "1.5", ["1e2"] = "100", ["0.1"] = "0.1",
      ["9007199254740993"] = "9007199254740993", ["12345678901234567890"] = "12345678901234567890",
      ["0.1234567890123456789"] = "0.1234567890123456789", ["1e400"] = "1e400",
      ["0.30000000000000004"] = "0.30000000000000004", ["1.10"] = "1.1",
      ["123456789012345678901234567890.5"] = "123456789012345678901234567890.5",
      ["100000000000000000000000"] = "1e+23", ["0.000"] = "0",
    } do
      assert.equal(want, eval(("json.encode(json.decode %q)"):format(text)), text)
      local exact = ("json.encode(json.decode(%q, { exact = true }))"):format(text)
      assert.equal(text, eval(exact), text)
    end
    assert.equal("number", eval "type(json.decode '9007199254740992')")
    assert.equal("userdata", eval "type(json.decode '9007199254740993')")
    assert.equal("9.007199254741e+15", eval "json.decode('9007199254740993'):tonumber()")
    assert.equal("[1.10]", eval "json.encode { json.number '1.10' }")
    assert.equal("false", eval "(pcall(json.number, '1.10x'))")
    assert.equal("false", eval "(pcall(json.number, 'true'))")
  end)

  it("tells arrays, objects, null and nothing apart", function()
    assert.equal('{"a":[],"b":{},"c":null,"d":[1,null,2]}',
      eval [[json.encode(json.decode '{"d":[1,null,2],"c":null,"b":{},"a":[]}')]])
    assert.equal("[]", eval "json.encode(json.array())")
    assert.equal("{}", eval "json.encode {}")
    assert.equal("json.null", eval "json.decode 'null'")
    assert.equal("true", eval "json.decode('[null]')[1] == json.null")
    assert.equal("null", eval "json.encode(nil)")
  end)

  it("writes the same value as the same text, indented when asked", function()
    assert.equal('{"a":1,"b":{"x":true,"y":false},"c":"z"}',
      eval "json.encode { c = 'z', b = { y = false, x = true }, a = 1 }")
    assert.equal('{\n  "a": [\n    1\n  ]\n}', eval "json.encode({ a = { 1 } }, { indent = 2 })")
    assert.equal([["\"\\\n\t\u0001\u007fé/"]], eval [[json.encode '"\\\n\t\1\127é/']])
  end)

  it("refuses what has no JSON form, saying why", function()
    for code, why in pairs {
      ["{ 1, nil, 3, x = 1 }"] = "both list items and other keys", ["{ [true] = 1 }"] = "a key",
      ["{ [1.5] = 1 }"] = "a key", ["0/0"] = "not-a-number", ["1/0"] = "infinity",
      ["print"] = "a function", ["'a\\255'"] = "not UTF-8 at its byte 2",
      ["(function() local t = {} t.t = t return t end)()"] = "deeper than 100",
    } do
      assert.truthy(eval("select(2, pcall(json.encode, " .. code .. "))"):find(why, 1, true), code)
    end
  end)

  it("reads strictly and tells where", function()
    for text, why in pairs {
      [""] = "byte 1: the text ends", ["[1,]"] = "byte 4: not a value",
      ["{a:1}"] = "byte 2: expected",
      ['{"a" 1}'] = "byte 6: expected :", ["01"] = "byte 1: not a value",
      ["1 2"] = "byte 3: something",
      ["[1"] = "byte 3: expected , or ]", ['"a'] = "byte 3: the string",
      ['"\\x"'] = "unknown escape",
      ['"\\ud800"'] = "surrogate", ['"\1"'] = "control character", ['"\255"'] = "not UTF-8",
      ["nul"] = "not a value", ["-"] = "not a value", ["1."] = "not a value",
      ["+1"] = "not a value",
      [("["):rep(200)] = "nested too deep", ["NaN"] = "not a value",
    } do
      local out = eval(("select(2, json.decode(%q))"):format(text))
      assert.truthy(out:find(why, 1, true), text .. " -> " .. out)
    end
    assert.equal("😀é\n", eval [[json.decode '"\\ud83d\\ude00\\u00e9\\n"']])
  end)
end)
