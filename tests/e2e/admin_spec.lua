-- The admin address: what HTTP clients and hostile peers get from it, and that the metrics are right.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local json = require "support.json"
local proc = require "support.proc"
local tmp = require "support.tmp"
local certs = require "support.certs"
local traffic = require "support.traffic"

local admin

local function start(o)
  local port = net.free_port()
  admin = net.free_port()
  o = o or {}
  local files = {
    ["channels/in.lua"] = o.channel or traffic.channel(port, o.out),
    ["lunate.lua"] = ("return { admin = %s }"):format(o.admin or ('"127.0.0.1:%d"'):format(admin)),
  }
  local s = site.new(files)
  return s:start(), port, s
end

-- One request on a connection of its own: status, headers and body in one text.
local function ask(text, timeout)
  local c = assert(net.connect(admin))
  assert(c:send(text))
  local reply, why = c:recv_all(timeout or 5)
  c:close()
  return tonumber(reply:match "^HTTP/1.1 (%d+)"), reply, why
end

local function get(path, more)
  return ask(("GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n"):format(path, more or ""))
end

describe("admin address", function()
  after_each(site.cleanup)

  it("serves metrics as Prometheus text, OpenMetrics on Accept, and the verb prints the latter", function()
    local out = net.receiver {}
    local _, port, s = start { out = out.port }
    local conn = net.connect(port)
    traffic.send_all(conn, traffic.ids("M", 20))
    out:run_for_frames(20, 5)
    local status, text
    sys.wait_until(function()
      status, text = get "/metrics"
      return text:find('lunate_messages_sent_total{channel="in",destination="out"} 20', 1, true)
    end, 5, "20 sent")
    assert.equal(200, status)
    assert.truthy(text:find("Content-Type: text/plain; version=0.0.4; charset=utf-8", 1, true))
    for _, line in ipairs {
      'lunate_messages_received_total{channel="in"} 20',
      'lunate_receive_to_ack_seconds_count{channel="in"} 20',
      'lunate_receive_to_ack_seconds_bucket{channel="in",le="+Inf"} 20',
      'lunate_script_seconds_count{channel="in"} 20',
      'lunate_receive_to_delivered_seconds_count{channel="in",destination="out"} 20',
      'lunate_queue_depth{channel="in",destination="out"} 0',
      'lunate_peer_frames_total{channel="in",peer="127.0.0.1"} 20',
      'lunate_channel_state{channel="in",state="running"} 1',
      "# TYPE lunate_messages_received_total counter",
      "# TYPE lunate_store_commit_seconds histogram",
    } do
      assert.truthy(text:find(line .. "\n", 1, true), line)
    end
    local commits = tonumber(text:match "\nlunate_store_commits_total (%d+)")
    assert.equal(commits, tonumber(text:match "\nlunate_store_commit_seconds_count (%d+)"))
    local open = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\r\n"
    status, text = get("/metrics", open)
    assert.equal(200, status)
    assert.truthy(text:find("application/openmetrics-text; version=1.0.0", 1, true))
    assert.truthy(text:find("# TYPE lunate_messages_received counter\n", 1, true))
    assert.equal("# EOF\n", text:sub(-6))
    local _, verb = s:run "metrics"
    assert.truthy(verb:find("# TYPE lunate_messages_received counter\n", 1, true))
    assert.equal("# EOF\n", verb:sub(-6))
    _, text = get("/metrics", "Accept: application/openmetrics-text;q=0, text/plain\r\n")
    assert.truthy(text:find("text/plain", 1, true))
  end)

  it("every family has one HELP and TYPE in front of all its samples", function()
    start { out = net.free_port() }
    local _, text = get "/metrics"
    local seen, now = {}, nil
    for line in text:match("\r\n\r\n(.*)"):gmatch "[^\n]+" do
      local name, kind = line:match "^# TYPE (%S+) (%S+)$"
      if name then
        assert.is_nil(seen[name], name .. " twice")
        seen[name], now = kind, name
        assert.equal(kind == "counter", name:find "_total$" ~= nil, name)
      elseif not line:find "^# HELP" then
        local sample = line:match "^([%w_]+)"
        if seen[now] == "histogram" then sample = sample:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "") end
        assert.equal(now, sample)
      end
    end
  end)

  it("passes promtool, and so do the rules in contrib", function()
    local promtool = os.getenv "PROMTOOL" or "promtool"
    local found = pcall(function() assert(proc.run { promtool, "--version" } == 0) end)
    if not found then pending "promtool is not installed (package prometheus)" return end
    start { out = net.free_port() }
    local _, text = get "/metrics"
    local status, out, err = proc.run { promtool, "check", "metrics",
      input = text:match "\r\n\r\n(.*)" }
    assert.same({ 0, "" }, { status, out .. err })
    status, out, err = proc.run { promtool, "check", "rules", "contrib/prometheus/lunate.rules.yml" }
    assert.equal(0, status, out .. err)
    status, out, err = proc.run { promtool, "test", "rules", "contrib/prometheus/lunate.test.yml" }
    assert.equal(0, status, out .. err)
  end)

  -- The families of an engine that has all that is told of: admin_tls, alerts, an audit repository.
  local function families()
    local dir = tmp.dir()
    certs.ca(dir, "ca"):cert("hub", {})
    admin = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port()),
      ["lunate.lua"] = ([[
return {
  admin = "127.0.0.1:%d",
  admin_tls = { cert = "%s/hub.pem", key = "%s/hub.key" },
  audit = { syslog = { host = "127.0.0.1", port = %d, tls = { ca = "%s/ca.pem" } } },
  alerts = { targets = { duty = { command = { "true" } } } },
}]]):format(admin, dir, dir, net.free_port(), dir) }
    s:start()
    local known = {}
    for name, kind in select(2, s:run "metrics"):gmatch "# TYPE (%S+) (%S+)" do
      known[name .. (kind == "counter" and "_total" or kind == "info" and "_info" or "")] = true
    end
    return known
  end

  it("the dashboard, the rules and their tests name only metrics that there are", function()
    local known = families()
    for _, file in ipairs { "dashboard.json", "lunate.rules.yml", "lunate.test.yml" } do
      local text = tmp.read("contrib/prometheus/" .. file)
      local n = 0
      for name in text:gmatch "lunate_[%l_]+" do
        local family = name:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
        if name ~= "lunate_" then
          assert.truthy(known[family], file .. " has " .. name)
          n = n + 1
        end
      end
      assert.truthy(n > 10)
    end
    json.decode(tmp.read "contrib/prometheus/dashboard.json")
  end)

  it("every alert in contrib has a test, and every certificate an alert", function()
    local rules, tests = tmp.read "contrib/prometheus/lunate.rules.yml", tmp.read "contrib/prometheus/lunate.test.yml"
    for name in rules:gmatch "alert: (%w+)" do
      local fires = "alertname: " .. name .. "\n        exp_alerts:\n          -"
      assert.truthy(tests:find(fires, 1, true), name .. " is never seen to fire")
      assert.truthy(tests:find("alertname: " .. name .. ", exp_alerts: []", 1, true), name .. " is never seen quiet")
    end
    local n = 0
    for name in pairs(families()) do
      if name:find "_expiry_timestamp_seconds$" then
        n = n + 1
        assert.truthy(rules:find(name .. " - time()", 1, true), name .. " has no alert")
      end
    end
    assert.equal(3, n)
  end)

  it("/healthz is 200 while it answers; /readyz is 503 while a channel is failed", function()
    local e, _, s = start {}
    local status, text = get "/healthz"
    assert.same({ 200, '{"status":"ok"}\n' }, { status, text:match "\r\n\r\n(.*)" })
    status, text = get "/readyz"
    assert.same({ 200, { ready = true, state = "running", channels = {} } },
      { status, json.decode(text:match "\r\n\r\n(.*)") })
    s:write("channels/bad.lua", "return channel {")
    s:run "reload"
    status, text = get "/readyz"
    assert.same({ 503, { ready = false, state = "channels not ready",
      channels = { { name = "bad", state = "failed" } } } },
      { status, json.decode(text:match "\r\n\r\n(.*)") })
    assert.equal(200, (get "/healthz"))
    e:stop()
  end)

  it("moves and goes with a reload, and stays where it was when it cannot", function()
    local _, _, s = start {}
    local old, taken = admin, net.listen {}
    s:write("lunate.lua", ('return { admin = "127.0.0.1:%d" }'):format(taken.port))
    s:run "reload"
    assert.equal(200, (get "/healthz"))
    admin = net.free_port()
    s:write("lunate.lua", ('return { admin = "127.0.0.1:%d" }'):format(admin))
    s:run "reload"
    assert.equal(200, (get "/healthz"))
    assert.same({ nil, "refused" }, { net.connect(old) })
    s:write("lunate.lua", "return {}")
    s:run "reload"
    assert.same({ nil, "refused" }, { net.connect(admin) })
  end)

  -- Guards: from 127.0.0.1:PORT to 0.0.0.0:PORT was refused as "in use": by the engine itself.
  it("moves to another address of the same port, and stays when there is no such address", function()
    local _, _, s = start {}
    local function to(host)
      s:write("lunate.lua", ('return { admin = { listen = "%s:%d", allow = "127.0.0.0/8" } }'):format(host, admin))
      return s:run "reload"
    end
    local busy = assert(net.connect(admin)) -- an open connection of the old address is in nobody's way
    local status, _, err = to "203.0.113.9"
    assert.equal(1, status)
    assert.truthy(err:find("203.0.113.9", 1, true), err)
    assert.equal(200, (get "/healthz"))
    status, _, err = to "0.0.0.0"
    assert.same({ 0, "" }, { status, err })
    local c = assert(net.connect(admin, { host = "127.0.0.9" }))
    c:send "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.truthy(c:recv_until("ok"))
    assert.equal(0, (to "127.0.0.1"))
    assert.same({ nil, "refused" }, { net.connect(admin, { host = "127.0.0.9" }) })
    assert.equal(200, (get "/healthz"))
    busy:close()
    c:close()
  end)

  it("beyond this machine only where that is said", function()
    local s = site.new { ["channels/in.lua"] = traffic.channel(net.free_port()),
      ["lunate.lua"] = 'return { admin = "0.0.0.0:8661" }' }
    local status, _, err = s:run "check"
    assert.equal(1, status)
    assert.truthy(err:find("lunate.lua:1: admin on 0.0.0.0 can be reached from other machines", 1, true))
    local port = net.free_port()
    start { admin = ('{ listen = "0.0.0.0:%d", allow = "127.0.0.7" }'):format(port) }
    admin = port
    local c = assert(net.connect(port, { from = "127.0.0.7" }))
    c:send "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.truthy(c:recv_until("ok"))
    assert.is_nil((net.connect(port):recv(2)))
  end)

  it("keep-alive, pipelining, HEAD, queries, HTTP/1.0, and a client that ends its side", function()
    start {}
    local c = net.connect(admin)
    local one = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    assert(c:send(one))
    assert.truthy(c:recv_until('{"status":"ok"}\n'))
    assert(c:send(one:rep(500) .. "HEAD /metrics?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    local text, how = c:recv_all()
    assert.equal("closed", how)
    assert.equal(500, select(2, text:gsub('{"status":"ok"}', "")))
    local length = tonumber(text:match "version=0.0.4.-Content%-Length: (%d+)")
    assert.truthy(length > 1000)
    assert.equal("\r\n\r\n", text:sub(-4))
    for i = 1, #one do -- a byte at a time, with no other in between
      if i == 1 then c = net.connect(admin) end
      c:send(one:sub(i, i))
    end
    assert.truthy(c:recv_until('{"status":"ok"}\n'))
    local status, reply = ask "GET /healthz HTTP/1.0\r\n\r\n"
    assert.equal(200, status)
    assert.truthy(reply:find("Connection: close", 1, true))
    c = net.connect(admin)
    c:send(one)
    c:shutdown()
    assert.truthy(c:recv_all():find('{"status":"ok"}', 1, true))
    assert.equal(404, (get "/../etc/passwd"))
    assert.equal(200, (get("/healthz", "Upgrade: h2c\r\nConnection: Upgrade\r\n")))
  end)

  it("refuses what can be read in two ways, and what is too much", function()
    start {}
    local host = "Host: a\r\n"
    local cases = {
      { 400, "GET / HTTP/1.1\r\n\r\n", "no Host" },
      { 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "two Hosts" },
      { 400, "GET / HTTP/1.1\n" .. host .. "\r\n", "bare LF" },
      { 400, "GET / HTTP/1.1\r\nHost: a\n\r\n", "bare LF after a header" },
      { 400, "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", "folded" },
      { 400, "GET / HTTP/1.1\r\n" .. host .. "X: a\0b\r\n\r\n", "NUL" },
      { 400, "GET / HTTP/1.1\r\n" .. host .. "Content-Length : 4\r\n\r\nabcd", "blank before colon" },
      { 400, "GET / HTTP/1.1\r\n" .. host .. "Content-Length: 0\r\nContent-Length: 4\r\n\r\n", "two lengths" },
      { 400, "GET / HTTP/1.1\r\n" .. host .. "Content-Length: +4\r\n\r\nabcd", "signed length" },
      { 400, "GET / HTTP/1.1\r\n" .. host .. "Content-Length: -1\r\n\r\n", "negative length" },
      { 400, "GET / HTTP/1.1\r\n" .. host
        .. "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "CL and TE" },
      { 400, "GET / HTTP/1.1\r\n" .. host .. "Transfer-Encoding: xchunked\r\n\r\n", "unknown TE" },
      { 400, "MSH|^~\\&|EHR\r\n\r\n", "HL7" },
      { 400, "\22\3\1\2\0\1\0\1\252\3\3", "TLS" },
      { 405, "POST / HTTP/1.1\r\n" .. host .. "\r\n", "POST" },
      { 405, "DELETE / HTTP/1.1\r\n" .. host .. "\r\n", "DELETE" },
      { 405, "CONNECT a:1 HTTP/1.1\r\n" .. host .. "\r\n", "CONNECT" },
      { 413, "GET / HTTP/1.1\r\n" .. host .. "Content-Length: 4\r\n\r\nabcd", "a body" },
      { 413, "GET / HTTP/1.1\r\n" .. host
        .. "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", "a chunked one" },
      { 413, "GET / HTTP/1.1\r\n" .. host
        .. "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n", "announced" },
      { 414, "GET /" .. ("x"):rep(20000) .. " HTTP/1.1\r\n", "long target" },
      { 417, "GET / HTTP/1.1\r\n" .. host .. "Expect: tea\r\n\r\n", "Expect" },
      { 431, "GET / HTTP/1.1\r\n" .. host .. "X: " .. ("x"):rep(20000), "long header" },
      { 431, "GET / HTTP/1.1\r\n" .. host .. ("X: y\r\n"):rep(100) .. "\r\n", "many headers" },
      { 505, "GET / HTTP/2.0\r\n" .. host .. "\r\n", "HTTP/2.0" },
    }
    for _, case in ipairs(cases) do
      -- in one piece, and in two with a cut at every tenth byte of the first 100
      for cut = 0, math.min(#case[2] - 1, 100), 10 do
        local c = net.connect(admin)
        if cut > 0 then c:send(case[2]:sub(1, cut)) end
        c:send(case[2]:sub(cut + 1))
        local reply, how = c:recv_all()
        local status = tonumber(reply:match "^HTTP/1.1 (%d+)")
        -- 400 for a version that it does not know is as good
        if case[1] == 505 and status == 400 then status = 505 end
        assert.same({ case[1], "closed" }, { status, how }, case[3] .. " cut at " .. cut)
        assert.equal(1, select(2, reply:gsub("HTTP/1.1 %d", "")), case[3] .. ": answered once")
      end
    end
    local _, reply = ask "PUT / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.truthy(reply:find("Allow: GET, HEAD\r\n", 1, true))
    assert.equal(200, (get "/healthz"))
  end)

  it("a request that trickles in is ended by its deadline; others are served meanwhile", function()
    start {}
    local slow = {}
    for i = 1, 40 do
      slow[i] = net.connect(admin)
      slow[i]:send "GET /healthz HTTP/1.1\r\nHost: a\r\nX: "
    end
    local began, ended = sys.now(), 0
    while ended < 40 and sys.now() - began < sys.patience(15) do
      assert.equal(200, (get "/healthz"))
      ended = 0
      for _, c in ipairs(slow) do
        if not c.over and not c:send "x" then c.over = true end
        if not c.over and not sys.poll(c.fd, "in", 0) then goto on end
        c.over = true
        ended = ended + 1
        ::on::
      end
      sys.sleep(0.2)
    end
    assert.equal(40, ended)
    assert.truthy(slow[1]:recv_all():find("^HTTP/1.1 408"))
    print(("## 40 trickling requests ended after %.1f s"):format(sys.now() - began))
  end)

  it("connections are bounded: idle ones make room, the memory stays", function()
    local e = start {}
    local function rss()
      return tonumber(tmp.read("/proc/" .. e.pid .. "/status"):match "VmRSS:%s+(%d+)")
    end
    assert.equal(200, (get "/healthz"))
    local before = rss()
    for _ = 1, 300 do net.connect(admin) end
    assert.equal(200, (get "/healthz"))
    local c = net.connect(admin) -- asks and asks and reads nothing
    c:set_rcvbuf(2048)
    c:send(("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"):rep(20000), 1)
    assert.equal(200, (get "/healthz"))
    print(("## hub: %d kB before, %d kB with 300 connections and one that does not read"):format(before, rss()))
    if os.getenv "MODE" == "release" then assert.truthy(rss() < before + 16 * 1024) end
  end)
end)
