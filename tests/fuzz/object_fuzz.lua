-- The message object as a script may misuse it (object_fuzz.c). The input is a script for a small
-- machine: it holds values (messages, handles, texts, numbers) and calls whatever there is on them,
-- with arguments of any kind. Whatever happens, an error is a text, and every message still is one:
-- its wire form reads as itself, and so does a copy's.
local hl7 = require "hl7"

local samples = {
  "MSH|^~\\&|A|B|C|D|20260101||ADT^A01^ADT_A01|1|P|2.5.1\rEVN|A01\rPID|1||1^^^A~2^^^B||DOE^J&X|\"\"\r"
    .. "PV1|1|I\rOBX|1|ST|X||\\F\\a\\X41\\\rOBX|2|NM|Y||7\rZZ1|a|b\r",
  "MSH$%*!?$A$B$C$D$2026$$ORU%R01$2$P$2.3$$$$$$8859/1\rPID$1$$7%%*8$$M\252LLER%J\rOBR$1\rOBX$1$FT$$$!F!x!Z1!\r",
  "MSH|^~\\&|||||||ORM^O01|3|P|2.4||||||~ISO IR87\rPID|||1||\27$B;3ED\27(B^\27$BB@O:\27(B\rORC|NW\rOBR|1\r",
  "MSH|^\rPID|||x^y\r",
  "BHS|^~\\&|A\rMSH|^~\\&|B\rBTS|1\r",
}
local paths = { "PID-5.1", "PID-3[2].1", "OBX[2]-5", "MSH-2", "MSH-18", "ZZ1-2", "PID", "OBX[*]-5",
  "PID-3[*]", "PID-5", "MSH-9.3", "ZZZ-9[3].4.5", "PID-", "pid-5", "", "PID-0", "OBX[0]-1", "5.1", "5",
  "value", "segment_name", "patient_name", "family_name", "type", "version", "ORDER_OBSERVATION",
  "PATIENT_RESULT", "rep", "each", "\0", "PID-99999999", "OBX[99999998]-1", "PID-5[1001]", "MSH-1" }
local names = { "PID", "OBX", "ZZ9", "MSH", "pid", "BHS", "NTE", "", "PIDX", "8859/1", "ISO IR87",
  "UNICODE UTF-8", "GB 18030-2000", "ASCII" }
local texts = { "x", "", hl7.null, "a|b^c~d\\e&f", "\r\n", "M\195\188ller", "\255\254", "\27$B;3ED\27(B",
  "\230\151\165\230\156\172", ("y"):rep(2000), "\\X0D\\", "#", "^", "\0", "$%*!?" }
local methods = { "raw", "set_raw", "all", "each", "add", "remove", "move", "copy", "delimiters", "ack",
  "charset", "convert", "groups", "tree", "validate", "rep", "insert", "segments", "upper", "sub" }
local calls = { hl7.parse, hl7.new, hl7.escape, hl7.unescape }
local acks = { { code = "AE", text = "x|y" }, { code = 1 }, {}, { charset = "ASCII" },
  { force = "8859/1" }, { type = "ADT" }, { type = "A", delimiters = "$%*!?" }, { substitute = "?" } }

local function machine(data)
  local at, values = 0, {}
  local function byte()
    at = at + 1
    return data:byte(at) or 0
  end
  local function pick(list) return list[byte() % #list + 1] end
  local function value()
    local kind = byte() % 12
    if kind < 5 and #values > 0 then return pick(values) end
    if kind == 5 then return nil end
    if kind == 6 then return byte() - 3 end
    if kind == 7 then return pick { true, 0.5, 0 / 0, 1 / 0, 2 ^ 40, -1 } end
    if kind == 8 then return pick(names) end
    if kind == 9 then return pick(acks) end
    return kind == 10 and pick(paths) or pick(texts)
  end
  return { byte = byte, pick = pick, value = value, values = values,
    more = function() return at < #data end }
end

local function keep(vm, v)
  if type(v) == "userdata" or type(v) == "table" and getmetatable(v) == "group" then
    vm.values[#vm.values < 24 and #vm.values + 1 or vm.byte() % 24 + 1] = v
  elseif type(v) == "function" then
    for _ = 1, 3 do
      local ok, item = pcall(v)
      if not ok or item == nil then break end
      if type(item) == "userdata" then keep(vm, item) end
    end
  end
end

local steps = {
  function(vm) keep(vm, hl7.parse(vm.pick(samples))) end,
  function(vm) keep(vm, vm.value()[vm.value()]) end,
  function(vm) vm.value()[vm.pick(paths)] = vm.value() end,
  function(vm) vm.value()[vm.value()] = vm.value() end,
  function(vm)
    local on = vm.value()
    local a, b = on[vm.pick(methods)](on, vm.value(), vm.value())
    keep(vm, a)
    keep(vm, b)
  end,
  function(vm) keep(vm, vm.value()[vm.pick(methods)](vm.value(), vm.value(), vm.value())) end,
  function(vm) keep(vm, vm.pick(calls)(vm.value(), vm.value())) end,
  function(vm) return #vm.value(), tostring(vm.value()), vm.value() == vm.value() end,
  function(vm) return vm.value() .. vm.value() end,
  function(vm) keep(vm, vm.value()[vm.pick(paths)]) end,
}

local function check_error(err)
  assert(type(err) == "string", "an error that is no text")
  assert(#err < 1000, "a long error: " .. err:sub(1, 120))
  assert(not err:find "^lunate/", err)
end

local function check_message(m)
  local wire = tostring(m)
  local again = assert(hl7.parse(wire))
  assert(tostring(again) == wire, "the wire form reads as something else")
  assert(tostring(m:copy()) == wire, "a copy is something else")
  local list = {}
  for segment in m:each() do list[#list + 1] = segment:raw() end
  assert(#list == #m)
  local ok, tree = pcall(m.tree, m) -- groups hold every segment, in order
  if not ok then return end
  for i, segment in ipairs(tree:segments()) do assert(segment:raw() == list[i]) end
  assert(#tree:segments() == #list)
end

return function(data)
  local vm = machine(data)
  keep(vm, hl7.parse(vm.pick(samples)))
  keep(vm, hl7.parse(vm.pick(samples)))
  for _ = 1, 60 do
    if not vm.more() then break end
    local ok, err = pcall(vm.pick(steps), vm)
    if not ok then check_error(err) end
  end
  for _, v in ipairs(vm.values) do
    if getmetatable(v) == "message" then check_message(v) end
  end
end
