-- Retention at work while messages come: time to the ACK at 64 connections while a store of many old
-- messages is trimmed, against the same without trimming, in turns within one run.
local rig = require "bench.rig"
local report = require "bench.report"
local site = require "support.site"
local proc = require "support.proc"
local net = require "support.net"

local channel = [[
return channel {
  source = mllp.listen { port = %d, max_connections = 200 }, %s
  transform = function(msg) msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper() end,
  destinations = { lab = mllp.send { host = "127.0.0.1", port = %d } },
}]]

-- A data folder with n old messages of 1 KB in channel c1, all of them delivered.
local function fill(s, n)
  local exe = "build/bench/store_bench"
  local lib = os.getenv "LUNATE_LIB" or "build/release/liblunate.so"
  local status, _, err = proc.run { "gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-pthread", "-Icore", "-o", exe,
    "tests/store/bench.c", lib, "-Wl,-rpath,$ORIGIN/../release" }
  if status ~= 0 then error(err) end
  status, _, err = proc.run { exe, "-o", 3, "-n", n, "-f", 4000, "-d", s.path .. "/data", timeout = 600 }
  if status ~= 0 then error(err) end
end

return function()
  local n = rig.quick and 100000 or 500000
  local port, out = net.free_port(), net.free_port()
  local s = site.new({}, { base = "build/bench" })
  local function write(retention) s:write("channels/c1.lua", channel:format(port, retention, out)) end
  write ""
  os.execute("mkdir -p -m 0700 " .. s.path .. "/data")
  report.progress(("a store of %d messages"):format(n))
  fill(s, n)
  local run = s:start { timeout = 120 }
  local e = { run = run, pid = run.pid, out = out, site = s, targets = "127.0.0.1:" .. port }
  local quiet, busy, gone = { runs = {} }, { runs = {} }, 0
  local count = rig.quick and 2000 or 6000
  rig.measure { to = e, n = 2000, connections = 64 }
  for _ = 1, rig.repeats do
    for _, trims in ipairs { false, true } do
      write(trims and "retention = { mb = 1 }," or "")
      local before = run:status().store.messages
      site.must(s, "reload")
      local r = rig.measure { to = e, n = count, connections = 64 }
      table.insert((trims and busy or quiet).runs, r)
      if trims then gone = gone + before + count - run:status().store.messages end
    end
  end
  rig.stop(e)
  local rows = {}
  for i, list in ipairs { quiet, busy } do
    rows[i] = { i == 1 and "no trimming" or "while it trims", report.count((rig.of(list, "rate"))),
      report.ms((rig.of(list, "p50"))), report.ms((rig.of(list, "p99"))) }
  end
  report.table("Retention at work: 64 connections", { "", "messages/s", "ACK p50 ms", "p99 ms" }, rows)
  report.note("%s of %s old messages trimmed meanwhile; p99 while trimming %s of that without",
    report.count(gone), report.count(n), report.spread("%.2f", rig.ratio(busy, quiet, "p99")))
end
