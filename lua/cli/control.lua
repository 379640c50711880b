-- Verbs that ask the running engine to do something. A request is a list of words; what comes back
-- is one JSON document, of which a person is told what it means.
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"

local M = {}

local done = {
  start = "started", pause = "paused", resume = "resumed",
  hold = "held", release = "released",
}

function M.define(parser, verb)
  if verb == "reload" then
    parser:argument("channel", "the channel; all when left out"):args "?"
    parser:flag("--plan", "say what would change, change nothing")
  elseif verb == "skip" then
    parser:argument("destination", "CHANNEL/DEST; CHANNEL, when what stands there is damaged")
  elseif verb == "hold" or verb == "release" or verb == "step" then
    parser:argument("destination", "CHANNEL/DEST")
  elseif verb ~= "metrics" then
    parser:argument("channel", "the channel")
  end
  if verb == "step" or verb == "skip" then
    parser:argument("seq", "only when this message is the first"):args "?"
  end
  if verb == "stop" then
    parser:option("--grace", "seconds to end what is in hand (5), then it is cut off")
  elseif verb == "drain" then
    parser:option("--timeout", "seconds to wait for the end (60)")
  elseif verb == "skip" then
    parser:option("--reason", "why, kept with the message"):count(1)
  end
  if verb ~= "metrics" then parser:flag("--json", "print the engine's answer") end
end

-- The first of the queue as it is now, or as the operator has seen it: somebody else may be faster,
-- and then another message stands there.
local function first(args)
  if args.seq then
    if not args.seq:find "^%d+$" then fail.usage("\"%s\" is no number of a message", args.seq) end
    return args.seq
  end
  local head = require("json").decode(site.request { "head", args.destination }).head
  return type(head) == "string" and head ~= "" and head or nil
end

local function words(args, verb)
  if verb == "metrics" then return { verb } end
  if verb == "reload" and args.plan then return { verb, args.channel or "", "plan" } end
  if verb == "reload" then return { verb, args.channel } end
  local seconds = args.grace or args.timeout
  if seconds then
    if not tonumber(seconds) then fail.usage("\"%s\" is no number of seconds", seconds) end
    return { verb, args.channel, seconds }
  end
  if verb == "skip" and not args.reason:find "%S" then
    fail.usage("--reason is empty: say why the message is skipped")
  end
  if args.destination then
    if verb ~= "skip" or args.destination:find("/", 1, true) then
      site.split(args.destination, "CHANNEL/DEST, as in adt_to_lab/lab")
    end
    if verb == "step" then return { verb, args.destination, first(args) } end
    if verb ~= "skip" then return { verb, args.destination } end
    local queue = args.destination:find("/", 1, true)
    return { verb, args.destination, args.reason, queue and first(args) or nil }
  end
  return { verb, args.channel }
end

local function say(args, verb, text)
  if verb == "reload" then
    local answer = require("json").decode(text)
    local report = answer.report
    print(type(report) == "string" and report ~= "" and report or "nothing has changed")
    return (answer.refused or 0) > 0 and 1 or 0
  elseif verb == "stop" or verb == "drain" then
    local cut = require("json").decode(text).cut
    cut = type(cut) == "string" and cut ~= "" and cut
    print(("%s: stopped%s"):format(args.channel, cut and " at the end of the grace period: " .. cut
      or verb == "drain" and ", everything is processed and delivered" or ""))
    return
  end
  local answer = require("json").decode(text)
  local unkept = type(answer.unkept) == "string" and "; " .. answer.unkept or ""
  if verb == "skip" or verb == "step" then
    local dest = args.destination:match "/(.*)$"
    local hint = verb == "skip" and (" (lunate show %s)"):format(answer.message) or ""
    print(("%s%s: %s%s%s"):format(answer.message or "the first", dest and " to " .. dest or "",
      answer.text or "done", hint, unkept))
  else
    print(("%s: %s%s"):format(args.destination or args.channel, done[verb], unkept))
  end
end

function M.run(args, verb)
  local text = site.request(words(args, verb)) -- the engine bounds its waiting itself
  if verb == "metrics" then
    io.write(text)
  elseif args.json then
    print(text)
  else
    return say(args, verb, text) or 0
  end
  return 0
end

return M
