-- `lunate replay`: a candidate script on the messages that a channel really received, compared with
-- what was really sent. Reads the store, sends nothing, writes nothing.
--
-- The script is told the time at which the message was processed then, and finds kv as the store
-- has it now (or empty, with --kv none): a copy, which is thrown away.
local term = require "lunate.cli.term"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local loader = require "lunate.cli.loader"
local history = require "lunate.cli.history"
local audit = require "lunate.cli.audit"
local recorded = require "lunate.cli.recorded"
local pipeline = require "lunate.cli.pipeline"
local progress = require "lunate.cli.progress"
local compare = require "lunate.cli.compare"
local tally = require "lunate.cli.tally"
local ignored = require "lunate.hl7.ignore"
local report = require "lunate.cli.replay_report"

local M = {}

function M.define(parser)
  parser:option("-c --channel", "the channel"):count(1)
  parser:option("--last", "the last N messages (1000)"):argname "N"
  parser:option("--since", "those since then: 2h, 3d, 2026-11-23, 2026-11-23T10:00"):argname "T"
  parser:option("--script", "the candidate; else the site's script as it is now"):argname "FILE"
  parser:option("--examples", "show N messages of each kind of difference, with values"):argname "N"
  parser:option("--ignore", "paths that do not count, as in MSH-7,ZCT-1"):count "*"
    :argname "PATHS"
  parser:option("--kv", "what kv holds at the start: as the store has it now, or none")
    :choices { "now", "none" }:default "now"
  parser:flag("--json", "one JSON document")
end

-- The channel of the site, with the candidate in the place of its script.
local function candidate(args)
  local s = loader.load()
  local channel = s.by_name[args.channel]
  if not channel then fail.fail(1, "%s", site.no_channel(args.channel)) end
  if not args.script then
    for _, e in ipairs(s.errors) do
      if e.channel == args.channel then fail.fail(1, "%s", e.text) end
    end
    return s, channel
  end
  local text, err = site.read(args.script)
  if not text then fail.fail(1, "%s", err) end
  for _, file in ipairs(channel.files) do
    if file[1] == channel.script then file[2] = text end
  end
  return s, channel
end

-- Errors name the script's place in the site; people want the name of the file they gave.
local function renamer(args, channel)
  if not args.script then return function(text) return text end end
  local pattern = channel.script:gsub("%p", "%%%0")
  return function(text)
    return text and (text:gsub(pattern, (args.script:gsub("%%", "%%%%"))))
  end
end

local function rename(r, named)
  r.where, r.reason = named(r.where), named(r.reason)
  for _, o in ipairs(r.outputs) do
    if o.kind == "error" then o.reason = named(o.reason) end
  end
  return r
end

local function names(list, key)
  local set = {}
  for _, v in ipairs(list) do set[key and v[key] or v] = true end
  return set
end

local function start(args, s, channel, h, c, done, named)
  local kv = args.kv == "now" and function() return recorded.kv(h, c) end or nil
  local p, err = pipeline.start(s, channel, { kv = kv, done = done })
  if not p then fail.fail(1, "%s", named(err)) end
  return p
end

local function replay(args, s, channel, h, c)
  local t, named = tally.new(args.examples), renamer(args, channel)
  local info = { ignore = args.ignore, known = names(c.destinations, "name") }
  local p = start(args, s, channel, h, c, function(item, r)
    rename(r, named)
    info.now_us = item.result.started_us
    t.held = (t.held or 0) + #(r.requests or {})
    t:message(item, function(add) compare.results(item.result, r, info, add) end)
  end, named)
  info.there = names(p.destinations)
  local from, total = recorded.range(args, h, c, 1000)
  audit.put { action = "replay", object = c.name, reason = args.reason,
    shown = total > 0 and ("%s/%.0f-%.0f"):format(c.name, from, c.next_seq - 1) or nil }
  local bar, n = progress.start(total, "messages"), 0
  local skipped = {}
  local function step()
    n = n + 1
    bar:at(n)
  end
  recorded.each(h, c, from, function(receipt, result)
    p:push(receipt.raw, { seq = receipt.seq, control_id = receipt.control_id, result = result },
      math.max(0, result.started_us))
    step()
  end, function(_, why)
    skipped[why] = (skipped[why] or 0) + 1
    step()
  end)
  p:drain()
  p:close()
  t.seconds, t.skipped = bar:done(), skipped
  h:tell_damaged()
  t.kv_used = args.kv == "now" and h.reader:kv(c.id, "") ~= nil
  return t
end

function M.run(args)
  if args.last and args.since then fail.usage "--last or --since, not both" end
  recorded.count(args, "last")
  args.examples = recorded.count(args, "examples")
  args.ignore = #args.ignore > 0 and table.concat(args.ignore, ",") or nil
  local ok, why = ignored.new(args.ignore)
  if not ok then fail.usage("%s", why) end
  local s, channel = candidate(args)
  local h = history.open()
  local t = replay(args, s, channel, h, h:channel(args.channel))
  if args.json then report.json(t, args, channel) else report.text(t, args, term) end
  if (t.held or 0) > 0 then
    io.stderr:write(("held back: %d requests over HTTP: what came of them then is not known here\n")
      :format(t.held))
  end
  return t.changed > 0 and 1 or 0
end

return M
