-- Keeping a site's store: a copy taken while the engine runs, looked at, put back.
local site = require "support.site"
local net = require "support.net"
local tmp = require "support.tmp"
local traffic = require "support.traffic"

local function ok(s, ...)
  local status, out, err = s:run(...)
  assert.equal(0, status, err)
  return out
end

-- Status and what was said on stderr, of a verb that must not do it.
local function refused(s, ...)
  local status, out, err = s:run(...)
  assert.equal("", out)
  return status, err
end

describe("e2e/keep: verify, backup, restore", function()
  after_each(site.cleanup)
  after_each(tmp.cleanup)

  local function begin()
    local out, port = net.receiver {}, net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out.port) }
    local e = s:start()
    return s, e, out, port
  end

  it("a copy of a running engine is whole, and the engine goes on", function()
    local s, e, out, port = begin()
    local conn = net.connect(port)
    traffic.send_all(conn, traffic.ids("A", 40))
    local to = tmp.dir() .. "/copy"
    assert.matches("^copied .*data to .*copy %(", ok(s, "backup", to))
    assert.matches("40 messages in 1 channel, .*, all in order", ok(s, "verify", to))
    traffic.send_all(conn, traffic.ids("B", 10))
    out:run_for_frames(50, 10)
    assert.matches("50 messages in 1 channel, .*, all in order", ok(s, "verify"))
    local doc = s:json("verify", "--json")
    assert.same({ true, 50, 0 }, { doc.ok, doc.messages, #doc.problems })
    local second = tmp.dir() .. "/second"
    assert.equal(second, s:json("backup", second, "--json").to)
    assert.equal(0, e:stop())
    assert.matches("all in order", ok(s, "verify"))
  end)

  it("a folder with something in it is refused, and left as it is", function()
    local s = begin()
    local to = tmp.dir()
    tmp.write(to .. "/mine", "text")
    local status, err = refused(s, "backup", to)
    assert.equal(1, status)
    assert.matches("^lunate backup: .* is not empty: a backup needs an empty folder\n$", err)
    assert.equal("text", tmp.read(to .. "/mine"))
    assert.is_false(tmp.exists(to .. "/data.mdb"))
    status, err = refused(s, "backup", "/proc/nowhere")
    assert.equal(1, status)
    assert.matches("cannot make /proc/nowhere", err, 1, true)
  end)

  it("a copy is put back when nobody has the store, and the other one kept", function()
    local s, e, out, port = begin()
    local conn, to = net.connect(port), tmp.dir() .. "/copy"
    ok(s, "hold", "in/out")
    traffic.send_all(conn, traffic.ids("A", 3))
    site.wait_until(function() return e:channel "in".dest.out.queued == 3 end, 5, "the queue")
    ok(s, "backup", to)
    traffic.send_all(conn, traffic.ids("LATER", 2))
    local status, err = refused(s, "restore", to, "--force")
    assert.equal(1, status)
    assert.matches("in use by another engine (process " .. e.pid .. "): stop it first", err, 1, true)
    assert.equal(0, e:stop())
    status, err = refused(s, "restore", to)
    assert.equal(1, status)
    assert.matches("there is a store in .*: with %-%-force it is moved aside and kept", err)
    local doc = s:json("restore", to, "--force", "--json")
    assert.equal(3, doc.queued)
    assert.is_true(tmp.exists(doc.kept_as))
    assert.matches("3 messages in 1 channel", ok(s, "verify"))
    e = s:start()
    assert.equal(3, e:channel "in".dest.out.queued)
    ok(s, "release", "in/out")
    out:run_for_frames(3, 10)
    assert.same({ "A1", "A2", "A3" }, out:ids())
    assert.equal(0, e:stop())
    -- and the one that was moved aside has what came later
    local aside = tmp.dir()
    os.execute("cp " .. doc.kept_as .. " " .. aside .. "/data.mdb")
    assert.matches("5 messages in 1 channel", ok(s, "verify", aside))
    assert.matches("5 outputs were queued", ok(s, "restore", aside, "--force"))
  end)

  it("only a store is put back", function()
    local s, e = begin()
    assert.equal(0, e:stop())
    local before = tmp.read(s.path .. "/data/data.mdb")
    local junk = tmp.dir()
    tmp.write(junk .. "/data.mdb", ("junk"):rep(5000))
    for _, from in ipairs { junk, junk .. "/none", s.path .. "/data" } do
      local status, err = refused(s, "restore", from, "--force")
      assert.equal(1, status)
      assert.matches("^lunate restore: .*\n$", err)
    end
    assert.equal(before, tmp.read(s.path .. "/data/data.mdb"))
  end)

  it("into a site that never ran", function()
    local s, e, _, port = begin()
    traffic.send_all(net.connect(port), traffic.ids("A", 3))
    local to = tmp.dir() .. "/copy"
    ok(s, "backup", to)
    assert.equal(0, e:stop())
    local other = site.new { ["lunate.lua"] = 'return { data = "elsewhere" }' }
    assert.matches("no store yet", select(2, refused(other, "verify")), 1, true)
    ok(other, "restore", to)
    assert.matches("elsewhere: 3 messages in 1 channel", ok(other, "verify"), 1, true)
  end)

  it("what is queued for a destination that was removed stays in sight, over a restart", function()
    local s, e, out, port = begin()
    ok(s, "hold", "in/out")
    traffic.send_all(net.connect(port), traffic.ids("A", 2))
    site.wait_until(function() return e:channel "in".dest.out.queued == 2 end, 5, "the queue")
    assert.equal(0, e:stop())
    local script = s:read "channels/in.lua"
    s:write("channels/in.lua", (script:gsub("out = mllp", "other = mllp")))
    e = s:start()
    assert.same({ "removed", 2 }, { e:channel "in".dest.out.state, e:channel "in".dest.out.queued })
    ok(s, "skip", "in/out", "--reason", "no longer wanted")
    site.wait_until(function() return e:channel "in".dest.out.queued == 1 end, 5, "the skip")
    assert.equal(0, e:stop())
    s:write("channels/in.lua", script) -- named again: it goes on where it was
    e = s:start()
    ok(s, "release", "in/out")
    out:run_for_frames(1, 10)
    assert.same({ "A2" }, out:ids())
    assert.equal(0, e:stop())
    assert.matches("all in order", ok(s, "verify"))
  end)
end)
