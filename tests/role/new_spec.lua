-- `new channel` for other types of message, and where help says that the documents are.
local site = require "support.site"
local tmp = require "support.tmp"
local net = require "support.net"

describe("new channel", function()
  local s
  before_each(function() s = site.new { ["lunate.lua"] = "return {}" } end)
  after_each(site.cleanup)

  it("--type: the filter, the sample and the spec are of that type", function()
    local status, out, err
    for _, type in ipairs { "ORU", "siu", "MDM", "VXU" } do
      status, out, err = s:run("new", "channel", "in_" .. type, "--type", type)
      assert.same({ 0, "" }, { status, err }, out)
    end
    assert.matches('msg.type == "ORU", "not an ORU"', s:read "channels/in_ORU.lua", 1, true)
    assert.matches("||ORU^R01^ORU_R01|.-\nOBX|", s:read "samples/in_ORU.hl7")
    assert.matches("||VXU^V04^VXU_V04|.-\nPID|", s:read "samples/in_VXU.hl7")
    assert.matches("||SIU^S12^SIU_S12|", s:read "samples/in_siu.hl7", 1, true)
    assert.equal(0, (s:run("check")))
    status, out, err = s:run("test")
    assert.equal(0, status, out .. err)
    assert.matches("12 successes / 0 failures / 0 errors", out)
    status, out = s:run("validate", s.path .. "/samples/in_MDM.hl7")
    assert.equal(0, status, out)
    status, out, err = s:run("new", "channel", "x", "--type", "XYZ")
    assert.same({ 1, "" }, { status, out })
    assert.matches('no messages of type "XYZ" .-, ORU, .- with %-%-from FILE', err)
    assert.is_nil(s:read "channels/x.lua")
  end)

  it("--from: its type, its sample without names, a spec that passes", function()
    local vxu = "MSH|^~\\&|A|B|C|D|2026||VXU^V04|1|P|2.5.1\r"
      .. "PID|1||4711^^^H^MR||M\252ller^J\246rg||19700101\rRXA|0|1\r"
    local file = tmp.file(vxu .. "\n" .. vxu)
    local status, out, err = s:run("new", "channel", "vaccines", "--from", file)
    assert.same({ 0, "" }, { status, err })
    assert.matches("the first of 2 messages", out)
    assert.matches("The sample has pseudonyms; changed: .-PID%-5", out)
    assert.matches('msg.type == "VXU", "not a VXU"', s:read "channels/vaccines.lua", 1, true)
    local sample = s:read "samples/vaccines.hl7"
    assert.is_nil(sample:find "4711" or sample:find "[\128-\255]ller" or sample:find "\r")
    s:run("new", "channel", "acks", "--from", tmp.file "MSH|^~\\&|A|||||||ACK|1|P|2.5\rMSA|AA|1\r")
    status, out, err = s:run("test")
    assert.equal(0, status, out .. err)
  end)

  it("refuses what makes no channel, and makes nothing", function()
    for _, words in ipairs { { "--from", "/nowhere" }, { "--from", tmp.file "PID|1" },
      { "--from", tmp.file "MSH|^~\\&|A\r" }, { "--from", s.path }, { "--type", "" } } do
      local status, out, err = s:run("new", "channel", "x", unpack(words))
      assert.same({ 1, "" }, { status, out }, table.concat(words, " "))
      assert.matches("^lunate new: [^\n]+\n$", err)
    end
    assert.equal(2, (s:run("new", "channel", "x", "--type", "ADT", "--from", "y")))
    assert.equal(2, (s:run("new", "site", "x", "--type", "ADT")))
    assert.is_false(tmp.exists(s.path .. "/channels/x.lua"))
  end)

  it("help says where the documents are", function()
    local _, out = s:run "help"
    local folder = out:match "\nTo read: (/[^\n]-)/README.md, docs/tutorial.md there, `lunate tutor`"
    assert.is_string(folder, out)
    assert.is_true(tmp.exists(folder .. "/docs/tutorial.md"))
  end)

  -- After `return f()` the line is gone from the stack: error logs said where=-.
  it("a call that fails in a return: the place is the function's first line", function()
    s:write("channels/tail.lua", ([[
return channel {
  source = mllp.listen { port = %d },
  transform = function(msg)
    return hl7.parse(nil)
  end,
  destinations = {
    a = mllp.send { host = "127.0.0.1", port = 1, filter = function(msg)
      return hl7.parse(nil)
    end },
  },
}
]]):format(net.free_port()))
    local file = tmp.file "MSH|^~\\&|A|||||||ADT|1|P|2.5\rPID|1\r"
    local _, out, err = s:run("eval", "-c", "tail", file)
    assert.matches("(channels/tail.lua:3)", out .. err, 1, true)
    s:write("channels/tail.lua", (s:read "channels/tail.lua":gsub("hl7.parse%(nil%)", "msg", 1)))
    _, out, err = s:run("eval", "-c", "tail", file)
    assert.matches("channels/tail.lua:7: bad argument", out .. err, 1, true)
  end)
end)
