-- What people cursed at who developed an interface: each of these was wrong once, or said too little.
local site = require "support.site"
local tmp = require "support.tmp"
local net = require "support.net"
local json = require "support.json"

local message = "MSH|^~\\&|EHR|A|LAB|B|20260105083000||ADT^A01|%s|P|2.5.1\nPID|1||9||Sample^Anna\n"

local script = [[
return channel {
  source = mllp.listen { port = @PORT@ },
  filter = function(msg) return msg.control_id ~= "M2", "not this one" end,
  transform = function(msg)
    kv.seen = (kv.seen or 0) + 1
    msg["PID-1"] = kv.seen
    msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper()
  end,
}
]]

local passing = [[
describe("a", function()
  it("holds", function() assert.equal("done", lunate.channel "adt":run(lunate.sample "one").state) end)
end)
]]

describe("the developer's desk", function()
  local s
  before_each(function()
    s = site.new { ["channels/adt.lua"] = (script:gsub("@PORT@", tostring(net.free_port()))),
      ["samples/one.hl7"] = message:format "M1",
      ["samples/three.hl7"] = message:format "M1" .. message:format "M2" .. message:format "M3",
      ["spec/adt_spec.lua"] = passing }
  end)
  after_each(site.cleanup)

  local function sample(name) return s.path .. "/samples/" .. name .. ".hl7" end

  describe("eval", function()
    it("of several messages: each one's file, place, type, control id", function()
      local _, one = s:run("eval", "-c", "adt", sample "one")
      assert.is_nil(one:find("M1:", 1, true))
      local _, out = s:run("eval", "-c", "adt", sample "three")
      for n = 1, 3 do
        assert.truthy(out:find(("three.hl7, message %d of 3: ADT^A01  M%d\n"):format(n, n), 1, true), out)
      end
      assert.matches("message 2 of 3: .-\nfiltered: not this one\n", out)
      _, out = s:run("eval", "-c", "adt", sample "one", sample "one")
      assert.matches("one.hl7: ADT^A01  M1\n", out, 1, true)
      _, out = s:run("eval", "-c", "adt", "--json", sample "three")
      local list = json.lines(out)
      assert.same({ "M1", "M2", "M3" }, { list[1].control_id, list[2].control_id, list[3].control_id })
      assert.same({ { key = "seen", value = "2" } }, list[3].kv)
    end)

    it("reads standard input without a file; names a folder, and says what it wrote to kv", function()
      local status, out = s:run("eval", "-c", "adt", { input = message:format "M1" })
      assert.equal(0, status)
      assert.matches("\nkv.seen = 1\n$", "\n" .. out)
      local _
      status, _, out = s:run("eval", "-c", "adt", s.path)
      assert.same({ 1, ("lunate eval: %s: Is a directory\n"):format(s.path) }, { status, out })
    end)
  end)

  it("content in UTF-8 and Latin-1 is readable, and cannot steer the terminal", function()
    for name, bytes in pairs { latin = "J\246rg", utf8 = "Jörg", hostile = "J\27[2J\226\128\174x\194\155y" } do
      s:write("samples/" .. name .. ".hl7", (message:format("M1"):gsub("Anna", bytes)))
    end
    s:write("channels/adt.lua", (s:read "channels/adt.lua"):gsub("return channel {", "%0\n  destinations = { a = " ..
      "mllp.send { host = '127.0.0.1', port = 1 } },"))
    for _, how in ipairs { "--diff", "--annotate", "--html" } do
      local _, latin = s:run("eval", "-c", "adt", how, sample "latin")
      local _, utf8 = s:run("eval", "-c", "adt", how, sample "utf8")
      assert.truthy(latin:find("SAMPLE^Jörg", 1, true), latin)
      assert.equal((utf8:gsub("utf8", "latin")), latin)
      local _, hostile = s:run("eval", "-c", "adt", how, sample "hostile")
      assert.truthy(hostile:find("J·[2J·x·y", 1, true), hostile)
      assert.is_nil(hostile:find "\27")
    end
  end)

  describe("test", function()
    it("finds a spec by its name, and says which there are", function()
      assert.equal(0, (s:run("test", "adt")))
      assert.equal(0, (s:run("test", "spec/adt_spec.lua")))
      local status, _, err = s:run("test", "lab")
      assert.same({ 1, "lunate test: there is no spec lab (spec/ has: adt)\n" }, { status, err })
    end)

    it("a filter that no test has is no success", function()
      assert.equal(0, (s:run("test", "--filter", "holds")))
      local status, _, err = s:run("test", "--filter", "zzz")
      assert.equal(1, status)
      assert.equal('lunate test: no test has a name with the pattern "zzz": nothing was tested\n', err)
    end)

    it("shows coverage also when a test fails", function()
      s:write("spec/b_spec.lua", 'it("fails", function() assert.equal(1, 2) end)')
      local status, out = s:run("test", "--coverage", "--lcov", s.path .. "/l.info")
      assert.equal(1, status)
      assert.matches("\nchannels/adt.lua +%d+ +[%d.]+%%", out)
      assert.matches("SF:.-channels/adt.lua", s:read "l.info")
    end)
  end)

  it("replay leaves out what one wants it to", function()
    local e = s:start()
    local port = e:channel("adt").listen:match ":(%d+)$"
    assert.equal(0, (s:run("send", "127.0.0.1:" .. port, sample "three")))
    site.wait_until(function() return e:channel("adt").processed == 2 end, 10)
    e:stop()
    s:write("channels/adt.lua", (s:read "channels/adt.lua"):gsub("return channel {", "%0\n  destinations = { a = " ..
      "mllp.send { host = '127.0.0.1', port = 1 } },"))
    assert.equal(1, (s:run("replay", "-c", "adt")))
    local status, out = s:run("replay", "-c", "adt", "--ignore", "PID")
    assert.equal(1, status)
    assert.matches("now sends", out) -- that is no field
    local _, err
    status, _, err = s:run("replay", "-c", "adt", "--ignore", "pid")
    assert.equal(2, status)
    assert.matches('"pid" is not a path to ignore', err)
    status, _, err = s:run("replay", "-c", "adt", "--last", "-3")
    assert.same({ 2, "lunate replay: --last takes no number below 0 (-3) (see `lunate help replay`)\n" },
      { status, err })
  end)

  it("check warns of an alert's program that is not there", function()
    local function check(program)
      s:write("lunate.lua", ("return { alerts = { targets = { duty = { command = { %q, 'x' } } } } }")
        :format(program))
      return s:run "check"
    end
    for program, there in pairs { ["/bin/sh"] = true, sh = true, ["/no/such/program"] = false,
      ["no-such-thing"] = false, ["/bin"] = false } do
      local status, out, err = check(program)
      assert.same({ 0, "1 channel, all well\n" }, { status, out })
      assert.equal(there and "" or ("warning: lunate.lua: alerts: target duty: there is no program %s: its alerts "
        .. "would reach nobody\n"):format(program), err)
    end
    os.remove(s.path .. "/lunate.lua")
  end)

  it("check warns of a receiver without an address, and refuses what holds too much", function()
    local _
    local status, out, err = s:run "check"
    assert.same({ 0, "1 channel, all well\n", "" }, { status, out, err })
    local where = "return channel { source = mllp.listen { port = 1 },\n" ..
      "  filter = function() return t end, limits = { memory_mb = 16 },\n" ..
      "  destinations = { a = mllp.send { host = \"lab.invalid\", port = 1 } } }"
    s:write("channels/far.lua", where)
    status, out, err = s:run "check"
    assert.same({ 0, "2 channels, all well\n" }, { status, out })
    assert.matches('^warning: channels/far.lua: destination a: "lab.invalid" has no address at the moment: ', err)
    s:write("channels/far.lua", 'return channel { source = mllp.listen { port = 1, host = "192.0.2.7" } }')
    status, out, err = s:run "check"
    assert.same({ 0, "2 channels, all well\n" }, { status, out })
    assert.matches("^warning: channels/far.lua: source: 192.0.2.7 is no address of this machine: ", err)
    for host, want in pairs { ["0.0.0.0"] = "", ["::"] = "", ["127.0.0.1"] = "", ["no.such.invalid"] =
      'source: "no.such.invalid" has no address at the moment' } do
      s:write("channels/far.lua", ('return channel { source = mllp.listen { port = 1, host = "%s" } }'):format(host))
      status, _, err = s:run "check"
      assert.equal(0, status)
      assert.truthy(want == "" and err == "" or want ~= "" and err:find(want, 1, true), err)
    end
    s:write("channels/far.lua", "t = {} for i = 1, 40 do t[i] = ('x'):rep(1e6) .. i end\n" .. where)
    status, _, err = s:run "check"
    assert.equal(1, status)
    assert.matches("channels/far.lua:%d: the script holds %d+ MB once it is loaded, limits.memory_mb is 16", err)
    s:write("channels/far.lua", "local t = ('x'):rep(4e8)\n" .. where)
    status, _, err = s:run "check"
    assert.equal(1, status)
    assert.matches("channels/far.lua:1: used more than 256 MB while it was loaded", err)
  end)

  it("options that make no sense are not taken in silence", function()
    local status, _, err = s:run("send", "--rate", "0", "127.0.0.1:1", sample "one")
    assert.equal(2, status)
    assert.matches("%-%-rate is in messages a second, above 0", err)
    for _, n in ipairs { "0", "-1", "x", "1.5" } do
      status, _, err = s:run("top", "--count", n)
      assert.equal(2, status, n)
      assert.matches("^lunate top: %-%-count ", err)
    end
    status, _, err = s:run("profile", "-C", "x", "-c", "adt")
    assert.equal(2, status)
    assert.matches("%-C SITE stands before the verb: lunate %-C SITE profile", err)
    status, _, err = s:run("profile", "-c", "adt", "--last", "1", "--since", "1h")
    assert.same({ 2, "lunate profile: --last or --since, not both (see `lunate help profile`)\n" },
      { status, err })
  end)

  it("show and trace tell no script's time of what no script ran on", function()
    local e = s:start()
    local port = e:channel("adt").listen:match ":(%d+)$"
    local conn = net.connect(tonumber(port))
    conn:send(net.frame "this is no message")
    conn:recv(5)
    conn:close()
    assert.equal(0, (s:run("send", "127.0.0.1:" .. port, sample "one")))
    local rows = s:json_lines "messages"
    for _, row in ipairs(rows) do s:run("resend", "adt/" .. row.seq) end
    site.wait_until(function() return e:channel("adt").pending == 0 end, 10)
    for _, row in ipairs(s:json_lines "messages") do
      local _, shown = s:run("show", "adt/" .. row.seq)
      if row.state == "rejected" or row.kind == "resent" then
        assert.is_nil(shown:find("by script", 1, true), shown)
      end
    end
    local _, tree = s:run("trace", "M1")
    assert.equal(1, select(2, tree:gsub("script %x+", "")), tree)
    e:stop()
    tmp.cleanup()
  end)
end)
