-- `lunate replay`: candidates on what an engine really received, against what it really sent. Every
-- kind of difference, kv, the clock, candidates that loop or crash; and that nothing is written.
local site = require "support.site"
local net = require "support.net"
local json = require "support.json"

local function adt(id, event, name, more)
  return ("MSH|^~\\&|EHR|A|LAB|B|20260105||ADT^%s|%s|P|2.5.1\rPID|1||100^^^A||%s^P||||||||555-0123\r%s")
    :format(event or "A01", id, name or "Sample", more or "")
end

local script = [[
return channel {
  source = mllp.listen { port = %d, host = "127.0.0.1" },
  limits = { seconds = 1, attempts = 1, memory_mb = 16 },
  filter = function(msg) return msg.event ~= "A02", "no transfers" end,
  transform = function(msg)
    if msg["PID-5"] == "bad" then error "no such name" end
    kv.count = (kv.count or 0) + 1
    msg["MSH-7"] = now()
    msg["PID-5.1"] = msg["PID-5.1"]:upper()
    --MORE--
  end,
  destinations = {
    lab = mllp.send { host = "127.0.0.1", port = %d, timeout = 2 },
    ris = mllp.send { host = "127.0.0.1", port = %d, timeout = 2,
      filter = function(msg) return msg.event ~= "A03", "no discharges" end },
  },
}]]

describe("replay", function()
  local s, engine, receiver, port, n
  before_each(function()
    receiver = net.receiver {}
    port = net.free_port()
    s = site.new { ["channels/adt.lua"] = script:format(port, receiver.port, receiver.port) }
    engine = s:start()
    n = 0
  end)
  after_each(site.cleanup)

  -- Sends them, waits until each is processed.
  local function send(...)
    local conn = net.connect_when_open(port)
    for _, text in ipairs { ... } do
      assert.equal("AA", net.field(assert(net.exchange(conn, text)), "MSA", 1))
      n = n + 1
    end
    receiver:run_until(function()
      return engine:channel("adt").pending == 0 and #s:json_lines("messages", "--limit", "500") == n
    end, 10, "processed")
    conn:close()
  end

  -- The candidate: the site's script with `change` put into its transform, or text replaced.
  local function candidate(change, old, new)
    local text = s:read "channels/adt.lua"
    text = text:gsub("%-%-MORE%-%-", function() return change or "" end)
    if old then
      local at, stop = text:find(old, 1, true)
      text = text:sub(1, at - 1) .. new .. text:sub(stop + 1)
    end
    return s:write("new.lua", text)
  end

  local function replay(...)
    local status, out, err = s:run("replay", "-c", "adt", "--json", ...)
    assert.equal("", err)
    local doc = json.decode(out)
    assert.equal(doc.changed > 0 and 1 or 0, status)
    doc.by = {}
    for _, k in ipairs(doc.kinds) do doc.by[k.title] = k end
    return doc
  end

  local function titles(doc)
    local list = {}
    for i, k in ipairs(doc.kinds) do list[i] = ("%s: %d"):format(k.title, k.messages) end
    return list
  end

  it("no change: 0, with the engine and without, whatever the clock says, and nothing is written", function()
    send(adt "M1", adt("M2", "A02"), adt("M3", "A01", "bad"), adt("M4", "A03"))
    for _ = 1, 2 do
      local doc = replay()
      assert.same({ 4, 0, {} }, { doc.compared, doc.changed, doc.kinds })
      local status, out = s:run("replay", "-c", "adt")
      assert.equal(0, status)
      assert.equal("4 messages: no change\n", out:match "^[^\n]*\n") -- a second may have passed
      if engine:running() then
        assert.equal(0, engine:stop())
      end
    end
    local before = s:read "data/data.mdb"
    assert.equal(1, (s:run("replay", "-c", "adt", "--script", candidate 'kv.x = 1 msg["PID-8"] = "F"')))
    assert.is_true(before == s:read "data/data.mdb")
  end)

  it("leaves out the paths that --ignore names", function()
    send(adt "M1", adt "M2")
    local file = candidate 'msg["PID-13"] = "other" msg:add("ZZ1")[1] = msg.control_id'
    local function changes(...) return titles(replay("--script", file, ...)) end
    assert.same({ "lab: segment ZZ1 added: 2", "ris: segment ZZ1 added: 2", "lab: PID-13: 2",
      "ris: PID-13: 2" }, changes())
    assert.same({ "lab: PID-13: 2", "ris: PID-13: 2" }, changes("--ignore", "ZZ1"))
    assert.same({}, changes("--ignore", "ZZ1,PID-13"))
    assert.same({}, changes("--ignore", "ZZ1", "--ignore", "PID-13"))
    local _, out = s:run("replay", "-c", "adt", "--script", file, "--ignore", "ZZ1,PID-13")
    assert.equal("2 messages: no change, leaving out ZZ1, PID-13\n", out)
  end)

  it("tells each kind of difference, counted, with numbers and ids", function()
    send(adt "M1", adt("M2", "A02"), adt("M3", "A01", "bad"), adt("M4", "A03"), adt("M5", "A08"),
      adt("M6", "A01", "Sample", "OBX|1|ST|a||1\rOBX|2|ST|b||2\r"))
    local doc = replay("--script", candidate([[
      if msg.event == "A08" then error("stop " .. msg.control_id) end
      msg["PID-13"] = "+1 " .. msg["PID-13"]
      for obx in msg:each "OBX" do obx[5] = "x" end
      msg:add("ZZ1")[1] = 1
    ]], [["bad" then error "no such name"]], [["none" then error "no"]]))
    assert.same({
      "new error at " .. s.path .. "/new.lua:10: 1",
      "no longer an error (was at channels/adt.lua:6): 1",
      "lab: segment ZZ1 added: 3", "ris: segment ZZ1 added: 2",
      "lab: PID-13: 3", "ris: PID-13: 2",
      "lab: OBX[*]-5: 1", "ris: OBX[*]-5: 1",
    }, titles(doc))
    assert.same({ { old = "555-0123", new = "+1 555-0123", count = 3 } }, doc.by["lab: PID-13"].values)
    assert.equal(2, doc.by["lab: OBX[*]-5"].places)
    assert.same({ seq = 5, control_id = "M5", new = "stop M5" }, doc.kinds[1].examples[1])
    assert.same({ 6, 5 }, { doc.compared, doc.changed })
  end)

  it("tells what is filtered, what goes where, destinations that come and go", function()
    send(adt "M1", adt("M2", "A02"), adt("M3", "A03"))
    assert.same({ "now filtered: 2", "no longer filtered: 1" },
      titles(replay("--script", candidate("", [[msg.event ~= "A02", "no transfers"]], [[msg.event == "A02", "only"]]))))
    assert.same({ "another reason for filtering: 1" },
      titles(replay("--script", candidate("", "no transfers", "none"))))
    assert.same({ "destination ris: no longer sends: 1", "destination ris: now sends: 1" },
      titles(replay("--script", candidate("", [[msg.event ~= "A03"]], [[msg.event == "A03"]]))))
    assert.same({ "destination ris: no longer sends (it is gone): 1",
      "destination pacs: now sends (it is new): 2" },
      titles(replay("--script", candidate("", [[ris = mllp.send { host = "127.0.0.1", port = ]] .. receiver.port
        .. [[, timeout = 2,
      filter = function(msg) return msg.event ~= "A03", "no discharges" end }]],
        [[pacs = mllp.send { host = "127.0.0.1", port = 1 }]]))))
    assert.same({ "destination lab: 2 messages instead of 1: 2" }, titles(replay("--script",
      candidate("", "lab = mllp.send {", "lab = mllp.send { transform = function(m) return { m, m } end,"))))
    assert.same({ "destination ris: new error at " .. s.path .. "/new.lua:15: 1" }, titles(replay("--script",
      candidate("", [[return msg.event ~= "A03"]], [[if msg.event ~= "A03" then error "oh" end return false]]))))
  end)

  it("--last and --since choose; --examples shows values", function()
    send(adt "M1", adt "M2", adt "M3")
    assert.equal(2, replay("--last", "2").compared)
    assert.equal(3, replay("--since", "10m").compared)
    assert.equal(0, replay("--since", os.date("!%Y%m%d%H%M%S+0000", os.time() + 60)).compared)
    local file = candidate [[msg["PID-8"] = "F"]]
    local status, out = s:run("replay", "-c", "adt", "--script", file, "--examples", "1")
    assert.equal(1, status)
    assert.matches("^3 of 3 messages would come out differently\n\nlab: PID%-8: 3 messages\n", out)
    assert.matches("    adt/1 %(M1%)\n      %+ F\n\nris", out)
    status, out = s:run("replay", "-c", "adt", "--script", file)
    assert.equal(1, status)
    assert.matches("          3  %(empty%) %-> 'F'\n    in adt/1 %(M1%), adt/2 %(M2%), adt/3 %(M3%)\n", out)
  end)

  it("kv is a copy of what the store holds now, or empty", function()
    send(adt "M1", adt "M2")
    local file = candidate [[msg["PID-1"] = tostring(kv.count)]]
    local function values(...)
      local list = {}
      for _, v in ipairs(replay("--script", file, ...).by["lab: PID-1"].values) do list[#list + 1] = v.new end
      table.sort(list)
      return list
    end
    assert.same({ "3", "4" }, values())
    assert.same({ "3", "4" }, values())
    assert.same({ "2" }, values("--kv", "none")) -- the first one gives 1: no change
  end)

  it("a candidate that loops or uses up its memory is a difference, and the rest goes on with its kv", function()
    local list = {}
    for i = 1, 100 do list[i] = adt("M" .. i) end
    send(unpack(list))
    local doc = replay("--kv", "none", "--script", candidate [[
      local id = msg.control_id
      if id == "M50" then while true do end end
      if id == "M60" then ("x"):rep(3e4):find(("x*"):rep(20) .. "y") end
      if id == "M70" then local t = {} while true do t[#t + 1] = ("x"):rep(1e6) .. #t end end
      msg["PID-1"] = tostring(kv.count)
    ]])
    assert.equal(100, doc.compared)
    local reasons = {} -- on a busy machine time may be over before memory is
    for title, k in pairs(doc.by) do
      for _, e in ipairs(k.kind == "error" and k.examples or {}) do reasons[e.control_id] = title end
    end
    assert.equal("new error: ran longer than limits.seconds = 1", reasons.M50)
    assert.equal("new error: the script took more than 1 s", reasons.M60)
    assert.truthy(reasons.M70:find "used more than limits.memory_mb = 16" or reasons.M70:find "ran longer", reasons.M70)
    assert.equal(96, doc.by["lab: PID-1"].messages) -- all others but the first
    assert.equal(97, #replay("--kv", "none", "--script", candidate [[
      if msg.control_id == "M50" then while true do end end
      msg["PID-1"] = tostring(kv.count)
    ]], "--examples", "97").by["lab: PID-1"].examples)
  end)

  it("leaves out what no script ran on, and says so", function()
    local conn = net.connect_when_open(port)
    net.exchange(conn, "this is not HL7")
    conn:close()
    n = n + 1
    send(adt "M1")
    assert.equal(0, (s:run("resend", "adt/2")))
    local doc = replay()
    assert.equal(1, doc.compared)
    assert.equal(2, #doc.skipped)
    assert.matches("1 message left out: not HL7", (select(2, s:run("replay", "-c", "adt"))))
  end)

  it("mistakes: one line", function()
    for _, case in ipairs {
      { 2, "missing option", "replay" }, { 2, "a number above 0", "replay", "-c", "adt", "--last", "x" },
      { 2, "not both", "replay", "-c", "adt", "--last", "1", "--since", "1h" },
      { 2, "is no time", "replay", "-c", "adt", "--since", "then" },
      { 1, 'no channel "nosuch"', "replay", "-c", "nosuch" },
      { 1, "No such file", "replay", "-c", "adt", "--script", s.path .. "/none.lua" },
    } do
      local status, out, err = s:run(unpack(case, 3))
      assert.same({ case[1], "" }, { status, out }, case[2])
      assert.truthy(err:find(case[2], 1, true), err)
      assert.equal(1, select(2, err:gsub("\n", "")))
    end
    local status, _, err = s:run("replay", "-c", "adt", "--script", s:write("bad.lua", "return channel {"))
    assert.equal(1, status)
    assert.truthy(err:find(s.path .. "/bad.lua:1: ", 1, true), err)
    local empty = site.new { ["channels/adt.lua"] = script:format(1, 2, 3) }
    status, _, err = empty:run("replay", "-c", "adt")
    assert.equal(1, status)
    assert.matches("has no store yet", err)
  end)
end)
