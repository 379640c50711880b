-- Patient movements (ADT) from the EHR to the laboratory.
--
--   EHR -> :6661 -> adt_to_lab -> laboratory :6662
--
-- The laboratory wants admissions, transfers, discharges and updates of the patient's data. It
-- knows our facilities by codes of its own, and finds patients by upper-case names and
-- international phone numbers. The same input always gives the same output (no now() in here), so
-- that a message processed again can be compared with what went out the first time.
local normalize = require "normalize"

-- The events the laboratory asked for, and how it calls them (ZPD-2).
local events = {
  A01 = "ADMITTED",
  A02 = "TRANSFERRED",
  A03 = "DISCHARGED",
  A04 = "REGISTERED",
  A08 = "UPDATED",
  A31 = "UPDATED",
}

local function filter(msg)
  if msg.type ~= "ADT" then return false, "not an ADT" end
  if not events[msg.event] then
    return false, ("the laboratory does not take %s"):format(msg.event or "an ADT without event")
  end
  return true
end

-- Writes the laboratory's code of the facility into MSH-4, names and phone numbers in its style,
-- and adds ZPD, our own segment: what happened, our code of the facility, its name, and the number
-- to call with an urgent result.
local function transform(msg)
  local code = msg["MSH-4"] or ""
  local facility = lookup.row("facilities", code)
  if not facility then
    -- Parks the message. Add the row, then: lunate reload, lunate resend ... --reprocess
    error(("facility '%s' is not in tables/facilities.csv"):format(code))
  end
  msg["MSH-4"] = facility.lab_code

  local pid = assert(msg.PID, "an ADT without a PID segment")
  normalize.each(pid[5], 1, normalize.name) -- family name
  normalize.each(pid[5], 2, normalize.name) -- given name
  normalize.each(pid[13], 1, normalize.phone) -- at home
  normalize.each(pid[14], 1, normalize.phone) -- at work

  local zpd = msg:add "ZPD"
  zpd[1] = 1
  zpd[2] = events[msg.event]
  zpd[3] = code
  zpd[4] = facility.name
  zpd[5] = facility.phone
end

return channel {
  source = mllp.listen { port = env("ADT_PORT", 6661), host = "127.0.0.1" },
  filter = filter,
  transform = transform,
  destinations = {
    lab = mllp.send { host = "127.0.0.1", port = env("LAB_PORT", 6662) },
  },
}
