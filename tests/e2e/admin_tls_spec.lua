-- The admin address over TLS, with curl and openssl as the other end: what it offers, what it asks for,
-- renewal, and peers that hang in the handshake.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local certs = require "support.certs"
local traffic = require "support.traffic"

local dir, ca, other

setup(function()
  dir = os.tmpname()
  os.remove(dir)
  proc.run { "mkdir", "-m", "700", dir }
  ca, other = certs.ca(dir, "ca"), certs.ca(dir, "other")
  ca:cert("hub", { cn = "hub.example.org" })
  ca:cert("next", { cn = "next.example.org" })
  ca:cert("old", { cn = "old.example.org", days = -1 })
  ca:cert("prometheus", { cn = "prometheus.example.org", eku = "clientAuth" })
  other:cert("stranger", { eku = "clientAuth" })
end)
teardown(function() proc.run { "rm", "-rf", dir } end)

local function file(name) return dir .. "/" .. name end

local function pair(name)
  return ('cert = "%s", key = "%s"'):format(file(name .. ".pem"), file(name .. ".key"))
end

local function lunate_lua(port, tls)
  return ('return { admin = "127.0.0.1:%d",\n  admin_tls = %s }'):format(port, tls)
end

local function new(tls)
  local port = net.free_port()
  return site.new {
    ["channels/in.lua"] = traffic.channel(net.free_port()),
    ["lunate.lua"] = lunate_lua(port, "{ " .. tls .. " }"),
  }, port
end

local function curl(port, ...)
  local argv = { "curl", "-sS", "--max-time", "10", ... }
  argv[#argv + 1] = ("https://127.0.0.1:%d/metrics"):format(port)
  argv.env = { LD_PRELOAD = false }
  local status, out, err = proc.run(argv)
  return status, out, err
end

local function trusted(port, ...) return curl(port, "--cacert", file "ca.pem", ...) end

local function as(name) return "--cert", file(name .. ".pem"), "--key", file(name .. ".key") end

describe("admin address over TLS", function()
  after_each(site.cleanup)

  it("is checked by curl, says when its certificate ends, and names who speaks in clear", function()
    local s, port = new(pair "hub")
    local e = s:start()
    local status, text = trusted(port)
    assert.equal(0, status)
    local ends = tonumber(text:match "\nlunate_admin_certificate_expiry_timestamp_seconds (%d+)\n")
    assert.is_true(math.abs(ends - os.time() - 365 * 86400) < 3600)
    local c = assert(net.connect(port))
    c:send "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.is_nil((c:recv_all(5) or ""):find("lunate_", 1, true))
    c:close()
    sys.wait_until(function()
      return e:log():find("the peer speaks HTTP in clear, this port speaks TLS", 1, true)
    end, 5, "a line in the log")
    assert.equal(60, (curl(port))) -- not one of the system's CAs
    local admin = e:status().admin
    assert.equal("127.0.0.1:" .. port, admin.listen)
    assert.matches("CN=hub.example.org", admin.tls.subject, 1, true)
    assert.equal("", admin.failure)
  end)

  it("takes 1.2 and 1.3 with strong suites, and nothing else", function()
    local s, port = new(pair "hub")
    s:start()
    local function shake(...)
      local argv = { "openssl", "s_client", "-connect", "127.0.0.1:" .. port, ... }
      argv.input, argv.timeout, argv.env = "", 20, { LD_PRELOAD = false }
      local _, out = proc.run(argv)
      return out:match "Cipher is (%S+)"
    end
    assert.matches("^TLS_", shake "-tls1_3")
    assert.matches("^ECDHE%-", shake "-tls1_2")
    assert.equal("(NONE)", shake("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"))
    assert.equal("(NONE)", shake("-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0"))
  end)

  it("with ca asks every client for a certificate of it", function()
    local s, port = new(pair "hub" .. (', ca = "%s", allow_subject = "CN=prometheus.example.org"')
      :format(file "ca.pem"))
    local e = s:start()
    assert.equal(0, (trusted(port, as "prometheus")))
    assert.not_equal(0, (trusted(port)))
    assert.not_equal(0, (trusted(port, as "stranger")))
    assert.not_equal(0, (trusted(port, as "next")))
    local log = e:log()
    assert.matches("admin tls_failed peer=127.0.0.1:%d+ total=1 why=\"the peer sent no certificate", log)
    sys.wait_until(function()
      return select(2, trusted(port, as "prometheus")):find("lunate_admin_tls_failures_total 3", 1, true)
    end, 5, "three counted")
  end)

  it("a reload renews it, an open connection goes on; in clear and back end what is open", function()
    local s, port = new(pair "hub")
    local e = s:start()
    local p = proc.spawn { "openssl", "s_client", "-quiet", "-connect", "127.0.0.1:" .. port,
      stdin = "pipe", stdout = "pipe", env = { LD_PRELOAD = false } }
    local function asks(path)
      p:write(("GET %s HTTP/1.1\r\nHost: a\r\n\r\n"):format(path))
      return sys.wait_until(function() return (p:read(0.2) or ""):find "200 OK" end, 5, "a reply")
    end
    asks "/healthz"
    s:write("lunate.lua", lunate_lua(port, "{ " .. pair "next" .. " }"))
    assert.equal(0, (s:run "reload"))
    assert.matches("CN=next", e:status().admin.tls.subject, 1, true)
    asks "/healthz"
    s:write("lunate.lua", lunate_lua(port, "false"))
    assert.equal(0, (s:run "reload"))
    assert.equal("", sys.wait_until(function() return p:read(0.2) end, 5, "the end"))
    p:kill(proc.KILL)
    p:wait(5)
    local idle = assert(net.connect(port))
    idle:send "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    assert.matches("200 OK", idle:recv(5))
    s:write("lunate.lua", lunate_lua(port, "{ " .. pair "hub" .. " }"))
    assert.equal(0, (s:run "reload"))
    local _, why = idle:recv_all(5)
    assert.equal("closed", why)
    idle:close()
    assert.equal(0, (trusted(port)))
  end)

  it("a certificate that cannot be used: check says where, a reload keeps the old one, a start goes on "
    .. "without the address and never opens it in clear", function()
    local s, port = new(pair "hub")
    local e = s:start()
    s:write("lunate.lua", lunate_lua(port, ('{ cert = "%s", key = "%s" }'):format(file "hub.pem",
      file "next.key")))
    local status, _, err = s:run "check"
    assert.equal(1, status)
    assert.matches("lunate.lua:2: .*next.key", err)
    _, _, err = s:run "reload"
    assert.matches("admin: not reloaded, the old one goes on", err, 1, true)
    assert.equal(0, (trusted(port)))
    assert.matches("as before: admin_tls: ", (select(2, s:run "status")):gsub("%s+", " "), 1, true)
    assert.equal(0, e:stop(10))
    e = s:start()
    assert.is_nil((net.connect(port)))
    assert.equal("", e:status().admin.listen)
    s:write("lunate.lua", lunate_lua(port, "{ " .. pair "old" .. " }"))
    status, _, err = s:run "check"
    assert.equal(1, status)
    assert.matches("the certificate expired on", err, 1, true)
    assert.equal(0, (s:run "reload")) -- served all the same: those who check say so
    assert.equal(60, (trusted(port)))
    assert.matches("the admin address: its certificate expired", (select(2, s:run "status")
      :gsub("%s+", " ")), 1, true)
  end)

  it("check: settings that make no sense, and an address in clear that others can reach", function()
    local s, port = new(pair "hub")
    local function check(text, want, status)
      s:write("lunate.lua", text)
      local got, _, err = s:run "check"
      assert.matches(want, err)
      assert.equal(status or 1, got)
    end
    check("return { admin_tls = { " .. pair "hub" .. " } }", "lunate.lua:1: .*there is none")
    check(lunate_lua(port, "true"), "lunate.lua:2: admin_tls must be a table with cert and key")
    check(lunate_lua(port, "{ crt = 'x' }"), "lunate.lua:2: .*crt")
    check(('return { admin = { listen = "0.0.0.0:%d", allow = "127.0.0.1" } }'):format(port),
      "warning: lunate.lua:1: admin on 0.0.0.0 is in clear", 0)
    check(('return { admin = { listen = "127.evil.example.org:%d" } }'):format(port),
      "can be reached from other machines")
  end)

  it("handshakes that hang are ended in time, and keep nobody out", function()
    local s, port = new(pair "hub")
    local e = s:start()
    local hung = {}
    for i = 1, 80 do -- more than there is room for
      hung[i] = assert(net.connect(port))
      hung[i]:send(i % 2 == 0 and "\22\3\1\2\0\1" or "\22")
    end
    assert.equal(0, (trusted(port)))
    sys.wait_until(function()
      local open = 0
      for _, c in ipairs(hung) do
        local data, why = c:recv(0.001)
        if data or why == "timeout" then
          open = open + 1
          c:send "\0" -- a byte now and then wins no time
        end
      end
      return open == 0
    end, 15, "all ended")
    for _, c in ipairs(hung) do c:close() end
    assert.matches("no TLS handshake in time", e:log(), 1, true)
    assert.is_true(e:running())
    assert.equal(0, (trusted(port)))
  end)
end)
