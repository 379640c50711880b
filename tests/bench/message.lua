-- message.lua [SECONDS]: what the message object costs, from Lua, JIT off as in a worker.
--   LUNATE_LIB=build/release/liblunate.so luajit tests/bench/message.lua
jit.off()
local open = assert(package.loadlib(assert(os.getenv "LUNATE_LIB"), "ln_message_open"))
local hl7 = open()
local seconds = tonumber(arg and arg[1]) or 1

local adt = table.concat({
  "MSH|^~\\&|ADT1|GOOD HEALTH HOSPITAL|GHH LAB|GOOD HEALTH HOSPITAL|202611231319||ADT^A01^ADT_A01|"
    .. "MSG00001|P|2.5.1|||AL|NE",
  "EVN|A01|202611231319||||202611231310",
  "PID|1||000010016^^^GHH^MR~999-00-1111^^^SSA^SS||EVERYWOMAN^EVE^E^JR^DR^MD||19620320|F|||"
    .. "153 FERNWOOD DR^^STATESVILLE^OH^35292^USA||(206)555-5309^PRN^PH~(206)555-1234^ORN^CP|"
    .. "(919)555-2525^WPN^PH|EN|S|CAT|444-33-3333|987654^NC||||||||||N",
  "NK1|1|EVERYMAN^ADAM^A|SPO^SPOUSE|2222 HOME STREET^^STATESVILLE^OH^35292|(206)555-5309",
  "NK1|2|EVERYWOMAN^MARY^B|MTH^MOTHER|2222 HOME STREET^^STATESVILLE^OH^35292|(206)555-5310",
  "PV1|1|I|2000^2012^01^GHH||||004777^ATTEND^AARON^A^^DR|005888^REFER^RITA^R^^DR|||SUR||||ADM|A0"
    .. "|||V1|||||||||||||||||||||||||202611231300",
  "AL1|1||^PENICILLIN||PRODUCES HIVES~RASH",
  "AL1|2||^CAT DANDER",
  "DG1|001|I9|1550|MAL NEO LIVER, PRIMARY|19880501103005|F",
  "PR1|2234|M11|111^CODE151|COMMON PROCEDURES|198809081123",
  "GT1|1122|1519|EVERYWOMAN^EVE^E||153 FERNWOOD DR^^STATESVILLE^OH^35292",
  "",
}, "\r")

local oru = { (adt:gsub("ADT%^A01%^ADT_A01", "ORU^R01^ORU_R01")) }
for i = 1, 115 do
  oru[#oru + 1] = ("OBX|%d|NM|718-7^Hemoglobin^LN||13.%d|g/dL|12.0-16.0|N|||F|||20261123%04d\r")
    :format(i, i, i)
end
oru = table.concat(oru)

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
