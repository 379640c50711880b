-- `lunate alerts`: what is firing; silence, acknowledge, test. The alerter answers, through the
-- engine: tests go the very way that alerts go.
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local units = require "lunate.alerts.units"
local sys = require "lunate.sys"

local M = {}

function M.define(parser)
  parser:argument("action", "list (when left out), test, silence, unsilence, ack, usual"):args "?"
    :choices { "list", "test", "silence", "unsilence", "ack", "usual" }
  parser:argument("what", "test: a target; silence: RULE, or * for all; ack: an id or a RULE")
    :args "?"
  parser:argument("subject", "silence: only this CHANNEL or CHANNEL/DEST"):args "?"
  parser:option("--for", "silence: how long, as in 30m, 2h, 1d"):target "span"
  parser:option("--reason", "why, shown with it")
  parser:flag("--json", "one JSON document")
end

-- The name of this process's user, as /etc/passwd has it; its number otherwise.
local function account()
  local uid = (site.read "/proc/self/status" or ""):match "\nUid:%s*(%d+)" or "?"
  for name, id in (site.read "/etc/passwd" or ""):gmatch "([^:\n]+):[^:\n]*:(%d+):[^\n]*" do
    if id == uid then return name end
  end
  return "uid " .. uid
end

local function me()
  return os.getenv "SUDO_USER" or os.getenv "USER" or os.getenv "LOGNAME" or account()
end

-- A silence for what is not there would silence nothing.
local function need_subject(subject)
  if subject == "" or subject:find("*", 1, true) then return end
  local channel, dest = subject:match "^([^/]+)/?(.*)$"
  local doc = require("json").decode(site.request({ "status" }, { seconds = 10 }))
  for _, c in ipairs(doc.channels) do
    local there = c.name == channel and dest == ""
    for _, d in ipairs(c.name == channel and c.destinations or {}) do
      there = there or d.name == dest
    end
    if there then return end
  end
  fail.fail(1, "there is no %s to silence: lunate status lists what there is", subject)
end

local function ago(iso)
  local us = type(iso) == "string" and time.parse(iso)
  return us and units.span(math.max(0, sys.now() - us / 1e6)) or "?"
end

local function clock(iso) return time.text(time.parse(iso)):sub(1, 16) end

local colours = { firing = "red", silenced = "dim", acknowledged = "yellow" }

local function say_list(doc)
  if #doc.firing == 0 then print "nothing is firing" end
  for _, e in ipairs(doc.firing) do
    local state = e.state .. (e.reason and (" by %s: %s"):format(e.by, e.reason) or "")
    print(("%s  %s"):format(term.paint(colours[e.state], term.fit(e.rule, 14)),
      term.printable(e.text)))
    print(("                for %s, %s%s%s"):format(ago(e.since), term.printable(state),
      e.messages > 0 and (", told %s"):format(e.messages == 1 and "once" or e.messages .. " times")
      or ", not told yet", e.id and ", id " .. e.id or ""))
  end
  for _, s in ipairs(doc.silences) do
    print(("silenced: %s%s until %s by %s: %s"):format(s.rule, s.subject ~= "" and " " .. s.subject
      or "", clock(s["until"]), s.by, term.printable(s.reason)))
  end
  for _, t in ipairs(doc.targets) do
    if t.trouble then
      print(term.paint("red", ("target %s does not take alerts: %s"):format(t.name,
        term.printable(t.trouble))))
    elseif t.held then
      print(term.paint("yellow", ("target %s: %s"):format(t.name, t.held)))
    end
  end
  if doc.waiting > 0 then print(("%s to be sent"):format(term.count(doc.waiting, "message"))) end
end

local function say_test(doc)
  local bad = 0
  for _, t in ipairs(doc.targets) do
    if not t.ok then bad = bad + 1 end
    print(("%s (%s): %s"):format(t.target, t.kind, t.ok and ("sent in %.1f s"):format(t.seconds)
      or term.paint("red", "failed") .. ": " .. term.printable(t.error)))
  end
  return bad > 0 and 1 or 0
end

local function say_usual(doc)
  for _, c in ipairs(doc.channels) do
    print(("%s: %d of 168 hours have a baseline; %s: %g an hour (%s seen, %d needed), longest"
      .. " usual pause worth %g"):format(c.channel, c.hours, c.hour, c.per_hour,
      term.count(c.weeks, "week"), doc.weeks_needed, c.pause))
  end
  if #doc.channels == 0 then print "nothing has been seen yet" end
end

local function need(args, action, ...)
  for _, key in ipairs { ... } do
    if not args[key] or not args[key]:find "%S" then
      fail.usage("alerts %s needs %s", action,
        key == "what" and (action == "ack" and "an id or a rule" or "a rule, or * for all")
        or key == "span" and "--for, as in --for 2h" or "--reason TEXT")
    end
  end
end

local function words(args, action)
  if action == "test" then return { "test", args.what or "" } end
  if action == "silence" then
    need(args, action, "what", "span", "reason")
    local s = units.seconds(args.span)
    if not s or s <= 0 or s > 366 * 86400 then
      fail.usage("\"%s\" is no time, as in 30m, 2h, 1d", args.span)
    end
    need_subject(args.subject or "")
    return { "silence", args.what, args.subject or "", ("%.0f"):format(s), args.reason, me() }
  elseif action == "unsilence" then
    need(args, action, "what")
    return { "unsilence", args.what, args.subject or "" }
  elseif action == "ack" then
    need(args, action, "what", "reason")
    return { "ack", args.what, args.reason, me() }
  end
  return { action }
end

function M.run(args)
  local action = args.action or "list"
  local text = site.request({ "alerts", unpack(words(args, action)) }, { seconds = 200 })
  local doc = require("json").decode(text)
  if args.json then print(text) end
  if action == "test" then
    if not args.json then return say_test(doc) end
    for _, t in ipairs(doc.targets) do
      if not t.ok then return 1 end
    end
    return 0
  end
  if args.json then return 0 end
  if action == "list" then
    say_list(doc)
  elseif action == "usual" then
    say_usual(doc)
  elseif action == "silence" then
    print(("%s%s: silenced until %s"):format(args.what, args.subject and " " .. args.subject or "",
      clock(doc["until"])))
  elseif action == "unsilence" then
    print(args.what .. ": no longer silenced")
  else
    print(("%s: acknowledged; told again when something is added, and when it is over"):format(
      args.what))
  end
  return 0
end

return M
