-- Part `message`: the message object beside python3-hl7 (Debian) and npm's node-hl7-client,
-- simple-hl7 and hl7-standard, in turn, on one core, where they are installed (NODE_PATH says
-- where npm's are); and the structural index beside bare loops.
local rig = require "bench.rig"
local report = require "bench.report"
local samples = require "bench.samples"
local tmp = require "support.tmp"
local proc = require "support.proc"

local ROUNDS = 3
local lib = (os.getenv "LUNATE" or "build/lunate"):match "^(.*)/[^/]*$" .. "/release/liblunate.so"

-- Output of a command on one core; "" when it cannot run.
local function run(...)
  local words = { "taskset", "-c", "0", ... }
  words.env = { LUNATE_LIB = lib, LD_LIBRARY_PATH = lib:match "^(.*)/" }
  words.timeout = 300
  local status, out = proc.run(words)
  return status == 0 and out or ""
end

local function seconds() return rig.quick and "0.3" or "1" end

-- Each takes "adt" or "oru" and gives two rates, or nothing: parse; parse, read 5, set 2, write.
local function other(...)
  local words = { ... }
  return function(kind, files)
    local line = { unpack(words) }
    line[#line + 1], line[#line + 2] = files[kind], seconds()
    local a, b = run(unpack(line)):match "(%d+) (%d+)"
    return tonumber(a), tonumber(b)
  end
end

local function lunate(kind)
  local out, name = run("luajit", "tests/bench/message.lua", seconds()), kind:upper()
  local function rate(what) return tonumber(out:match("\n" .. name .. ": " .. what .. " +[%d.]+ us +(%d+)")) end
  return rate "parse alone", rate "parse, read 5, set 2, serialise", out
end

local libraries = {
  { "Lunate", lunate },
  { "python3-hl7", other("/usr/bin/python3", "tests/bench/others.py") },
  { "node-hl7-client", other("node", "tests/bench/others.js", "node-hl7-client") },
  { "simple-hl7", other("node", "tests/bench/others.js", "simple-hl7") },
  { "hl7-standard", other("node", "tests/bench/others.js", "hl7-standard") },
}

local function best(a, b) return a and math.max(a, b or 0) or b end

-- rates[name .. kind] = { parse, all }
local function measure(files)
  local rates, text = {}, ""
  for round = 1, ROUNDS do
    for _, l in ipairs(libraries) do
      for _, kind in ipairs { "adt", "oru" } do
        report.progress(("%s, %s, %d of %d"):format(l[1], kind, round, ROUNDS))
        local r = rates[l[1] .. kind] or {}
        rates[l[1] .. kind] = r
        local parse, all, out = l[2](kind, files)
        r[1], r[2] = best(r[1], parse), best(r[2], all)
        text = out or text
      end
    end
  end
  report.clear()
  return rates, text
end

local function row(name, rates)
  local cells = { name }
  for _, kind in ipairs { "adt", "oru" } do
    for i = 1, 2 do
      local rate, ours = rates[name .. kind][i], rates["Lunate" .. kind][i]
      cells[#cells + 1] = rate and report.count(rate) or "not installed"
      if i == 2 then cells[#cells + 1] = rate and ("%.1f"):format(ours / rate) or "" end
    end
  end
  return cells
end

local function index_table()
  local exe = "build/bench/bench_index"
  local status, _, err = proc.run { "gcc", "-std=c11", "-D_GNU_SOURCE", "-O2", "-Icore", "-o", exe,
    "tests/bench/bench_index.c", "-L" .. lib:match "^(.*)/", "-llunate" }
  if status ~= 0 then error(err) end
  local rows = {}
  local out = run(exe, seconds())
  for line in out:gmatch "[^\n]+" do
    local name, us, gb, ratio = line:match "^  (.-)  +([%d.]+) us +([%d.]+) GB/s(.*)$"
    rows[#rows + 1] = name and { name, us, gb, ratio:match "([%d.]+) of" or "" } or { line, "", "", "" }
  end
  report.table("The structural index of a 10 KB ORU", { "", "us", "GB/s", "of the bare loop" }, rows)
end

return function()
  local files = { adt = tmp.write("build/bench/adt_1k.hl7", samples.adt),
    oru = tmp.write("build/bench/oru_10k.hl7", samples.oru) }
  local rates, text = measure(files)
  local rows = {}
  for i, l in ipairs(libraries) do rows[i] = row(l[1], rates) end
  report.table(("Messages/s, one core: parse; and parse, read 5, set 2, write (ADT %d, ORU %d bytes)")
    :format(#samples.adt, #samples.oru), { "", "ADT parse", "ADT all", "Lunate is x",
    "ORU parse", "ORU all", "Lunate is x" }, rows)
  local costs = {}
  for name, us in text:gmatch "\n([rsw][^\n]-)  +([%d.]+) us" do costs[#costs + 1] = { name, us } end
  report.table("One call, from Lua", { "", "us" }, costs)
  for note in text:gmatch "\n(memory [^\n]+)" do report.note("%s", note) end
  index_table()
end
