-- `?TOPIC` knows every call of the message object and of hl7 that there is.
local site = require "support.site"
local proc = require "support.proc"
local tmp = require "support.tmp"

describe("lua/repl/topics", function()
  after_each(site.cleanup)
  local topics = dofile "lua/repl/topics.lua"

  it("each has a heading and a text", function()
    for _, key in ipairs(topics.keys) do
      assert.truthy(#topics[key][1] > 0 and #topics[key][2] > 0, key)
    end
  end)

  it("all of msg: and hl7. is in it, and nothing that is not there", function()
    local source = tmp.read "core/script/message.c"
    local found = 0
    for name in source:match "methods%[%] = {(.-)};":gmatch '{"([%w_]+)", ' do
      assert.truthy(topics["msg:" .. name] or topics["hl7." .. name], name)
      found = found + 1
    end
    assert.is_true(found > 5)
    local list = {}
    for _, key in ipairs(topics.keys) do
      if key:find "^hl7%.[%w_]+$" then list[#list + 1] = key end
      if key:find "^msg:" then list[#list + 1] = "msg." .. key:sub(5) end
    end
    local checks = {}
    for i, key in ipairs(list) do
      checks[i] = ('print(%s ~= nil, %q)'):format(key, key)
    end
    local status, out = proc.run { site.binary(), "-C", tmp.dir(), "repl",
      input = "MSH|^~\\&|A||||||ADT^A01|1|P|2.5\n\n" .. table.concat(checks, "\n") .. "\n" }
    assert.equal(0, status)
    assert.is_nil(out:match "false[^\n]*")
    assert.equal(#list, select(2, out:gsub("true", "")))
  end)

  it("the examples compile", function()
    for _, key in ipairs(topics.keys) do
      local example = topics[key][3]
      if example and not example:find("...", 1, true) then
        assert.truthy(loadstring("return " .. example) or loadstring(example), key)
      end
    end
  end)
end)
