-- The audit log over syslog with TLS to a repository. Guards: every entry arrives, in order, through
-- outages, restarts and kill -9 of whoever is at either end; to nobody who is not checked; in the clear
-- never; without patient data.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"
local certs = require "support.certs"
local traffic = require "support.traffic"
local arr = require "support.arr"
local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

-- The entries from..last came, in order; how many came again.
local function whole(r, last, from)
  local numbers, again = arr.numbers(r:messages())
  local want = from or 1
  for _, n in ipairs(numbers) do
    assert(n == want, ("entry %d came where %d was to come"):format(n, want))
    want = want + 1
  end
  assert(want > last, ("%d entries came, %d were to"):format(want - 1, last))
  return again
end

-- n entries more in the site's log, as a verb would write them.
local function fill(s, n)
  local out, err = ffi.new "struct ln_audit *[1]", ffi.new "struct ln_err"
  assert(C.ln_audit_open(s.path .. "/data", 200000, out, err) == 0, ffi.string(err.text))
  local e = ffi.new "struct ln_audit_entry[250]"
  for i = 0, 249 do e[i].action, e[i].object, e[i].query = "show", "in/7", "patient=h:0123456789abcdef" end
  for _ = 1, n / 250 do assert(C.ln_audit_append(out[0], e, 250, err) == 0, ffi.string(err.text)) end
  local last = tonumber(C.ln_audit_head(out[0], ffi.new "char[65]"))
  C.ln_audit_close(out[0])
  return last
end

describe("audit over syslog", function()
  local dir, ca
  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    proc.run { "mkdir", "-p", dir }
    ca = certs.ca(dir, "ca")
    ca:cert "arr"
    ca:cert "hub"
    ca:cert("late", { days = -1 })
    ca:cert("other-name", { san = "DNS:elsewhere.example.org" })
    certs.ca(dir, "stranger"):cert "false-arr"
  end)
  teardown(function() proc.run { "rm", "-rf", dir } end)
  after_each(site.cleanup)

  -- tls: Lua text of the keys; more: of lunate.lua
  local function new_site(o)
    o = o or {}
    local port, arr_port = net.free_port(), net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, net.free_port()),
      ["lunate.lua"] = ('return { audit = { syslog = { host = "127.0.0.1", port = %d, '
        .. 'tls = { ca = "%s/%s.pem" %s } } } %s }'):format(arr_port, dir, o.ca or "ca", o.tls or "", o.more or "") }
    s.port, s.arr = port, arr_port
    return s
  end

  local function state(e) return e:status().audit.syslog end

  local function caught_up(e)
    return sys.wait_until(function()
      local st = state(e)
      return st.sent_to > 0 and st.behind == 0 and st
    end, 60, "the repository to have everything")
  end

  local function failure(e)
    return sys.wait_until(function()
      local text = state(e).failure
      return text ~= "" and text
    end, 30, "a failure")
  end

  it("entries arrive once, in order, framed as RFC 5425 wants, with the signed head, without patient data", function()
    local s = new_site { tls = (', cert = "%s/hub.pem", key = "%s/hub.key"'):format(dir, dir) }
    local r = arr.start(s.arr, dir .. "/arr", "-CAfile", dir .. "/ca.pem", "-Verify", "1", "-verify_return_error")
    local e = s:start()
    assert.equal("AA", (traffic.exchange(net.connect(s.port), "M1", { name = "Geheim^Zora" })))
    assert.equal(0, (s:run("show", "in/1", "--reason", "INC-17 <&> \"x\"")))
    assert.equal(0, (s:run("messages", "--patient", "M1")))
    sys.wait_until(function() return #arr.numbers(r:messages()) >= 4 end, 30, "four entries")
    caught_up(e)
    assert.equal(0, (s:run("show", "in/1")))
    local first = #arr.numbers(r:messages())
    sys.wait_until(function() return state(e).sent_to > first end, 30, "one more")
    local st = caught_up(e)
    local list = r:messages()
    assert.equal(0, whole(r, st.sent_to))
    assert.equal(st.sent_to, st.sent)
    local shown, heads
    for _, m in ipairs(list) do
      assert.matches("^<85>1 %d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d+Z %S+ lunate %d+ ", m.header)
      if m.id == "LUNATE+HEAD" then
        heads = (heads or 0) + 1
        assert.matches("^audit head site=%S+ seq=%d+ hash=%x+ time=%S+ sig=%S+$", m.body)
      else
        assert.equal("IHE+RFC-3881", m.id)
        assert.matches("^<%?xml .*<AuditMessage>.*</AuditMessage>$", m.body)
        shown = shown or arr.detail(m.body, "reason")
      end
    end
    assert.equal('INC-17 <&> "x"', shown)
    assert.truthy(heads >= 2)
    for _, mark in ipairs { "Geheim", "Zora", "M1^^^", "=M1", "19700101" } do
      assert.is_nil(r.proc:out():find(mark, 1, true), mark)
    end
    local log = tmp.file(r.proc:out())
    local status, out, err = s:run("audit", "verify", "--syslog", log)
    assert.equal(0, status, out .. err)
    e:stop()
  end)

  it("an outage: says so once, keeps all, catches up; a restart sends nothing twice", function()
    local s = new_site { more = [[, alerts = { every = "0.5s", wait = "0.5s",
      rules = { audit_behind = { over = "1s" } },
      targets = { page = { command = { "/bin/sh", "-c", "cat >> PAGE" } } } }]] }
    local page = s.path .. "/page"
    s:write("lunate.lua", (s:read("lunate.lua"):gsub("PAGE", page)))
    local e = s:start()
    assert.matches("cannot connect to 127.0.0.1:" .. s.arr .. ": Connection refused", failure(e), 1, true)
    sys.wait_until(function() return (tmp.read(page) or ""):find("audit_behind", 1, true) end, 30, "the alert")
    local st = state(e)
    assert.is_true(st.behind > 0)
    assert.equal(0, st.sent_to)
    assert.matches("the audit log does not reach its repository", select(2, s:run "status"), 1, true)
    local metrics = select(2, s:run "metrics")
    assert.matches("\nlunate_audit_syslog_failing 1\n", metrics)
    assert.matches("\nlunate_audit_syslog_behind [1-9]", metrics)
    fill(s, 1000)
    sys.sleep(3)
    local _, lines = e:log():gsub("not_sent", "")
    assert.equal(1, lines)
    local r = arr.start(s.arr, dir .. "/arr")
    local last = caught_up(e).sent_to
    assert.is_true(last > 1000)
    assert.equal(0, whole(r, last))
    assert.matches("sends_again", e:log())
    e:stop()
    e = s:start()
    sys.wait_until(function() return state(e).sent_to > last + 1 end, 60, "what came since")
    last = caught_up(e).sent_to
    assert.equal(0, whole(r, last))
    e:stop()
  end)

  it("kill -9 of the sender, again and again: none is lost, the order stays", function()
    local s = new_site()
    local r = arr.start(s.arr, dir .. "/arr")
    local e = s:start()
    caught_up(e)
    for round = 1, 6 do
      local last = fill(s, 3000)
      sys.sleep(0.05 * round)
      local pid = state(e).pid
      if pid > 0 then proc.kill(pid, proc.KILL) end
      if round == 6 then
        sys.wait_until(function() return state(e).sent_to >= last end, 120, "all")
      end
    end
    whole(r, caught_up(e).sent_to)
    assert.is_true(e:running())
    assert.matches("audit%-send lost", (e:log():gsub("area=", "")))
    e:stop()
  end)

  it("a repository that is frozen, then killed with all of it unread: it comes again", function()
    local s = new_site()
    local r = arr.start(s.arr, dir .. "/arr")
    local e = s:start()
    local before = caught_up(e).sent_to
    r.proc:kill(proc.STOP)
    local last = fill(s, 250)
    sys.sleep(2.5) -- it connects, hands everything to the system, waits
    assert.equal(before, state(e).sent_to)
    r:kill()
    assert.matches("127.0.0.1", failure(e))
    local r2 = arr.start(s.arr, dir .. "/arr")
    sys.wait_until(function() return state(e).sent_to >= last end, 90, "all")
    whole(r2, last, before + 1)
    e:stop()
  end)

  it("goes to nobody who is not who they should be, and says why", function()
    for _, case in ipairs {
      { "arr", "stranger", "is issued by .*not trusted here" },
      { "late", "ca", "expired on" },
      { "other-name", "ca", "is for .*, not for 127.0.0.1" },
    } do
      local s = new_site { ca = case[2] }
      local r = arr.start(s.arr, dir .. "/" .. case[1])
      local e = s:start()
      local why = failure(e)
      assert.matches("no TLS with 127.0.0.1:" .. s.arr, why, 1, true)
      assert.matches(case[3], why)
      assert.same({}, r:messages())
      assert.equal(0, state(e).sent_to)
      e:stop()
      r:kill()
    end
    local s = new_site() -- it wants a certificate, and we have none
    local r = arr.start(s.arr, dir .. "/arr", "-CAfile", dir .. "/ca.pem", "-Verify", "1", "-verify_return_error")
    local e = s:start()
    assert.matches("wants a client certificate", failure(e))
    assert.equal(0, state(e).sent_to)
    assert.same({}, r:messages())
    e:stop()
  end)

  it("a new certificate is taken without a reload; a setting that changes goes to the new place", function()
    local s = new_site { ca = "mine" }
    proc.run { "cp", dir .. "/stranger.pem", dir .. "/mine.pem" }
    local r = arr.start(s.arr, dir .. "/arr")
    local e = s:start()
    failure(e)
    proc.run { "cp", dir .. "/ca.pem", dir .. "/mine.pem" }
    local last = caught_up(e).sent_to
    whole(r, last)
    local port = net.free_port()
    local r2 = arr.start(port, dir .. "/arr")
    s:write("lunate.lua", (s:read("lunate.lua"):gsub("port = %d+", "port = " .. port)))
    site.must(s, "reload")
    sys.wait_until(function() return #arr.numbers(r2:messages()) > 0 end, 30, "the new place")
    assert.equal(last + 1, arr.numbers(r2:messages())[1])
    s:write("lunate.lua", "return {}")
    site.must(s, "reload")
    assert.equal(require("support.json").null, e:status().audit.syslog)
    e:stop()
  end)

  it("check says what is wrong with the settings, at their line", function()
    local function check(text, ...)
      local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port(), net.free_port()),
        ["lunate.lua"] = "return { audit = {\n syslog = { " .. text .. " } } }" }
      local status, out, err = s:run "check"
      assert.equal(1, status)
      for _, part in ipairs { ... } do site.has(out .. err, part) end
    end
    check('host = "arr.example.org", tls = false', "lunate.lua:2", "crosses no network in clear")
    check('host = "arr.example.org", tls = { verify = false }', "lunate.lua:2", "nobody who was not checked")
    check('port = 6514', "syslog needs a host")
    check('host = "arr.example.org", prot = 6514', "unknown key 'prot' in syslog (did you mean 'port'?)")
    check('host = "arr.example.org", tls = { ca = "no/such.pem" }', "lunate.lua:2: no/such.pem")
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port(), net.free_port()),
      ["lunate.lua"] = 'return { audit = { syslog = { host = "127.0.0.1", tls = false } } }' }
    assert.equal(0, (s:run "check"))
  end)
end)
