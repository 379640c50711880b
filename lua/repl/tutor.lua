-- `lunate tutor`: lessons at the prompt of the REPL (lunate.repl.lessons), each checked by what the
-- learner's lines did. Needs no site; where it was left is kept, so that it goes on there.
local text = require "lunate.repl.text"
local lessons = require "lunate.repl.lessons"
local session = require "lunate.repl.session"

local M = {}
local COUNT = #lessons

-- The channel that the lessons run.
local channel = [[
return channel {
  source = mllp.listen { port = 6661 },
  filter = function(msg)
    return msg.type == "ORU", "not a result"
  end,
  transform = function(msg)
    msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper()
  end,
  destinations = {
    ehr = mllp.send { host = "127.0.0.1", port = 6662 },
    archive = mllp.send { host = "127.0.0.1", port = 6663,
      filter = function(msg) return msg.version ~= "2.5.1", "the archive takes no 2.5.1" end },
  },
}
]]

-- assert as specs have it, which also notes what held.
local setup = [[
asserted = nil
assert = setmetatable({ equal = function(expected, value)
  if expected ~= value then
    error(("expected %s, got %s"):format(tostring(expected), tostring(value)), 2)
  end
  asserted = value
end }, { __call = function(_, v, ...) if not v then error(... or "assertion failed!", 2) end
  return v, ... end })
]]

local function made_up_site()
  local path = "channels/lesson.lua"
  local c = { name = "lesson", script = path, files = { { path, channel } },
    settings = { filter = "true" } }
  for name, port in pairs { ehr = "6662", archive = "6663" } do
    c.settings["dest." .. name .. ".host"] = "127.0.0.1"
    c.settings["dest." .. name .. ".port"] = port
  end
  return { channels = { c }, by_name = { lesson = c }, shared = {}, errors = {} }
end

local function show(s)
  local l = lessons[s.lesson]
  s:say ""
  s:say(text.paint("bold", ("Lesson %d of %d: %s"):format(s.lesson, COUNT, l.title)))
  s:say(text.wrap(l.text))
  s:say(text.paint("yellow", text.wrap(l.task, "-> ")))
end

-- Each lesson begins with the sample as it was.
local function begin(s)
  s.tried = 0
  s:ask("message", lessons.sample)
  s.bytes, s.last_run = lessons.sample, nil
  s.source = { label = "the lesson's message", list = { lessons.sample }, at = 1 }
  s:ask("eval", setup)
  show(s)
end

local function keep_place(s)
  local path = s.person and session.state "tutor"
  local f = path and io.open(path, "w")
  if f then
    f:write(s.lesson, "\n")
    f:close()
  end
end

local function finish(s)
  s:say ""
  s:say(text.paint("bold", "That was the last lesson."))
  s:say(text.wrap("Go on with: lunate new site mysite, then cd mysite, lunate repl. " ..
    "docs/message.md says all of the message object, docs/scripting.md of channels."))
  s.quit, s.finished = true, true
  s.lesson = 1
end

local function forward(s)
  s.lesson = s.lesson + 1
  if s.lesson > COUNT then finish(s) else begin(s) end
  keep_place(s)
end

-- Behind each line: is the lesson done?
local function check(s, typed)
  local l = lessons[s.lesson]
  if s.moved then
    s.moved = nil
    return
  end
  local answer = s:ask("check", l.check, typed)
  if not answer then return end
  if answer[1] == "yes" then
    s:say(text.paint("green", "Right."))
    return forward(s)
  end
  if answer[2] then return s:say(text.paint("yellow", text.wrap(answer[2]))) end
  s.tried = s.tried + 1
  if s.tried % 4 == 0 then
    s:say(text.paint("dim", "(.hint helps, .task says again what to do)"))
  end
end

local function lesson(s, rest)
  s.moved = true
  local n = tonumber(rest)
  if not n or n < 1 or n > COUNT or n % 1 ~= 0 then
    for i, l in ipairs(lessons) do s:say("%s%2d  %s", i == s.lesson and "*" or " ", i, l.title) end
    return
  end
  s.lesson = n
  begin(s)
  keep_place(s)
end

local own = {
  hint = function(s)
    s.moved = true
    s:say(text.paint("cyan", lessons[s.lesson].hint))
  end,
  task = function(s)
    s.moved = true
    show(s)
  end,
  skip = function(s)
    s.moved = true
    if s.lesson == COUNT then
      return s:say "this is the last lesson: .hint helps, .lesson N goes to another one, .quit ends"
    end
    forward(s)
  end,
  lesson = lesson,
}
for _, name in ipairs { "edit", "reload", "channel", "save", "spec" } do
  own[name] = function(s)
    s.moved = true
    s:wrong(".%s is for sites: lunate repl", name)
  end
end

local function place(first)
  if first then return first end
  local path = session.state "tutor"
  local f = path and io.open(path)
  local n = f and f:read "*n"
  if f then f:close() end
  return n and n >= 1 and n <= COUNT and n or 1
end

--- Runs the tutor from that lesson, or where it was left. Returns the exit status.
function M.run(first)
  local s = session.open { no_channel = true }
  s.tutor, s.commands, s.after = true, own, check
  s.site, s.channel, s.no_site = made_up_site(), "lesson", true
  s.lesson = s.person and place(first) or first or 1
  local ok, why = s:start()
  if not ok then
    s:wrong(why)
    s:close()
    return 1
  end
  s:say(text.wrap("Twelve short lessons at the prompt. .hint helps, .task says again what to " ..
    "do, .skip goes on, .lesson N goes to one, .quit ends; next time it goes on where you left."))
  begin(s)
  local done, status = xpcall(function() return s:loop() end, debug.traceback)
  s:close()
  if not done then error(status, 0) end
  return (s.person or s.finished) and 0 or 1
end

M.count = COUNT
return M
