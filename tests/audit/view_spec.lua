-- Views for those who cannot read the store. Guards: the engine shows what their role allows, of
-- their channels, and nothing more; it is recorded in their name; the hub is not held up by them.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local tmp = require "support.tmp"
local json = require "support.json"
local traffic = require "support.traffic"

local VIEWER, OBSERVER = 65534, 12345
local is_root = tonumber(tmp.read("/proc/self/status"):match "Uid:%s+(%d+)") == 0
local MARK = "QQMARKQQ"

local function words_as(s, uid, ...)
  return { "setpriv", "--reuid=" .. uid, "--regid=" .. uid, "--clear-groups", site.binary(), "-C", s.path, ... }
end

local function as(s, uid, ...)
  return proc.run(words_as(s, uid, ...))
end

describe("audit/export", function()
  after_each(site.cleanup)

  it("gives DICOM audit messages that an XML reader takes, whatever stands in them", function()
    local s = site.new { ["channels/a.lua"] = traffic.channel(net.free_port(), net.free_port()) }
    local e = s:start()
    s:run("hold", "a/out", "--reason", '<&"\1> ]]>')
    s:run("hold", "a/nosuch")
    s:run("show", "a/1")
    s:run("messages", "--patient", "P1")
    assert.equal(0, e:stop())
    local status, out = s:run("audit", "export")
    assert.equal(0, status)
    local file = tmp.file(out)
    local codes
    status, codes = proc.run { "python3", "-c", [[
import sys, xml.etree.ElementTree as E
for line in open(sys.argv[1]):
    m = E.fromstring(line.encode())
    assert m.tag == "AuditMessage"
    assert [c.tag for c in m] == ["EventIdentification", "ActiveParticipant", "AuditSourceIdentification",
        "ParticipantObjectIdentification"], [c.tag for c in m]
    v = m.find("EventIdentification")
    print(v.find("EventID").get("csd-code"), v.get("EventOutcomeIndicator"))
]], file }
    assert.equal(0, status)
    assert.truthy(codes:find("110110 4", 1, true)) -- show: there is none
    assert.truthy(codes:find("110112 0", 1, true))
    assert.truthy(codes:find("110101 0", 1, true))
    local _, raw = s:run("audit", "export", "--format", "jsonl", "--action", "hold")
    assert.equal(3, #json.lines(raw))
    _, raw = s:run("audit", "export", "--format", "jsonl", "--action", "hold", "--limit", "1")
    assert.equal(1, #json.lines(raw))
  end)
end)

describe("audit/view", function()
  after_each(site.cleanup)

  local function start(sealed)
    local ports = { net.free_port(), net.free_port() }
    local s = site.new {
      ["lunate.lua"] = ([[return { access = { users = { [%d] = { viewer = "a", observer = "b" },
        [%d] = { observer = "a" } } }, %s }]]):format(VIEWER, OBSERVER,
        sealed and 'encryption = { key_file = "store.key" }' or ""),
      ["channels/a.lua"] = traffic.channel(ports[1], net.free_port()),
      ["channels/b.lua"] = traffic.channel(ports[2], net.free_port()),
    }
    os.execute("chmod 755 " .. tmp.quote(s.path))
    if sealed then assert.equal(0, (s:run("key", "new", s.path .. "/store.key"))) end
    local e = s:start()
    for i, port in ipairs(ports) do
      local c = net.connect(port)
      local reply = net.exchange(c, ("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|ID%d|P|2.5\rPID|1||P%s||%s^X\r")
        :format(i, MARK, MARK))
      assert.truthy(reply:find("MSA|AA", 1, true))
    end
    return s, e
  end

  it("content by role and channel; recorded in their name", function()
    if not is_root then return pending "needs root, to be somebody else" end
    local s, e = start()
    local status, out, err = as(s, VIEWER, "messages", "--json")
    assert.equal(0, status, err)
    local by = {}
    for _, m in ipairs(json.lines(out)) do by[m.channel] = m end
    assert.same({ "P" .. MARK }, by.a.patient_ids)
    assert.same({}, by.b.patient_ids)
    status, out = as(s, VIEWER, "show", "a/1", "--reason", "INC-3")
    assert.equal(0, status)
    assert.truthy(out:find(MARK, 1, true))
    -- everything that an observer can ask for, with the mark looked for in all of it
    for _, words in ipairs { { "show", "b/1" }, { "show", "b/1", "--json" }, { "show", "b/1", "--raw" },
      { "trace", "b/1" }, { "trace", "ID2", "--json" }, { "messages", "b", "--json" }, { "tail", "b" },
      { "messages", "b", "--text", MARK:lower() }, { "messages", "b", "--where", "PID-5.1 = " .. MARK },
      { "messages", "b", "--patient", "P" .. MARK } } do
      status, out, err = as(s, VIEWER, unpack(words))
      assert.is_true(status == 0 or status == 1, err)
      assert.is_nil((out .. err):find(MARK, 1, true), table.concat(words, " "))
    end
    status, out = as(s, VIEWER, "messages", "b", "--patient", "P" .. MARK, "--json")
    assert.same({ 0, "" }, { status, out }) -- nor told that there is one
    status, out = as(s, VIEWER, "messages", "--patient", "P" .. MARK, "--json")
    assert.same({ 0, 1 }, { status, #json.lines(out) })
    status, out, err = as(s, OBSERVER, "show", "b/1")
    assert.equal(1, status)
    assert.truthy(err:find "no channel \"b\"", err .. out)
    assert.equal(1, (as(s, 54321, "messages"))) -- no role at all
    assert.equal(1, (as(s, VIEWER, "audit", "list")))
    assert.equal(1, (as(s, VIEWER, "token", "list")))
    local seen, log = {}, io.popen("cat " .. tmp.quote(s.path) .. "/data/audit/*.jsonl")
    for line in log:lines() do
      local entry = json.decode(line)
      assert.is_nil(line:find(MARK, 1, true))
      if entry.via == "view" or entry.outcome == "denied" then seen[#seen + 1] = entry end
    end
    log:close()
    assert.same({ "messages", VIEWER, "a/1 b/1" }, { seen[1].action, seen[1].uid, seen[1].shown })
    assert.same({ "show", "a/1", "INC-3" }, { seen[2].action, seen[2].object, seen[2].reason })
    assert.equal(0, (s:run("audit", "verify")))
    assert.equal(0, e:stop())
  end)

  it("of a store that is encrypted: with the site's keys, which who looks never has", function()
    if not is_root then return pending "needs root, to be somebody else" end
    local s, e = start(true)
    local status, out, err = as(s, VIEWER, "show", "a/1")
    assert.equal(0, status, err)
    assert.truthy(out:find(MARK, 1, true))
    status, out, err = as(s, VIEWER, "messages", "--patient", "P" .. MARK, "--json")
    assert.same({ 0, 1 }, { status, #json.lines(out) }, err)
    assert.equal(0, (as(s, OBSERVER, "messages", "a")))
    status, out, err = as(s, VIEWER, "show", "b/1")
    assert.equal(0, status, err)
    assert.is_nil((out .. err):find(MARK, 1, true))
    os.remove(s.path .. "/store.key")
    status, out, err = as(s, VIEWER, "show", "a/1")
    assert.equal(1, status)
    assert.truthy(err:find("store.key", 1, true), err .. out)
    assert.equal(0, e:stop())
  end)

  it("versions, scripts, replay, profile, resend with filters: by role, and recorded", function()
    if not is_root then return pending "needs root, to be somebody else" end
    local DEVELOPER, OPERATOR = 23456, 34567
    local s, e = start()
    s:write("lunate.lua", ([[return { access = { users = { [%d] = { viewer = "a" }, [%d] = { observer = "a" },
      [%d] = { developer = "a", observer = "b" }, [%d] = { operator = "a", viewer = "b" } } } }]])
      :format(VIEWER, OBSERVER, DEVELOPER, OPERATOR))
    assert.equal(0, (s:run "reload"))
    local function may(uid, part, ...)
      local status, out, err = as(s, uid, ...)
      assert.equal(0, status, table.concat({ ... }, " ") .. ": " .. err)
      assert.truthy(out:find(part, 1, true), out)
    end
    local function may_not(uid, part, ...)
      local status, out, err = as(s, uid, ...)
      assert.equal(1, status, table.concat({ ... }, " ") .. ": " .. out)
      assert.truthy(err:find(part, 1, true), err)
      assert.is_nil((out .. err):find(MARK, 1, true))
      assert.is_nil((out .. err):find("mllp.listen", 1, true))
    end
    may(DEVELOPER, "runs", "versions", "a")
    may(DEVELOPER, "return channel", "show", "a/1", "--script")
    may(DEVELOPER, "1 message", "replay", "-c", "a")
    may(VIEWER, "ADT", "profile", "-c", "a")
    may(OPERATOR, '"ADT', "profile", "-c", "b", "--json")
    may_not(DEVELOPER, "no channel \"b\"", "versions", "b")
    may_not(DEVELOPER, "no channel \"b\"", "replay", "-c", "b")
    may_not(DEVELOPER, "developers of the channel", "show", "b/1", "--script")
    may_not(DEVELOPER, "only the site's owner can read files", "replay", "-c", "a", "--script", s.path .. "/lunate.lua")
    may_not(VIEWER, "developer", "versions", "a")
    may_not(VIEWER, "developers of the channel", "show", "a/1", "--script")
    may_not(VIEWER, "developer", "replay", "-c", "a")
    may_not(OBSERVER, "viewer", "profile", "-c", "a")
    may_not(VIEWER, "operator", "resend", "a", "--state", "queued", "--yes")
    may_not(OPERATOR, "no channel \"b\"", "resend", "b", "--since", "1h", "--yes")
    local status, out = as(s, OPERATOR, "resend", "a", "--since", "1h")
    assert.equal(1, status)
    assert.truthy(out:find("1 message of a to resend", 1, true), out)
    may(OPERATOR, "1 output on the way again", "resend", "a", "--since", "1h", "--yes", "--reason", "INC-9")
    assert.equal(2, e:channel "a".received)
    local seen, log = {}, io.popen("cat " .. tmp.quote(s.path) .. "/data/audit/*.jsonl")
    for line in log:lines() do
      local entry = json.decode(line)
      if entry.outcome == "ok" then seen[entry.action .. " " .. entry.uid] = entry end
    end
    log:close()
    for _, key in ipairs { "versions " .. DEVELOPER, "replay " .. DEVELOPER, "profile " .. VIEWER,
      "resend.find " .. OPERATOR, "resend " .. OPERATOR } do
      assert.truthy(seen[key], key)
    end
    assert.equal("INC-9", seen["resend " .. OPERATOR].reason)
    assert.equal(0, e:stop())
  end)

  it("files stay the owner's; a token shows what it may; a view ends with who looks", function()
    if not is_root then return pending "needs root, to be somebody else" end
    local s, e = start()
    local _, token = s:run("token", "new", "x", "--role", "admin")
    token = token:sub(1, -2)
    local function with(...)
      local o = words_as(s, 54321, ...)
      o.env = { LUNATE_TOKEN = token }
      return proc.run(o)
    end
    local status, out = with("show", "a/1")
    assert.equal(0, status)
    assert.truthy(out:find(MARK, 1, true))
    status, out = with("audit", "list", "--json")
    assert.equal(0, status)
    assert.truthy(out:find('"action":"engine.start"', 1, true))
    assert.equal(0, (with("audit", "verify")))
    for _, words in ipairs { { "audit", "verify", "--public-key", "/etc/shadow" },
      { "audit", "verify", "--syslog=/etc/shadow" }, { "replay", "-c", "a", "--script", "/etc/shadow" } } do
      local err
      status, out, err = with(unpack(words))
      assert.equal(1, status, out)
      assert.truthy(err:find "owner", err)
    end
    local o = words_as(s, VIEWER, "tail", "-f")
    local p = proc.spawn(o)
    site.wait_until(function() return p:out():find "a/1" end)
    local function views()
      local n = 0
      for _, c in ipairs(proc.children(e.pid)) do
        local line = tmp.read("/proc/" .. c.pid .. "/cmdline") or ""
        if line:find("view", 1, true) and c.state ~= "Z" then n = n + 1 end
      end
      return n
    end
    assert.equal(1, views())
    p:kill(proc.KILL)
    p:wait(5)
    site.wait_until(function() return views() == 0 end)
    assert.equal(0, e:stop())
  end)
end)
