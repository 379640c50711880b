-- Verbs that ask the running engine to do something. A request is a list of words; what comes back
-- is one JSON document, of which a person is told what it means.
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"

local M = {}

local done = {
  start = "started", stop = "stopped", pause = "paused", resume = "resumed",
  hold = "held", release = "released",
}

function M.define(parser, verb)
  if verb == "reload" then
    parser:argument("channel", "the channel; all when left out"):args "?"
    parser:flag("--plan", "say what would change, change nothing")
  elseif verb == "hold" or verb == "release" or verb == "step" or verb == "skip" then
    parser:argument("destination", "CHANNEL/DEST")
  elseif verb == "resend" then
    parser:argument("message", "CHANNEL/SEQ")
    parser:option("--dest", "to this destination alone")
    parser:flag("--reprocess", "through the script again, instead of the same outputs again")
  elseif verb ~= "metrics" then
    parser:argument("channel", "the channel")
  end
  if verb == "skip" then
    parser:option("--reason", "why, kept with the message"):count(1)
  end
  if verb ~= "metrics" then parser:flag("--json", "print the engine's answer") end
end

local function words(args, verb)
  if verb == "metrics" then return { verb } end
  if verb == "reload" and args.plan then return { verb, args.channel or "", "plan" } end
  if verb == "reload" then return { verb, args.channel } end
  if verb == "resend" then
    local channel, seq = site.split_message(args.message)
    return { verb, channel, ("%.0f"):format(seq), args.dest or "", args.reprocess and "1" or "0" }
  end
  if verb == "skip" and not args.reason:find "%S" then
    fail.usage("--reason is empty: say why the message is skipped")
  end
  if args.destination then
    site.split(args.destination, "CHANNEL/DEST, as in adt_to_lab/lab")
    return { verb, args.destination, args.reason }
  end
  return { verb, args.channel }
end

local function say(args, verb, text)
  if verb == "reload" then
    local answer = require("json").decode(text)
    local report = answer.report
    print(type(report) == "string" and report ~= "" and report or "nothing has changed")
    return (answer.refused or 0) > 0 and 1 or 0
  elseif verb == "resend" then
    local channel = site.split_message(args.message)
    local seq = text:match '"seq"%s*:%s*"?(%d+)'
    print(("%s again%s"):format(args.message, seq and (" as %s/%s"):format(channel, seq) or ""))
  elseif verb == "skip" or verb == "step" then
    local answer = require("json").decode(text)
    print(("%s to %s: %s%s"):format(answer.message or "the first", args.destination:match "[^/]*$",
      answer.text or "done", verb == "skip" and (" (lunate show %s)"):format(answer.message) or ""))
  else
    print(("%s: %s"):format(args.destination or args.channel, done[verb]))
  end
end

function M.run(args, verb)
  local text = site.request(words(args, verb), 86400 + 60) -- the engine bounds its waiting itself
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
