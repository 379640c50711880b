-- Finds messages in the store: what `messages`, `resend`, `settle` and `tail` take as filters.
-- Whatever has an index is looked up; the rest is a walk backwards that ends at --since or --limit,
-- says on a terminal how far it is, and ends on Ctrl-C.
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local fail = require "lunate.cli.fail"
local where = require "lunate.cli.where"
local history = require "lunate.cli.history"

local M = {}

local PROGRESS_S, PROGRESS_EVERY = 0.2, 256

--- Options of the filters.
function M.define(parser)
  parser:option("--state", table.concat(history.states, ", "))
  parser:option("--control-id", "MSH-10")
  parser:option("--patient", "PID-3.1")
  parser:option("--type", "ADT, or ADT^A01")
  parser:option("--where", "'OBX-3.1 = 718-7': = is, != is not, ~ has; of any repetition"):count "*"
  parser:option("--text", "bytes that the message has, whatever their case")
  parser:option("--since", "10m, 2h, 3d, 2026-11-23, 2026-11-23T10:00:00Z, 20261123100000")
  parser:option("--until", "not later than that")
end

local function point(args, name)
  local word = args[name]
  if not word then return end
  args[name .. "_us"] = time.parse(word) or fail.usage(
    "--%s \"%s\" is no time: 10m, 2h, 3d, 2026-11-23T10:00 or 20261123100000", name, word)
end

--- Checks the filters' words; ends the verb on a wrong one.
function M.check(args)
  if args.state then
    args.state = history.synonyms[args.state] or args.state
    local known = false
    for _, s in ipairs(history.states) do known = known or s == args.state end
    if not known then
      fail.usage("no state \"%s\": %s", args.state, table.concat(history.states, ", "))
    end
  end
  point(args, "since")
  point(args, "until")
  args.conditions = where.compile(args.where or {})
  if args.text then args.text = args.text:lower() end
  if args.limit then
    local limit = args.limit:match "^%d+$" and tonumber(args.limit)
    if not limit or limit < 1 then fail.usage("--limit is a number above 0") end
    args.limit = limit
  end
end

-- Messages found by an index, newest first.
local function indexed(h, index, key, channel)
  local found, i = h.reader:find(index, key, channel and channel.id or 0), 0
  return function()
    while i < #found do
      i = i + 1
      local f = found[i]
      local c = h.by_id[f.channel]
      local receipt = c and h:receipt(c, f.seq, 0)
      if receipt then return c, receipt end
    end
  end
end

-- Parked messages, newest first.
local function parked(h, channels)
  local list = {}
  for _, c in ipairs(channels) do
    h:parked(c)
    for _, seq in ipairs(c.parked_seqs) do
      local receipt = h:receipt(c, seq, 0)
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
    heads[i] = c.next_seq > 0 and h:receipt(c, c.next_seq - 1, -1) or false
  end
  return function()
    local best
    for i in ipairs(channels) do
      if heads[i] and (not best or heads[i].time_us > heads[best].time_us) then best = i end
    end
    if not best then return nil end
    local c, receipt = channels[best], heads[best]
    heads[best] = receipt.seq > 0 and h:receipt(c, receipt.seq - 1, -1) or false
    return c, receipt
  end
end

local function has_patient(receipt, id)
  for _, known in ipairs(receipt.patients) do
    if known == id then return true end
  end
  return false
end

--- True when what stands in the receipt, and in the bytes, is what the filters want.
function M.matches(h, args, c, receipt)
  if args.until_us and receipt.time_us > args.until_us then return false end
  if args.control_id and receipt.control_id ~= args.control_id then return false end
  if args.type and receipt.type ~= args.type and receipt.type:match "^[^%^]*" ~= args.type then
    return false
  end
  if args.patient and not has_patient(receipt, args.patient) then return false end
  if not args.text and #args.conditions == 0 then return true end
  local whole = h:receipt(c, receipt.seq, 0, true)
  if not whole then return false end
  if args.text and not whole.raw:lower():find(args.text, 1, true) then return false end
  return where.hold(args.conditions, whole.raw)
end

local function state_fits(args, state)
  return not args.state or state == args.state or (args.state == "done" and state == "sent")
end

-- Says how far a scan is; true when somebody wants it to end.
local function progress(p, seen, n, receipt)
  if seen % PROGRESS_EVERY ~= 0 then return false end
  if sys.interrupted() then return true end
  local now = sys.now()
  if p.shown and now - p.at > PROGRESS_S then
    p.at = now
    io.stderr:write(("\rsearched %s, back to %s, %s found\27[K"):format(term.count(seen, "message"),
      time.text(receipt.time_us):sub(1, 19), term.number(n)))
    p.drawn = true
  end
  return false
end

local function clear(p)
  if p.drawn then io.stderr:write "\r\27[K" end
  p.drawn = false
end

--- Finds messages, newest first: calls found(channel, receipt, state, result) for each. Gives how
-- many they were, and true when Ctrl-C ended it.
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
  local n, seen, stopped = 0, 0, false
  local p = { shown = sys.isatty(2), at = sys.now() }
  sys.interrupted() -- from now on Ctrl-C is ours
  for c, receipt in source do
    if args.since_us and receipt.time_us < args.since_us then break end
    seen = seen + 1
    if M.matches(h, args, c, receipt) then
      local state, result = h:state(c, receipt.seq)
      if state_fits(args, state) then
        clear(p)
        found(c, receipt, state, result)
        n = n + 1
        if args.limit and n >= args.limit then break end
      end
    end
    stopped = progress(p, seen, n, receipt)
    if stopped then break end
  end
  clear(p)
  if stopped then
    io.stderr:write(("stopped: %s searched, %s found\n"):format(term.count(seen, "message"),
      term.number(n)))
  end
  h:tell_damaged()
  return n, stopped
end

return M
