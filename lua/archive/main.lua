-- The archiver's loop (core/role/archiver.c): what retention is about to trim is written to archive
-- files, a block at a time, and synced; only then the hub is told, and the store may trim it. How
-- far a channel has come stands in its files alone: after a crash the last block says it.
local wire = require "lunate.wire"
local beside = require "lunate.beside"
local core = require "lunate.archive_core"
local sys = require "lunate.sys"
local store = require "lunate.store"
local json = require "lunate.cli.json"
local history = require "lunate.cli.history"
local show = require "lunate.cli.show"
local file = require "lunate.archive.file"
local ledger = require "lunate.archive.ledger"

local EVERY, REPORT, STEP = 1, 10, 8 * 1024 * 1024

local A = { channels = {}, messages = 0, bytes = 0, failure = "" }

-- ---- one channel --------------------------------------------------------------------------------

local function day_of(us) return os.date("!%Y-%m-%d", math.floor(us / 1e6)) end

-- What the next block follows. When the ledger says that there were more blocks, or another last
-- one, what is gone is never numbered anew: that it is missing stays visible.
local function chain_end(ch, last)
  local known, no = A.ledger[ch.name], last and last.no or 0
  if known and known.no >= no then
    ch.no, ch.sum, ch.unsure = known.no, known.sum, nil
  else
    local sum = last and file.sum(last.path, last) -- a damaged one is named by verify
    ch.no, ch.sum, ch.unsure = no, sum or "", no > 0 and not known or nil
  end
end

-- Where a channel's archive ends. A store that was restored begins again at lower numbers: what it
-- takes from then on is archived anew, as what it is.
local function find_end(ch, c)
  local files = file.files(ch.folder, ch.name)
  local last
  ch.below, ch.path = 0, files[#files]
  while #files > 0 and not last do -- of the newest file a crash may have left nothing
    local err
    local path = table.remove(files)
    last, err = file.recover(path)
    if last == false then return nil, err end
    if last then last.path = path end
  end
  chain_end(ch, last)
  if last then
    local kept = A.history.reader:receipt(c.id, last.to, 0)
    local other = kept and kept.time_us ~= last.last_us
    if last.to < c.next_seq and not other then ch.below = last.to + 1 end
  end
  return true
end

-- The first message that something is still to be done with.
local function done_below(c)
  local low = c.cursor
  for _, d in ipairs(c.destinations) do
    if d.queued > 0 and d.cursor < low then low = d.cursor end
  end
  return low
end

local function add_ids(receipt, ids)
  if receipt.control_id ~= "" then ids[#ids + 1] = receipt.control_id end
  for _, id in ipairs(receipt.patients) do ids[#ids + 1] = id end
end

-- The file for a block of that day: the channel's last one, or a new one.
local function path_for(ch, day)
  local n, sealed = 1, A.key ~= nil
  if ch.path and ch.path:find("/" .. day, 1, true) then
    n = tonumber(ch.path:match "_(%d+)%.%l+$") or 1
    local same = file.is_sealed(ch.path) == sealed
    if same and (core.size(ch.path) or 0) < file.file then return ch.path end
    n = n + 1
  end
  return file.path(ch.folder, ch.name, day, n, sealed)
end

local function make_folders(path)
  local at = 1
  repeat
    at = path:find("/", at + 1, true)
    local folder = path:sub(1, at and at - 1 or #path)
    local ok, err = sys.mkdir(folder)
    if not ok then return nil, folder .. ": " .. err end
  until not at
  return true
end

local function write_block(ch, docs, about, ids)
  local ok, err = make_folders(ch.folder .. "/" .. ch.name)
  if not ok then return nil, err end
  local path = path_for(ch, about.day)
  about.no, about.before, about.unsure = ch.no + 1, ch.sum, ch.unsure
  local bytes, sum = file.encode(docs, about, ids, file.is_sealed(path))
  if not bytes then return nil, sum end
  local size, reason = core.append(path, bytes)
  if not size then return nil, ("%s: %s"):format(path, reason) end
  ch.path, ch.no, ch.sum, ch.unsure = path, about.no, sum, nil
  A.ledger[ch.name] = { no = ch.no, sum = sum, to = about.to, last_us = about.last_us }
  A.ledger_stale = true
  A.messages, A.bytes = A.messages + #docs, A.bytes + #bytes
  return true
end

-- One block of what is due: how many messages, and their bytes; nil, why.
local function archive_some(ch, c, low, oldest, excess)
  local docs, ids, about, size, taken, seq = {}, {}, nil, 0, 0, ch.below
  while seq < low and size < file.block do
    local receipt = A.history.reader:receipt(c.id, seq, 1, true)
    if not receipt or receipt.seq >= low then break end
    if receipt.time_us >= oldest and taken >= excess then break end
    local day = day_of(receipt.time_us)
    if about and about.day ~= day then break end
    local state, result = A.history:state(c, receipt.seq)
    local doc = json.encode(show.document(A.history, c, receipt, state, result))
    about = about or { channel = ch.name, from = receipt.seq, first_us = receipt.time_us,
      day = day }
    about.to, about.last_us = receipt.seq, receipt.time_us
    docs[#docs + 1] = doc
    add_ids(receipt, ids)
    size, taken, seq = size + #doc, taken + receipt.length, receipt.seq + 1
  end
  if #docs == 0 then return 0, 0 end
  local ok, why = write_block(ch, docs, about, ids)
  if not ok then return nil, why end
  ch.below = about.to + 1
  A.hub:send(wire.ARCHIVED, wire.pack("b8", ch.name, ch.below))
  return #docs, taken
end

local function archive_channel(ch, c)
  if not ch.below then
    local ok, err = find_end(ch, c)
    if not ok then
      ch.below = nil
      return nil, err
    end
    A.hub:send(wire.ARCHIVED, wire.pack("b8", ch.name, ch.below))
  end
  if ch.days == 0 and ch.mb == 0 then return true end
  local low = done_below(c)
  local oldest = ch.days > 0 and (sys.now() - ch.days * 86400) * 1e6 or -math.huge
  local excess = ch.mb > 0 and c.bytes - ch.mb * 1048576 or 0
  local left = math.min(excess, STEP) -- the store trims between two steps
  repeat
    local n, taken = archive_some(ch, c, low, oldest, left)
    if not n then return nil, taken end
    left = left - taken
  until n == 0
  return true
end

-- ---- the loop -----------------------------------------------------------------------------------

local function report()
  A.hub:send(wire.ARCHIVE_STATE, wire.pack("b88", A.failure, A.messages, A.bytes))
  A.reported = sys.now()
end

-- No archive has anything yet: a ledger that says so is written before the first block is, so that
-- none that is missing was never there.
local function is_new()
  for name, ch in pairs(A.channels) do
    if file.files(ch.folder, name)[1] then return false end
  end
  return true
end

local function look()
  if not A.history then
    if A.key then
      local ok, why = store.keys(A.site, A.key.file, A.key.command)
      if not ok then return why end
    end
    local reader, err = store.open(A.data)
    if not reader then return err end
    A.history = history.of(reader)
  end
  if not A.ledger then
    local why
    A.ledger, why = ledger.read(A.data)
    if why and not ledger.set_aside(A.data) then
      A.ledger = nil
      return why
    end
    A.ledger_stale = why == nil -- sealed with the present key, from now on
    A.ledger = A.ledger or {}
    if why == nil and not next(A.ledger) and is_new() then
      local ok, err = ledger.write(A.data, A.ledger, A.key ~= nil)
      if not ok then return err end
    end
  end
  A.history:refresh()
  local failure
  for name, ch in pairs(A.channels) do
    local c = A.history.by_name[name]
    if c then
      local ok, why = archive_channel(ch, c)
      if not ok then failure = ("channel %s: %s"):format(name, why) end
    end
  end
  if A.ledger_stale and next(A.ledger) then
    local ok, why = ledger.write(A.data, A.ledger, A.key ~= nil)
    if not ok then failure = failure or why end
    A.ledger_stale = not ok
  end
  return failure or ledger.damaged(A.data) or ""
end

local function take_settings(payload)
  local at = 1
  A.channels, A.key, A.ledger = {}, nil, nil
  if A.history then A.history.reader:close() end
  A.history = nil -- keys may be others
  while at <= #payload do
    local behind, name, text = wire.unpack("bb", payload, at)
    local one, two, three = text:match "^(.*)\n(.-)\n(.-)$"
    if name == "" then -- where the keys come from
      A.key = { file = one ~= "" and one or nil, command = two ~= "" and two or nil }
    else
      if one:sub(1, 1) ~= "/" then one = A.site .. "/" .. one end
      A.channels[name] = { name = name, folder = one, days = tonumber(two), mb = tonumber(three) }
    end
    at = behind
  end
end

local function turn()
  local before, written = A.failure, A.messages
  local _, why = pcall(look) -- what it says, or what it raised
  A.failure = tostring(why)
  if A.failure ~= "" then A.history = nil end -- the store was put back, or has another key
  if A.failure ~= before or A.messages > written or sys.now() - A.reported >= REPORT then
    report()
  end
  local till = sys.now() + (A.failure ~= "" and 5 or EVERY)
  while true do
    local kind, payload = A.hub:receive(math.max(0.01, till - sys.now()))
    if kind == wire.SITE then
      take_settings(payload)
    elseif not kind then
      return payload == "timeout"
    end
  end
end

return function()
  local settings
  A.hub, A.site, A.data, settings = beside()
  if not A.hub then return 1 end
  take_settings(settings)
  report()
  local there = true
  while there do there = turn() end -- until the hub is gone
  return 0
end
