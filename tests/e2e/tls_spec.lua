-- TLS on listeners and destinations, with openssl's own programs as the other end.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local tmp = require "support.tmp"
local certs = require "support.certs"
local traffic = require "support.traffic"

local dir, ca, other

-- Certificates are made once: they take openssl a second.
setup(function()
  dir = os.tmpname()
  os.remove(dir)
  proc.run { "mkdir", "-m", "700", dir }
  ca, other = certs.ca(dir, "ca"), certs.ca(dir, "other")
  ca:cert("hub", { cn = "hub.example.org", san = "IP:127.0.0.1,DNS:hub.example.org" })
  ca:cert("lab", { cn = "lab.example.org", san = "IP:127.0.0.1,DNS:lab.example.org" })
  ca:cert("lost", { cn = "lost.example.org" })
  ca:cert("old", { cn = "old.example.org", days = -1 })
  ca:cert("soon", { cn = "soon.example.org", days = 9 })
  ca:cert("named", { cn = "named", san = "DNS:named.example.org" })
  ca:cert("server_only", { eku = "serverAuth" })
  other:cert("stranger", { cn = "lab.example.org" })
  ca:revoke { "lost" }
end)
teardown(function() proc.run { "rm", "-rf", dir } end)

local function file(name) return dir .. "/" .. name end

local function listen(port, tls, out)
  return traffic.channel(port, out, { source = "tls = { " .. tls .. " }," })
end

local function pair(name)
  return ('cert = "%s", key = "%s"'):format(file(name .. ".pem"), file(name .. ".key"))
end

-- One message over openssl s_client: what came back, and what openssl said.
local function exchange(port, ...)
  local argv = { "openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. port, ... }
  argv.stdin, argv.stdout = "pipe", "pipe"
  local p = proc.spawn(argv)
  p:write(net.frame(traffic.adt "T1"))
  local got, deadline = "", sys.now() + sys.patience(5)
  while not got:find "\28\r" and sys.now() < deadline do
    local data = p:read(0.2)
    if data == "" then break end
    got = got .. (data or "")
  end
  p:close_stdin()
  p:kill(proc.KILL)
  p:wait(5)
  return got, p:err()
end

local function accepted(port, ...)
  return exchange(port, ...):find("MSA|AA|T1", 1, true) ~= nil
end

-- A listener with that tls, and its engine.
local function start(tls)
  local port = net.free_port()
  local s = site.new { ["channels/in.lua"] = listen(port, tls) }
  return s:start(), port, s
end

local function logged(e, text)
  return sys.wait_until(function() return e:log():find(text, 1, true) end, 5,
    "log with: " .. text .. "\n" .. e:log())
end

describe("TLS listener", function()
  after_each(site.cleanup)

  it("speaks TLS 1.2 and 1.3 with strong suites only, without renegotiation", function()
    local _, port = start(pair "hub")
    local trust = { "-CAfile", file "ca.pem", "-verify_return_error", "-verify_ip", "127.0.0.1" }
    assert.truthy(accepted(port, "-tls1_3", unpack(trust)))
    assert.truthy(accepted(port, "-tls1_2", unpack(trust)))
    for _, version in ipairs { "-tls1", "-tls1_1" } do
      local got, err = exchange(port, version, "-cipher", "ALL:@SECLEVEL=0")
      assert.equal("", got)
      assert.truthy(err:find "alert protocol version" or err:find "unsupported protocol", err)
    end
    for _, suite in ipairs { "AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA",
      "ECDHE-ECDSA-AES256-SHA384", "DHE-RSA-AES128-GCM-SHA256", "NULL", "AECDH" } do
      local got = exchange(port, "-tls1_2", "-cipher", suite .. ":@SECLEVEL=0")
      assert.equal("", got, suite)
    end
    for _, suite in ipairs { "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
      "ECDHE-ECDSA-CHACHA20-POLY1305" } do
      assert.truthy(accepted(port, "-tls1_2", "-cipher", suite), suite)
    end
    local p = proc.spawn { "openssl", "s_client", "-tls1_2", "-connect", "127.0.0.1:" .. port,
      stdin = "pipe", stdout = "pipe" }
    local said, deadline = "", sys.now() + sys.patience(5)
    while not said:find "Verify return code" and sys.now() < deadline do
      said = said .. (p:read(0.2) or "")
    end
    assert.truthy(said:find("Compression: NONE", 1, true))
    assert.truthy(said:find("Server Temp Key: X25519", 1, true))
    p:write "R\n" -- renegotiate
    sys.wait_until(function() return not p:running() end, 5, "refused renegotiation")
    assert.truthy(p:err():find "no renegotiation" or p:err():find "NO_RENEGOTIATION", p:err())
  end)

  it("with ca: only certificates of that CA, not revoked, not expired, of allowed subjects", function()
    local e, port = start(([[%s, ca = "%s", crl = "%s",
      allow_subject = { "CN=lab.example.org", "named.example.org" }]])
      :format(pair "hub", file "ca.pem", file "ca.crl"))
    local function with(name)
      return accepted(port, "-cert", file(name .. ".pem"), "-key", file(name .. ".key"))
    end
    assert.truthy(with "lab")
    assert.truthy(with "named")
    local cases = {
      { "stranger", "is issued by CN=other, which is not trusted here" },
      { "old", "certificate CN=old.example.org,O=Hospital expired on" },
      { "lost", "certificate CN=lost.example.org,O=Hospital was revoked by CN=ca" },
      { "hub", "CN=hub.example.org,O=Hospital is valid, but is not in allow_subject" },
      { "server_only", "is not meant for this side (extended key usage): it needs clientAuth" },
    }
    for _, case in ipairs(cases) do
      assert.falsy(with(case[1]), case[1])
      logged(e, case[2])
      sys.sleep(1.05) -- such lines come once a second
    end
    assert.falsy(accepted(port))
    logged(e, [[the peer sent no certificate, and client = \"require\" wants one]])
    assert.falsy(e:log():find("Muster", 1, true))
    assert.truthy(with "lab")
    assert.equal(3, e:channel("in").received)
  end)

  it('client = "request": none is fine, a wrong one is not', function()
    local _, port = start(('%s, ca = "%s", client = "request"'):format(pair "hub", file "ca.pem"))
    assert.truthy(accepted(port))
    assert.truthy(accepted(port, "-cert", file "lab.pem", "-key", file "lab.key"))
    assert.falsy(accepted(port, "-cert", file "stranger.pem", "-key", file "stranger.key"))
  end)

  it("plain text to a TLS port, TLS to a plain port: one clear line each", function()
    local e, port = start(pair "hub")
    local c = net.connect(port)
    c:send(net.frame(traffic.adt "P1"))
    local _, how = c:recv_all()
    assert.truthy(how == "closed" or how == "reset")
    logged(e, "the peer does not speak TLS (plain MLLP?)")
    assert.equal(0, e:channel("in").received)
    local plain = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(plain) }
    local p = s:start()
    assert.falsy(accepted(plain))
    logged(p, "the peer speaks TLS, this listener does not")
    assert.equal("AA", traffic.exchange(net.connect(plain), "P2"))
  end)

  it("failures of two kinds within a second: each has its line, the same again has not", function()
    local e, port = start(pair "hub" .. (', ca = "%s"'):format(file "ca.pem"))
    for _ = 1, 5 do
      local c = net.connect(port)
      c:send "MSH|^~\\&|"
      c:close()
      exchange(port)
    end
    logged(e, "does not speak TLS")
    logged(e, "sent no certificate")
    local _, lines = e:log():gsub("tls_failed", "")
    assert.is_true(lines >= 2 and lines < 10, e:log())
  end)

  it("its private key lies in locked memory", function()
    local e = start(pair "hub")
    local locked = 0
    for line in io.lines(("/proc/%d/smaps"):format(e.pid)) do
      if line:find "^VmFlags:.* dd" and line:find " lo" then locked = locked + 1 end
    end
    assert.is_true(locked > 0)
  end)

  it("garbage, truncated records and handshakes that stall end; others are served meanwhile", function()
    local e, port = start(pair "hub")
    local stalled = {}
    for i = 1, 50 do stalled[i] = net.connect(port) end
    stalled[1]:send "\22\3\1\2\0" -- a record that never comes
    local hello = "\22\3\1\0\5\1\0\0\1\3"
    for _, bytes in ipairs { ("\0"):rep(100), "\22\3\1\255\255" .. ("x"):rep(100), hello, hello:rep(3),
      "\128\46\1\0\2\0\21\0\0\0\16" .. ("x"):rep(40), "\21\3\1\0\2\2\40", "\23\3\3\0\5hello" } do
      local c = net.connect(port)
      c:send(bytes)
      c:shutdown()
      local _, how = c:recv_all(5)
      assert.truthy(how == "closed" or how == "reset", how)
    end
    assert.truthy(accepted(port))
    local began = sys.now()
    for _, c in ipairs(stalled) do
      local _, how = c:recv_all(sys.patience(14))
      assert.truthy(how == "closed" or how == "reset", how)
    end
    print(("## 50 stalled handshakes ended after %.1f s"):format(sys.now() - began))
    logged(e, "no TLS handshake within 10 s")
    sys.wait_until(function() return e:channel("in").connections == 0 end, 5, "all gone")
    assert.truthy(accepted(port))
  end)

  it("messages larger than a record, in both directions and pipelined", function()
    local _, port = start(pair "hub")
    local p = proc.spawn { "openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. port,
      stdin = "pipe", stdout = "pipe" }
    local long, replies = "NTE|1||" .. ("x"):rep(200000) .. "\r", ""
    for i = 1, 5 do p:write(net.frame(traffic.adt("L" .. i, { more = long }))) end
    local deadline = sys.now() + sys.patience(10)
    while select(2, replies:gsub("MSA|AA|L", "")) < 5 and sys.now() < deadline do
      replies = replies .. (p:read(0.5) or "")
    end
    for i = 1, 5 do assert.truthy(replies:find("MSA|AA|L" .. i, 1, true)) end
  end)

  it("renewed certificates are taken with a reload; open connections stay", function()
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = listen(port, 'cert = "tls/own.pem", key = "tls/own.key"') }
    local function use(name)
      s:write("tls/own.pem", tmp.read(file(name .. ".pem")))
      s:write("tls/own.key", tmp.read(file(name .. ".key")))
    end
    use "hub"
    local e = s:start()
    local open = proc.spawn { "openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. port,
      stdin = "pipe", stdout = "pipe" }
    local function over(id)
      open:write(net.frame(traffic.adt(id)))
      local got, deadline = "", sys.now() + sys.patience(5)
      while not got:find("MSA|AA|" .. id, 1, true) and sys.now() < deadline do
        got = got .. (open:read(0.2) or "")
      end
      return got:find("MSA|AA|" .. id, 1, true) ~= nil
    end
    assert.truthy(over "A1")
    assert.truthy(e:channel("in").tls.subject:find "hub")
    s:write("tls/own.key", tmp.read(file "lab.key"))
    local status, out, err = s:run "reload"
    assert.equal(1, status)
    assert.truthy((out .. err):find("tls/own.key is not the key of the certificate in tls/own.pem", 1, true))
    assert.truthy(over "A2")
    use "lab"
    assert.equal(0, (s:run "reload"))
    assert.truthy(over "A3")
    assert.truthy(e:channel("in").tls.subject:find "lab")
    local _, said = exchange(port, "-CAfile", file "ca.pem")
    assert.truthy(said:find("CN = lab.example.org", 1, true))
    assert.equal(1, e:channel("in").connections)
    local status2, out2 = s:run("status", "--json")
    assert.truthy(status2 == 0 and out2:find '"expires":"20')
  end)
end)

describe("TLS destination", function()
  after_each(site.cleanup)

  -- openssl s_server as the receiver: says nothing, but shows what came.
  local function server(port, ...)
    local p = proc.spawn { "openssl", "s_server", "-accept", "127.0.0.1:" .. port, "-quiet", stdin = "pipe", ... }
    -- it serves one connection at a time: the probe must be gone
    sys.wait_until(function()
      local c = net.connect(port)
      return c and (c:close() or true)
    end, 5, "s_server")
    return p
  end

  local function send_to(port, tls, o)
    local source = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(source, port,
      { dest = "timeout = 1, tls = " .. tls }) }
    local e = s:start(o)
    assert.equal("AA", traffic.exchange(net.connect(source), "D1"))
    return e, s
  end

  it("checks the receiver's chain and name; says which certificate and what to do", function()
    local cases = {
      { "stranger", ('{ ca = "%s" }'):format(file "ca.pem"), "is issued by CN=other, which is not trusted here" },
      { "old", ('{ ca = "%s" }'):format(file "ca.pem"), "expired on" },
      { "named", ('{ ca = "%s" }'):format(file "ca.pem"), "is for named.example.org, not for 127.0.0.1" },
      { "lost", ('{ ca = "%s", crl = "%s" }'):format(file "ca.pem", file "ca.crl"), "was revoked by CN=ca" },
      { "lab", "true", "is issued by CN=ca, which is not trusted here" },
    }
    for _, case in ipairs(cases) do
      local port = net.free_port()
      local p = server(port, "-cert", file(case[1] .. ".pem"), "-key", file(case[1] .. ".key"))
      local e = send_to(port, case[2])
      sys.wait_until(function()
        return e:channel("in").dest.out.last_error:find(case[3], 1, true)
      end, 5, case[3] .. "\n" .. e:log())
      local d = e:channel("in").dest.out
      assert.truthy(d.state == "retrying" or d.state == "connecting", d.state) -- tries come and go
      assert.same({ 1, 0 }, { d.queued, d.sent })
      assert.falsy(p:out():find("MSH", 1, true)) -- not a byte of it
      e:kill9()
      p:close()
    end
  end)

  it("connects by server_name, with a certificate of its own, and without checks when told so", function()
    for _, case in ipairs {
      { "named", ('{ ca = "%s", server_name = "named.example.org" }'):format(file "ca.pem") },
      { "lab", ('{ ca = "%s", %s }'):format(file "ca.pem", pair "hub"), "-Verify", "1", "-CAfile", file "ca.pem",
        "-verify_return_error" },
      { "stranger", "{ verify = false }" },
      { "lab", ('{ ca = "%s", min_version = "1.3" }'):format(file "ca.pem"), "-tls1_3" },
      { "lab", ('{ ca = "%s" }'):format(file "ca.pem"), "-tls1_2" },
    } do
      local port = net.free_port()
      local p = server(port, "-cert", file(case[1] .. ".pem"), "-key", file(case[1] .. ".key"), unpack(case, 3))
      local e = send_to(port, case[2])
      sys.wait_until(function() return p:out():find("|D1|", 1, true) end, 5, case[2] .. "\n" .. e:log())
      e:kill9()
      p:close()
    end
  end)

  it("a receiver that wants a certificate, does not speak TLS, closes, or stalls", function()
    local port = net.free_port()
    local p = server(port, "-cert", file "lab.pem", "-key", file "lab.key", "-Verify", "1", "-CAfile",
      file "ca.pem", "-tls1_3")
    local e = send_to(port, ('{ ca = "%s" }'):format(file "ca.pem"))
    sys.wait_until(function()
      return e:channel("in").dest.out.last_error:find("wants a client certificate: set cert and key", 1, true)
    end, 5, e:log())
    e:kill9()
    p:close()
    for _, case in ipairs {
      { "does not speak TLS on this port", function(c) c:send "\11MSH|^~\\&|\r\28\r" end },
      { "the peer closed the connection during the handshake", function(c) c:close() end },
      { "did not finish the TLS handshake within 10 s", function() end },
    } do
      local l, held = net.listen {}, {}
      e = send_to(l.port, ('{ ca = "%s" }'):format(file "ca.pem"))
      sys.wait_until(function()
        local c = l:accept(0.05)
        if c then
          held[#held + 1] = c
          case[2](c)
        end
        return e:channel("in").dest.out.last_error:find(case[1], 1, true)
      end, 15, case[1])
      e:kill9()
      l:close()
    end
  end)

  it("hub to hub with mutual TLS: in order, through a restart of the receiver", function()
    local one, two, sink = net.free_port(), net.free_port(), net.receiver {}
    local s1 = site.new { ["channels/in.lua"] = traffic.channel(one, two,
      { dest = ("tls = { ca = %q, %s }"):format(file "ca.pem", pair "hub") }) }
    local s2 = site.new { ["channels/in.lua"] = listen(two,
      pair "lab" .. (", ca = %q"):format(file "ca.pem"), sink.port) }
    s1:start()
    local e2 = s2:start()
    local conn = net.connect(one)
    traffic.send_all(conn, traffic.ids("M", 100))
    sink:run_for_frames(20, 10)
    e2:kill9()
    s2:start()
    sink:run_until(function() return #sink.frames >= 100 and sink:ids()[#sink.frames] == "M100" end, 15,
      "all 100")
    local seen, last = {}, 0
    for _, id in ipairs(sink:ids()) do
      local n = tonumber(id:sub(2))
      assert.truthy(seen[n] or n == last + 1, id)
      seen[n], last = true, math.max(last, n)
    end
    assert.equal(100, last)
  end)
end)

describe("send and listen with TLS", function()
  after_each(site.cleanup)

  local function send(port, ...)
    local s = site.new { ["m.hl7"] = traffic.adt "V1" }
    return s:run("send", "127.0.0.1:" .. port, s.path .. "/m.hl7", "--tls", ...)
  end

  it("to each other, and to an engine that wants a certificate", function()
    local port = net.free_port()
    local p = proc.spawn { site.binary(), "listen", tostring(port), "--tls-cert", file "lab.pem",
      "--tls-key", file "lab.key", "--client-ca", file "ca.pem", stdout = "file" }
    sys.wait_until(function() return p:err():find "ready" end, 5, "ready")
    local own = { "--cert", file "hub.pem", "--key", file "hub.key" }
    local _ -- what is printed besides
    local status, out, err = send(port, "--ca", file "ca.pem", unpack(own))
    assert.equal(0, status, err)
    assert.truthy(out:find "^AA")
    status, out = send(port, "--ca", file "ca.pem", "--count", "200", "--connections", "8", "--unique-ids",
      unpack(own))
    assert.equal(0, status)
    assert.truthy(out:find "accepted 200")
    status, _, err = send(port, "--ca", file "ca.pem")
    assert.equal(3, status)
    assert.truthy(err:find("the peer wants a client certificate: set cert and key", 1, true), err)
    status, _, err = send(port, unpack(own))
    assert.equal(3, status)
    assert.truthy(err:find("not trusted here", 1, true), err)
    assert.equal(0, (send(port, "--insecure", unpack(own))))
    status, _, err = send(port, "--ca", file "nowhere.pem")
    assert.equal(1, status)
    assert.truthy(err:find("nowhere.pem: No such file", 1, true))
    local s = site.new { ["m.hl7"] = traffic.adt "V1" }
    status, _, err = s:run("send", "127.0.0.1:" .. port, s.path .. "/m.hl7", "--ca", file "ca.pem")
    assert.equal(2, status)
    assert.truthy(err:find("go with --tls", 1, true))
    status = s:run("send", "127.0.0.1:" .. port, s.path .. "/m.hl7")
    assert.equal(1, status) -- in clear to a TLS port
    assert.truthy(p:err():find("does not speak TLS (plain MLLP?)", 1, true))
    p:close()
    local e, hub = start(('%s, ca = "%s"'):format(pair "hub", file "ca.pem"))
    assert.equal(0, (send(hub, "--ca", file "ca.pem", "--cert", file "lab.pem", "--key", file "lab.key")))
    assert.equal(1, e:channel("in").received)
  end)
end)

describe("lunate tls", function()
  after_each(site.cleanup)

  it("makes certificates that openssl and the engine take, and looks at a server", function()
    local s = site.new {}
    local port = net.free_port()
    assert.equal(0, (s:run("tls", "new-ca"))) -- into the site's folder
    assert.equal(1, (s:run("tls", "new-ca", "--out", s.path .. "/tls"))) -- never over one that is there
    local status, out, err = s:run("tls", "new-cert", "hub", "127.0.0.1", "hub.example.org")
    assert.equal(0, status, err .. out)
    local _
    status, out = proc.run { "openssl", "verify", "-x509_strict", "-CAfile", s.path .. "/tls/ca.pem", "-verify_ip",
      "127.0.0.1", s.path .. "/tls/hub.pem" }
    assert.equal(0, status, out)
    for _, key in ipairs { "ca.key", "hub.key" } do
      _, out = proc.run { "stat", "-c", "%a", s.path .. "/tls/" .. key }
      assert.equal("600\n", out)
    end
    s:write("channels/in.lua", listen(port, 'cert = "tls/hub.pem", key = "tls/hub.key"'))
    s:start()
    local at = "127.0.0.1:" .. port
    status, out = s:run("tls", "check", at, "--ca", s.path .. "/tls/ca.pem")
    assert.equal(0, status)
    assert.truthy(out:find "TLSv1.3" and out:find "CN=hub" and out:find "verified")
    status, out, err = s:run("tls", "check", at)
    assert.equal(1, status)
    assert.truthy(out:find "CN=hub" and err:find("not trusted here", 1, true))
    status, _, err = s:run("tls", "check", at, "--ca", s.path .. "/tls/ca.pem", "--server-name", "other.org")
    assert.equal(1, status)
    assert.truthy(err:find("is for 127.0.0.1, hub.example.org, not for other.org", 1, true)
      or err:find("not for other.org", 1, true), err)
    assert.equal(3, (s:run("tls", "check", "127.0.0.1:" .. net.free_port())))
    local strict = net.free_port() -- TLS 1.3: the server's no comes after the handshake
    s:write("channels/strict.lua", listen(strict, 'cert = "tls/hub.pem", key = "tls/hub.key", ca = "tls/ca.pem"'))
    assert.equal(0, (s:run "reload"))
    status, out, err = s:run("tls", "check", "127.0.0.1:" .. strict, "--ca", s.path .. "/tls/ca.pem")
    assert.equal(1, status)
    assert.truthy(out:find "verified" and err:find("the peer wants a client certificate", 1, true), out .. err)
  end)
end)

describe("check of tls", function()
  after_each(site.cleanup)

  local function check(source, dest)
    local s = site.new { ["channels/in.lua"] = ('return channel {\n  source = mllp.listen { port = 7001,\n'
      .. '    tls = %s\n  },\n  destinations = { lab = mllp.send { host = "lab", port = 1,\n    tls = %s } },\n}')
      :format(source, dest or "false") }
    s:write("garbage.pem", "no PEM in here\n")
    local status, out, err = s:run "check"
    return status, out .. err
  end

  it("names file and line", function()
    local hub = "{ " .. pair "hub" .. ", %s }"
    local cases = {
      { 0, "{ " .. pair "hub" .. " }", "all well" },
      { 1, "true", "in.lua:3: tls must be a table with cert and key" },
      { 1, "{ }", "in.lua:3: tls needs a cert" },
      { 1, '{ cert = "nowhere.pem" }', "in.lua:3: nowhere.pem: No such file" },
      { 1, '{ cert = "garbage.pem" }', "in.lua:3: garbage.pem: no certificate in PEM form in it" },
      { 1, ('{ cert = "%s", key = "%s" }'):format(file "hub.pem", file "lab.key"),
        "is not the key of the certificate in" },
      { 1, hub:format('ca = "garbage.pem"'), "garbage.pem: no CA certificate in PEM form in it" },
      { 1, hub:format('client = "require"'), 'client = "require" needs ca' },
      { 1, hub:format('allow_subject = "CN=x"'), 'allow_subject needs client = "require"' },
      { 1, hub:format('min_version = "1.1"'), 'min_version must be one of "1.2", "1.3"' },
      { 1, hub:format('sert = "x"'), "unknown key 'sert' in tls (did you mean 'cert'?)" },
      { 1, "{ " .. pair "old" .. " }", "the certificate expired on" },
    }
    for _, case in ipairs(cases) do
      local status, text = check(case[2])
      assert.truthy(text:find(case[3], 1, true), case[2] .. "\n" .. text)
      assert.equal(case[1], status, text)
    end
    local _, text = check("false", '{ ca = "nowhere.pem" }')
    assert.truthy(text:find("in.lua:6: nowhere.pem: No such file", 1, true), text)
    _, text = check("false", '{ verify = false, ca = "x" }')
    assert.truthy(text:find("in.lua:6: verify = false checks nothing", 1, true), text)
  end)

  it("warns of a key that others can read, and the engine starts all the same", function()
    proc.run { "chmod", "644", file "named.key" }
    local status, text = check("{ " .. pair "named" .. " }")
    proc.run { "chmod", "600", file "named.key" }
    assert.equal(0, status)
    assert.truthy(text:find("warning: channels/in.lua:3: .*others can read the key %(mode 0644%)"), text)
  end)

  -- Guards: "reloaded" was all that a reload said of a certificate that ends next week.
  it("a reload warns of a certificate that has expired, or soon will", function()
    local e, port, s = start(pair "hub")
    for name, text in pairs { old = "the certificate expired on", soon = "the certificate expires on" } do
      s:write("channels/in.lua", listen(port, pair(name)))
      local out = site.must(s, "reload")
      assert.matches("in: reloaded", out)
      assert.truthy(out:find("in: warning: channels/in.lua:%d+: .*" .. text), out)
    end
    assert.equal(0, e:stop())
  end)

  it("keys do not reach the worker", function()
    local e = start(pair "hub")
    local key = tmp.read(file "hub.key"):match "\n([%w+/=]+)\n"
    for _, pid in ipairs(e:workers()) do
      local status = proc.run { "grep", "-qaF", key, "/proc/" .. pid .. "/mem" }
      assert.truthy(status ~= 0)
      for range in tmp.read("/proc/" .. pid .. "/maps"):gmatch "([%x]+%-[%x]+) rw" do
        local from, to = range:match "(%x+)%-(%x+)"
        local f = io.open("/proc/" .. pid .. "/mem", "rb")
        if f then
          f:seek("set", tonumber(from, 16))
          local text = f:read(math.min(tonumber(to, 16) - tonumber(from, 16), 64 * 1024 * 1024)) or ""
          f:close()
          assert.falsy(text:find(key, 1, true))
        end
      end
    end
  end)
end)
