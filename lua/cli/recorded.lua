-- What the store recorded of a channel's messages, in the shape in which a worker answers, so that
-- the two can be compared.
local M = {}

-- The bytes of an output; nil when they are kept no more (handed to a channel that trimmed them).
local function bytes(h, c, seq, item)
  if item.kind ~= "forwarded" then return h.reader:output(c.id, seq, item.n) end
  local receipt = h.reader:receipt(item.to_chan, item.to_seq, 0, true)
  return receipt and receipt.raw
end

-- What became of the message: { state, reason, where, outputs }, or nil and why there is nothing to
-- compare with.
local function result(h, c, receipt)
  local r = h.reader:result(c.id, receipt.seq)
  if not r then return nil, "not processed yet" end
  local out = { state = r.state, reason = r.reason, where = r.where, outputs = {},
    started_us = r.time_us - r.duration_us }
  if r.state == "parked" then out.state = "error" end
  for _, item in ipairs(r.items) do
    local o = { dest = c.dest_names[item.dest] or "#" .. item.dest, kind = "bytes" }
    if item.kind == "filtered" then
      o.kind, o.reason = "filtered", item.reason
    elseif item.kind == "parked" then
      o.kind, o.reason = "error", item.reason
    else
      o.raw = bytes(h, c, receipt.seq, item)
      if not o.raw then return nil, "outputs are kept no more" end
    end
    out.outputs[#out.outputs + 1] = o
  end
  return out
end

-- Why a message has no result of a script.
local function unfit(receipt)
  if receipt.kind == "unreadable" then return "not HL7" end
  if receipt.kind == "resent" then return "resent, not processed" end
end

--- The number of the first of the last n messages of a channel, and how many there are.
function M.last(h, c, n)
  local seq, count = c.next_seq, 0
  while count < n and seq > 0 do
    local receipt = h.reader:receipt(c.id, seq - 1, -1)
    if not receipt then break end
    seq, count = receipt.seq, count + 1
  end
  return seq, count
end

--- Calls take(receipt, result) or skip(receipt, why) for each message from seq on.
function M.each(h, c, seq, take, skip)
  local stop = c.next_seq
  while true do
    local receipt = h.reader:receipt(c.id, seq, 1, true)
    if not receipt or receipt.seq >= stop then return end
    local why, r = unfit(receipt), nil
    if not why then r, why = result(h, c, receipt) end
    if r then take(receipt, r) else skip(receipt, why) end
    seq = receipt.seq + 1
  end
end

--- An iterator over the pairs that a channel's kv holds.
function M.kv(h, c)
  local at = ""
  return function()
    local key, value = h.reader:kv(c.id, at)
    at = key
    return key, value
  end
end

return M
