-- Who may do what. Guards: every verb has a right that somebody thought about; nobody gets in by
-- default; a role reaches as far as its channels and no further; denials are told, and recorded.
local ln = require "support.ln"
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local sys = require "support.sys"
local tmp = require "support.tmp"
local json = require "support.json"
local traffic = require "support.traffic"
local C, ffi = ln.C, ln.ffi

local NOBODY = 65534
local is_root = tonumber(tmp.read("/proc/self/status"):match "Uid:%s+(%d+)") == 0

-- Runs a verb as another account.
local function as(s, uid, gid, ...)
  return proc.run { "setpriv", "--reuid=" .. uid, "--regid=" .. gid, "--clear-groups", site.binary(), "-C",
    s.path, ... }
end

local function entries(s)
  local list = {}
  local p = io.popen("cat " .. tmp.quote(s.path) .. "/data/audit/*.jsonl 2>/dev/null")
  for line in p:lines() do list[#list + 1] = json.decode(line) end
  p:close()
  return list
end

local function last(s, action)
  local found
  for _, e in ipairs(entries(s)) do
    if e.action == action then found = e end
  end
  return found
end

describe("audit/access", function()
  after_each(site.cleanup)

  it("every verb of the command line and of the control socket has a right", function()
    local names, n = {}, 0
    while C.ln_right_at(n) ~= nil do
      local r = C.ln_right_at(n)
      names[ffi.string(r.verb)] = r
      n = n + 1
    end
    local status, out = proc.run { site.binary(), "help", "--names" }
    assert.equal(0, status)
    local seen = {}
    for name in out:gmatch "%S+" do
      seen[name] = true
      assert.truthy(names[name], "verb " .. name .. " has no right: core/audit/access.c")
    end
    local i = 0
    while C.ln_control_verb(i) ~= nil do
      local name = ffi.string(C.ln_control_verb(i))
      seen[name] = true
      assert.truthy(names[name], "request " .. name .. " has no right: core/audit/access.c")
      i = i + 1
    end
    assert.truthy(i > 10)
    for name, r in pairs(names) do
      assert.is_true(seen[name], name .. " is no verb any more")
      if r.role == C.LN_ROLE_NONE then assert.equal(C.LN_RIGHT_LOCAL, r.flags, name) end
    end
  end)

  it("patterns of channels", function()
    local cases = { { "*", "adt_in", true }, { "adt_*", "adt_in", true }, { "adt_*", "lab", false },
      { "lab,adt_in", "adt_in", true }, { "adt", "adt_in", false }, { "*_in", "adt_in", true },
      { "a*t*n", "adt_in", true }, { "a*t*x", "adt_in", false }, { "adt_*", "*", false }, { "lab,*", "*", true },
      { "", "adt_in", false }, { ",", "", false } }
    for _, c in ipairs(cases) do
      assert.equal(c[3], C.ln_access_names(c[1], c[2]), c[1] .. " " .. c[2])
    end
  end)

  it("what lunate.lua may say of it, with the line of each mistake", function()
    local function check(text)
      local s = site.new { ["lunate.lua"] = "return {\n  access = {\n" .. text .. "\n} }",
        ["channels/a.lua"] = traffic.channel(net.free_port(), net.free_port()) }
      local status, out, err = s:run "check"
      return status, out .. err
    end
    assert.equal(0, (check 'users = { [0] = { viewer = "*", operator = { "a", "b*" } } }'))
    for text, want in pairs {
      ['users = { root = "boss" }'] = "lunate.lua:3: role must be one of",
      ['users = { root = { viewer = {} } }'] = "lunate.lua:3: no channel is named",
      ['users = { root = { viewer = "a/b" } }'] = "'a/b' is no channel",
      ['user = {}'] = "unknown key 'user' in access .did you mean 'users'",
      ['users = { ["no such user"] = "viewer" }'] = "is no name of a user",
      ['break_glass = { minutes = 0 }'] = "lunate.lua:3: .*minutes must be from 1 to 1440",
      ['users = { ["nosuch-user"] = "viewer" }'] = "there is no user 'nosuch%-user' on this machine",
    } do
      local status, out = check(text)
      assert.equal(1, status, text)
      assert.truthy(out:find(want), text .. ": " .. tostring(out))
    end
  end)

  it("an account that is gone does not keep the engine from starting", function()
    local s = site.new { ["lunate.lua"] = 'return { access = { users = { ["nosuch-user"] = "admin" } } }',
      ["channels/a.lua"] = traffic.channel(net.free_port(), net.free_port()) }
    local e = s:start()
    assert.truthy(e:log():find "nosuch%-user")
    assert.equal(0, e:stop())
  end)

  it("what is done is recorded, with who, why and what came of it", function()
    local s = site.new { ["channels/a.lua"] = traffic.channel(net.free_port(), net.free_port()) }
    local e = s:start()
    assert.equal(0, (s:run("hold", "a/out", "--reason", "INC-17")))
    local h = last(s, "hold")
    assert.same({ "a/out", "INC-17", "ok", "admin", "control" }, { h.object, h.reason, h.outcome, h.role, h.via })
    assert.truthy(h.uid and h.pid)
    assert.equal(1, (s:run("hold", "a/nosuch")))
    h = last(s, "hold")
    assert.same({ "failed", "a/nosuch" }, { h.outcome, h.object })
    local before = #entries(s)
    for _ = 1, 3 do
      assert.equal(0, (s:run "status"))
      assert.equal(0, (s:run "metrics"))
    end
    assert.equal(before, #entries(s)) -- a poll is no view
    s:write("channels/a.lua", s:read "channels/a.lua" .. "\n-- changed\n")
    e:signal(proc.HUP)
    site.wait_until(function() return last(s, "config").object == "reload" end)
    assert.equal(0, e:stop())
    assert.truthy(last(s, "engine.stop"))
    assert.truthy(e:log():find "audit head seq=%d+ hash=%x+ time=%S+Z sig=")
    local log = tmp.file(e:log())
    assert.equal(0, (s:run("audit", "verify", "--syslog", log)))
    -- a syslog has heads of other sites, too: they are not ours
    local foreign = ("lunate[1]: audit head site=/srv/other seq=1 hash=%s time=2026-01-01T00:00:00Z sig=x\n")
      :format(("0"):rep(64))
    assert.equal(0, (s:run("audit", "verify", "--syslog", tmp.file(foreign .. e:log()))))
    local status, _, err = s:run("audit", "verify", "--syslog", tmp.file(foreign))
    assert.equal(1, status)
    assert.truthy(err:find("names no head of the audit log of", 1, true), err)
    -- cut off, with the signed head as it was before: what stands in the log tells
    local head = tmp.read(s.path .. "/data/audit/head")
    local file = s.path .. "/data/audit/000000000001.jsonl"
    local text = tmp.read(file)
    tmp.write(file, text:match "^(.*\n)[^\n]*\n[^\n]*\n$")
    local cut, out = s:run("audit", "verify", "--syslog", log)
    assert.equal(1, cut)
    assert.truthy(out:find "missing at the end", out)
    tmp.write(s.path .. "/data/audit/head", head)
  end)

  it("what cannot be recorded is not shown and not sent; what is urgent goes on", function()
    local out = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["channels/a.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    local conn = net.connect(port)
    assert.equal("AA", select(2, true, traffic.exchange(conn, "M1")))
    out:run_for_frames(1, 10)
    os.execute("rm -rf " .. tmp.quote(s.path .. "/data/audit"))
    tmp.write(s.path .. "/data/audit", "not a folder")
    e:kill9()
    e = s:start()
    for _, words in ipairs { { "show", "a/1" }, { "messages" }, { "resend", "a/1" } } do
      local status, shown, err = s:run(unpack(words))
      assert.same({ 1, "" }, { status, shown })
      assert.truthy(err:find "recorded", err)
    end
    assert.equal(0, (s:run("hold", "a/out"))) -- not content: an operator must be able to
    assert.equal(0, (s:run("release", "a/out")))
    conn = net.connect(port)
    assert.equal("AA", (traffic.exchange(conn, "M2"))) -- patients' messages go on
    out:run_for_frames(2, 20)
    os.remove(s.path .. "/data/audit")
    site.wait_until(function() return last(s, "release") ~= nil end, 30) -- kept, and written when it can be
    assert.truthy(last(s, "hold"))
    assert.equal(0, (s:run("show", "a/1")))
    assert.equal(0, (s:run("audit", "verify")))
    assert.equal(0, e:stop())
  end)

  it("the admin address asks for a token, when it is told to", function()
    local port = net.free_port()
    local s = site.new {
      ["lunate.lua"] = ('return { admin = "127.0.0.1:%d", access = { http = "token" } }'):format(port),
      ["channels/a.lua"] = traffic.channel(net.free_port(), net.free_port()) }
    local e = s:start()
    local function get(path, token)
      local c = assert(net.connect(port))
      c:send(("GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n"):format(path,
        token and "Authorization: Bearer " .. token .. "\r\n" or ""))
      local reply = c:recv_all(10)
      c:close()
      return tonumber(reply:match "^HTTP/1.1 (%d+)"), reply
    end
    local _, text = s:run("token", "new", "prometheus")
    text = text:sub(1, -2)
    assert.equal(200, (get "/healthz"))
    local status, reply = get "/metrics"
    assert.equal(401, status)
    assert.truthy(reply:find "WWW%-Authenticate: Bearer")
    assert.equal(401, (get("/metrics", "lnt_1234567890abcdef_" .. ("0"):rep(64))))
    assert.equal("failed", last(s, "login").outcome)
    assert.truthy(last(s, "login").from:find "^127.0.0.1")
    assert.equal(401, (get("/metrics", ("x"):rep(1000))))
    for _ = 1, 20 do assert.equal(200, (get("/metrics", text))) end
    local n = 0
    for _, entry in ipairs(entries(s)) do
      if entry.action == "login" and entry.outcome == "ok" then n = n + 1 end
    end
    assert.equal(1, n) -- a poll every few seconds does not fill the log
    local c = assert(net.connect(port)) -- goes away while its token is checked
    c:send("GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer lnt_0000000000000000_" .. ("1"):rep(64)
      .. "\r\n\r\n")
    c:close()
    assert.equal(0, (s:run("token", "revoke", (s:json_lines("token", "list")[1].id))))
    assert.equal(401, (get("/metrics", text)))
    assert.equal(0, e:stop())
  end)

  describe("for others than the owner", function()
    local function start(access)
      local s = site.new { ["lunate.lua"] = "return { access = " .. access .. " }",
        ["channels/a.lua"] = traffic.channel(net.free_port(), net.free_port()),
        ["channels/b.lua"] = traffic.channel(net.free_port(), net.free_port()) }
      os.execute("chmod 755 " .. tmp.quote(s.path))
      return s, s:start()
    end

    local function skip()
      if is_root and proc.run { "setpriv", "--version" } == 0 then return false end
      pending "needs root, to be somebody else"
      return true
    end

    it("nobody gets in when `access` is not there", function()
      if skip() then return end
      local s = site.new { ["channels/a.lua"] = traffic.channel(net.free_port(), net.free_port()) }
      os.execute("chmod 755 " .. tmp.quote(s.path))
      local e = s:start()
      assert.equal(3, (as(s, NOBODY, NOBODY, "status")))
      assert.equal(0, e:stop())
    end)

    it("a role over its channels, by user or group", function()
      if skip() then return end
      local s, e = start(([[{ users = { [%d] = { operator = "a", observer = "b" } },
        groups = { [54321] = "developer" } }]]):format(NOBODY))
      assert.equal(0, (as(s, NOBODY, NOBODY, "status")))
      assert.equal(0, (as(s, NOBODY, NOBODY, "hold", "a/out")))
      local status, _, err = as(s, NOBODY, NOBODY, "hold", "b/out")
      assert.equal(1, status)
      assert.truthy(err:find "needs the role operator over b, and has observer", err)
      local h = last(s, "hold")
      assert.same({ "denied", "b/out", NOBODY, "observer" }, { h.outcome, h.object, h.uid, h.role })
      for _, words in ipairs { { "reload" }, { "reload", "a" }, { "edit", "a", "1", "x" } } do
        if words[1] ~= "edit" then assert.equal(1, (as(s, NOBODY, NOBODY, unpack(words)))) end
      end
      assert.equal(0, (as(s, 12345, 54321, "reload")))
      assert.equal(1, (as(s, 12345, 12345, "status")))
      assert.equal("denied", last(s, "status").outcome)
      assert.equal(1, (as(s, 12345, 12345, "messages", "a")))
      assert.same({ "denied", nil }, { last(s, "messages").outcome, last(s, "messages").object })
      assert.equal(0, (s:run("audit", "verify")))
      assert.equal(0, e:stop())
      assert.is_nil(tmp.read(s.path .. "/run/control.sock"))
    end)

    it("the glass: with a reason, for a time, by those who may", function()
      if skip() then return end
      local s, e = start(([[{ users = { [%d] = "observer", [12345] = "observer" },
        break_glass = { users = { "%d" } } }]]):format(NOBODY, NOBODY))
      assert.equal(1, (as(s, NOBODY, NOBODY, "hold", "a/out")))
      assert.equal(2, (as(s, NOBODY, NOBODY, "hold", "a/out", "--break-glass")))
      assert.equal(1, (as(s, 12345, 12345, "hold", "a/out", "--break-glass", "--reason", "no")))
      assert.equal(0, (as(s, NOBODY, NOBODY, "hold", "a/out", "--break-glass", "--reason", "receiver floods")))
      assert.equal(0, (as(s, NOBODY, NOBODY, "release", "a/out"))) -- still open
      assert.equal(1, (as(s, NOBODY, NOBODY, "reload"))) -- an operator's, not a developer's
      local b = last(s, "break-glass")
      assert.same({ "receiver floods", NOBODY }, { b.reason, b.uid })
      assert.truthy(e:log():find "error gate break_glass")
      assert.equal(0, e:stop())
    end)

    it("a token: its role and channels, whoever has it; until it is revoked or ends", function()
      if skip() then return end
      local s, e = start "{}"
      local status, text, err = s:run("token", "new", "ci", "--role", "operator", "--channels", "a")
      assert.equal(0, status, err)
      local _
      text = text:match "^lnt_%x+_%x+\n$":sub(1, -2)
      local function with(token, ...)
        local words = { "env", "LUNATE_TOKEN=" .. token, "setpriv", "--reuid=" .. NOBODY, "--regid=" .. NOBODY,
          "--clear-groups", site.binary(), "-C", s.path, ... }
        return proc.run(words)
      end
      assert.equal(0, (with(text, "hold", "a/out")))
      assert.truthy(last(s, "hold").user:find "^token:%x+/ci$")
      assert.equal(1, (with(text, "hold", "b/out")))
      assert.equal(1, (with(text, "reload")))
      assert.equal("ok", last(s, "login").outcome)
      local wrong = text:sub(1, -2) .. (text:sub(-1) == "0" and "1" or "0")
      status, _, err = with(wrong, "hold", "a/out")
      assert.equal(1, status)
      assert.truthy(err:find "token is refused", err)
      assert.equal("failed", last(s, "login").outcome)
      local list = s:json_lines("token", "list")
      assert.same({ 1, "ci", "operator", "a" }, { #list, list[1].name, list[1].role, list[1].channels })
      local kept = tmp.read(s.path .. "/data/tokens")
      assert.is_nil(kept:find(text:match "_(%x+)$", 1, true))
      local p = io.popen("stat -c %a " .. tmp.quote(s.path .. "/data/tokens"))
      assert.equal("600\n", p:read "*a")
      p:close()
      assert.equal(0, (s:run("token", "revoke", list[1].id)))
      assert.equal(1, (with(text, "hold", "a/out"))) -- at once
      assert.equal(1, (s:run("token", "revoke", list[1].id)))
      -- one that has ended
      tmp.write(s.path .. "/data/tokens", (kept:gsub("(%x+ operator a %d+) %d+", "%1 1000000")))
      status, _, err = with(text, "hold", "a/out")
      assert.equal(1, status)
      assert.truthy(err:find "expired", err)
      for _, words in ipairs { { "token", "new" }, { "token", "new", "x", "--role", "boss" },
        { "token", "new", "x", "--days", "0" }, { "token", "revoke" } } do
        assert.equal(2, (s:run(unpack(words))))
      end
      assert.equal(0, e:stop())
    end)

    it("a token is kept when the file of tokens cannot be read as another is made", function()
      if skip() then return end
      local s, e = start "{}"
      assert.equal(0, (s:run("token", "new", "first")))
      local file = s.path .. "/data/tokens"
      assert.equal(0, os.execute(("mv %s %s.kept && ln -s tokens %s"):format(file, file, file)))
      for _, words in ipairs { { "token", "new", "second" }, { "token", "revoke", "0123456789abcdef" } } do
        local status, _, err = s:run(unpack(words))
        assert.equal(1, status)
        assert.matches("/tokens cannot be ", err, 1, true)
      end
      assert.equal(0, os.execute("mv " .. file .. ".kept " .. file))
      assert.equal("first", s:json_lines("token", "list")[1].name)
      assert.equal(0, os.execute("test ! -L " .. file))
      assert.equal(0, e:stop())
    end)

    it("one of them cannot keep the others out", function()
      if skip() then return end
      local s, e = start '{ users = { [12345] = "operator" } }'
      local flood = proc.spawn { "setpriv", "--reuid=" .. NOBODY, "--regid=" .. NOBODY, "--clear-groups",
        "python3", "-c", ("import socket,time\nl=[]\nfor i in range(300):\n"
          .. "  s=socket.socket(socket.AF_UNIX)\n  s.connect(%q)\n  l.append(s)\nprint('ok',flush=True)\n"
          .. "time.sleep(60)"):format(s.path .. "/run/control.sock") }
      sys.sleep(1)
      for _ = 1, 5 do assert.equal(0, (as(s, 12345, 12345, "hold", "a/out"))) end
      assert.equal(0, (s:run "status"))
      flood:close()
      assert.equal(0, e:stop())
    end)
  end)
end)
