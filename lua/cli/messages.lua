-- `lunate messages`: searches the store, newest first. Whatever has an index is looked up; the rest
-- is a walk backwards that ends at --since or --limit.
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local history = require "lunate.cli.history"

local M = {}

function M.define(parser)
  parser:argument("channel", "only this channel"):args "?"
  parser:option("--state", table.concat(history.states, ", "))
  parser:option("--control-id", "MSH-10")
  parser:option("--patient", "PID-3.1")
  parser:option("--since", "10m, 2h, 3d, 2026-11-23, 2026-11-23T10:00:00Z, 20261123100000")
  parser:option("--limit", "at most so many, newest first"):default "20"
  parser:flag("--json", "one object a line")
end

-- Messages found by an index, newest first.
local function indexed(h, index, key, channel)
  local found, i = h.reader:find(index, key, channel and channel.id or 0), 0
  return function()
    while i < #found do
      i = i + 1
      local f = found[i]
      local receipt = h.reader:receipt(f.channel, f.seq, 0)
      if receipt then return h.by_id[f.channel], receipt end
    end
  end
end

-- Parked messages, newest first.
local function parked(h, channels)
  local list = {}
  for _, c in ipairs(channels) do
    h:parked(c)
    for _, seq in ipairs(c.parked_seqs) do
      local receipt = h.reader:receipt(c.id, seq, 0)
      if receipt then list[#list + 1] = { c, receipt } end
    end
  end
  table.sort(list, function(a, b)
    if a[2].time_us ~= b[2].time_us then return a[2].time_us > b[2].time_us end
    return a[2].seq > b[2].seq
  end)
  local i = 0
  return function()
    i = i + 1
    if list[i] then return list[i][1], list[i][2] end
  end
end

-- All messages of these channels backwards in time: the newest of the channels' heads each time.
local function walk(h, channels)
  local heads = {}
  for i, c in ipairs(channels) do
    heads[i] = c.next_seq > 0 and h.reader:receipt(c.id, c.next_seq - 1, -1) or false
  end
  return function()
    local best
    for i in ipairs(channels) do
      if heads[i] and (not best or heads[i].time_us > heads[best].time_us) then best = i end
    end
    if not best then return nil end
    local c, receipt = channels[best], heads[best]
    heads[best] = receipt.seq > 0 and h.reader:receipt(c.id, receipt.seq - 1, -1) or false
    return c, receipt
  end
end

local function matches(args, state, receipt)
  if args.state and state ~= args.state and not (args.state == "done" and state == "sent") then
    return false
  end
  if args.control_id and receipt.control_id ~= args.control_id then return false end
  if not args.patient then return true end
  for _, id in ipairs(receipt.patients) do
    if id == args.patient then return true end
  end
  return false
end

local function check(args)
  if args.state then
    args.state = history.synonyms[args.state] or args.state
    local known = false
    for _, s in ipairs(history.states) do known = known or s == args.state end
    if not known then
      fail.usage("no state \"%s\": %s", args.state, table.concat(history.states, ", "))
    end
  end
  if args.since then
    args.since_us = time.parse(args.since)
    if not args.since_us then
      fail.usage("--since \"%s\" is no time: 10m, 2h, 3d, 2026-11-23T10:00 or 20261123100000",
        args.since)
    end
  end
  local limit = args.limit:match "^%d+$" and tonumber(args.limit)
  if not limit or limit < 1 then fail.usage("--limit is a number above 0") end
  args.limit = limit
end

--- Finds messages: calls found(channel, receipt, state) for each; how many they were.
function M.search(h, args, found)
  local channel = args.channel and h:channel(args.channel)
  local channels = channel and { channel } or h.list
  local source
  if args.control_id then
    source = indexed(h, "control_id", args.control_id, channel)
  elseif args.patient then
    source = indexed(h, "patient", args.patient, channel)
  elseif args.state == "parked" then
    source = parked(h, channels)
  else
    source = walk(h, channels)
  end
  local n = 0
  for c, receipt in source do
    if args.since_us and receipt.time_us < args.since_us then break end
    local state = h:state(c, receipt.seq)
    if matches(args, state, receipt) then
      found(c, receipt, state)
      n = n + 1
      if n >= args.limit then break end
    end
  end
  return n
end

--- One message of a list as JSON.
function M.json(c, receipt, state)
  return json.object("channel", c.name, "seq", receipt.seq, "time", time.iso(receipt.time_us),
    "control_id", receipt.control_id, "type", receipt.type,
    "patient_ids", json.list(receipt.patients), "state", state, "length", receipt.length,
    "peer", receipt.peer, "kind", receipt.kind)
end

local colours = { parked = "red", rejected = "red", queued = "yellow", pending = "yellow",
  sent = "green", done = "green" }

local function row(c, receipt, state)
  print(("%s  %s  %s  %s  %s"):format(time.text(receipt.time_us):sub(1, 19),
    term.paint(colours[state], term.fit(state, 8)), term.fit(term.printable(receipt.type), 7),
    term.fit(("%s/%.0f"):format(c.name, receipt.seq), 20), term.printable(receipt.control_id)))
end

function M.run(args)
  check(args)
  local h = history.open()
  local n = M.search(h, args, args.json and function(c, receipt, state)
    print(json.encode(M.json(c, receipt, state)))
  end or row)
  if n == 0 and not args.json then io.stderr:write "no message found\n" end
  return 0
end

return M
