-- What a run in the REPL would do outside: held back and shown, done with --live; what is kept in files.
local site = require "support.site"
local proc = require "support.proc"
local tmp = require "support.tmp"
local net = require "support.net"
local certs = require "support.certs"

local message = table.concat({
  "MSH|^~\\&|EHR|HOSP A|LAB|CITY LAB|20261123231922||ADT^A01^ADT_A01|MSG00001|P|2.5.1",
  "PID|1||471147^^^HOSP A^MR||DOE^EVE^E||19620320|F", "PV1|1|I|W1", "" }, "\n")

local script = [[
return channel {
  source = mllp.listen { port = 6661 },
  transform = function(msg)
    if msg["PID-8"] == "X" then return end
    kv.seen = (kv.seen or 0) + 1
    msg["PID-1"] = kv.seen
  end,
  destinations = {
    a = mllp.send { host = "127.0.0.1", port = @PORT@, timeout = 5 },
    b = channel.to "next",
  },
}
]]

describe("lunate repl: effects", function()
  local s, receiver
  before_each(function()
    receiver = net.receiver { answer = function(text)
      return net.ack(text, text:find("PID|7", 1, true) and "AE" or "AA", "noted")
    end }
    s = site.new {
      ["channels/adt.lua"] = (script:gsub("@PORT@", tostring(receiver.port))),
      ["channels/next.lua"] = 'return channel { source = channel.from "adt" }',
      ["samples/adt.hl7"] = message }
  end)
  after_each(function()
    net.cleanup()
    site.cleanup()
  end)

  -- Types these lines: status, stdout, stderr. The receiver answers meanwhile.
  local function repl(input, ...)
    local words = { site.binary(), "-C", s.path, "repl", "-c", "adt", ... }
    words.stdin = tmp.file(input)
    local p = proc.spawn(words)
    receiver:run_until(function() return not p:running() end, 60, "the end of lunate repl")
    return p.status, p:out(), p:err()
  end

  it("sends nothing unless --live, and shows what kv would hold", function()
    local status, out, err = repl ".run\nkv.seen\n"
    assert.same({ 0, "" }, { status, err })
    assert.matches("\nkv.seen = 1\n1\n$", out)
    assert.equal(0, receiver.accepted)
  end)

  it("sends with --live, shows the answer; a hand-over is the engine's", function()
    local status, out, err = repl(".run\n", "--live")
    assert.same({ 0, "" }, { status, err })
    local to = ("sending to a (127.0.0.1:%d): "):format(receiver.port)
    assert.truthy(out:find(to .. "AA: noted\n", 1, true), out)
    assert.truthy(out:find("handing over to the channel b: held back, only the engine", 1, true), out)
    assert.equal((message:gsub("\n", "\r")), receiver.frames[1].text)
    status, out = repl("kv.seen = 6\n.run\n", "--live")
    assert.equal(1, status)
    assert.truthy(out:find(to .. "AE: noted\n", 1, true), out)
    s:write("channels/adt.lua", (s:read "channels/adt.lua"):gsub("port = %d+, t", "port = 1, t"))
    status, out = repl(".run\n", "--live")
    assert.equal(1, status)
    assert.truthy(out:find("sending to a (127.0.0.1:1): cannot connect", 1, true), out)
  end)

  it("kv at the prompt: there for the script, not among its writes", function()
    local lines = {}
    for i = 1, 200 do lines[i] = ("kv.k%d = %q"):format(i, ("x"):rep(100)) end
    lines[#lines + 1] = ".run\n=#kv.keys()\nkv.seen = 41\n.run\nkv.after = 1\n=kv.seen, kv.after"
    local status, out, err = repl(table.concat(lines, "\n"))
    assert.same({ 0, "" }, { status, err })
    assert.matches("\nkv.seen = 1\n201\n", out)
    assert.matches("\nkv.seen = 42\n42\t1\n$", out)
    assert.is_nil(out:find("kv.k1", 1, true))
  end)

  it(".save: a sample without the patient; it is the message then, and may become a spec", function()
    local status, out, err = repl(".save case\n.run\n.spec case\n.save case\n.save ../x\n.save\n",
      tmp.file(message, "received.hl7"))
    assert.equal(1, status)
    assert.matches("^samples/case.hl7 written; changed: .-PID%-3, PID%-5, PID%-7", out)
    assert.matches("spec/case_spec.lua written", out)
    assert.equal("error: samples/case.hl7 is there already: another name?\n" ..
      "error: a name of letters, digits, _ and - is needed\n" ..
      "error: which name? .save NAME\n", err)
    local kept = s:read "samples/case.hl7"
    for _, id in ipairs { "471147", "DOE", "EVE", "19620320" } do
      assert.is_nil(kept:find(id, 1, true), id)
    end
    assert.matches("\nPV1|1|I|W1\n$", kept)
    assert.equal(0, (s:run("test", { timeout = 60 })))
  end)

  it(".save keeps to the site's deid.lua", function()
    s:write("deid.lua", 'return { fields = { ["PID-5"] = "keep" } }')
    local status = repl(".save case\n")
    assert.equal(0, status)
    assert.matches("|DOE^EVE^E|", s:read "samples/case.hl7", 1, true)
    s:write("deid.lua", "return 1")
    local status2, _, err = repl(".save other\n")
    assert.equal(1, status2)
    assert.matches("deid.lua: a table is expected", err)
    assert.is_nil(s:read "samples/other.hl7")
  end)

  it("makes no spec of a run that found something in kv", function()
    local status, _, err = repl ".run\n.run\n.spec x\n.reload\n.run\n.spec x\n"
    assert.equal(1, status)
    assert.equal("error: kv was not empty when .run began, as it is in a spec: .reload, then .run\n",
      err)
    assert.truthy(s:read "spec/x_spec.lua")
  end)

  it("with --live kv begins as the store has it", function()
    s:write("channels/adt.lua", (s:read "channels/adt.lua"):gsub("6661", tostring(net.free_port())))
    local e = s:start()
    local port = e:channel("adt").listen:match ":(%d+)$"
    assert.equal(0, (s:run("send", "127.0.0.1:" .. port, "-", { input = message })))
    receiver:run_for_frames(1)
    local _, out = repl("=kv.seen\n", "--live")
    assert.equal("1\n", out)
    _, out = repl "=kv.seen\n"
    assert.equal("nil\n", out)
    e:stop()
  end)

  describe("over TLS with --live", function()
    local dir, listener
    before_each(function()
      dir = tmp.dir()
      local ca = certs.ca(dir, "ca")
      ca:cert "server"
      ca:revoke { "server" }
      local port = net.free_port()
      listener = proc.spawn { site.binary(), "listen", tostring(port), "--tls-cert",
        dir .. "/server.pem", "--tls-key", dir .. "/server.key" }
      site.wait_until(function() return listener:err():find "listening" or
        listener:out():find "listening" end, 20, function() return listener:err() .. listener:out() end)
      proc.run { "cp", dir .. "/ca.pem", dir .. "/ca.crl", s.path }
      s:write("channels/adt.lua", ([[
return channel {
  source = mllp.listen { port = 6661 },
  destinations = { a = mllp.send { host = "127.0.0.1", port = %d, timeout = 5,
    tls = { ca = "ca.pem"@MORE@ } } },
}
]]):format(port))
    end)

    local function live(more)
      local text = s:read "channels/adt.lua"
      s:write("channels/adt.lua", (text:gsub("@MORE@", more)))
      local _, out = repl(".run\n", "--live")
      s:write("channels/adt.lua", text)
      return out
    end

    it("files are the site's, a revoked certificate is refused, min_version is kept to", function()
      assert.matches("sending to a %(127.0.0.1:%d+%): AA", live "")
      assert.matches("sending to a %(127.0.0.1:%d+%): .*revoked", live ', crl = "ca.crl"')
      assert.matches("sending to a %(127.0.0.1:%d+%): AA", live ', min_version = "1.3"')
    end)
  end)
end)
