-- `lunate profile FILE...|-c CHANNEL`: what a feed really contains, before an interface is built.
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local fail = require "lunate.cli.fail"
local input = require "lunate.cli.input"
local feed = require "lunate.cli.feed"
local recorded = require "lunate.cli.recorded"
local progress = require "lunate.cli.progress"

local M = {}

function M.define(parser)
  parser:argument("files", "files with messages; standard input without a file"):args "*"
  parser:option("-c --channel", "the messages that a channel received, from the store")
  parser:option("--last", "of a channel: the last N messages"):argname "N"
  parser:option("--since", "of a channel: those since then: 2h, 3d, 2026-11-23"):argname "T"
  parser:option("--top", "show N codes of each field (8)"):argname "N"
  parser:flag("--json", "one JSON document")
  parser:flag("--html", "one page with charts, in one file")
end

local function from_files(f, args)
  return input.each("profile", args.files, function(piece)
    f:add(piece.msg, piece.text, ("%s: message %d"):format(piece.name, piece.n))
  end)
end

-- Reads the store, whether the engine runs or not.
local function from_channel(f, args)
  local hl7 = require "hl7"
  local h = require("lunate.cli.history").open()
  local c = h:channel(args.channel)
  local seq, total = recorded.range(args, h, c)
  require("lunate.cli.audit").put { action = "profile", object = c.name, reason = args.reason,
    shown = total > 0 and ("%s/%.0f-%.0f"):format(c.name, seq, c.next_seq - 1) or nil }
  local bar, n, unread = progress.start(total, "messages"), 0, 0
  while true do
    local receipt = h:receipt(c, seq, 1, true)
    if not receipt or receipt.seq >= c.next_seq then break end
    n = n + 1
    bar:at(n)
    local msg = receipt.raw and hl7.parse(receipt.raw)
    if msg then
      f:add(msg, receipt.raw, ("%s/%.0f"):format(c.name, receipt.seq))
    else
      unread = unread + 1
    end
    seq = receipt.seq + 1
  end
  bar:done()
  h:tell_damaged()
  if unread > 0 then
    io.stderr:write(("lunate profile: %s not HL7, left out\n"):format(
      term.count(unread, "message")))
  end
  return 0
end

--- Files are the user's own.
function M.is_view(args) return args.channel ~= nil end

function M.run(args)
  if args.channel and #args.files > 0 then fail.usage "a channel or files, not both" end
  if not args.channel and (args.last or args.since) then
    fail.usage "--last and --since are for a channel (-c)"
  end
  if args.html and args.json then fail.usage "--html or --json, not both" end
  if args.last and args.since then fail.usage "--last or --since, not both" end
  if not args.channel and #args.files == 0 and sys.isatty(0) then
    fail.usage "which feed? Files with messages, or -c CHANNEL for what a channel received"
  end
  local top = recorded.count(args, "top") or 8
  local f = feed.new()
  local status = (args.channel and from_channel or from_files)(f, args)
  if f.messages == 0 then
    if args.channel then fail.fail(1, "channel %s has received no message yet", args.channel) end
    return 1
  end
  local name = args.channel and "channel " .. args.channel or #args.files == 1 and args.files[1]
    or #args.files > 1 and ("%d files"):format(#args.files) or "standard input"
  local how = args.html and "lunate.cli.feed_html" or args.json and "lunate.cli.feed_json"
    or "lunate.cli.feed_text"
  require(how)(f, name, top)
  return status
end

return M
