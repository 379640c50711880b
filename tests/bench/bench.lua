-- bench.lua [PART...] [--markdown]: measures Lunate side by side with what it can be compared with,
-- on this machine, in one run: numbers from different times or machines mean little, ratios within
-- a run mean much. Parts: a b c d e tls seal trim reload size repl message (all). QUICK=1 in the
-- environment: shorter and rougher.
package.path = "tests/?.lua;" .. package.path
local rig = require "bench.rig"
local report = require "bench.report"
local parts = require "bench.parts"
local site = require "support.site"

local order, wanted = { "a", "b", "c", "d", "e", "tls", "seal", "trim", "reload", "size", "repl",
  "message" }, {}
for _, word in ipairs(arg) do
  if word == "--markdown" then
    report.markdown = true
  elseif parts[word] then
    wanted[#wanted + 1] = word
  else
    io.stderr:write(("bench: no part %q; there are: %s\n"):format(word, table.concat(order, " ")))
    os.exit(2)
  end
end
if #wanted == 0 then wanted = order end
if os.getenv "QUICK" then
  rig.quick, rig.seconds, rig.repeats = true, 0.5, 3
end

local function machine()
  local f = io.open "/proc/loadavg"
  local load = f and f:read "*l" or ""
  if f then f:close() end
  local cores = io.popen "nproc"
  local n = cores:read "*l"
  cores:close()
  report.note("%s cores, load %s before", n, load:match "^%S+ %S+ %S+" or "?")
end

local ok, err = xpcall(function()
  rig.prepare()
  machine()
  for _, name in ipairs(wanted) do parts[name]() end
end, debug.traceback)
report.clear()
pcall(site.cleanup)
if not ok then
  io.stderr:write("bench: ", tostring(err), "\n")
  os.exit(1)
end
