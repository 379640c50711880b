-- Archive before trim: nothing is trimmed that is not in a file, also when the archive's folder
-- cannot be written, and when everything is killed in between.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local sys = require "support.sys"
local tmp = require "support.tmp"
local json = require "support.json"
local traffic = require "support.traffic"

local DAYS = 3 / 86400 -- messages are kept for 3 s

-- A site whose one channel keeps for so long.
local function new_site(o)
  o = o or {}
  local port = net.free_port()
  local s = site.new { ["channels/adt.lua"] = traffic.channel(port, nil,
    { top = ("retention = { days = %.7f },"):format(o.days or DAYS) }),
    ["lunate.lua"] = ('return { archive = "%s" %s }'):format(o.archive or "archive", o.more or "") }
  s.port = port
  return s
end

local function send(s, prefix, n, from)
  local c = net.connect(s.port)
  traffic.send_all(c, traffic.ids(prefix, n, from))
  c:close()
end

local function kept(e) return e:status().store.messages end

local function failure(e)
  local archive = e:status().store.archive
  return archive and archive.failure or ""
end

local function archived(s, ...)
  local list = s:json_lines("messages", "--archive", "--limit", "100000", ...)
  local seqs = {}
  for i, doc in ipairs(list) do seqs[i] = doc.seq end
  return list, seqs
end

local function verify(s)
  local status, out = s:run("verify", "--archive", "--json")
  return status, json.decode(out)
end

describe("archive", function()
  after_each(site.cleanup)

  -- Guards: the ledger came after the first blocks, and verify called that a mistake.
  it("has its ledger before its first block", function()
    local s = new_site()
    local e = s:start()
    sys.wait_until(function() return s:read "data/archive.ledger" ~= nil end, 20, "a ledger")
    assert.same({ 0, true }, { (verify(s)), (select(2, verify(s))).ok })
    assert.equal(0, e:stop())
  end)

  it("what is trimmed is in it, whole, found and readable with zstd alone", function()
    local s = new_site()
    local e = s:start()
    send(s, "A", 200)
    sys.wait_until(function() return kept(e) == 0 end, 40, "trimmed")
    local list, seqs = archived(s)
    assert.equal(200, #list)
    assert.is_true(seqs[1] > seqs[200])
    local one = archived(s, "--control-id", "A17")
    assert.equal(1, #one)
    assert.equal("A17", one[1].control_id)
    assert.matches("\rPID|1||A17^^^HOSP^MR", one[1].raw, 1, true)
    assert.equal(1, #(archived(s, "--patient", "A18")))
    assert.equal(0, #(archived(s, "--control-id", "A9999")))
    assert.equal(0, #(archived(s, "--since", "1s")))
    local name = ("adt/%.0f"):format(one[1].seq)
    local status, out = s:run("show", name, "--archive")
    assert.equal(0, status)
    assert.matches("processed by script", out)
    assert.equal(one[1].raw, (select(2, s:run("show", name, "--archive", "--raw"))))
    assert.equal(1, (s:run("show", "adt/99999", "--archive")))
    local _, _, err = s:run("show", name)
    local gone = ("there is no message %s (the store has none; what was trimmed is in the archive: "
      .. "lunate show %s --archive)\n"):format(name, name)
    assert.equal("lunate show: " .. gone, err)
    _, _, err = s:run("trace", name)
    assert.equal("lunate trace: " .. gone, err)
    assert.matches("lunate messages --archive", (select(3, s:run("trace", "A17"))), 1, true)
    assert.falsy(out:find("%d%dT%d%d:%d%d:"), out) -- times for people
    local code, v = verify(s)
    assert.equal(0, code)
    assert.equal(200, v.messages)
    assert.equal(0, v.again)
    local day = os.date "!%Y-%m-%d"
    local _, text = proc.run { "sh", "-c", "zstdcat " .. s.path .. "/archive/adt/" .. day .. ".zst" }
    local _, lines = text:gsub("\n", "")
    assert.equal(200, lines)
    assert.equal(200, e:status().store.archive.messages)
    e:stop()
  end)

  it("a folder that cannot be written: nothing is trimmed, status and alerts say why", function()
    local out = tmp.dir()
    local s = new_site { archive = "no/such", more = (', alerts = { every = "0.5s", wait = "0.5s", '
      .. 'targets = { page = { command = { "/bin/sh", "-c", "cat >> %s/alert" } } } }'):format(out) }
    s:write("no", "a file stands in the way")
    local e = s:start()
    send(s, "B", 20)
    sys.wait_until(function() return failure(e) ~= "" end, 20, "a failure")
    sys.sleep(3)
    assert.equal(20, kept(e))
    local _, human = s:run "status"
    assert.matches("the archive has a fault: channel adt:", human)
    sys.wait_until(function() return tmp.exists(out .. "/alert") end, 20, "the alert")
    os.remove(s.path .. "/no")
    sys.wait_until(function() return kept(e) == 0 end, 40, "trimmed")
    assert.equal(20, #(archived(s)))
    assert.equal("", failure(e))
    e:stop()
  end)

  it("kill -9 of archiver and engine: none is lost, none is there twice", function()
    local s = new_site()
    local e = s:start()
    local n = 0
    for round = 1, 6 do
      send(s, "K", n + 100, n + 1)
      n = n + 100
      sys.sleep(1 + round % 3)
      if round % 2 == 0 then
        e:kill9()
        e = s:start()
      else
        for _, c in ipairs(proc.children(e.pid)) do
          local f = io.open("/proc/" .. c.pid .. "/cmdline", "rb")
          local title = f and f:read "*a" or ""
          if f then f:close() end
          if title:find "archiver" then proc.kill(c.pid, proc.KILL) end
        end
      end
    end
    sys.wait_until(function() return kept(e) == 0 end, 60, "trimmed")
    local list = archived(s)
    local seen = {}
    for _, doc in ipairs(list) do
      assert.is_nil(seen[doc.control_id])
      seen[doc.control_id] = true
    end
    for i = 1, n do assert.is_true(seen["K" .. i], "K" .. i) end
    assert.equal(0, (verify(s)))
    e:stop()
  end)

  it("a block that a crash cut off is taken off; one that is damaged stops trimming", function()
    local s = new_site()
    local e = s:start()
    send(s, "C", 50)
    sys.wait_until(function() return kept(e) == 0 end, 40, "trimmed")
    e:stop()
    local name = "archive/adt/" .. os.date "!%Y-%m-%d" .. ".zst"
    local whole = s:read(name)
    s:write(name, whole .. whole:sub(1, #whole - 20))
    assert.equal(1, (verify(s)))
    e = s:start()
    send(s, "D", 10)
    sys.wait_until(function() return kept(e) == 0 end, 40, "trimmed")
    assert.equal(60, #(archived(s)))
    assert.equal(0, (verify(s)))
    e:stop()
    -- A bit in the first header, and one in its content.
    local text = s:read(name)
    s:write(name, text:sub(1, 30) .. string.char((text:byte(31) + 1) % 256) .. text:sub(32))
    local code, v = verify(s)
    assert.equal(1, code)
    assert.matches("damaged at byte 0", v.problems[1].what)
    e = s:start()
    send(s, "E", 5)
    sys.wait_until(function()
      return failure(e):find("damaged at byte 0", 1, true)
    end, 20, "a failure")
    sys.sleep(3)
    assert.equal(5, kept(e))
    e:stop()
    local head = #whole - 40
    s:write(name, text:sub(1, head) .. string.char((text:byte(head + 1) + 1) % 256)
      .. text:sub(head + 2))
    assert.equal(1, (verify(s)))
  end)

  it("a store that was restored begins again: what comes then is archived, too", function()
    local s = new_site()
    local e = s:start()
    local copy = tmp.dir() .. "/copy"
    send(s, "F", 10)
    assert.equal(0, (s:run("backup", copy)))
    send(s, "G", 10)
    sys.wait_until(function() return kept(e) == 0 end, 40, "trimmed")
    e:stop()
    assert.equal(0, (s:run("restore", copy, "--force")))
    e = s:start()
    send(s, "H", 10)
    sys.wait_until(function() return kept(e) == 0 end, 40, "trimmed")
    local ids = {}
    for _, doc in ipairs((archived(s))) do ids[doc.control_id] = (ids[doc.control_id] or 0) + 1 end
    for _, id in ipairs(traffic.ids("H", 10)) do assert.equal(1, ids[id]) end
    for _, id in ipairs(traffic.ids("G", 10)) do assert.equal(1, ids[id]) end
    for _, id in ipairs(traffic.ids("F", 10)) do assert.equal(2, ids[id]) end
    local code, v = verify(s)
    assert.equal(0, code)
    assert.equal(1, v.again)
    e:stop()
  end)

  it("a channel may have an archive of its own, or none", function()
    local s = new_site()
    s:write("channels/none.lua", ([[return channel { archive = false,
      retention = { days = %.7f }, source = mllp.listen { port = %d } }]]):format(DAYS,
      net.free_port()))
    local e = s:start()
    local none = tonumber(s:read "channels/none.lua":match "port = (%d+)")
    send(s, "I", 5)
    send({ port = none }, "J", 5)
    sys.wait_until(function() return kept(e) == 0 end, 40, "trimmed")
    assert.equal(5, #(archived(s)))
    s:write("lunate.lua", "return {}")
    assert.equal(0, (s:run "reload"))
    assert.equal(1, (s:run("messages", "--archive")))
    e:stop()
  end)
end)
