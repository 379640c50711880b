-- Keeps every result that came through oru_to_ehr. No destination is needed: the store is the
-- archive. Find them with: lunate messages archive --patient ID
return channel {
  source = channel.from "oru_to_ehr",
  retention = { days = 0 }, -- for ever, whatever lunate.lua says
}
