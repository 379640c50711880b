-- message.lua [SECONDS]: what the message object costs, from Lua, JIT off as in a worker.
--   LUNATE_LIB=build/release/liblunate.so luajit tests/bench/message.lua
jit.off()
local open = assert(package.loadlib(assert(os.getenv "LUNATE_LIB"), "ln_message_open"))
local hl7 = open()
local seconds = tonumber(arg and arg[1]) or 1

package.path = "tests/?.lua;" .. package.path
local samples = require "bench.samples"
local adt, oru = samples.adt, samples.oru

--- The best of many short runs: other work on the machine only ever adds.
local function measure(name, fn)
  fn(1000)
  collectgarbage()
  local best, stop = math.huge, os.clock() + seconds
  repeat
    local start = os.clock()
    fn(20000)
    best = math.min(best, (os.clock() - start) / 20000 * 1e6)
  until os.clock() > stop
  print(("%-54s %9.3f us %12.0f /s"):format(name, best, 1e6 / best))
end

print(("ADT %d bytes, ORU %d bytes"):format(#adt, #oru))
local five_two = function(bytes)
  return function(n)
    for _ = 1, n do
      local m = hl7.parse(bytes)
      local a, b, c = m["PID-5.1"], m["PID-3.1"], m["MSH-10"]
      local d, e = m["PV1-3.1"], m["PID-7"]
      m["PID-5.1"] = "SMITH"
      m["PV1-19"] = "V2"
      if #tostring(m) < 5 then print(a, b, c, d, e) end
    end
  end
end
measure("ADT: parse, read 5, set 2, serialise", five_two(adt))
measure("ORU: parse, read 5, set 2, serialise", five_two(oru))
measure("ADT: parse alone", function(n) for _ = 1, n do hl7.parse(adt) end end)
measure("ORU: parse alone", function(n) for _ = 1, n do hl7.parse(oru) end end)
local m = hl7.parse(adt)
measure('read msg["PID-5.1"]', function(n) for _ = 1, n do local _ = m["PID-5.1"] end end)
measure("read msg.type", function(n) for _ = 1, n do local _ = m.type end end)
measure("read msg.PID[5][1].value", function(n) for _ = 1, n do local _ = m.PID[5][1].value end end)
measure("read msg.PID.patient_name.family_name.value", function(n)
  for _ = 1, n do local _ = m.PID.patient_name.family_name.value end
end)
measure('set msg["PID-5.1"]', function(n)
  for i = 1, n do m["PID-5.1"] = i % 2 == 0 and "A" or "B" end
end)
m = hl7.parse(oru)
measure('walk an OBX, read obx["5"]', function(n)
  for _ = 1, n / 115 do for obx in m:each "OBX" do local _ = obx["5"] end end
end)

-- Memory, with every field looked at.
local kept = {}
collectgarbage()
local before = collectgarbage "count"
for i = 1, 100 do
  kept[i] = hl7.parse(oru)
  for seg in kept[i]:each() do if #seg > 10000 then print "?" end end
end
collectgarbage()
print(("memory of a parsed ORU, all fields indexed: %.2f times its size")
  :format((collectgarbage "count" - before) * 1024 / 100 / #oru))

-- What reading leaves behind, beside strings: nothing, when the strings are there already.
m = hl7.parse(adt)
local names = { "PID-5.1", "PID-3[2].1", "MSH-10", "PV1-3.1", "PID-40" }
for _, path in ipairs(names) do names[path] = m[path] or "" end
collectgarbage()
collectgarbage "stop"
before = collectgarbage "count"
for _ = 1, 20000 do
  for i = 1, #names do local _ = m[names[i]] end
end
print(("memory that 100,000 field reads take, strings aside: %d bytes")
  :format((collectgarbage "count" - before) * 1024))
