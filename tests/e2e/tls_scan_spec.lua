-- TLS as strangers see it: sslscan lists what the listener offers, GnuTLS asks for what it must not give
-- and says which alert came back.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local certs = require "support.certs"
local traffic = require "support.traffic"

local dir, ca, other

setup(function()
  dir = os.tmpname()
  os.remove(dir)
  proc.run { "mkdir", "-m", "700", dir }
  ca, other = certs.ca(dir, "ca"), certs.ca(dir, "other")
  ca:cert("hub", { cn = "hub.example.org", san = "IP:127.0.0.1,DNS:hub.example.org" })
  ca:cert("lab", { cn = "lab.example.org" })
  ca:cert("lost", { cn = "lost.example.org" })
  ca:cert("old", { cn = "old.example.org", days = -1 })
  other:cert("stranger", { cn = "lab.example.org" })
  ca:revoke { "lost" }
end)
teardown(function() proc.run { "rm", "-rf", dir } end)

local function file(name) return dir .. "/" .. name end

local function start(more)
  local port = net.free_port()
  local tls = ('cert = "%s", key = "%s", %s'):format(file "hub.pem", file "hub.key", more or "")
  local s = site.new { ["channels/in.lua"] =
    traffic.channel(port, nil, { source = "tls = { " .. tls .. " }," }) }
  return s:start(), port
end

-- gnutls-cli, a frame on its stdin: all that it said.
local function gnutls(port, ...)
  local argv = { "gnutls-cli", "--no-ca-verification", "-p", port, "127.0.0.1", ...,  }
  argv.input, argv.timeout = net.frame(traffic.adt "G1"), 20
  argv.env = { LD_PRELOAD = false } -- a sanitizer hangs it
  local _, out, err = proc.run(argv)
  return out .. err
end

local function alert(number, port, ...)
  assert.matches(("Received alert [%d]"):format(number), gnutls(port, ...), 1, true)
end

describe("e2e/tls, seen by", function()
  after_each(site.cleanup)

  it("sslscan: TLS 1.2 and 1.3, strong suites and groups, nothing else", function()
    local e, port = start()
    local xml = file "scan.xml"
    assert.equal(0, (proc.run { "sslscan", "--no-colour", "--xml=" .. xml, "127.0.0.1:" .. port,
      timeout = 60, env = { LD_PRELOAD = false } }))
    local f = assert(io.open(xml))
    local text = f:read "*a"
    f:close()
    local protocols, ciphers = {}, 0
    for version, on in text:gmatch '<protocol type="%a+" version="([%d.]+)" enabled="(%d)"' do
      if on == "1" then protocols[#protocols + 1] = version end
    end
    assert.same({ "1.2", "1.3" }, protocols)
    for version, name in text:gmatch '<cipher [^>]-sslversion="TLSv([%d.]+)"[^>]-cipher="([^"]+)"' do
      ciphers = ciphers + 1
      assert.truthy(version == "1.3" and name:find "^TLS_" or name:find "^ECDHE%-.*GCM"
        or name:find "^ECDHE%-.*CHACHA20", version .. " " .. name)
    end
    assert.is_true(ciphers >= 6)
    for name in text:gmatch '<group [^>]-name="([^"]+)"' do
      assert.truthy(name == "x25519" or name:find "^secp256r1" or name:find "^secp384r1", name)
    end
    assert.matches('<renegotiation supported="0"', text, 1, true)
    assert.is_nil(text:find 'vulnerable="1"')
    assert.equal(0, e:stop())
  end)

  it("GnuTLS: refused with the alert that says why", function()
    local e, port = start()
    alert(70, port, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.1")
    alert(70, port, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.0")
    local old = "NORMAL:-VERS-ALL:+VERS-TLS1.2:"
    alert(40, port, "--priority", old .. "-CIPHER-ALL:+AES-128-CBC:+AES-256-CBC:+3DES-CBC")
    alert(40, port, "--priority", old .. "-KX-ALL:+RSA:+DHE-RSA")
    alert(40, port, "--priority", old .. "-CIPHER-ALL:+AES-128-CCM:+AES-256-CCM-8")
    alert(40, port, "--priority", "NORMAL:-GROUP-ALL:+GROUP-SECP521R1")
    assert.equal(0, e:stop())
  end)

  it("GnuTLS with certificates: the alert names what is wrong with each", function()
    local e, port = start(('ca = "%s", crl = "%s"'):format(file "ca.pem", file "ca.crl"))
    for _, version in ipairs { "1.2", "1.3" } do
      local function with(name)
        return "--x509certfile", file(name .. ".pem"), "--x509keyfile", file(name .. ".key"),
          "--priority", "NORMAL:-VERS-ALL:+VERS-TLS" .. version
      end
      assert.matches("MSA|AA|G1", gnutls(port, with "lab"), 1, true)
      alert(48, port, with "stranger")
      alert(44, port, with "lost")
      alert(45, port, with "old")
      alert(version == "1.3" and 116 or 40, port, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS" .. version)
    end
    assert.equal(0, e:stop())
  end)
end)
