-- Results (ORU) from the laboratory back to the EHR, and a copy of each to the archive.
--
--   laboratory -> :6671 -> oru_to_ehr -> EHR :6672
--                                     -> channel archive
--
-- What the laboratory signed is not edited: the EHR gets it byte for byte as it came.

-- OBR-25, table 0123: results that doctors may act upon.
local released = { F = true, C = true } -- final, corrected

local function is_result(msg)
  return msg.type == "ORU", "not a result"
end

-- Preliminary results stay out of the EHR; one order that is not released holds back the message.
local function is_released(msg)
  for obr in msg:each "OBR" do
    local status = obr[25].value or "absent"
    if not released[status] then return false, ("result status (OBR-25) is %s"):format(status) end
  end
  return true
end

return channel {
  source = mllp.listen { port = env("ORU_PORT", 6671), host = "127.0.0.1" },
  filter = is_result,
  destinations = {
    ehr = mllp.send {
      host = "127.0.0.1",
      port = env("EHR_PORT", 6672),
      filter = is_released,
    },
    archive = channel.to "archive",
  },
}
