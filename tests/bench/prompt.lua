-- Part "repl": how long until a prompt stands in the terminal (bench_prompt.c), beside that of other
-- interpreters, in turns. A process that does nothing shows what starting one costs here.
local proc = require "support.proc"
local site = require "support.site"
local rig = require "bench.rig"
local report = require "bench.report"

local channel = [[
return channel {
  source = mllp.listen { port = %d },
  transform = function(msg) msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper() end,
  destinations = { lab = mllp.send { host = "127.0.0.1", port = 9 } },
}
]]

local function new_site()
  local port = require("support.net").free_port()
  return site.new({ ["channels/adt.lua"] = channel:format(port),
    ["samples/adt.hl7"] = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rPID|1||7||DOE^EVE\r" },
    { base = "build/bench" })
end

local function there(program)
  return proc.run { "sh", "-c", "command -v " .. program .. " >/dev/null" } == 0
end

return function()
  local exe, lunate, home = rig.compile "bench_prompt", site.binary(), rig.dir()
  local empty, idle, busy = rig.dir(), new_site(), new_site()
  local engine = busy:start()
  local list = { { "a process that does nothing", "", "true" } }
  for _, other in ipairs { { "luajit", "> " }, { "/usr/bin/python3", ">>> " } } do
    if there(other[1]) then
      list[#list + 1] = { other[1]:match "[^/]*$" .. " -i", other[2], other[1], "-i" }
    end
  end
  local base = 2
  for _, l in ipairs { { "lunate repl, no site", empty, "lunate> " },
    { "lunate repl, a site", idle.path, "adt> " },
    { "lunate repl, its engine runs", busy.path, "adt> " } } do
    list[#list + 1] = { l[1], l[3], lunate, "-C", l[2], "repl" }
  end
  local took = {}
  for round = 1, rig.quick and 5 or 21 do
    for i, what in ipairs(list) do
      report.progress(what[1])
      local words = { exe, unpack(what, 2) }
      words.env = { HOME = home, XDG_STATE_HOME = home, TERM = "xterm", NO_COLOR = "1" }
      local status, out, err = proc.run(words)
      if status ~= 0 then error(err) end
      took[i] = took[i] or {}
      took[i][round] = tonumber(out)
    end
  end
  report.clear()
  engine:stop()
  local rows = {}
  local nothing = rig.median(took[1])
  for i, what in ipairs(list) do
    local median, least, greatest = rig.median(took[i])
    rows[i] = { what[1], ("%.1f"):format(median), ("%.1f"):format(least),
      ("%.1f"):format(greatest), i > 1 and ("%.1f"):format(median - nothing) or "",
      i > 1 and ("%.2f"):format(median / rig.median(took[base])) or "" }
  end
  report.table("(repl) Until the prompt, ms", { "", "median", "least", "greatest",
    "above nothing", "of " .. list[base][1] }, rows)
end
