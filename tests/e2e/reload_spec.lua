-- Hot reload of everything under load, plans, refusals at each stage, specs first, the watcher, and
-- ports that cannot be had. Guards promise 4. RELOADS=100 gives the long run.
local site = require "support.site"
local sys = require "support.sys"
local net = require "support.net"
local proc = require "support.proc"
local traffic = require "support.traffic"
local load_ = require "crash.load"
local run, has = site.must, site.has

-- A channel that upper-cases by a module and a table, to a receiver and, when o.copy, to a second.
local function script(port, out, o)
  o = o or {}
  return ([[
local rules = require "rules"
return channel {
  source = mllp.listen { port = %d, max_connections = %d },
  limits = { seconds = %d },
  transform = function(msg)
    msg["PID-5.1"] = rules.mark .. lookup("names", "V", "?") .. "%s"
  end,
  destinations = {
    out = mllp.send { host = "127.0.0.1", port = %d, timeout = %d, retry = { first = 0.05, max = 0.2 } },
    %s
  },
}]]):format(port, o.connections or 200, o.seconds or 5, o.mark or "", out, o.timeout or 10,
    o.copy and ("copy = mllp.send { host = \"127.0.0.1\", port = %d, filter = function() return false end },")
      :format(out) or "")
end

describe("e2e/reload", function()
  after_each(site.cleanup)

  it("of scripts, modules, tables, limits and destinations under load: nothing shows outside", function()
    local reloads = tonumber(os.getenv "RELOADS") or 8
    local port = net.free_port()
    local load = load_.new(port, 64)
    local out = load.receiver.port
    local s = site.new { ["channels/in.lua"] = script(port, out), ["lib/rules.lua"] = 'return { mark = "0" }',
      ["tables/names.csv"] = "key,value\nV,0\n" }
    local e = s:start()
    local changes = {
      function(n) s:write("channels/in.lua", script(port, out, { mark = "m" .. n })) end,
      function(n) s:write("lib/rules.lua", ('return { mark = "%d" }'):format(n)) end,
      function(n) s:write("tables/names.csv", ("key,value\nV,%d\n"):format(n)) end,
      function(n) s:write("channels/in.lua", script(port, out, { copy = true, mark = "c" .. n })) end,
      function(n) s:write("channels/in.lua", script(port, out, { seconds = 6 + n % 3, connections = 300 })) end,
    }
    load:run(1)
    local conns, quiet = {}, load:percentile(99)
    for i, sender in ipairs(load.senders) do conns[i] = assert(sender.conn) end
    for n = 1, reloads do
      changes[n % #changes + 1](n)
      local verb = proc.spawn { site.binary(), "-C", s.path, "reload" }
      while verb:running() do load:run(0.02) end
      assert.equal(0, verb.status, verb:err())
      has(verb:out(), "in: reloaded")
    end
    local busy = load:percentile(99)
    for i, sender in ipairs(load.senders) do assert.equal(conns[i], sender.conn, "connection " .. i) end
    assert.same({ 0, 0 }, { load.nacked, load.reconnects })
    local missing, before = #load:settle(15), math.huge
    while missing > 0 and missing < before do -- there may be a queue of many thousands by now
      missing, before = #load:settle(15), missing
    end
    assert.equal(0, missing)
    assert.same({}, load.disorder)
    assert.equal(0, load.dups)
    local c = e:channel "in"
    assert.same({ "running", 0, 0, 0 }, { c.state, c.worker_restarts, c.errors, c.parked })
    io.stderr:write(("## %d reloads, 64 connections, %d acknowledged; p99 to the ACK %.1f ms while "
      .. "reloading, %.1f ms before (this process is the load)\n"):format(reloads, #load.acked, busy, quiet))
    assert.equal(0, e:stop())
  end)

  it("--plan shows nothing of where alerts go: an address may have a token in it", function()
    local s = site.new { ["lunate.lua"] = "return {}",
      ["channels/in.lua"] = traffic.channel(net.free_port(), net.free_port()) }
    s:start()
    s:write("lunate.lua", [[return { alerts = { rules = { parked = 1 }, targets = {
      hook = { url = "http://127.0.0.1:1/t0ken" }, run = { command = { "/bin/echo", "t0ken" } } } } }]])
    local plan = run(s, "reload", "--plan")
    assert.matches("hook.url: now %(not shown%)", plan)
    assert.is_nil(plan:find("t0ken", 1, true), plan)
  end)

  -- Guards: a reload that changed lunate.lua alone answered "unchanged" for every channel.
  it("says what of the site file it has changed", function()
    local s = site.new { ["channels/one.lua"] = traffic.channel(net.free_port(), net.free_port()),
      ["lunate.lua"] = 'return { log = { level = "info" } }' }
    local e = s:start()
    assert.equal("one: unchanged\n", run(s, "reload"))
    s:write("lunate.lua", [[return { log = { level = "debug" },
      alerts = { targets = { a = { command = { "/bin/true" } } } } }]])
    local out = run(s, "reload")
    local names = out:match "^lunate.lua: reloaded: ([^\n]+)\none: unchanged\n$"
    assert.truthy(names == "log, alerts" or names == "alerts, log", out)
    os.remove(s.path .. "/lunate.lua")
    assert.matches("^lunate.lua: reloaded: [^\n]*alerts", run(s, "reload"))
    assert.equal("one: unchanged\n", run(s, "reload"))
    assert.equal(0, e:stop())
  end)

  it("--plan says per channel what would change, and changes nothing", function()
    local a, b, c = net.free_port(), net.free_port(), net.free_port()
    local s = site.new { ["channels/one.lua"] = script(a, b), ["channels/two.lua"] = traffic.channel(c, b),
      ["lib/rules.lua"] = 'return { mark = "0" }', ["tables/names.csv"] = "key,value\nV,0\n" }
    local e = s:start()
    local before = e:channel("one").script
    assert.equal("one: unchanged\ntwo: unchanged\n", run(s, "reload", "--plan"))
    s:write("channels/one.lua", script(a, b, { seconds = 7, timeout = 3, copy = true }))
    s:write("lib/rules.lua", 'return { mark = "1" }')
    os.remove(s.path .. "/channels/two.lua")
    local d = net.free_port()
    s:write("channels/three.lua", traffic.channel(d, b))
    s:write("lunate.lua", 'return { log = { level = "debug" } }')
    local plan = run(s, "reload", "--plan")
    for _, part in ipairs { "lunate.lua:\n    log.level: info -> debug\n", "one: changes between two messages",
      "    channels/one.lua: changed\n", "    lib/rules.lua: changed\n", "    limits.seconds: 5 -> 7\n",
      "    destination copy: new, to 127.0.0.1:" .. b, "    destination out, timeout: 10 -> 3\n",
      "three: new, starts and listens on 127.0.0.1:" .. d, "two: gone from the site, stops" } do
      has(plan, part)
    end
    assert.equal(before, e:channel("one").script)
    assert.equal("running", e:channel("two").state)
    s:write("channels/one.lua", "return channel {")
    local status, out = s:run("reload", "--plan", "one")
    assert.equal(1, status)
    assert.matches("^one: refused, the old one goes on: channels/one%.lua:1:", out)
    assert.equal(0, e:stop())
  end)

  -- Guards: a script that waited for the message boundary when its channel was removed ran once more when
  -- another one had taken its place.
  it("a channel that is removed and comes back runs what came back", function()
    local out = net.receiver {}
    local port = net.free_port()
    local function marked(mark, wait)
      return traffic.channel(port, out.port, { top = ('limits = { seconds = 300 }, transform = function(msg) '
        .. 'msg["PID-5.1"] = "%s" %s end,'):format(mark, wait or "") })
    end
    local s = site.new { ["channels/in.lua"] = marked("A", -- it ends with its channel, however long that takes
      "local t = os.clock() + 200 repeat until os.clock() > t"), ["channels/other.lua"] =
      traffic.channel(net.free_port(), out.port) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "M1", "M2" })
    site.wait_until(function() return e:log():find("worker ready channel=in", 1, true) end, 20, "M1 in hand")
    s:write("channels/in.lua", marked "B")
    e.proc:kill(proc.HUP)
    out:run_for(1)
    assert(os.remove(s.path .. "/channels/in.lua"))
    site.wait_until(function() return s:run "reload" == 0 end, 30, "the end of the reload under way")
    assert.truthy(e:log():find("removed channel=in", 1, true), e:log())
    s:write("channels/in.lua", marked "C")
    run(s, "reload")
    out:run_for_frames(2, 20)
    for i = 1, 2 do assert.equal("C", net.field(out.frames[i].text, "PID", 5):match "^%w+") end
    assert.same({ "M1", "M2" }, out:ids())
    assert.equal(0, e:stop())
  end)

  -- Guards: the connection was cut before the reply, and the receiver got the message once more.
  for _, how in ipairs { "taken out", "moved", "deleted with its channel" } do
    it("a destination that is " .. how .. " while it waits for a reply gets nothing twice", function()
      local out = net.receiver { answer = function(text) return { text = net.ack(text), after = 0.8 } end }
      local other, port = net.receiver {}, net.free_port()
      local good = traffic.channel(port, out.port)
      local s = site.new { ["channels/in.lua"] = good, ["channels/other.lua"] = traffic.channel(net.free_port()) }
      local e = s:start()
      local function reload()
        local p = proc.spawn { site.binary(), "-C", s.path, "reload" }
        out:run_until(function() return not p:running() end, 30, "the reload")
        assert.equal(0, p.status, p:err())
      end
      traffic.send_all(net.connect(port), { "A1", "A2" })
      out:run_for_frames(1, 10)
      if how == "moved" then
        s:write("channels/in.lua", traffic.channel(port, other.port))
      elseif how == "taken out" then
        s:write("channels/in.lua", traffic.channel(port))
      else
        os.remove(s.path .. "/channels/in.lua")
      end
      reload()
      out:run_for(1.2)
      if how ~= "moved" then
        s:write("channels/in.lua", good)
        reload()
      end
      local last = how == "moved" and other or out
      last:run_until(function() return last:ids()[#last:ids()] == "A2" end, 20, "the second message")
      out:run_for(1)
      assert.same(how == "moved" and { "A1" } or { "A1", "A2" }, out:ids())
      assert.same(how == "moved" and { "A2" } or {}, other:ids())
      site.wait_until(function() return e:channel("in").dest.out.sent == 2 end, 10, "both outcomes")
      assert.equal(0, e:stop())
    end)
  end

  -- Guards: the time to the next try, up to max, was that of the settings before.
  it("other times of retry count at once", function()
    local port, dead = net.free_port(), net.free_port()
    local function text(first) return (traffic.channel(port, dead):gsub("first = 0.05, max = 0.2", "first = " .. first
      .. ", max = 600")) end
    local s = site.new { ["channels/in.lua"] = text "600" }
    local e = s:start()
    traffic.send_all(net.connect(port), { "R1" })
    site.wait_until(function() return e:channel("in").dest.out.state == "retrying" end, 10, "a failed try")
    s:write("channels/in.lua", text "0.05")
    run(s, "reload")
    site.wait_until(function() return e:channel("in").dest.out.retries > 2 end, 20, "more tries")
    assert.equal(0, e:stop())
  end)

  -- Guards: a table that was deleted was told of in the log alone, and each message was parked.
  it("warns, beside what is reloaded, of a table that is not there", function()
    local port, out = net.free_port(), net.free_port()
    local s = site.new { ["channels/one.lua"] = script(port, out), ["lib/rules.lua"] = 'return { mark = "0" }',
      ["tables/names.csv"] = "key,value\nV,0\n" }
    local e = s:start()
    os.remove(s.path .. "/tables/names.csv")
    local text = run(s, "reload")
    has(text, "one: reloaded\n")
    has(text, "one: warning: channels/one.lua:6: lookup: no table 'names'")
    has(run(s, "reload", "--plan"), "one: warning: channels/one.lua:6: lookup: no table 'names'")
    assert.equal(0, e:stop())
  end)

  it("refused at each stage, with its place; the old one goes on", function()
    local out = net.receiver {}
    local port = net.free_port()
    local taken = net.listen()
    local good = traffic.channel(port, out.port)
    local s = site.new { ["channels/in.lua"] = good }
    local e = s:start()
    local conn = net.connect(port)
    for i, stage in ipairs {
      { good .. ")", "channels/in%.lua:%d+:" }, -- syntax
      { "local x = nil .. 'y'\n" .. good, "channels/in%.lua:1:" }, -- at load
      { "while true do end\n" .. good, "channels/in%.lua" }, -- never ends
      { (good:gsub("destinations", "destinatoins")), "channels/in%.lua:%d+: unknown key" }, -- settings
      { traffic.channel(taken.port, out.port), "port " .. taken.port .. " .*in use" }, -- port
      { "keep = ('x'):rep(1e7) .. 'y'\n" .. traffic.channel(port, out.port, -- not ready
        { top = "limits = { memory_mb = 8 }," }), "not reloaded, the old one goes on: reload refused" },
    } do
      s:write("channels/in.lua", stage[1])
      local status, _, err = s:run("reload", { timeout = 60 })
      assert.equal(1, status, stage[1])
      assert.matches(stage[2], err)
      traffic.send_all(conn, { "B" .. i })
      out:run_for_frames(i, 10)
      assert.equal("running", e:channel("in").state)
    end
    s:write("channels/in.lua", good)
    run(s, "reload")
    assert.equal("", e:channel("in").error)
    assert.equal(0, e:stop())
  end)

  it("with reload_tests the specs run first, and a failing one refuses the reload", function()
    local port = net.free_port()
    local function text(mark) return traffic.channel(port, nil, { top =
      ('transform = function(msg) msg["PID-5"] = "%s" end,'):format(mark) }) end
    local s = site.new { ["channels/in.lua"] = text "A", ["lunate.lua"] = "return { reload_tests = true }",
      ["spec/in_spec.lua"] = [[
describe("in", function()
  it("marks A or B", function()
    local f = io.open(lunate.site .. "/channels/in.lua")
    local script = f:read "*a"
    f:close()
    assert.is_nil(script:find('"C"', 1, true))
  end)
end)]] }
    s:write("spec/in_spec.lua", (s:read("spec/in_spec.lua"):gsub("lunate%.site", ("%q"):format(s.path))))
    local e = s:start()
    local before = e:channel("in").script
    s:write("channels/in.lua", text "B")
    run(s, "reload", { timeout = 60 })
    local between = e:channel("in").script
    assert.not_equal(before, between)
    s:write("channels/in.lua", text "C")
    local status, _, err = s:run("reload", { timeout = 60 })
    assert.equal(1, status)
    assert.matches("the specs fail .*in_spec%.lua", err)
    assert.equal(between, e:channel("in").script)
    assert.matches("in_spec", e:status().reload_error)
    local _, people = s:run "status"
    has(people, "the last reload was refused")
    s:write("channels/in.lua", text "A")
    run(s, "reload", { timeout = 60 })
    assert.equal("", e:status().reload_error)
    -- Guards: a site without specs could not be reloaded any more.
    os.remove(s.path .. "/spec/in_spec.lua")
    s:write("channels/in.lua", text "D")
    run(s, "reload", { timeout = 60 })
    assert.equal("", e:status().reload_error)
    assert.equal(0, e:stop())
  end)

  it("with watch = true a save is enough; a broken one is refused and shown", function()
    local port, other = net.free_port(), net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port), ["lunate.lua"] = "return { watch = true }" }
    local e = s:start()
    local before = e:channel("in").script
    local function becomes(what, f) site.wait_until(f, 10, function() return what .. "\n" .. e:log() end) end
    s:write("channels/in.lua", traffic.channel(port, nil, { top = "ack = 'transform'," }))
    becomes("the new script", function() return e:channel("in").script ~= before end)
    s:write("channels/in.lua", "return channel {")
    becomes("the refusal", function() return e:channel("in").error:find("channels/in.lua:1", 1, true) end)
    s:write("channels/in.lua", traffic.channel(port))
    becomes("the way back", function() return e:channel("in").script == before end)
    os.execute("mkdir " .. s.path .. "/channels/new")
    s:write("channels/new/init.lua", traffic.channel(other))
    becomes("the new channel", function() return #e:status().channels == 2 end)
    assert.equal("running", e:channel("new").state)
    assert.equal(0, e:stop())
  end)

  -- Guards: half of a table that was being written went live, and its messages were parked.
  it("with watch = true a file that is written to while it is read does not go live half", function()
    local out = net.receiver {}
    local port = net.free_port()
    local function text(mark) return traffic.channel(port, out.port, { top = ([[
      transform = function(msg) msg["PID-5"] = "%s" .. lookup("names", "V") end,]]):format(mark) }) end
    local s = site.new { ["channels/in.lua"] = text "A", ["tables/names.csv"] = "key,value\nV,1\n",
      ["lunate.lua"] = "return { watch = true }",
      ["channels/slow.lua"] = "local t = os.clock() while os.clock() - t < 1 do end\n"
        .. traffic.channel(net.free_port()) }
    local e = s:start { timeout = 30 }
    local conn, n = net.connect(port), 0
    local function mark()
      n = n + 1
      traffic.send_all(conn, { "W" .. n })
      out:run_for_frames(n, 10)
      return net.field(out.frames[n].text, "PID", 5)
    end
    assert.equal("A1", mark())
    local f = assert(io.open(s.path .. "/tables/names.csv", "w"))
    f:write "key,value\n"
    f:flush()
    s:write("channels/in.lua", text "B")
    site.wait_until(function() return e:log():find "watch changed" end, 10, "a reload")
    sys.sleep(0.5) -- the loader has read the table, and is busy
    f:write "V,2\n"
    f:close()
    site.wait_until(function() return mark() == "B2" end, 30, "the whole table")
    assert.equal(0, e:channel("in").parked)
    assert.equal(0, e:stop())
  end)

  it("a port in use fails its channel alone, loudly; ready comes when it is open", function()
    local taken = net.listen()
    local a = net.free_port()
    local s = site.new { ["channels/free.lua"] = traffic.channel(a),
      ["channels/shut.lua"] = traffic.channel(taken.port) }
    local e = s:spawn()
    site.wait_until(function() return e:log():find("channel shut: port", 1, true) end, 10, "the complaint")
    has(e:log(), "port " .. taken.port)
    has(e:log(), "in use")
    traffic.send_all(assert(net.connect_when_open(a)), { "F1" })
    assert.same({ "failed", "running" }, { e:channel("shut").state, e:channel("free").state })
    assert.matches("in use", e:channel("shut").error)
    assert.is_nil(("\n" .. e:log()):find("\nready\n", 1, true))
    taken:close()
    assert(e:wait_ready(20))
    traffic.send_all(net.connect(taken.port), { "S1" })
    assert.equal("running", e:channel("shut").state)
    assert.equal(0, e:stop())
  end)
end)
