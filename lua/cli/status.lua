-- `lunate status`: what needs a hand first, then every channel and destination.
local term = require "lunate.cli.term"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local attention = require "lunate.cli.attention"

local M = {}

function M.define(parser)
  parser:flag("--json", "the engine's JSON document")
end

local colours = { [0] = "green", "yellow", "red" }
-- Columns beside the name; `leave`: on a narrow screen they go, in this order.
local beside = { { "state", 10 }, { "peers", 5, leave = 1 }, { "waiting", 7 },
  { "oldest", 7, leave = 4 }, { "last", 8, leave = 2 }, { "done", 7, leave = 3 }, { "parked", 6 } }

-- Which columns a screen has room for, and how much is left for the name.
local function layout(width)
  local shown, room = {}, width
  for _, col in ipairs(beside) do shown[col[1]], room = true, room - col[2] - 1 end
  for n = 1, 4 do
    for _, col in ipairs(beside) do
      if room < 22 and col.leave == n then shown[col[1]], room = false, room + col[2] + 1 end
    end
  end
  return { shown = shown, name = math.max(22, math.min(48, room)) }
end

local function some(n)
  return n and n > 0 and term.short(n) or ""
end

-- One line: name, state, peers, waiting, oldest, last, done, parked.
local function row(plan, level, name, ...)
  local cells = { term.fit_name(name, plan.name) }
  for i, col in ipairs(beside) do
    if plan.shown[col[1]] then
      local text = term.fit((select(i, ...)), col[2], i > 1)
      cells[#cells + 1] = i == 1 and term.paint(level and colours[level], text) or text
    end
  end
  return (table.concat(cells, " "):gsub(" +$", ""))
end

local function ago(doc, iso)
  local s = attention.since(doc, iso)
  return s and term.short_age(s) or ""
end

local function oldest(d)
  return type(d.oldest_s) == "number" and d.oldest_s >= 1 and term.short_age(d.oldest_s) or ""
end

--- The channels of a document, most urgent first.
function M.urgent_first(doc)
  local channels = {}
  for i, c in ipairs(doc.channels) do
    channels[i] = c
    c.n = i
  end
  table.sort(channels, function(a, b)
    if a.worst ~= b.worst then return a.worst > b.worst end
    return a.n < b.n
  end)
  return channels
end

local function table_of(doc, plan, add)
  add(term.paint("dim", row(plan, nil, "channel, -> destination", "state", "peers", "waiting",
    "oldest", "last", "done", "parked")))
  for _, c in ipairs(M.urgent_first(doc)) do
    add(row(plan, c.level, c.name, c.state, some(c.connections), some(c.pending), "",
      ago(doc, c.last_in), term.short(c.processed or 0), some(c.parked)))
    for _, d in ipairs(c.destinations or {}) do
      add(row(plan, d.level, "  -> " .. d.name, d.state, "", some(d.queued), oldest(d),
        ago(doc, d.last_sent), term.short(d.sent or 0), some(d.parked)))
    end
  end
end

--- The head of a document for people: lines by add(text).
function M.head(doc, width, add)
  local kept = doc.store or {}
  local first = ("lunate %s, %sup %s, %s, %s kept (%s)"):format(doc.version,
    doc.state and doc.state ~= "running" and doc.state .. ", " or "", term.age(doc.uptime_s),
    term.count(#doc.channels, "channel"), term.count(kept.messages or 0, "message"),
    term.bytes(kept.bytes or 0))
  for _, line in ipairs(term.wrap(first, width)) do add(line) end
  if type(kept.failure) == "string" and kept.failure ~= "" then
    add(term.paint("red", "the store: " .. kept.failure))
  end
  local notes = attention.look(doc)
  if #notes > 0 then
    add ""
    add(term.paint("bold", "needs a hand or an eye"))
    for _, n in ipairs(notes) do
      for i, line in ipairs(term.wrap(term.printable(n.text), width - 4)) do
        add((i == 1 and "  " or "    ") .. term.paint(colours[n.level], line))
      end
      if n.command then add("      " .. n.command) end
    end
  end
end

--- A status document for people, as lines.
function M.lines(doc, width)
  local lines = {}
  local function add(text) lines[#lines + 1] = text end
  doc.now = sys.now()
  M.head(doc, width, add)
  if #doc.channels > 0 then add "" end
  table_of(doc, layout(width), add)
  return lines
end

function M.run(args)
  local text = site.request({ "status" }, { seconds = 10 })
  if args.json then
    print(text)
  else
    print(table.concat(M.lines(require("json").decode(text), sys.width()), "\n"))
  end
  return 0
end

return M
