-- Script versions: kept with their commit and what they handled, shown, rolled back to, trimmed, checked.
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local proc = require "support.proc"
local json = require "support.json"
local tmp = require "support.tmp"
local traffic = require "support.traffic"
local run, has = site.must, site.has

local function script(port, out, mark)
  return 'local m = require "m"\n' .. traffic.channel(port, out,
    { top = ('transform = function(msg) msg["PID-5.1"] = m .. "%s" end,'):format(mark) })
end

describe("e2e/version", function()
  after_each(site.cleanup)

  -- One channel that has run script a (two messages), then b (one).
  local function two(more)
    local r = net.receiver {}
    local port = net.free_port()
    local a, b = script(port, r.port, "a"), script(port, r.port, "b")
    local s = site.new { ["channels/in.lua"] = a, ["lib/m.lua"] = 'return "1"', ["lunate.lua"] = more }
    local e = s:start()
    local conn = net.connect(port)
    assert.equal("AA", traffic.exchange(conn, "A1"))
    assert.equal("AA", traffic.exchange(conn, "A2"))
    site.wait_until(function() return e:channel("in").processed == 2 end)
    s:write("channels/in.lua", b)
    has(run(s, "reload"), "in: reloaded")
    assert.equal("AA", traffic.exchange(conn, "B3"))
    r:run_for_frames(3, 5)
    site.wait_until(function() return e:channel("in").processed == 3 end)
    return { s = s, e = e, conn = conn, r = r, port = port, a = a, b = b }
  end

  local function versions(s)
    return s:json_lines("versions", "in")
  end

  local function name_of(t, id)
    t.conn = t.conn or net.connect(t.port)
    assert.equal("AA", traffic.exchange(t.conn, id))
    site.wait_until(function() return t.e:channel("in").pending == 0 end)
    t.r:run_for(0)
    local found = t.s:json_lines("messages", "in", "--control-id", id)
    local doc = t.s:json("show", "in/" .. found[1].seq)
    return doc.outputs[1].raw:match "PID|[^|]*|[^|]*|[^|]*|[^|]*|([^^|]*)", doc
  end

  it("are kept with what they handled, and show prints the exact script of a message", function()
    local t = two()
    local list = versions(t.s)
    assert.equal(2, #list)
    assert.same({ "runs", "" }, { list[1].state, list[2].state })
    assert.same({ 1, 2 }, { list[1].messages, list[2].messages })
    assert.same({ "channels/in.lua", "lib/m.lua" }, list[1].files)
    assert.same({ 1, 2 }, { list[2].runs[1].first, list[2].runs[1].last })
    local status, out, err = t.s:run("show", "--script", "in/1")
    assert.same({ 0, t.a }, { status, out })
    has(err, "lib/m.lua")
    assert.equal(t.b, run(t.s, "show", "--script", "in/3"))
    assert.equal('return "1"', run(t.s, "show", "--script", "in/3", "--file", "lib/m.lua"))
    has(run(t.s, "versions", "in"), list[2].version:sub(1, 8))
    assert.equal(0, t.e:stop())
    assert.equal(t.a, run(t.s, "show", "--script", "in/1"), "without an engine")
    has(run(t.s, "verify"), "all in order")
  end)

  it("are rolled back to at once; that outlives a reload of all, SIGHUP and a kill", function()
    local t = two()
    local list = versions(t.s)
    has(run(t.s, "rollback", "in", "--reason", "wrong name"), "rolled back to " .. list[2].version:sub(1, 8))
    assert.equal("1a", (name_of(t, "A4")))
    local c = t.e:channel "in"
    assert.same({ list[2].version:sub(1, 6), list[2].version:sub(1, 6), list[1].version:sub(1, 6), "wrong name" },
      { c.script, c.rolled_back.to, c.rolled_back.disk, c.rolled_back.reason })
    has(run(t.s, "status"), "rolled back to")
    has(run(t.s, "reload"), "in: stays rolled back to " .. list[2].version:sub(1, 6))
    has(run(t.s, "reload", "--plan"), "in: stays rolled back")
    t.e:signal(1)
    assert.equal("1a", (name_of(t, "A5")))
    t.e:kill9()
    t.e, t.conn = t.s:start(), nil
    has(t.e:log(), "which it was rolled back to: wrong name")
    assert.equal("1a", (name_of(t, "A6")))
    -- what was rolled back from does not come back by habit
    local status, _, err = t.s:run("reload", "in")
    assert.equal(1, status)
    has(err, "the files on disk are still " .. list[1].version:sub(1, 6))
    has(select(2, t.s:run("reload", "--plan", "in")), "in: refused")
    assert.equal("1a", (name_of(t, "A7")))
    -- a version may be named; the one on disk ends the rollback
    has(run(t.s, "rollback", "in", list[1].version:sub(1, 8)), "which is what is on disk")
    assert.equal("1b", (name_of(t, "B8")))
    assert.equal(json.null, t.e:channel("in").rolled_back)
    assert.equal(0, t.e:stop())
    has(run(t.s, "verify"), "all in order")
  end)

  -- Guards: a table of 20 MB was decompressed in the hub's loop, and every sender waited for that.
  it("are rolled back to while messages and status go on, however large their tables are", function()
    if (os.getenv "MODE" or "release") ~= "release" then
      pending("the sanitizer must be preloaded first")
      return
    end
    local lib, knob = tmp.dir() .. "/slowunpack.so", tmp.file("wait")
    assert.equal(0, (proc.run { "gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", lib,
      "tests/e2e/slowunpack.c", "-ldl" }))
    local port = net.free_port()
    local rows = {}
    for i = 1, 100000 do rows[i] = i .. ",one and a half\n" end
    local s = site.new { ["tables/t.csv"] = "code,name\n" .. table.concat(rows),
      ["channels/in.lua"] = traffic.channel(port, nil,
        { top = 'filter = function() return lookup("t", "1") == "one" end,' }) }
    local e = s:spawn { env = { LD_PRELOAD = lib, SLOWUNPACK = knob } }
    local conn = assert(net.connect_when_open(port, 30))
    traffic.send_all(conn, { "T1" })
    s:write("tables/t.csv", "code,name\n1,one\n")
    has(run(s, "reload"), "in: reloaded")
    traffic.send_all(conn, { "T2" })
    local back = proc.spawn { site.binary(), "-C", s.path, "rollback", "in" }
    local function asked() return proc.run { "test", "-e", knob .. ".asked" } == 0 end
    site.wait_until(function() return asked() or not back:running() end, 30, "the table being read")
    assert.is_true(asked(), back:err())
    traffic.send_all(conn, { "T3", "T4" })
    assert.equal("running", e:channel("in").state)
    assert.is_true(back:running())
    tmp.write(knob, "go")
    assert.equal(0, back:wait(30), back:err())
    traffic.send_all(conn, { "T5" })
    assert.truthy(e:channel("in").rolled_back)
  end)

  it("mended files end a rollback with reload CHANNEL alone", function()
    local t = two()
    run(t.s, "rollback", "in")
    local to = t.e:channel("in").rolled_back.to
    t.s:write("channels/in.lua", script(t.port, t.r.port, "c"))
    t.s:write("lib/m.lua", 'return "2"')
    has(run(t.s, "reload"), "in: stays rolled back")
    assert.equal("1a", (name_of(t, "A4")))
    t.s:write("channels/in.lua", "return channel {")
    local status, _, err = t.s:run("reload", "in")
    assert.equal(1, status)
    has(err, "channels/in.lua:1:")
    assert.equal("1a", (name_of(t, "A5")), "a script that does not load ends no rollback")
    t.s:write("channels/in.lua", script(t.port, t.r.port, "c"))
    has(run(t.s, "reload", "in"), "in: reloaded")
    assert.equal("2c", (name_of(t, "C6")))
    t.e:kill9()
    t.e, t.conn = t.s:start(), nil
    assert.equal("2c", (name_of(t, "C7")))
    -- so does a reload of all when the files on disk are what runs; it says so
    run(t.s, "rollback", "in", to)
    t.s:write("channels/in.lua", script(t.port, t.r.port, "a"))
    t.s:write("lib/m.lua", 'return "1"')
    has(run(t.s, "reload"), "in: unchanged; it is no longer rolled back")
    assert.equal(json.null, t.e:channel("in").rolled_back)
    assert.equal(0, t.e:stop())
  end)

  it("a channel whose files do not load at the start runs what ran before", function()
    local t = two()
    assert.equal(0, t.e:stop())
    t.s:write("channels/in.lua", "return channel {")
    t.s:write("channels/other.lua", traffic.channel(net.free_port(), t.r.port))
    t.e, t.conn = t.s:start(), nil
    assert.equal("failed", t.e:channel("in").state)
    run(t.s, "rollback", "in", "--reason", "broken file")
    assert.equal("1b", (name_of(t, "B4")))
    t.e:kill9()
    t.e, t.conn = t.s:start(), nil
    assert.equal("1b", (name_of(t, "B5")))
    assert.equal(0, t.e:stop())
  end)

  it("a second rollback without a version does not bring back what was got rid of", function()
    local t = two()
    local a = versions(t.s)[2].version
    run(t.s, "rollback", "in", "--reason", "INC-17")
    local status, out, err = t.s:run("rollback", "in", "--reason", "INC-17, too")
    assert.same({ 1, "" }, { status, out })
    has(err, ("in is rolled back to %s already (INC-17): name a version for another one"):format(a:sub(1, 6)))
    assert.equal(a:sub(1, 6), t.e:channel("in").script:sub(1, 6))
    local b = versions(t.s)[2].version
    has(run(t.s, "rollback", "in", b), "which is what is on disk")
    assert.equal(0, t.e:stop())
  end)

  -- Guards: what was swapped in while the channel was stopped and never ran was taken for the one before.
  it("without a version one that has handled messages is preferred to one that has not", function()
    local t = two()
    local a = versions(t.s)[2].version
    run(t.s, "stop", "in")
    t.s:write("channels/in.lua", script(t.port, t.r.port, "never") .. "-- its worker cannot start\n")
    run(t.s, "reload")
    t.s:write("channels/in.lua", t.b)
    run(t.s, "reload")
    run(t.s, "start", "in")
    assert.equal(3, #versions(t.s))
    has(run(t.s, "rollback", "in"), "rolled back to " .. a:sub(1, 8))
    t.conn = nil
    assert.equal("1a", (name_of(t, "A4")))
    assert.equal(0, t.e:stop())
  end)

  it("says what it cannot roll back to", function()
    local t = two()
    for _, case in ipairs { { "in", "123456", "no kept version begins with 123456" },
      { "nope", "", "no channel" }, { "in", "xyz", "is no version" } } do
      local status, _, err = t.s:run("rollback", case[1], case[2])
      assert.truthy(status == 1 or status == 2)
      has(err, case[3])
    end
    t.s:run("stop", "in")
    run(t.s, "rollback", "in") -- a stopped channel: at its start
    t.e:kill9()
    t.e, t.conn = t.s:start(), nil
    run(t.s, "start", "in")
    assert.equal("1a", (name_of(t, "A4")))
    assert.equal(0, t.e:stop())
  end)

  it("name the commit of the site's checkout, and whether their files differ from it", function()
    local r = net.receiver {}
    local port = net.free_port()
    local s = site.new { ["site/channels/in.lua"] = script(port, r.port, "a"), ["site/lib/m.lua"] = 'return "1"',
      [".gitignore"] = "data\n" }
    local repo, env = s.path, { GIT_CONFIG_GLOBAL = "/dev/null", HOME = s.path }
    local function git(...)
      local argv = { "git", "-C", repo, "-c", "user.name=a", "-c", "user.email=a@b.c", ... }
      argv.env = env
      local status, out, err = proc.run(argv)
      assert.equal(0, status, err)
      return (out:gsub("%s+$", ""))
    end
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    local one = git("rev-parse", "HEAD")
    s.path = repo .. "/site"
    local e = s:start()
    local conn = net.connect(port)
    traffic.exchange(conn, "A1")
    site.wait_until(function() return versions(s)[1] and versions(s)[1].git == one end)
    assert.equal(false, versions(s)[1].changed)
    s:write("channels/in.lua", script(port, r.port, "b"))
    run(s, "reload")
    traffic.exchange(conn, "B2")
    site.wait_until(function() return versions(s)[1].changed == true end)
    assert.equal(one, versions(s)[1].git)
    has(run(s, "show", "in/2"), "git " .. one:sub(1, 10) .. " and changes")

    -- the files are as in the commit again, what runs is not; and after a reload it still has run
    git("checkout", "--", "site")
    run(s, "reload", "--plan")
    sys.sleep(1) -- git answers
    assert.same({ one, true }, { versions(s)[1].git, versions(s)[1].changed })
    run(s, "reload")
    sys.sleep(1)
    assert.same({ one, false }, { versions(s)[1].git, versions(s)[1].changed })
    has(run(s, "show", "in/2"), "git " .. one:sub(1, 10) .. " and changes")

    -- as a commit it is that one; and what was one stays it, though it differs from the next
    s:write("channels/in.lua", script(port, r.port, "b"))
    git("commit", "-qam", "two")
    local two_ = git("rev-parse", "HEAD")
    run(s, "reload")
    site.wait_until(function() return versions(s)[1].git == two_ end)
    assert.equal(false, versions(s)[1].changed)
    s:write("channels/in.lua", script(port, r.port, "a"))
    run(s, "reload")
    sys.sleep(1)
    assert.same({ one, false, "runs" },
      { versions(s)[1].git, versions(s)[1].changed, versions(s)[1].state })

    -- no commit has what git ignores
    proc.run { "sh", "-c", "echo 'm.lua' >> " .. repo .. "/.gitignore" }
    git("rm", "-q", "--cached", "site/lib/m.lua")
    git("commit", "-qam", "three")
    s:write("lib/m.lua", 'return "3"')
    run(s, "reload")
    site.wait_until(function() return versions(s)[1].changed == true end)
    assert.equal(0, e:stop())
    s.path = repo
  end)

  it("name no commit when git fails half-way: what differs from it is then not known", function()
    local s = site.new { ["channels/in.lua"] = script(net.free_port(), net.free_port(), "a"),
      ["lib/m.lua"] = "return 1", [".git/HEAD"] = "x",
      ["bin/git"] = "#!/bin/sh\nprintf '# branch.oid " .. ("a"):rep(40) .. "\\0'\n: >\"$0.asked\"\n"
        .. "exit $(cat \"$0.status\")\n", ["bin/git.status"] = "128" }
    assert.equal(0, (proc.run { "chmod", "755", s.path .. "/bin/git" }))
    local e = s:start { env = { PATH = s.path .. "/bin:" .. os.getenv "PATH" } }
    site.wait_until(function() return proc.run { "test", "-e", s.path .. "/bin/git.asked" } == 0 end)
    sys.sleep(0.5)
    assert.equal(json.null, versions(s)[1].git)
    s:write("bin/git.status", "0")
    run(s, "reload")
    site.wait_until(function() return versions(s)[1].git == ("a"):rep(40) end)
    assert.equal(0, e:stop())
  end)

  it("go with the last message that names them, but for a few; backup and restore keep them", function()
    local t = two 'return { retention = { mb = 1 } }'
    for n = 1, 12 do
      t.s:write("channels/in.lua", script(t.port, t.r.port, "v" .. n))
      run(t.s, "reload")
      assert.equal("AA", traffic.exchange(t.conn, "V" .. n))
      t.r:run_for_frames(3 + n, 5)
    end
    assert.equal(14, #versions(t.s))
    local dir = t.s.path .. "/copy"
    run(t.s, "backup", dir)
    local big = traffic.adt("BIG", { more = "NTE|1||" .. ("x"):rep(200000) .. "\r" })
    for _ = 1, 12 do net.exchange(t.conn, big) end
    t.r:run_for_frames(27, 20)
    site.wait_until(function() return #versions(t.s) <= 6 end)
    assert.equal("runs", versions(t.s)[1].state)
    has(run(t.s, "verify"), "all in order")
    assert.equal(0, t.e:stop())
    run(t.s, "restore", dir, "--force")
    assert.equal(14, #versions(t.s))
    assert.equal(t.a, run(t.s, "show", "--script", "in/1"))
    has(run(t.s, "verify"), "all in order")
  end)
end)
