-- What a new channel is made from: its type of message and a sample of it, made up or taken from a
-- file, without what identifies the patient.
local hl7 = require "hl7"
local dictionary = hl7.dictionary
local fail = require "lunate.cli.fail"

local M = {}

local head = "MSH|^~\\&|EHR|GENERAL|LUNATE|GENERAL|20260105083000||%s|SAMPLE0001|P|2.5.1"
local pid = "PID|1||100001^^^GENERAL^MR||Sample^Patient^A||19800101|F|||"
  .. "1 Test Street^^Testville^^00000"
local pv1 = "PV1|1|I|WARD1^101^A||||||||||||||||V0001"
local evn = "EVN|%s|20260105083000"
local obr = "OBR|1|ORD0001|LAB0001|24331-1^Lipid panel^LN|||20260105080000"

-- MSH-9 and the segments behind MSH, by type.
local made = {
  ADT = { "ADT^A01^ADT_A01", evn:format "A01", pid, pv1 },
  ORU = { "ORU^R01^ORU_R01", pid, pv1, obr,
    "OBX|1|NM|2093-3^Cholesterol^LN||182|mg/dL|<200|N|||F",
    "OBX|2|NM|2571-8^Triglyceride^LN||171|mg/dL|<150|H|||F" },
  ORM = { "ORM^O01^ORM_O01", pid, pv1, "ORC|NW|ORD0001", obr },
  OML = { "OML^O21^OML_O21", pid, pv1, "ORC|NW|ORD0001", obr },
  SIU = { "SIU^S12^SIU_S12", "SCH|APP0001||||||ROUTINE^Routine||30|min|^^30^20260106090000", pid,
    pv1, "RGS|1|A", "AIS|1|A|CONSULT^Consultation|20260106090000" },
  MDM = { "MDM^T02^MDM_T02", evn:format "T02", pid, pv1,
    "TXA|1|CN|TX|20260105083000||||||||DOC0001|||||AU",
    "OBX|1|TX|REPORT^Report||No findings.||||||F" },
  DFT = { "DFT^P03^DFT_P03", evn:format "P03", pid, pv1, "FT1|1|||20260105||CG|GLUCOSE^Glucose" },
}

-- ---- types that are not among them: what the structure asks for ---------------------------------

local VERSION = "2.5.1"
local by_name = { PID = pid, PV1 = pv1, OBR = obr, ORC = "ORC|NW|ORD0001" }
local values = { SI = "1", NM = "1", DT = "20260105", TS = "20260105083000", TM = "083000" }

local function value(field)
  local t = field.table and dictionary.table(field.table, VERSION)
  return values[field.type] or t and t.list[1] or "X"
end

-- A segment with the fields that it must have.
local function segment(name, event)
  if name == "EVN" then return evn:format(event) end
  if by_name[name] then return by_name[name] end
  local s, out, last = dictionary.segment(name, VERSION), { name }, 1
  for n = 1, s and s.count or 0 do
    local field = s.fields[n]
    out[n + 1] = field and field.usage == "R" and value(field) or ""
    if out[n + 1] ~= "" then last = n + 1 end
  end
  return table.concat(out, "|", 1, last)
end

local function add(list, node, event)
  for _, child in ipairs(node.children) do
    if (child.min or 1) > 0 and child.children then
      add(list, child.choice and { children = { child.children[1] } } or child, event)
    elseif (child.min or 1) > 0 and child.name ~= "MSH" and child.name:find "^%u[%u%d][%u%d]$" then
      list[#list + 1] = segment(child.name, event)
    end
  end
end

-- The first event of a type for which there is a structure, and that.
local function event_of(type)
  for _, name in ipairs(dictionary.names "events") do
    local t, event = name:match "^(%w+)[%^_](%w+)$"
    local structure = t == type and dictionary.event(t, event, VERSION)
    if structure and dictionary.structure(structure, VERSION) then return event, structure end
  end
end

local function types()
  local list, seen = {}, {}
  for _, name in ipairs(dictionary.names "events") do
    local t = name:match "^%w+"
    if not seen[t] and event_of(t) then list[#list + 1] = t end
    seen[t] = true
  end
  table.sort(list)
  return list
end

local function from_structure(type)
  local event, structure = event_of(type)
  if not event then
    fail.fail(1, "%s has no messages of type \"%s\" (but %s): give one of yours with --from FILE",
      "version " .. VERSION, type, table.concat(types(), ", "))
  end
  local list = { ("%s^%s^%s"):format(type, event, structure) }
  add(list, dictionary.structure(structure, VERSION), event)
  return list
end

--- A made-up one: { type, text, family }; ends the verb when none of that type is known.
function M.of_type(type)
  local m = made[type] or from_structure(type)
  local text = table.concat({ head:format(m[1]), unpack(m, 2) }, "\n") .. "\n"
  return { type = type, text = text, family = text:find "\nPID|" and "SAMPLE" or nil }
end

--- The first message of a file, with pseudonyms: { type, text, family, note }.
function M.from(path)
  local source, why = require("lunate.repl.messages").load(path)
  if not source then fail.fail(1, "%s", why) end
  local msg, wrong = hl7.parse(source.list[1])
  if not msg then fail.fail(1, "%s: %s", path, wrong) end
  if not msg.type or not msg.type:find "^%u[%u%d][%u%d]$" then
    fail.fail(1, "%s: MSH-9.1 of its first message is no type of message", path)
  end
  local save = require "lunate.repl.save"
  local text, changed = save.strip(save.key {}, source.list[1])
  if not text then fail.fail(1, "%s", changed) end
  local kept = hl7.parse((text:gsub("\n", "\r")))
  local family = kept["PID-5.1"]
  return { type = msg.type, text = text, note = changed, count = #source.list,
    family = family and family ~= hl7.null and family:upper() or nil }
end

--- "an ADT", "a DFT"
function M.called(type)
  return (type:find "^[AEFHILMNORSX]" and "an " or "a ") .. type
end

--- Whether messages of this type can be made at random (lua/spec/generate.lua).
function M.can_be_made(type)
  return made[type] ~= nil or event_of(type) ~= nil
end

return M
