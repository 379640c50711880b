-- What the store recorded of a channel's messages, in the shape in which a worker answers, so that
-- the two can be compared.
local fail = require "lunate.cli.fail"
local time = require "lunate.cli.time"
local history = require "lunate.cli.history"

local M = {}

-- The bytes of an output; nil when they are kept no more (handed to a channel that trimmed them).
local function bytes(h, c, seq, item)
  if item.kind ~= "forwarded" then return (history.read(h.reader, "output", c.id, seq, item.n)) end
  local receipt = history.read(h.reader, "receipt", item.to_chan, item.to_seq, 0, true)
  return receipt and receipt.raw
end

-- What became of the message: { state, reason, where, outputs }, or nil and why there is nothing to
-- compare with.
local function result(h, c, receipt)
  local r, damaged = history.read(h.reader, "result", c.id, receipt.seq)
  if not r then return nil, damaged or "not processed yet" end
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
local function unfit(h, c, receipt)
  if receipt.kind == "unreadable" then
    return h:state(c, receipt.seq) == "filtered" and "a batch without messages" or "not HL7"
  end
  if receipt.kind == "resent" then return "resent, not processed" end
end

--- The number of the first of the last n messages of a channel, and how many there are.
function M.last(h, c, n)
  local seq, count = c.next_seq, 0
  while count < n and seq > 0 do
    local receipt = h:receipt(c, seq - 1, -1)
    if not receipt then break end
    seq, count = receipt.seq, count + 1
  end
  return seq, count
end

--- The number that an option was given, or nil; ends the verb when it is none.
function M.count(args, name)
  local text = args[name]
  if not text then return nil end
  local n = text:match "^%d+$" and tonumber(text)
  if not n or n < 1 then fail.usage("--%s is a number above 0, not %s", name, text) end
  return n
end

--- What --last and --since name: the number of the first message, and about how many there are.
-- Without either: the last `most` ones, or all.
function M.range(args, h, c, most)
  if args.since then
    local us = time.parse(args.since)
    if not us then
      fail.usage("--since \"%s\" is no time: 10m, 2h, 3d, 2026-11-23T10:00 or 20261123100000",
        args.since)
    end
    local seq = h.reader:seq_at(c.id, us) or c.next_seq
    return seq, c.next_seq - seq
  end
  local n = M.count(args, "last") or most
  if n then return M.last(h, c, n) end
  return 0, c.next_seq
end

--- Calls take(receipt, result) or skip(receipt, why) for each message from seq on.
function M.each(h, c, seq, take, skip)
  local stop = c.next_seq
  while true do
    local receipt = h:receipt(c, seq, 1, true)
    if not receipt or receipt.seq >= stop then return end
    local why, r = unfit(h, c, receipt), nil
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
