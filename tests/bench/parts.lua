-- The parts of the benchmark, by name: what each of them compares stands at its head.
local rig = require "bench.rig"
local report = require "bench.report"
local json = require "support.json"
local proc = require "support.proc"
local sys = require "support.sys"
local net = require "support.net"
local site = require "support.site"
local count, ms, spread = report.count, report.ms, report.spread

local M = {}

local function row(name, s, ...)
  return { name, count((rig.of(s, "rate"))), ms((rig.of(s, "p50"))), ms((rig.of(s, "p99"))),
    ("%.1f"):format((rig.of(s, "cpu"))), ... }
end

--- The durable relay against a server that only acknowledges, one that only stores (LMDB, group
-- commit), and one stop-and-wait wire straight to the receiver.
function M.a()
  local ack = rig.server "bench_ack"
  local lmdb = rig.server("bench_lmdb", rig.dir() .. "/db")
  local one, eight = rig.engine(1), rig.engine(8)
  local wire = rig.series("wire", 8000, { connections = 1 })
  local acks = rig.series("ack only, 64", 60000, { to = ack, connections = 64 })
  local list, stores, relays = { wire, acks }, {}, {}
  for _, n in ipairs { 1, 16, 64, 256 } do
    stores[n] = rig.series("LMDB only, " .. n, 2000 * math.sqrt(n), { to = lmdb, connections = n })
    relays[n] = rig.series("relay, 1 x " .. n, 2000, { to = one, connections = n })
    list[#list + 1] = stores[n]
    list[#list + 1] = relays[n]
  end
  local wide = rig.series("relay, 8 x 8", 5000, { to = eight, connections = 64 })
  list[#list + 1] = wide
  rig.rounds(list, report.progress)
  report.clear()
  local rows = { row("one stop-and-wait wire", wire), row("acknowledge only, 64 conns", acks) }
  local function versus(s, store)
    return spread("%.2f", rig.ratio(s, store)), spread("%.2f", rig.ratio(s, wire))
  end
  for _, n in ipairs { 1, 16, 64, 256 } do
    rows[#rows + 1] = row(("LMDB only, %d conns"):format(n), stores[n])
  end
  for _, n in ipairs { 1, 16, 64, 256 } do
    rows[#rows + 1] = row(("relay, 1 channel, %d conns"):format(n), relays[n],
      versus(relays[n], stores[n]))
  end
  rows[#rows + 1] = row("relay, 8 channels x 8 conns", wide, versus(wide, stores[64]))
  report.table("(a) Durable relay", { "1 KB ADT", "messages/s", "ACK p50 ms", "p99 ms",
    "CPU us/msg", "of LMDB only", "of the wire" }, rows)
  report.note("Relay: delivered messages. CPU of the server alone: hub %.1f + workers %.1f us "
    .. "(8 x 8), hub %.1f + worker %.1f us (1 x 64); one receive and one send cost %.1f us.",
    (rig.of(wide, "hub")), (rig.of(wide, "worker")), (rig.of(relays[64], "hub")),
    (rig.of(relays[64], "worker")), (rig.of(acks, "cpu")))
  for _, e in ipairs { ack, lmdb, one, eight } do rig.stop(e) end
end

--- The acknowledgement's latency in units of one fdatasync on the same disk.
function M.b()
  local e, exe = rig.engine(1), rig.compile "bench_sync"
  local relay = rig.series("relay, 1 connection", 1500, { to = e, connections = 1 })
  local syncs, rows, ratios = {}, {}, {}
  for round = 0, rig.repeats do
    report.progress(("one connection and raw syncs  round %d of %d"):format(round, rig.repeats))
    relay(round == 0)
    local _, out = proc.run { exe, e.site.path, "500" }
    if round > 0 then syncs[round] = json.decode(out) end
  end
  report.clear()
  for i, s in ipairs(syncs) do
    ratios[i] = relay.runs[i].p50 / s.p50_us
    rows[i] = { tostring(i), ("%.0f"):format(s.p50_us), ("%.0f"):format(relay.runs[i].p50),
      ("%.2f"):format(ratios[i]), ("%.0f"):format(relay.runs[i].p99) }
  end
  report.table("(b) One connection, in units of one sync", { "round", "fdatasync p50 us",
    "ACK p50 us", "ACK in syncs", "ACK p99 us" }, rows)
  report.note("ACK p50 in syncs: %s", spread("%.2f", rig.median(ratios)))
  rig.stop(e)
end

local function against_first(rows, list, keys)
  for i, s in ipairs(list) do
    for _, key in ipairs(keys) do
      rows[i][#rows[i] + 1] = spread("%.2f", rig.ratio(s, list[1], key))
    end
  end
end

--- The same rate over more and more channels; the number of connections stays.
function M.c()
  local list, rows, rate = {}, {}, rig.quick and 500 or 1000
  local numbers = rig.quick and { 1, 10, 100 } or { 1, 10, 100, 1000 }
  local engines = {}
  for i, n in ipairs(numbers) do
    report.progress(("starting %d channels"):format(n))
    local began = sys.now()
    engines[i] = rig.engine(n)
    engines[i].started = sys.now() - began
    list[i] = rig.series(n .. " channels", rate, { to = engines[i], connections = 1000,
      rate = rate })
  end
  rig.rounds(list, report.progress)
  report.clear()
  for i, s in ipairs(list) do
    local e, workers = engines[i], engines[i].run:workers()
    rows[i] = row(count(numbers[i]), s, ("%.1f"):format((rig.of(s, "hub"))),
      ("%.1f"):format(rig.rss(e.pid)), ("%.1f"):format(rig.rss(workers[#workers])),
      ("%.2f"):format(e.run.ready_s))
  end
  against_first(rows, list, { "rate" })
  report.table(("(c) %s messages/s over more channels, 1,000 connections"):format(count(rate)),
    { "channels", "messages/s", "ACK p50 ms", "p99 ms", "CPU us/msg", "hub us", "hub MB",
      "a worker MB", "ready s", "rate, of the first" }, rows)
  for _, e in ipairs(engines) do rig.stop(e) end
end

--- Idle connections beside busy ones.
function M.d()
  local numbers = rig.quick and { 1, 100, 1000 } or { 1, 100, 1000, 10000 }
  local list, rows, engines = {}, {}, {}
  for i in ipairs(numbers) do
    engines[i] = rig.engine(1)
    engines[i].before = rig.rss(engines[i].pid)
  end
  for i, n in ipairs(numbers) do -- with all engines there: making one closes what is open
    report.progress(("opening %d connections"):format(n))
    local port = tonumber(engines[i].first:match "%d+$")
    for _ = 1, n do assert(net.connect(port)) end
    sys.wait_until(function() return engines[i].run:channel "c0001".connections == n end, 20)
    engines[i].after = rig.rss(engines[i].pid)
    list[i] = rig.series(n .. " idle", 5000, { to = engines[i], connections = 16 })
  end
  rig.rounds(list, report.progress)
  report.clear()
  for i, s in ipairs(list) do
    local e = engines[i]
    local left
    local ok = pcall(sys.wait_until, function()
      left = e.run:channel "c0001".connections
      return left == numbers[i]
    end, 5)
    assert(ok, ("%s of %d idle connections are left"):format(tostring(left), numbers[i]))
    rows[i] = row(count(numbers[i]), s, ("%.1f"):format(e.after),
      ("%.0f"):format((e.after - e.before) * 1024 * 1024 / numbers[i]))
  end
  against_first(rows, list, { "rate", "p50" })
  report.table("(d) Idle connections beside 16 busy ones", { "idle", "messages/s", "ACK p50 ms",
    "p99 ms", "CPU us/msg", "hub MB", "bytes each", "rate, of the first", "p50, of the first" },
    rows)
  net.cleanup()
  for _, e in ipairs(engines) do rig.stop(e) end
end

--- A store that holds more and more already.
function M.e()
  local unit = rig.quick and 500 or 2000
  local list, rows, engines = {}, {}, {}
  for i, times in ipairs { 1, 10, 100 } do
    report.progress(("filling with %d messages"):format(unit * times))
    engines[i] = rig.engine(1)
    engines[i].held = unit * times
    rig.measure { to = engines[i], connections = 64, n = unit * times }
    list[i] = rig.series(unit * times .. " held", 4000, { to = engines[i], connections = 16 })
  end
  rig.rounds(list, report.progress)
  report.clear()
  for i, s in ipairs(list) do
    local st = engines[i].run:status().store
    rows[i] = row(count(engines[i].held), s, ("%.0f"):format(st.bytes / 1048576))
  end
  against_first(rows, list, { "rate", "p50" })
  report.table("(e) A store that holds more, 16 connections", { "held at first", "messages/s",
    "ACK p50 ms", "p99 ms", "CPU us/msg", "MB at the end", "rate, of the first",
    "p50, of the first" }, rows)
  for _, e in ipairs(engines) do rig.stop(e) end
end

-- The relay through `other` against the same through an engine in clear, in turns.
local function against_clear(title, name, messages, other)
  local clear = rig.engine(1)
  local list, rows = {}, {}
  for _, n in ipairs { 1, 64 } do
    list[#list + 1] = rig.series(n .. " in clear", messages, { to = clear, connections = n })
    list[#list + 1] = rig.series(n .. " " .. name, messages, { to = other, connections = n })
  end
  rig.rounds(list, report.progress)
  report.clear()
  for i, s in ipairs(list) do
    rows[i] = row(s.name, s, ("%.1f"):format((rig.of(s, "hub"))),
      i % 2 == 0 and spread("%.2f", rig.ratio(s, list[i - 1])) or "")
  end
  report.table(title, { "connections", "messages/s", "ACK p50 ms", "p99 ms", "CPU us/msg", "hub us",
    "of clear" }, rows)
  rig.stop(clear)
  rig.stop(other)
end

--- Mutual TLS on both sides. Sender's and receiver's cryptography runs on the same machine.
function M.tls()
  against_clear("(tls) Durable relay, mutual TLS in and out", "with TLS", 2000,
    rig.engine(1, rig.certificates()))
end

--- An encrypted store.
function M.seal()
  against_clear("(seal) Durable relay, the store encrypted at rest", "encrypted", 4000,
    rig.engine(1, nil, true))
end

--- Retention at work while messages come.
function M.trim() require "bench.trim"() end

--- Reloads under load.
function M.reload() require "bench.reload"() end

--- How small and how soon: the demo site.
function M.size()
  local files, ready, hub, worker = {}, {}, {}, {}
  local list = io.popen "cd scripts/hospital-a && find . -type f ! -path './data/*'"
  for path in list:lines() do
    local f = assert(io.open("scripts/hospital-a/" .. path, "rb"))
    files[path:sub(3)] = f:read "*a"
    f:close()
  end
  list:close()
  for i = 1, 2 * rig.repeats do
    local s = site.new(files, { base = "build/bench" })
    local env = {}
    for _, name in ipairs { "ADT_PORT", "LAB_PORT", "ORU_PORT", "EHR_PORT" } do
      env[name] = tostring(net.free_port())
    end
    local e = s:start { env = env }
    ready[i] = e.ready_s * 1000
    sys.sleep(0.2)
    hub[i] = rig.rss(e.pid)
    worker[i] = 0
    for _, pid in ipairs(e:workers()) do worker[i] = math.max(worker[i], rig.rss(pid)) end
    e:stop()
  end
  report.table("Size and start, demo site", { "", "median", "least", "greatest" }, {
    { "start to ready, ms",
      ("%.0f %.0f %.0f"):format(rig.median(ready)):match "(%S+) (%S+) (%S+)" },
    { "hub resident, MB", ("%.1f %.1f %.1f"):format(rig.median(hub)):match "(%S+) (%S+) (%S+)" },
    { "worker resident, MB",
      ("%.1f %.1f %.1f"):format(rig.median(worker)):match "(%S+) (%S+) (%S+)" },
  })
end

--- The message object, beside other libraries where they are installed.
function M.message() require "bench.object"() end

--- The REPL's prompt, beside those of interpreters.
function M.repl() require "bench.prompt"() end

return M
