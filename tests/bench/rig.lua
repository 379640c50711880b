-- What the benchmark's parts are made of: programs, an engine with N relay channels, one measured
-- run of the load generator against one of them, numbers out of several runs.
local ffi = require "ffi"
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"
local net = require "support.net"
local json = require "support.json"
local site = require "support.site"
local certs = require "support.certs"

local M = { seconds = 1.5, repeats = 5 }
local here = "build/bench"

--- One ADT message of 1 KB, like those that hospitals send.
local function adt()
  local text = table.concat({
    "MSH|^~\\&|EHR|GENERAL HOSPITAL|LAB|CENTRAL LABORATORY|20260105083000||ADT^A01^ADT_A01|M"
      .. "|P|2.5.1|||AL|NE",
    "EVN|A01|20260105083000||||20260105082500",
    "PID|1||100001^^^GH^MR~999-00-1111^^^SSA^SS||Sample^Paula^Q^^Ms||19620320|F|||"
      .. "12 Example Street^^Springfield^IL^62701^USA||(217)555-0123^PRN^PH~(217)555-0145^ORN^CP|"
      .. "(217)555-0167^WPN^PH|EN|S|CAT|444-33-3333|987654^NC||||||||||N",
    "NK1|1|Sample^Adam^A|SPO^SPOUSE|12 Example Street^^Springfield^IL^62701|(217)555-0123",
    "PV1|1|I|2000^2012^01^GH||||004777^Attend^Aaron^A^^DR|005888^Refer^Rita^R^^DR|||SUR||||ADM|A0"
      .. "|||V1|||||||||||||||||||||||||20260105082500",
    "AL1|1||^PENICILLIN||PRODUCES HIVES~RASH",
    "DG1|001|I9|1550|MAL NEO LIVER, PRIMARY|20260105083000|F",
    "",
  }, "\r")
  return text .. "NTE|1||" .. ("x"):rep(1024 - #text - 8) .. "\r"
end

--- Compiles tests/bench/NAME.c; the program's path.
function M.compile(name)
  local exe = here .. "/" .. name
  local status, _, err = proc.run { "gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-pthread", "-o",
    exe,
    "tests/bench/" .. name .. ".c", "-llmdb" }
  if status ~= 0 then error(err) end
  return exe
end

--- Once, first.
function M.prepare()
  ffi.cdef "int setenv(const char *, const char *, int);"
  ffi.C.setenv("LUNATE", "build/lunate", 0)
  os.execute("mkdir -p " .. here)
  M.file = tmp.write(here .. "/adt.hl7", adt())
end

--- A folder on the disk that the build stands on (/tmp may be memory).
function M.dir() return tmp.dir(here) end

local function wait_ready(p, what)
  sys.wait_until(function() return ("\n" .. p:err()):find "\nready" end, 60, function()
    return "ready from " .. what .. ": " .. p:err()
  end)
end

--- A program that listens on a port and says `ready`: { port, pid, targets }.
function M.server(name, ...)
  local port = net.free_port()
  local p = proc.spawn { M.compile(name), tostring(port), ... }
  wait_ready(p, name)
  return { proc = p, pid = p.pid, port = port, targets = "127.0.0.1:" .. port, name = name }
end

local relay = [[
return channel {
  source = mllp.listen { port = %d, host = "127.0.0.1", max_connections = 20000%s },
  transform = function(msg) msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper() end,
  destinations = { out = mllp.send { host = "127.0.0.1", port = %d%s } },
}
]]

-- Mutual TLS on both sides: a CA, and one certificate for hub, sender and receiver.
local function tls_text(dir)
  return dir and (', tls = { cert = "%s/hub.pem", key = "%s/hub.key", ca = "%s/ca.pem" }')
    :format(dir, dir, dir) or ""
end

--- Certificates in a folder of their own.
function M.certificates()
  local dir = M.dir()
  certs.ca(dir, "ca"):cert "hub"
  return os.getenv "PWD" .. "/" .. dir
end

-- Ports side by side that are free, outside of the range that outgoing connections take.
local next_port = 20000
local function ports(n)
  local list = {}
  while #list < n do
    next_port = next_port + 1
    if not net.connect(next_port, { timeout = 0.5 }) then list[#list + 1] = next_port end
  end
  net.cleanup()
  return list
end

--- An engine with n relay channels that all deliver to one receiver. tls: a folder of certificates.
function M.engine(n, tls, sealed)
  local e = { channels = n, tls = tls, out = net.free_port() }
  local files, targets = {}, {}
  for i, port in ipairs(ports(n)) do
    files[("channels/c%04d.lua"):format(i)] = relay:format(port, tls_text(tls), e.out, tls_text(tls))
    targets[i] = "127.0.0.1:" .. port
  end
  if sealed then
    files["lunate.lua"] = 'return { encryption = { key_command = "echo ' .. ("5a"):rep(32) .. '" } }'
  end
  e.targets = table.concat(targets, ",")
  e.first = targets[1]
  e.site = site.new(files, { base = here })
  e.run = e.site:start { timeout = 60 }
  e.pid = e.run.pid
  return e
end

function M.stop(e)
  if e.run then e.run:stop(60) else e.proc:close() end
  os.execute("rm -rf " .. tmp.quote(e.site and e.site.path or here .. "/none"))
end

-- CPU of a process with all its threads, in us.
local function cpu_of(pid)
  local ns = 0
  local list = io.popen("cat /proc/" .. pid .. "/task/*/schedstat 2>/dev/null")
  for line in list:lines() do ns = ns + tonumber(line:match "^%d+") end
  list:close()
  return ns / 1000
end

--- CPU us so far: hub (or whatever process), its workers.
function M.cpu(e)
  local workers = 0
  if e.run then
    for _, pid in ipairs(e.run:workers()) do workers = workers + cpu_of(pid) end
  end
  return cpu_of(e.pid), workers
end

--- Resident memory in MB.
function M.rss(pid) return (proc.proc_status(pid, "VmRSS") or 0) / 1024 end

local function send(o)
  local argv = { site.binary(), "send", o.targets, M.file, "--json", "--unique-ids",
    "--connections", o.connections, "--count", o.n, timeout = 300 }
  if o.rate then
    argv[#argv + 1] = "--rate"
    argv[#argv + 1] = o.rate
  end
  if o.tls then
    for _, word in ipairs { "--tls", "--ca", o.tls .. "/ca.pem", "--cert", o.tls .. "/hub.pem",
      "--key", o.tls .. "/hub.key" } do argv[#argv + 1] = word end
  end
  local status, out, err = proc.run(argv)
  if status ~= 0 then error("send: " .. tostring(status) .. ": " .. err) end
  return json.decode(out)
end

--- `lunate listen`, which ends after n messages.
function M.receiver(port, n, tls)
  local argv = { site.binary(), "listen", port, "--quiet", "--json", "--count", n }
  if tls then
    for _, word in ipairs { "--tls-cert", tls .. "/hub.pem", "--tls-key", tls .. "/hub.key",
      "--client-ca", tls .. "/ca.pem" } do argv[#argv + 1] = word end
  end
  local p = proc.spawn(argv)
  wait_ready(p, "listen")
  return p
end

--- One run. o: to (engine or server; nil: straight to a receiver), n, connections, rate, targets.
-- Gives rate (delivered, or acknowledged where nothing is delivered), p50 and p99 of the
-- acknowledgement in us, cpu, hub, worker in us a message.
function M.measure(o)
  local e, n, r = o.to, o.n
  if not e then
    e = { port = net.free_port(), wire = true }
    e.targets = "127.0.0.1:" .. e.port
  end
  if e.run or e.wire then r = M.receiver(e.out or e.port, n, e.tls) end
  if e.wire then e.pid = r.pid end
  local hub0, worker0 = M.cpu(e)
  local s = send { targets = o.targets or e.targets, n = n, connections = o.connections,
    rate = o.rate, tls = e.tls }
  local hub1, worker1 = M.cpu(e)
  local result = { sent = s.rate, rate = s.rate, p50 = s.latency_ms.p50 * 1000,
    p99 = s.latency_ms.p99 * 1000 }
  if r then
    if r:wait(120) ~= 0 then error("the receiver waits for messages that don't come") end
    if not e.wire then
      result.rate = json.decode(r:out()).summary.rate
      hub1, worker1 = M.cpu(e)
    end
    r:close()
  end
  result.hub, result.worker = (hub1 - hub0) / n, (worker1 - worker0) / n
  result.cpu = result.hub + result.worker
  return result
end

--- A series measured again and again; each run long enough, by what the one before has shown.
-- guess: messages a second. Call it once a round: it adds to .runs.
function M.series(name, guess, o)
  return setmetatable({ name = name, guess = guess, o = o, runs = {} }, {
    __call = function(self, warming)
      local opt = {}
      for k, v in pairs(self.o) do opt[k] = v end
      opt.n = math.max(math.floor(self.guess * M.seconds * (warming and 0.3 or 1)), 200)
      local result = M.measure(opt)
      self.guess = opt.rate or result.rate
      if not warming then self.runs[#self.runs + 1] = result end
      return result
    end,
  })
end

--- Runs all series in turn, so that what the machine does besides meets them all alike.
function M.rounds(list, say)
  for round = 0, M.repeats do
    for _, s in ipairs(list) do
      say(("%s  round %d of %d"):format(s.name, round, M.repeats))
      s(round == 0)
    end
  end
end

function M.median(list)
  local t = {}
  for i, v in ipairs(list) do t[i] = v end
  table.sort(t)
  local mid = math.floor((#t + 1) / 2)
  return #t % 2 == 1 and t[mid] or (t[mid] + t[mid + 1]) / 2, t[1], t[#t]
end

--- Median, least, greatest of one number of a series' runs.
function M.of(series, key)
  local list = {}
  for i, r in ipairs(series.runs) do list[i] = r[key] end
  return M.median(list)
end

--- The same of the ratio of two series, run by run.
function M.ratio(a, b, key)
  local list = {}
  for i, r in ipairs(a.runs) do list[i] = r[key or "rate"] / b.runs[i][key or "rate"] end
  return M.median(list)
end

return M
