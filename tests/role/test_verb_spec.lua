-- `lunate test`: the helpers that specs have, what failures say, golden files, properties and their
-- seeds, coverage, outputs for CI, --watch; and that the examples of docs/testing.md pass.
local site = require "support.site"
local proc = require "support.proc"
local tmp = require "support.tmp"

local function spec(body)
  return 'describe("x", function()\n  local ch = lunate.channel "adt_in"\n  local sample = lunate.sample "adt_in"\n'
    .. body .. "\nend)\n"
end

describe("lunate test", function()
  local s
  before_each(function()
    s = site.new {}
    assert.equal(0, (proc.run { site.binary(), "new", "site", s.path }))
  end)
  after_each(site.cleanup)

  -- Runs one spec with this body.
  local function run(body, ...)
    local file = s:write("spec/x_spec.lua", spec(body))
    return s:run("test", file, "--output", "plain", ...)
  end

  local function fails(body, ...)
    local status, out, err = run('it("t", function() ' .. body .. " end)")
    assert.equal(1, status, out .. err)
    assert.matches("0 successes / 1 failure / 0 errors", out)
    for _, text in ipairs { ... } do assert.truthy(out:find(text, 1, true), out) end
  end

  it("what `new site` writes passes, and so does each example of docs/testing.md", function()
    local n = 0
    for block in tmp.read "docs/testing.md":gmatch "\n```lua\n(.-)```" do
      n = n + 1
      s:write(("spec/doc%d_spec.lua"):format(n), block)
    end
    assert.is_true(n >= 5)
    assert.equal(0, (s:run("test", "--update")))
    local status, out, err = s:run "test"
    assert.equal(0, status, out .. err)
    assert.matches("%d+ successes / 0 failures / 0 errors", out)
  end)

  it("failures say what there was instead", function()
    fails('assert.field(ch:run(sample):to "receiver", "PID-5.1", "DOE")', 'x_spec.lua:4: PID-5.1\n  expected: "DOE"\n',
      '  got:      "SAMPLE"\n  in: PID|1||100001')
    fails('assert.field(ch:run(sample):to "lab", "PID-5.1", "DOE")', "x_spec.lua:4: PID-5.1: there is no message")
    fails('assert.field(sample, "PID-99", "x")', "  got:      (absent)")
    fails('assert.is_not.field(sample, "PID-8", "F")', 'PID-8 is "F"')
    fails('assert.sends(ch:run(sample), "lab")', "x_spec.lua:4: nothing goes to lab: it goes to receiver")
    fails('assert.filtered(ch:run(sample))', "not filtered, but done")
    fails('assert.filtered(ch:run((sample:gsub("ADT", "ORU"))), "no")', 'expected: "no"', 'got:      "not an ADT"')
    fails('assert.fails(ch:run(sample))', "no error, but done")
  end)

  it("golden files: written on request, compared field by field", function()
    fails('lunate.golden("a", ch:run(sample))', "x_spec.lua:4: golden a.receiver: there is no ", "--update` writes it")
    local body = 'it("t", function() lunate.golden("a", ch:run(sample)) lunate.golden("b", sample) end)'
    assert.equal(0, (run(body, "--update")))
    assert.matches("^MSH.*\nPID|1||100001.*SAMPLE", s:read "spec/golden/a.receiver.hl7")
    assert.equal(0, (run(body)))
    local kept = s:read "spec/golden/b.hl7"
    s:write("spec/golden/b.hl7", (kept:gsub("Testville", "Elsewhere")))
    fails('lunate.golden("b", sample)', "x_spec.lua:4: golden b: ", "PID-11.3 changed: Elsewhere -> Testville")
    assert.equal(0, (run(body, "--update")))
    assert.equal(kept, s:read "spec/golden/b.hl7")
    fails('lunate.golden("b", ch:run((sample:gsub("ADT", "ORU"))))', "there is no output: filtered: not an ADT")
  end)

  it("the clock stands still, kv is given, a reply is asked", function()
    s:write("channels/adt_in.lua", [[
      return channel {
        source = mllp.listen { port = 6661 },
        transform = function(msg)
          kv.n = (kv.n or 0) + 1
          msg["ZZ1-1"] = now() .. " " .. os.time() .. " " .. os.date "!%Y" .. " " .. kv.n
          msg["ZZ1-2"] = tostring(hl7.time.now "UTC")
        end,
        destinations = {
          receiver = mllp.send { host = "h", port = 1, on_reply = { AE = "retry", AR = "stop" } },
          other = mllp.send { host = "h", port = 1 },
        },
      }]])
    local status, out, err = run([[it("t", function()
      local c = lunate.channel("adt_in", { clock = "20000101000000+0000", kv = { n = 4 } })
      local function zz1() return c:run(sample):to("receiver").ZZ1 end
      assert.matches("^2000.* 946684800 2000 5$", zz1()[1].value)
      assert.matches("^20000101000000", zz1()[2].value)
      assert.matches(" 946684800 2000 7$", zz1()[1].value)
      c:at "20010101000000+0000"
      assert.matches(" 978307200 2001 8$", zz1()[1].value)
      c:restart()
      assert.matches(" 978307200 2001 5$", zz1()[1].value)
      c:at(nil)
      assert.is_nil(zz1()[1].value:find " 2001 ")
      local r = c:run(sample)
      assert.same({ "sent", "retried", "stopped", "retried", "stopped" }, { r:reply("receiver", "AA"),
        r:reply("receiver", "AE"), r:reply("receiver", "AR"), r:reply("receiver", "CE"), r:reply("receiver", "CR") })
      assert.same({ "sent", "parked", "retried" },
        { r:reply("other", "CA"), r:reply("other", "AE"), r:reply("other", "AR") })
      assert.has_error(function() r:reply("nobody", "AA") end)
      assert.has_error(function() r:reply("other", "XX") end)
      assert.has_error(function() lunate.channel("adt_in", { clock = "noon" }) end)
    end)]])
    assert.equal(0, status, out .. err)
  end)

  it("for_all finds what fails, makes it small, and finds it again by its seed", function()
    local body = [[it("t", function()
      for_all(messages { type = "ADT", event = "A08", with = { "ZZ9", "OBX" } }, function(msg)
        assert.is_not_nil(msg.PID)
        for nk1 in msg:each "NK1" do assert.is_nil(nk1[2].value) end
      end)
    end)]]
    local status, out = run(body, "--seed", "7")
    assert.equal(1, status)
    local head, small = out:match "again with %-%-seed 7%):\n  (MSH[^\n]*)\n  PID\n  ([^\n]*)\n"
    assert.matches("ADT^A08^ADT_A01|GEN%d+|P|2.5.1$", head or out)
    assert.matches("^NK1||.$", small)
    assert.matches("x_spec.lua:7: Expected", out)
    assert.matches("\n  ZZ9[^\n]*\n  OBX[^\n]*\n", out) -- what `with` promises stays
    assert.equal(out:match "message %d+;", select(2, run(body, "--seed", "7")):match "message %d+;")
    -- every message of the generator parses, has its structure and differs from the last
    status, out = run([[it("t", function()
      local seen, n = {}, 0
      for _, kind in ipairs { "ADT", "ORU", "ORM", "SIU", "MDM" } do
        for _, version in ipairs { "2.3", "2.5.1", "2.8" } do
          for_all(messages { type = kind, version = version }, function(msg)
            assert.equal(kind, msg.type)
            assert.equal(version, msg.version)
            assert.is_nil(seen[tostring(msg)])
            seen[tostring(msg)], n = true, n + 1
          end, { runs = 20 })
        end
      end
      assert.equal(300, n)
      assert.has_error(function() messages { typ = "ADT" } end)
      assert.has_error(function() for_all(1, 2) end)
    end)]])
    assert.equal(0, status, out)
    assert.equal(2, (s:run("test", "--seed", "x")))
  end)

  it("--coverage counts lines in workers and in specs; lcov", function()
    s:write("lib/two.lua", "local two = {}\nfunction two.a(x)\n  if x then return 1 end\n  return 2\nend\nreturn two\n")
    local status, out, err = run('it("t", function() ch:run(sample) assert.equal(1, require("two").a(1)) end)',
      "--coverage", "--lcov", s.path .. "/lcov")
    assert.equal(0, status, err)
    assert.matches("channels/adt_in.lua +%d+ 100.0%%\nlib/two.lua +%d+ +%d+.%d%%  4\nall ", out .. err)
    assert.matches("SF:[^\n]*/lib/two.lua\n.*DA:3,1\nDA:4,0\n", s:read "lcov")
  end)

  it("--output for machines, --filter", function()
    local body = 'it("good", function() end) it("bad", function() assert.is_true(false) end)'
    local file = s:write("spec/x_spec.lua", spec(body))
    local status, out = s:run("test", file, "--output", "tap")
    assert.equal(1, status)
    assert.matches("ok 1 %- x good\nnot ok 2 %- x bad\n", out)
    status, out = s:run("test", file, "--output", "junit")
    assert.equal(1, status)
    assert.matches("<testsuites.-<testcase.-<failure", out)
    status, out = s:run("test", file, "--output", "plain", "--filter", "good")
    assert.equal(0, status)
    assert.matches("^%+\n1 success /", out)
    assert.equal(2, (s:run("test", "--output", "morse")))
  end)

  it("--watch runs again when a file changes, until Ctrl-C", function()
    s:write("spec/x_spec.lua", spec 'it("t", function() assert.sends(ch:run(sample), "receiver") end)')
    local p = proc.spawn { site.binary(), "-C", s.path, "test", s.path .. "/spec/x_spec.lua", "--output", "plain",
      "--watch" }
    local function wait_for(pattern)
      site.wait_until(function() return p:out():find(pattern) end, 20, pattern)
    end
    wait_for "1 success / 0 failures.*waiting for changes"
    s:write("channels/adt_in.lua", (s:read "channels/adt_in.lua":gsub("receiver =", "elsewhere =")))
    wait_for "channels/adt_in.lua changed.*0 successes / 1 failure.*waiting"
    p:kill(proc.INT)
    assert.equal(0, p:wait(10))
  end)
end)
