-- `lunate status`: what needs a hand first, then every channel and destination.
local term = require "lunate.cli.term"
local site = require "lunate.cli.site"

local M = {}

function M.define(parser)
  parser:flag("--json", "the engine's JSON document")
end

local calm = { running = true, sending = true, idle = true, connecting = true }

-- What somebody said about what is wrong, when the engine knows it.
local function because(text)
  return type(text) == "string" and text ~= "" and ": " .. text or ""
end

-- How much a destination needs somebody: 2 a hand, 1 an eye, 0 nothing; why; what to do.
local function look_at_dest(c, d)
  local name = c.name .. "/" .. d.name
  local old = type(d.oldest_s) == "number" and d.oldest_s or 0
  local waiting = ("%s waiting, the oldest %s"):format(term.number(d.queued), term.age(old))
  if (d.parked or 0) > 0 then
    return 2, ("%s: %s parked"):format(name, term.count(d.parked, "message")),
      ("lunate messages %s --state parked"):format(c.name)
  end
  if d.state == "held" then
    return 1, ("%s: held, %s waiting"):format(name, term.number(d.queued)),
      "lunate release " .. name
  end
  if d.state == "stopped" and c.state == "stopped" then return 0 end
  if not calm[d.state] and d.queued > 0 then
    return old > 60 and 2 or 1, ("%s: %s, %s%s"):format(name, d.state, waiting,
      because(d.last_error))
  end
  if old > 60 then return 1, ("%s: slow, %s"):format(name, waiting) end
  return 0
end

local function parked_by_script(c)
  local n = c.parked or 0
  for _, d in ipairs(c.destinations or {}) do n = n - (d.parked or 0) end
  return n
end

local function look_at_channel(c)
  if c.state == "paused" then
    return 1, ("%s: paused, %s waiting"):format(c.name, term.number(c.pending or 0)),
      "lunate resume " .. c.name
  end
  if c.state == "stopped" then return 1, c.name .. ": stopped", "lunate start " .. c.name end
  if not calm[c.state] then
    return 2, ("%s: %s%s"):format(c.name, c.state, because(c.error))
  end
  if parked_by_script(c) > 0 then
    return 2, ("%s: %s parked"):format(c.name, term.count(c.parked, "message")),
      ("lunate messages %s --state parked"):format(c.name)
  end
  return 0
end

-- Notes { level, text, command } of a document, and a level for each channel and destination.
local function look(doc)
  local notes = {}
  local function note(level, text, command)
    if text then
      notes[#notes + 1] = { level = level, text = text, command = command, n = #notes }
    end
    return level
  end
  for _, c in ipairs(doc.channels) do
    local worst = note(look_at_channel(c))
    c.level = worst
    for _, d in ipairs(c.destinations or {}) do
      d.level = note(look_at_dest(c, d))
      worst = math.max(worst, d.level)
    end
    c.worst = worst
  end
  table.sort(notes, function(a, b)
    if a.level ~= b.level then return a.level > b.level end
    return a.n < b.n
  end)
  return notes
end

local colours = { [0] = "green", "yellow", "red" }

local function row(name, state, level, waiting, oldest, done, parked)
  print(("%s %s %s %s %s %s"):format(term.fit(name, 30),
    term.paint(colours[level], term.fit(state, 11)), term.fit(waiting, 9, true),
    term.fit(oldest, 10, true), term.fit(done, 9, true), term.fit(parked, 6, true)))
end

local function some(n)
  return n and n > 0 and term.number(n) or ""
end

local function table_of(doc)
  local channels = {}
  for i, c in ipairs(doc.channels) do
    channels[i] = c
    c.n = i
  end
  table.sort(channels, function(a, b)
    if a.worst ~= b.worst then return a.worst > b.worst end
    return a.n < b.n
  end)
  print(term.paint("dim", ("%s %s %s %s %s %s"):format(term.fit("channel, -> destination", 30),
    term.fit("state", 11), term.fit("waiting", 9, true), term.fit("oldest", 10, true),
    term.fit("done", 9, true), "parked")))
  for _, c in ipairs(channels) do
    row(c.name, c.state, c.level, some(c.pending), "", term.number(c.processed or 0),
      some(c.parked))
    for _, d in ipairs(c.destinations or {}) do
      local old = type(d.oldest_s) == "number" and d.oldest_s >= 1 and term.age(d.oldest_s) or ""
      row("  -> " .. d.name, d.state, d.level, some(d.queued), old, term.number(d.sent or 0),
        some(d.parked))
    end
  end
end

--- Prints a status document for people.
function M.show(doc)
  local kept = doc.store or {}
  print(("lunate %s, up %s, %s, %s kept (%s)"):format(doc.version, term.age(doc.uptime_s),
    term.count(#doc.channels, "channel"), term.count(kept.messages or 0, "message"),
    term.bytes(kept.bytes or 0)))
  if type(kept.failure) == "string" and kept.failure ~= "" then
    print(term.paint("red", "the store: " .. kept.failure))
  end
  local notes = look(doc)
  if #notes > 0 then
    print("\n" .. term.paint("bold", "needs a hand or an eye"))
    for _, n in ipairs(notes) do
      print("  " .. term.paint(colours[n.level], n.text))
      if n.command then print("      " .. n.command) end
    end
  end
  if #doc.channels > 0 then print "" end
  table_of(doc)
end

function M.run(args)
  local text = site.request({ "status" }, 10)
  if args.json then
    print(text)
  else
    M.show(require("json").decode(text))
  end
  return 0
end

return M
