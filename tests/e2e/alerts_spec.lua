-- Alerts with real parts: an engine, its alerter, mail and HTTP servers with TLS, commands.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local sys = require "support.sys"
local tmp = require "support.tmp"
local json = require "support.json"
local certs = require "support.certs"
local mailbox = require "support.mailbox"
local traffic = require "support.traffic"

-- A site whose one channel sends to nobody: its queue waits, and no connection comes about.
local function new_site(targets, more, o)
  local port, dead = net.free_port(), o and o.dead or net.free_port()
  local files = { ["channels/adt.lua"] = traffic.channel(port, dead),
    ["lunate.lua"] = ([[return { alerts = { every = "0.3s", wait = "0.5s", clear = "1s",
      targets = { %s },
      %s } }]]):format(targets, more or 'rules = { disconnected = "1s" }') }
  local s = site.new(files)
  s.port, s.dead = port, dead
  return s
end

local function send_one(s, id)
  local c = net.connect(s.port)
  assert(traffic.exchange(c, id or "A1"))
  c:close()
end

-- The receiver, there after all.
local function listener(s)
  return proc.spawn { site.binary(), "listen", tostring(s.dead) }
end

local function alerts(s) return (s:json("alerts")) end

local function hook(box, tls)
  return ('hook = { url = "%s://127.0.0.1:%d/alert"%s }'):format(tls and "https" or "http", box.port,
    tls or "")
end

local function body(text) return json.decode(text:match "\n\n(.*)$") end

describe("alerts", function()
  after_each(site.cleanup)
  teardown(mailbox.done)

  it("a dead receiver: one message to each target, repeated state in status, a resolved note", function()
    local web, mail, out = mailbox.open "http", mailbox.open "smtp", tmp.dir()
    local s = new_site(hook(web) .. (', duty = { smtp = "smtp://127.0.0.1:%d", tls = "none", '
      .. 'from = "lunate@h.example", to = { "a@h.example", "b@h.example" } }, '
      .. 'page = { command = { "/bin/sh", "-c", "cat > %s/$LUNATE_ALERT_STATUS; '
      .. 'echo $LUNATE_ALERT_TITLE >> %s/$LUNATE_ALERT_STATUS" } }'):format(mail.port, out, out))
    local e = s:start()
    send_one(s)
    local first = body(web:wait(1))
    assert.equal("firing", first.status)
    assert.equal("receiver 127.0.0.1", first.alerts[1].cause)
    assert.equal(1, #first.alerts[1].firing)
    assert.equal("adt/out", first.alerts[1].firing[1].subject)
    assert.matches("127.0.0.1:" .. s.dead .. " has not taken a message for", first.title)
    local text = mail:wait(1)
    assert.matches("\nTo: a@h.example,\r?\n b@h.example", (text:gsub("\r", "")))
    assert.matches("RCPT TO:<b@h.example>", text)
    assert.matches("rule disconnected", mailbox.text(text))
    sys.wait_until(function()
      return tmp.exists(out .. "/firing") and tmp.read(out .. "/firing"):find "has not taken a message"
    end, 10, "the command")
    local st = e:status().alerts
    assert.equal("running", st.state)
    assert.equal("disconnected", st.firing[1].rule)
    local _, human = s:run "status"
    assert.matches("1 alert is firing", human)
    local _, page = s:run "metrics"
    assert.matches("\nlunate_alerts_firing 1\n", page)
    -- The receiver is there again.
    local r = listener(s)
    local over = body(web:wait(2, 90))
    assert.equal("resolved", over.status)
    assert.equal("adt/out", over.alerts[1].over[1].subject)
    mail:wait(2)
    assert.same({}, alerts(s).firing)
    assert.equal(2, #web:all())
    r:kill(proc.TERM)
    assert.equal(0, e:stop())
  end)

  it("mail with STARTTLS and a password, mail with TLS, a webhook with TLS; wrong ones say so", function()
    local dir = tmp.dir()
    local ca = certs.ca(dir, "ca")
    ca:cert("srv")
    certs.ca(dir, "other")
    local with = { cert = dir .. "/srv.pem", key = dir .. "/srv.key", auth = "AGx1bmF0ZQBzM2NyZXQ=" }
    local plain, tls, web = mailbox.open("starttls", with), mailbox.open("smtps", with),
      mailbox.open("https", with)
    tmp.write(dir .. "/pw", "s3cret\n")
    local function mail(name, url, more)
      return ('%s = { smtp = "%s", from = "l@h.example", to = "a@h.example", user = "lunate", %s }')
        :format(name, url, more)
    end
    local a_ca, other = ('ca = "%s/ca.pem"'):format(dir), ('ca = "%s/other.pem"'):format(dir)
    local s = new_site(table.concat({
      mail("good", "smtp://127.0.0.1:" .. plain.port, a_ca .. (', password_file = "%s/pw"'):format(dir)),
      mail("good_tls", "smtps://127.0.0.1:" .. tls.port, a_ca .. ', password = secret "smtp"'),
      mail("wrong_ca", "smtp://127.0.0.1:" .. plain.port, other .. ', password = env "PW"'),
      mail("wrong_pw", "smtps://127.0.0.1:" .. tls.port, a_ca .. ', password = env "BAD"'),
      ('web = { url = "https://127.0.0.1:%d/x", token = env "TOKEN", %s }'):format(web.port, a_ca),
      ('web_ca = { url = "https://127.0.0.1:%d/x", %s }'):format(web.port, other),
    }, ",\n"))
    s:write("secrets/smtp", "s3cret\n")
    local e = s:start { env = { PW = "s3cret", BAD = "n0tit", TOKEN = "t0ken" } }
    local status, out, err = s:run("alerts", "test", "--json")
    assert.equal(1, status, err)
    local by = {}
    for _, t in ipairs(json.decode(out).targets) do by[t.target] = t end
    for _, name in ipairs { "good", "good_tls", "web" } do
      assert.is_true(by[name].ok, name .. ": " .. tostring(by[name].error))
    end
    assert.matches("certificate", by.wrong_ca.error)
    assert.matches("certificate", by.web_ca.error)
    assert.matches("535 5.7.8 wrong user or password", by.wrong_pw.error)
    assert.matches("%(TLS%)", plain:all()[1])
    assert.matches("Authorization: Bearer t0ken", web:all()[1])
    -- Secrets are nowhere to be seen.
    s:write("lunate.lua", (s:read "lunate.lua":gsub('"TOKEN"', '"TOKEN2"')))
    local _, plan = s:run("reload", "--plan")
    local _, st = s:run("status", "--json")
    local _, list = s:run "alerts"
    for _, text in ipairs { out, err, plan, st, list, e:log(), s:read "data/alerts.json" or "" } do
      for _, secret in ipairs { "s3cret", "n0tit", "t0ken" } do
        assert.is_nil(text:find(secret, 1, true), text)
      end
    end
    assert.equal(0, e:stop())
  end)

  it("asked while the alerter is being started: answered when it is there", function()
    local s = new_site(hook(mailbox.open "http"))
    local e = s:start()
    assert.same({}, alerts(s).firing or {})
    for _ = 1, 3 do
      local pid = e:status().alerts.pid
      proc.kill(pid, proc.KILL)
      sys.wait_until(function() return e:status().alerts.pid ~= pid end, 10, "noticed")
      assert.equal(1, #alerts(s).targets)
    end
    e:stop()
  end)

  it("a mail server without STARTTLS gets neither password nor mail", function()
    local mail = mailbox.open("smtp", { auth = "x" })
    local s = new_site(('duty = { smtp = "smtp://127.0.0.1:%d", from = "l@h.example", '
      .. 'to = "a@h.example", user = "u", password = env "PW" }'):format(mail.port))
    local e = s:start { env = { PW = "s3cret" } }
    local status, out = s:run("alerts", "test", "duty")
    assert.equal(1, status)
    assert.matches("failed: .*STARTTLS", out)
    assert.same({}, mail:all())
    assert.equal(1, (s:run("alerts", "test", "nobody")))
    e:stop()
  end)

  it("the alerter killed: started again, nothing forgotten, nothing told twice", function()
    local web = mailbox.open "http"
    local s = new_site(hook(web))
    local e = s:start()
    send_one(s)
    web:wait(1)
    assert.equal(0, (s:run("alerts", "silence", "parked", "--for", "2h", "--reason", "known")))
    for _ = 1, 3 do
      local pid = e:status().alerts.pid
      proc.kill(pid, proc.KILL)
      sys.wait_until(function()
        local a = e:status().alerts
        return a.pid ~= pid and a.state == "running" and #a.firing == 1
      end, 20, "an alerter again")
    end
    sys.sleep(2)
    assert.equal(1, #web:all())
    local doc = alerts(s)
    assert.equal("known", doc.silences[1].reason)
    assert.equal(1, doc.firing[1].messages)
    assert.equal(3, e:status().alerts.restarts)
    -- Killed while the engine is down, too: state is on disk, and the end is told.
    e:kill9()
    local r = listener(s)
    e = s:start()
    assert.equal("resolved", body(web:wait(2, 90)).status)
    r:kill(proc.TERM)
    e:stop()
    -- A state that is damaged is begun anew.
    s:write("data/alerts.json", "{ not JSON")
    s:write("data/alerts-usual.txt", "\1\2")
    e = s:start()
    sys.wait_until(function() return e:status().alerts.state == "running" end, 10, "the alerter")
    assert.matches("state_unreadable", e:log())
    e:stop()
  end)

  it("a server that hangs holds up neither the engine nor other targets", function()
    local web, hung = mailbox.open "http", mailbox.open "hang"
    local s = new_site(hook(web) .. (', bad = { url = "http://127.0.0.1:%d/", timeout = "2s" }, '
      .. 'worse = { smtp = "smtp://127.0.0.1:%d", tls = "none", from = "l@h.example", '
      .. 'to = "a@h.example", timeout = "2s" }, slow = { command = { "/bin/sleep", "61.7" }, timeout = "2s" }')
      :format(hung.port, hung.port))
    local e = s:start()
    send_one(s)
    web:wait(1)
    for i = 1, 50 do send_one(s, "B" .. i) end
    assert.equal(51, e:channel("adt").received)
    local status, out = s:run("alerts", "test", "--json")
    assert.equal(1, status)
    local by = {}
    for _, t in ipairs(json.decode(out).targets) do by[t.target] = t end
    assert.is_true(by.hook.ok)
    assert.matches("imed out", by.bad.error)
    assert.matches("imed out", by.worse.error)
    assert.matches("did not end within 2 s", by.slow.error)
    local _, human = s:run "status"
    assert.matches("alerts do not reach bad", human)
    assert.equal(0, e:stop())
    local _, ps = proc.run { "pgrep", "-f", "^/bin/sleep 61.7$", env = { LD_PRELOAD = false } }
    assert.equal("", ps)
  end)

  it("a long header (a token, say) arrives whole", function()
    local web = mailbox.open "http"
    local s = new_site(('hook = { url = "http://127.0.0.1:%d/alert", '
      .. 'headers = { "X-Token: " .. ("t"):rep(5000) .. "end" } }'):format(web.port))
    local e = s:start()
    assert.equal(0, (s:run("alerts", "test", "hook")))
    assert.is_truthy(web:wait(1):find(("t"):rep(5000) .. "end", 1, true))
    e:stop()
  end)

  it("a target that refuses has its message tried again; when it takes it, once", function()
    local web = mailbox.open "http"
    web:refuse "down for repair"
    local s = new_site(hook(web))
    local e = s:start()
    send_one(s)
    sys.wait_until(function() return #(alerts(s).targets[1].trouble or "") > 0 end, 20, "trouble")
    local trouble = alerts(s).targets[1].trouble
    assert.matches("HTTP status 500 %(and %d+ bytes", trouble)
    assert.is_nil(trouble:find("repair", 1, true), "what a server answers may be of patients")
    web:refuse(nil)
    assert.equal("firing", body(web:wait(1, 40)).status)
    sys.sleep(1)
    assert.equal(1, #web:all())
    assert.is_nil(alerts(s).targets[1].trouble)
    e:stop()
  end)

  it("a flood of causes: a cap per hour, the rest gathered", function()
    local web = mailbox.open "http"
    local rules, files = {}, {}
    local s = new_site(hook(web), "per_hour = 3, rules = RULES")
    for i = 1, 12 do
      rules[i] = ('r%d = { kind = "queue_depth", over = 0, only = "c%d/out", after = 0 }'):format(i, i)
      files[i] = net.free_port()
      s:write(("channels/c%d.lua"):format(i), traffic.channel(files[i], s.dead))
    end
    s:write("lunate.lua", (s:read "lunate.lua":gsub("RULES",
      "{ disconnected = false, queue_age = false, " .. table.concat(rules, ", ") .. " }")))
    -- Held queues have no cause in common.
    local e = s:start()
    for i = 1, 12 do assert.equal(0, (s:run("hold", ("c%d/out"):format(i)))) end
    local function cause(i)
      local c = net.connect(files[i])
      assert(traffic.exchange(c, "F" .. i))
      c:close()
    end
    for i = 1, 3 do
      cause(i)
      web:wait(i)
    end
    assert.matches("last message for now", body(web:all()[3]).note)
    for i = 4, 12 do cause(i) end
    sys.wait_until(function() return alerts(s).waiting == 9 end, 20, "9 alerts that wait")
    -- Guards: nobody was told that nothing was told.
    assert.matches("held back until %d%d:%d%d", alerts(s).targets[1].held)
    site.wait_until(function() return select(2, s:run "status"):find("alerts do not reach .*: held back") end, 20,
      "status says so")
    sys.sleep(1)
    assert.equal(3, #web:all())
    -- An hour later: what gathered is one message. (The state is told that it is later.)
    e:kill9()
    s:write("data/alerts.json", (s:read "data/alerts.json":gsub('"sent":%b{}', '"sent":{}')))
    e = s:start()
    local digest = body(web:wait(4, 40))
    assert.equal("digest", digest.status)
    assert.equal(9, #digest.alerts)
    assert.matches("9 alerts", digest.title)
    e:stop()
  end)

  it("many causes at once are one message", function()
    local web = mailbox.open "http"
    local rules = {}
    local s = new_site(hook(web), "rules = RULES")
    for i = 1, 12 do
      rules[i] = ('r%d = { kind = "queue_depth", over = 0, after = 0 }'):format(i)
    end
    s:write("lunate.lua", (s:read "lunate.lua":gsub("RULES",
      "{ disconnected = false, " .. table.concat(rules, ", ") .. " }")))
    local e = s:start()
    s:run("hold", "adt/out")
    send_one(s)
    local digest = body(web:wait(1))
    assert.equal("digest", digest.status)
    assert.equal(12, #digest.alerts)
    e:stop()
  end)

  it("silence and acknowledge at the command line", function()
    local web = mailbox.open "http"
    local s = new_site(hook(web))
    local e = s:start()
    local function run(...)
      local status, out, err = s:run("alerts", ...)
      return status, out .. err
    end
    assert.equal(2, (run "silence"))
    local status, text = run("silence", "disconnected", "--for", "2h")
    assert.equal(2, status)
    assert.matches("alerts silence needs %-%-reason TEXT", text)
    status, text = run("silence", "disconected", "--for", "2h", "--reason", "x")
    assert.equal(1, status)
    assert.matches("there is no rule disconected; there are ", text)
    status, text = run("silence", "disconnected", "adt/nosuch", "--for", "2h", "--reason", "x")
    assert.equal(1, status)
    assert.matches("there is no adt/nosuch to silence", text)
    assert.equal(0, (run("silence", "disconnected", "adt", "--for", "2h", "--reason", "lab moves")))
    send_one(s)
    sys.wait_until(function() return #alerts(s).firing == 1 end, 20, "the alert")
    sys.sleep(1.5)
    assert.same({}, web:all())
    text = select(2, run())
    assert.matches("silenced by .*: lab moves", text)
    assert.equal(0, (run("unsilence", "disconnected")))
    web:wait(1)
    assert.equal(0, (run("ack", alerts(s).firing[1].id, "--reason", "on it")))
    text = select(2, run())
    assert.matches("acknowledged by .*: on it", text)
    assert.equal(1, (run("ack", "nothing", "--reason", "x")))
    e:stop()
  end)

  it("a reload changes rules and targets, takes alerts out and in again", function()
    local web, other = mailbox.open "http", mailbox.open "http"
    local s = new_site(hook(web), 'rules = { disconnected = "1h", queue_age = "1h" }')
    local e = s:start()
    send_one(s)
    local text = s:read "lunate.lua"
    s:write("lunate.lua", (text:gsub('"1h"', '"1s"'):gsub(":" .. web.port, ":" .. other.port)))
    assert.equal(0, (s:run "reload"))
    other:wait(1)
    assert.same({}, web:all())
    s:write("lunate.lua", "return {}")
    assert.equal(0, (s:run "reload"))
    assert.is_nil(e:status().alerts.state)
    assert.equal(1, (s:run "alerts"))
    s:write("lunate.lua", text)
    assert.equal(0, (s:run "reload"))
    sys.wait_until(function() return e:status().alerts.state == "running" end, 20, "the alerter")
    e:stop()
  end)

  it("no alert has anything of a message in it, though receivers and scripts quote them", function()
    local web = mailbox.open "http"
    local r = net.receiver { answer = function(text) return net.ack(text, "AE", "no SECRETNAME") end }
    local s = new_site(hook(web), 'rules = { parked = 0, error_rate = { over = "1%", least = 1 } }',
      { dead = r.port })
    s:write("channels/bad.lua", ([[return channel { source = mllp.listen { port = %d },
      transform = function(msg) error("cannot take " .. msg["PID-5.1"]) end }]]):format(net.free_port()))
    local e = s:start()
    send_one(s)
    r:run_for_frames(1)
    local c = net.connect(tonumber(s:read "channels/bad.lua":match "port = (%d+)"))
    c:send(net.frame(traffic.adt("X1", { name = "SECRETNAME" })))
    c:close()
    sys.wait_until(function() return #alerts(s).firing >= 2 end, 20, "alerts")
    web:wait(1)
    sys.sleep(1)
    for _, text in ipairs(web:all()) do assert.is_nil(text:find("SECRETNAME", 1, true), text) end
    assert.is_nil(s:read "data/alerts.json":find("SECRETNAME", 1, true))
    r:close()
    e:stop()
  end)

  it("mistakes in lunate.lua are named with their line", function()
    local function check(alerts_text)
      local s = site.new { ["lunate.lua"] = "return {\n  alerts = {\n" .. alerts_text .. "\n  },\n}",
        ["channels/a.lua"] = "return channel { source = mllp.listen { port = 6661 } }" }
      local status, _, err = s:run "check"
      assert.equal(1, status)
      return err
    end
    local good = 'targets = { t = { command = "x" } },\n'
    for _, case in ipairs {
      { "every = '1s'", "lunate.lua:2: alerts needs targets" },
      { "targets = { t = { smpt = 'x' } }", "lunate.lua:3: target t needs smtp %(mail%), url" },
      { "targets = { t = { url = 'http://example.org/' } }", "lunate.lua:3: url must begin with https" },
      { "targets = { t = { url = 'https://x/', token = 'abc' } }", "token must not stand in the file" },
      { "targets = { t = { smtp = 'mail.example', from = 'a@b', to = 'c@d' } }", "must be a mail server" },
      { "targets = { t = { smtp = 'smtp://m', from = 'a@b', to = 'c@d', user = 'u', password = env 'NO_SUCH' } }",
        "has a user but no password" },
      { "targets = { t = { smtp = 'smtp://m', from = 'ab', to = 'c@d' } }", "from must be a mail address" },
      { good .. "rules = { queue_aeg = '1m' }",
        "lunate.lua:4: 'queue_aeg' is no kind of rule %(did you mean 'queue_age'%?%)" },
      { good .. "rules = { queue_age = 'long' }", "lunate.lua:4: over must be a time" },
      { good .. "rules = { parked = { to = 'u' } }", "item 1 must be one of \"t\"" },
      { good .. "rules = { disk_free = '10' }", "must be a share or a size" },
      { good .. "per_hour = 0", "lunate.lua:4: per_hour must be from 1 to 1000" },
      { "targets = { t = { url = 'https://x/', ca = 'none.pem' } }", "ca none.pem: there is no such file" },
    } do
      assert.matches(case[2], check(case[1]))
    end
  end)
end)
