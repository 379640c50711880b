-- `lunate reposition CHANNEL/DEST --to SEQ|TIME|end`: a destination's queue at another place.
-- How many outputs stand between is counted here, in a process of its own: the engine goes on
-- meanwhile.
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"
local history = require "lunate.cli.history"
local progress = require "lunate.cli.progress"

local M = {}

function M.define(parser)
  parser:argument("destination", "CHANNEL/DEST, held")
  parser:option("--to", "a message's number, a time (of receipt), or end"):count(1)
  parser:option("--reason", "why, kept with the message"):count(1)
  parser:flag("--yes", "do it; without, only say what would go out again or be passed over")
  parser:flag("--json", "print the engine's answer")
end

local function target(h, c, word)
  if word == "end" then return c.cursor end
  if word:find "^%d+$" and #word < 12 then
    local seq = tonumber(word)
    if seq < c.first_seq or seq > c.cursor then
      fail.fail(1, "%s has no message %s to go to: %.0f to %.0f, or end", c.name, word, c.first_seq,
        math.max(c.first_seq, c.cursor - 1))
    end
    return seq
  end
  local us = time.parse(word)
  if not us then
    fail.usage("--to \"%s\" is no number, no time (2h, 2026-11-23T10:00) and not end", word)
  end
  return math.min(h.reader:seq_at(c.id, us) or c.cursor, c.cursor)
end

-- Outputs to the destination in messages from..to, the latter up to its output n.
local function count(h, c, d, from, to, n)
  local outputs, bar, seq = 0, progress.start(to - from + 1, "messages"), from
  while seq <= to do
    local receipt = h:receipt(c, seq, 1)
    if not receipt or receipt.seq > to then break end
    seq = receipt.seq
    local result = history.read(h.reader, "result", c.id, seq)
    for _, item in ipairs(result and result.items or {}) do
      local queued = item.kind == "bytes" or item.kind == "input" or item.kind == "same"
      if item.dest == d.id and queued and (seq < to or item.n < n) then outputs = outputs + 1 end
    end
    bar:at(seq - from + 1)
    seq = seq + 1
  end
  bar:done()
  return outputs
end

-- What is queued before message `to`.
local function passed_over(h, c, d, to)
  if to >= c.cursor then return d.queued end
  return count(h, c, d, d.cursor, to, 0) - count(h, c, d, d.cursor, d.cursor, d.cursor_n)
end

local function find(h, word)
  local name, dest = site.split(word, "CHANNEL/DEST, as in adt_to_lab/lab")
  local c = h:channel(name)
  for _, d in ipairs(c.destinations) do
    if d.name == dest then return c, d end
  end
  fail.fail(1, "channel %s has no destination named %s", name, dest)
end

function M.run(args)
  if not args.reason:find "%S" then fail.usage("--reason is empty: say why the queue is moved") end
  local h = history.open()
  local c, d = find(h, args.destination)
  local to = target(h, c, args.to)
  local back = to < d.cursor or to == d.cursor and d.cursor_n > 0
  local outputs = back and count(h, c, d, to, d.cursor, d.cursor_n) or 0
  local passed = not back and not args.yes and passed_over(h, c, d, to)
  if back and outputs == 0 then
    fail.fail(1, "nothing went to %s from %s/%.0f on", args.destination, c.name, to)
  end
  if not args.yes then
    if back then
      print(("%s, from %s/%.0f on, would go to %s again, before what is queued now (%s)"):format(
        term.count(outputs, "output"), c.name, to, d.name, term.number(d.queued)))
    else
      print(("%s for %s, from before %s/%.0f, would be passed over, and not be sent"):format(
        term.count(passed, "output"), d.name, c.name, to))
    end
    print "nothing is done without --yes"
    return 1
  end
  local function n(v) return ("%.0f"):format(v) end
  local text = site.request({ "reposition", args.destination, n(to), n(d.cursor), n(d.cursor_n),
    n(outputs), args.reason }, { seconds = 660 })
  if args.json then
    print(text)
    return 0
  end
  local answer = require("json").decode(text)
  print(("%s: %s %s; lunate release %s sends"):format(args.destination,
    term.count(answer.outputs, "output"), answer.direction == "back" and "queued again"
    or "passed over", args.destination))
  return 0
end

return M
