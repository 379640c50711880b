-- http.get and its like of a channel with allow.net: the engine connects to what is listed and to
-- nothing else; whatever the far end does, the script gets an answer or a reason, and nobody waits.
local ffi = require "ffi"
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local tmp = require "support.tmp"
local certs = require "support.certs"
local traffic = require "support.traffic"
local ln = require "support.ln"

-- A channel whose message comes out with what `body` says of it in PID-5.
local function script(port, out, allow, body, limit)
  return traffic.channel(port, out, { top = ([[allow = { %s }, limits = { seconds = %g, attempts = 1 },
    transform = function(msg)
      local function say(r, why)
        msg["PID-5"] = (r and r.status .. ":" .. r.body or tostring(why)):gsub("[|^~\\&%%c]", "_"):sub(1, 300)
      end
      %s
    end,]]):format(allow, limit or 5, body) })
end

local function begin(allow, body, limit)
  local w = { port = net.free_port(), to = net.receiver {}, n = 0 }
  w.s = site.new { ["channels/in.lua"] = script(w.port, w.to.port, allow, body, limit) }
  w.e = w.s:start()
  w.conn = net.connect(w.port)
  return w
end

-- Gives it a message; serve() is the far end. What came out in PID-5.
local function told(w, serve)
  w.n = w.n + 1
  assert(w.conn:send(net.frame(traffic.adt("M" .. w.n))))
  if serve then serve() end
  w.to:run_for_frames(w.n, 15)
  return w.to.frames[w.n].text:match "HOSP^MR||([^|]*)|" or w.to.frames[w.n].text:match "%^MR||([^|]*)|"
end

-- One connection of the far end: takes a request, gives these bytes. Returns the request.
local function serve(listener, bytes, o)
  local c = assert(listener:accept(10))
  local head = assert(c:recv_until("\r\n\r\n", 10))
  local n = tonumber(head:match "Content%-Length: (%d+)") or 0
  local body = ""
  while #body < n do body = body .. assert(c:recv(10)) end
  if bytes then assert(c:send(bytes, 10)) end
  if not (o and o.keep) then c:close() end
  return head, body, c
end

local function get(port, path) return ('say(http.get("http://127.0.0.1:%d%s"))'):format(port, path or "/") end
local function grant(port) return ('net = { "127.0.0.1:%d" }'):format(port) end
local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

describe("e2e/http", function()
  after_each(site.cleanup)

  it("asks what is listed, and gives what came", function()
    local l = net.listen {}
    local w = begin(grant(l.port), ([[local n, r = msg.control_id
      local url = "http://127.0.0.1:%d/x?id=PATIENTMARK"
      if n == "M1" then
        r = assert(http.get(url, { headers = { ["X-Key"] = "k" } }))
        say { status = r.status, body = r.body .. r.headers["CONTENT-TYPE"] .. r.headers["x-two"] }
      elseif n == "M2" then say(http.post(url, "body", { headers = { ["Content-Type"] = "a/b" } }))
      else say(http.request { method = "HEAD", url = url }) end]]):format(l.port))
    local head, body
    assert.equal("200:hitext/plaina, b", told(w, function()
      head = serve(l, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Two: a\r\n"
        .. "X-Two: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n")
    end))
    assert.equal(("GET /x?id=PATIENTMARK HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Key: k\r\nUser-Agent: lunate\r\n"
      .. "Accept: */*\r\nConnection: close\r\n\r\n"):format(l.port), head)
    assert.equal("201:until the end", told(w, function()
      head, body = serve(l, "HTTP/1.1 201 Created\r\n\r\nuntil the end")
    end))
    assert.equal("body", body)
    assert.truthy(head:find("^POST ") and head:find("Content-Type: a/b", 1, true))
    assert.equal("204:", told(w, function()
      head = serve(l, "HTTP/1.1 204 No Content\r\nContent-Length: 9999\r\n\r\n")
    end))
    assert.truthy(head:find "^HEAD ")
    assert.is_nil(w.e:log():find("PATIENTMARK", 1, true))
    assert.equal(0, w.e:stop())
  end)

  it("says what is wrong with a far end, and never waits for it beyond the limit", function()
    local l = net.listen {}
    local shut = net.free_port()
    local w = begin(("net = { '127.0.0.1:%d', '127.0.0.1:%d', 'nosuch.invalid:80' }"):format(l.port, shut), ([[
      local o = { timeout = 0.5, max_body = 1000 }
      local id = tonumber(msg.control_id:sub(2))
      local urls = { [6] = "http://127.0.0.1:%d/", [7] = "http://nosuch.invalid/?q=PATIENTMARK",
        [8] = "https://127.0.0.1:%d/" }
      if id == 9 then o.timeout = 60 end
      say(http.get(urls[id] or "http://127.0.0.1:%d/", o))
      while id == 9 do end]]):format(shut, l.port, l.port), 1.5)
    local where = ("127.0.0.1:%d: "):format(l.port)
    local kept
    assert.equal(where .. "the connection ended without an answer", told(w, function() serve(l) end))
    assert.equal(where .. "no answer in time", told(w, function()
      kept = select(3, serve(l, nil, { keep = true }))
    end))
    kept:close()
    assert.equal(where .. "what came is not an HTTP/1.1 answer", told(w, function() serve(l, "SSH-2.0-x\r\n") end))
    assert.truthy(told(w, function()
      local c = assert(l:accept(10))
      repeat until not c:send("HTTP/1.1 200 OK\r\n\r\n" .. ("x"):rep(50000), 5)
      c:close()
    end):find("larger than max_body = 1000", 1, true))
    assert.equal(where .. "the connection ended within the answer", told(w, function()
      serve(l, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi")
    end))
    assert.equal(("127.0.0.1:%d: Connection refused"):format(shut), told(w))
    assert.truthy(told(w):find "^nosuch.invalid:80: ")
    assert.truthy(told(w, function()
      local c = assert(l:accept(10))
      c:recv(5)
      c:send "HTTP/1.1 400 Bad\r\n\r\n"
      c:close()
    end):find("TLS", 1, true))
    w.conn:send(net.frame(traffic.adt "M9")) -- silent for longer than limits.seconds
    local c = assert(l:accept(10))
    site.wait_until(function() return w.e:channel("in").parked == 1 end, 10, "the limit")
    c:close()
    assert.is_nil(w.e:log():find("PATIENTMARK", 1, true))
    assert.equal(0, w.e:stop())
  end)

  it("reaches nothing that is not listed, by no way", function()
    local l, other = net.listen {}, net.listen {}
    local name = (tmp.read "/etc/hosts"):match "\n127[%d.]+%s+([%a][%w-]*)%s*\n" or "localhost"
    local w = begin(('net = { "127.0.0.1:%d", "%s:%d" }'):format(l.port, name, other.port), ([[
      local id = tonumber(msg.control_id:sub(2))
      local urls = { "http://127.0.0.1:%d/", "http://127.0.0.2:%d/", "http://localhost:%d/", "http://[::1]:%d/",
        "http://2130706433:%d/", "http://127.1:%d/", "http://0.0.0.0:%d/", "http://[::ffff:127.0.0.2]:%d/" }
      if id <= #urls then
        local ok, r, why = pcall(http.get, urls[id])
        say(nil, ok and "asked " .. tostring(r and r.status or why) or r)
      elseif id == #urls + 1 then say(http.get "http://%s:%d/")
      elseif id == #urls + 2 then say(http.get "http://127.0.0.1:%d/")
      else
        local no = {}
        for _, u in ipairs { "file:///etc/passwd", "unix:/run/x", "http://a@127.0.0.1:1/", "http:///x",
          "http://a b/" } do
          no[#no + 1] = tostring((pcall(http.get, u)))
        end
        say(nil, table.concat(no, " "))
      end]]):format(other.port, l.port, l.port, l.port, l.port, l.port, l.port, l.port, name, other.port, l.port))
    for _ = 1, 8 do
      local text = told(w)
      assert.truthy(text:find("is not granted to this channel: add it to allow", 1, true), text)
    end
    local text = told(w)
    if name ~= "localhost" then
      assert.truthy(text:find("grants by the address only", 1, true), text)
    end
    assert.is_nil((other:accept(0.1)))
    assert.truthy(told(w, function() -- a redirect is not followed
      serve(l, ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n"):format(other.port))
    end):find "^302:")
    assert.is_nil((other:accept(0.1)))
    assert.equal("false false false false false", told(w))
    assert.equal(0, w.e:stop())
  end)

  it("is one channel's: others have no way, and a reload takes it away", function()
    local l = net.listen {}
    local w = begin(grant(l.port), get(l.port))
    local port, to = net.free_port(), net.receiver {}
    w.s:write("channels/other.lua", script(port, to.port, "", "local ok, why = pcall(http.get, 'http://127.0.0.1:"
      .. l.port .. "/') say(nil, why)"))
    assert.equal(0, (w.s:run "reload"))
    assert.equal("200:hi", told(w, function() serve(l, OK) end))
    net.connect(port):send(net.frame(traffic.adt "O1"))
    assert.truthy(to:run_for_frames(1, 10)[1].text:find("is not granted to this channel", 1, true))
    local function has_way(name)
      local pid = w.e:channel(name).worker_pid
      return (proc.run { "readlink", ("/proc/%d/fd/4"):format(pid) }) == 0
    end
    assert.same({ true, false }, { has_way "in", has_way "other" })
    w.s:write("channels/in.lua", script(w.port, w.to.port, "", "say(nil, select(2, pcall(http.get, 'http://127.0.0.1:"
      .. l.port .. "/')))"))
    assert.equal(0, (w.s:run "reload"))
    site.wait_until(function() return not has_way "in" end, 10, "the grant's end")
    assert.truthy(told(w):find("is not granted to this channel", 1, true))
    assert.equal(0, w.e:stop())
  end)

  it("checks certificates, against the channel's own CAs", function()
    local dir = tmp.dir()
    local ca = certs.ca(dir, "ca")
    certs.ca(dir, "stranger")
    ca:cert "server"
    local port = net.free_port()
    local server = proc.spawn { "openssl", "s_server", "-quiet", "-www", "-accept", tostring(port), "-cert",
      dir .. "/server.pem", "-key", dir .. "/server.key", env = { LD_PRELOAD = false } }
    net.connect_when_open(port, 10):close()
    local body = ('say(http.get "https://127.0.0.1:%d/")'):format(port)
    local function allow(name) return ('net = { "127.0.0.1:%d" }, ca = "%s/%s.pem"'):format(port, dir, name) end
    local w = begin(allow "ca", body)
    assert.truthy(told(w):find "^200:")
    w.s:write("channels/in.lua", script(w.port, w.to.port, allow "stranger", body))
    assert.equal(0, (w.s:run "reload"))
    site.wait_until(function() return told(w):find("not trusted here", 1, true) end, 10, "the refusal")
    assert.equal(0, w.e:stop())
    local s = site.new { ["channels/in.lua"] = script(w.port, 1, allow "none", body) }
    local _, out, err = s:run "check"
    assert.truthy((out .. err):find "channels/in.lua:%d+: .*none.pem: No such file", out .. err)
    server:kill()
  end)

  it("holds back in eval, and lets specs answer", function()
    local s = site.new { ["channels/in.lua"] = script(1, 1, "net = { 'api.example.org:443' }",
        "say(http.post('https://api.example.org/p', 'ask', { headers = { ['X-A'] = 'b' } }))"),
      ["samples/a.hl7"] = traffic.adt "S1",
      ["spec/in_spec.lua"] = [[it("asks", function()
        local seen
        local c = lunate.channel("in", { http = function(request)
          seen = request
          return { status = 201, body = "told", headers = { A = "b" } }
        end })
        local r = c:run(lunate.sample "a")
        assert.field(r:to "out", "PID-5.1", "201:told")
        assert.same({ "POST", "https://api.example.org/p", "b", "ask" },
          { seen.method, seen.url, seen.headers["x-a"], seen.body })
        assert.equal(1, #r.requests)
        r = lunate.channel("in", { http = function() return nil, "down" end }):run(lunate.sample "a")
        assert.field(r:to "out", "PID-5.1", "down")
        r = lunate.channel "in":run(lunate.sample "a")
        assert.field(r:to "out", "PID-5.1", "held back: only the running engine connects")
      end)]] }
    local status, out, err = s:run("eval", "-c", "in", s.path .. "/samples/a.hl7")
    assert.equal(0, status)
    site.has(out, "held back: only the running engine")
    site.has(err, "held back: POST https://api.example.org\n") -- what follows may hold a secret
    status, out, err = s:run "test"
    assert.equal(0, status, out .. err)
  end)

  it("knows what a list of grants opens", function()
    local function list(words) return ffi.new("const char *[?]", #words + 1, words), #words end
    local function host(words, name, port)
      local l, n = list(words)
      return ln.C.ln_grant_host(l, n, name, port or 443)
    end
    local function address(words, name, ip)
      local l, n = list(words)
      local v6 = ip:find(":", 1, true)
      local a = ffi.new(v6 and "struct sys_in6" or "struct sys_in")
      a.family = v6 and 10 or 2
      assert(sys.C.inet_pton(a.family, ip, a.addr) == 1)
      return ln.C.ln_grant_address(l, n, name, 443, ffi.cast("const struct sockaddr *", a))
    end
    assert.is_true(host({ "api.example.org:443" }, "API.example.org"))
    assert.is_false(host({ "api.example.org:443" }, "api.example.org", 80))
    assert.is_false(host({ "api.example.org:443" }, "x.api.example.org"))
    assert.is_true(host({ "10.0.0.0/8:443" }, "10.1.2.3"))
    assert.is_false(host({ "10.0.0.0/8:443" }, "11.1.2.3"))
    assert.is_true(host({ "[2001:db8::/32]:443" }, "2001:db8::7"))
    assert.is_false(host({ "0.0.0.0/0:443", "[::/0]:443" }, "127.0.0.1"))
    assert.is_true(host({ "127.0.0.0/8:443" }, "127.0.0.9"))
    assert.is_false(host({ "127.0.0.1:443" }, "127.0.0.2"))
    local name = { "api.example.org:443" }
    for _, ip in ipairs { "192.0.2.7", "10.0.0.1", "2001:db8::7" } do
      assert.is_true(address(name, "api.example.org", ip), ip)
      assert.is_false(address(name, "other.example.org", ip), ip)
    end
    for _, ip in ipairs { "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1",
      "224.0.0.1", "255.255.255.255",
      "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "100.100.100.200", "fd00:ec2::254" } do
      assert.is_false(address(name, "api.example.org", ip), ip)
      assert.is_false(address({ name[1], "0.0.0.0/0:443", "[::/0]:443" }, "api.example.org", ip), ip)
    end
    assert.is_true(address({ name[1], "127.0.0.1:443" }, "api.example.org", "127.0.0.1"))
    assert.is_true(address({ "localhost:443" }, "localhost", "127.0.0.1"))
    assert.is_false(address({ "localhost:443" }, "localhost", "169.254.169.254"))
  end)
end)
