-- What the store knows of a message, put together: its state and the state of each output.
--
-- Message states: pending (no result yet), filtered, rejected (not HL7), parked (needs a hand),
-- queued (an output is not delivered yet), sent (all delivered), done (processed, nothing to
-- deliver), settled (was parked, has been dealt with); damaged (what became of it cannot be read).
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local fail = require "lunate.cli.fail"

local M = {}
local History = {}
History.__index = History

M.states = { "pending", "queued", "sent", "done", "filtered", "parked", "rejected", "settled" }
-- Other words for them.
M.synonyms = { received = "pending", delivered = "sent", error = "parked", errors = "parked",
  unreadable = "rejected" }

--- What a reader gives; nil, "damaged" when the record's checksum says so.
function M.read(reader, what, ...)
  local ok, value = pcall(reader[what], reader, ...)
  if ok then return value end
  if tostring(value):find(": malformed", 1, true) then return nil, "damaged" end
  error(value, 0)
end

--- Opens the store of the site, whether its engine runs or not. Ends the verb when there is none.
function M.open()
  local data = site.data()
  if not sys.kind(site.path()) then fail.fail(1, "there is no folder %s", site.path()) end
  if not sys.kind(data) then
    fail.fail(1, "%s has no store yet: %s is made when its engine first runs", site.path(), data)
  end
  local reader, err = site.open_store(data)
  if not reader then fail.fail(1, "%s", err) end
  return M.of(reader)
end

--- The same over a store that is open.
function M.of(reader)
  local h = setmetatable({ reader = reader, by_name = {}, by_id = {}, list = {}, damaged = {} },
    History)
  h:refresh()
  return h
end

--- Reads the channels' cursors anew; forgets what is parked.
function History:refresh()
  self.list = self.reader:channels()
  for _, c in ipairs(self.list) do
    c.dest_names, c.dest_by_id = {}, {}
    for _, d in ipairs(c.destinations) do c.dest_names[d.id], c.dest_by_id[d.id] = d.name, d end
    self.by_name[c.name], self.by_id[c.id] = c, c
  end
end

--- The channel of that name; ends the verb when the store has none.
function History:channel(name)
  local c = self.by_name[name]
  if c then return c end
  local names = {}
  for i, known in ipairs(self.list) do names[i] = known.name end
  fail.fail(1, "the store knows no channel \"%s\"%s", name,
    #names > 0 and " (it has: " .. table.concat(names, ", ") .. ")" or " (it is empty)")
end

--- A receipt as the reader gives it (`where`: 0 this one, -1 or 1 the next sound one in that
-- direction); nil, "damaged" when it is. Damaged ones that are met stand in h.damaged.
function History:receipt(c, seq, where, raw)
  while seq >= 0 do
    local receipt, why = M.read(self.reader, "receipt", c.id, seq, where, raw)
    if receipt or not why then return receipt end
    if where == 0 or select(2, M.read(self.reader, "receipt", c.id, seq, 0)) then
      local name = ("%s/%.0f"):format(c.name, seq)
      if not self.damaged[name] then self.damaged[#self.damaged + 1] = name end
      self.damaged[name] = true
    end
    if where == 0 then return nil, why end
    seq = seq + where
  end
end

--- The same for one that somebody has asked for: ends the verb when it is damaged.
function History:one(c, seq, raw)
  local receipt, why = self:receipt(c, seq, 0, raw)
  if why then
    fail.fail(1, "%s/%.0f is damaged on disk: lunate verify says what; a backup may have it whole",
      c.name, seq)
  end
  return receipt
end

--- Says on stderr what was left out since it is damaged.
function History:tell_damaged()
  local n = #self.damaged
  if n == 0 then return end
  io.stderr:write(("%s left out: damaged on disk, lunate verify says what: %s%s\n"):format(
    n == 1 and "1 message is" or n .. " messages are",
    table.concat(self.damaged, ", ", 1, math.min(n, 5)), n > 5 and ", ..." or ""))
end

--- Ends the verb: there is no message `seq` of the channel. What was trimmed may be in the archive.
function History.missing(_, c, seq)
  local name = ("%s/%.0f"):format(c.name, seq)
  if c.next_seq <= c.first_seq and seq >= c.next_seq then
    fail.fail(1, "there is no message %s: channel %s has none", name, c.name)
  end
  local hint = seq > 0 and seq < c.first_seq and require("lunate.cli.archived").is_there(c.name)
    and ("; what was trimmed is in the archive: lunate show %s --archive"):format(name) or ""
  fail.fail(1, "there is no message %s (the store has %s%s)", name, c.next_seq <= c.first_seq
    and "none" or ("%.0f to %.0f"):format(c.first_seq, c.next_seq - 1), hint)
end

-- Keys of the parked outputs and messages of a channel: parked[seq][n or "whole"].
function History:parked(c)
  if c.parked then return c.parked end
  c.parked, c.parked_seqs = {}, {}
  local seq, n = self.reader:parked(c.id, 0)
  while seq do
    if not c.parked[seq] then
      c.parked[seq] = {}
      c.parked_seqs[#c.parked_seqs + 1] = seq
    end
    c.parked[seq][n or "whole"] = true
    seq, n = self.reader:parked(c.id, seq, n)
  end
  return c.parked
end

-- Put back behind the cursor by `reposition`: the outcome is that of the last time.
local function queued_again(c, seq, item)
  local d = c.dest_by_id[item.dest]
  return d and d.queued > 0 and (seq > d.cursor or seq == d.cursor and item.n >= d.cursor_n)
end

local function output_state(self, c, seq, item)
  if item.kind == "filtered" or item.kind == "forwarded" then return item.kind end
  local open = (self:parked(c)[seq] or {})[item.n]
  if item.kind == "parked" then return open and "parked" or "settled" end
  local why
  item.outcome, why = M.read(self.reader, "outcome", c.id, seq, item.n)
  if why then return why end
  if not item.outcome or queued_again(c, seq, item) then return "queued" end
  if item.outcome.state == "parked" and not open then return "settled" end
  return item.outcome.state
end

-- Which state of an output decides about the message, most urgent first.
local order = { "damaged", "parked", "queued", "settled", "sent" }

--- The state of a message, its result (nil when pending) with `state` in each item.
function History:state(c, seq)
  local result, damaged = M.read(self.reader, "result", c.id, seq)
  if not result then return damaged or "pending" end
  local whole = (self:parked(c)[seq] or {}).whole
  if result.state == "parked" then return whole and "parked" or "settled", result end
  if result.state ~= "done" then return result.state, result end
  local seen = {}
  for _, item in ipairs(result.items) do
    item.destination = c.dest_names[item.dest] or ("#" .. item.dest)
    item.state = output_state(self, c, seq, item)
    seen[item.state] = true
  end
  for _, state in ipairs(order) do
    if seen[state] then return state, result end
  end
  if seen.skipped then return "settled", result end
  return "done", result
end

return M
