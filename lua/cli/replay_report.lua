-- What `lunate replay` found, for people and as JSON.
local json = require "lunate.cli.json"
local term = require "lunate.cli.term"
local tally = require "lunate.cli.tally"

local M = {}

-- A value for people: quoted, short, no control characters.
local function shown(v)
  if v == nil then return "(absent)" end
  if v == "" then return "(empty)" end
  return "'" .. term.clip(term.printable(v), 60) .. "'"
end

-- Kinds whose values are an old one and a new one of the same place.
local both = { field = true, reason = true }

local function print_pair(g, p)
  local text
  if both[g.kind] then
    text = shown(p.old) .. " -> " .. shown(p.new)
  else
    text = shown(p.new or p.old)
  end
  print(("    %s  %s"):format(term.fit(term.number(p.count), 7, true), text))
end

local function print_values(g)
  local list, rest = tally.top(g, 3)
  if list[1] and list[1].count == 1 and rest > 0 then -- all are different: one will do
    list, rest = tally.top(g, 1)
  end
  for _, p in ipairs(list) do
    print_pair(g, p)
  end
  if rest > 0 then
    print(("    %s  other%s"):format(term.fit(term.number(rest), 7, true), rest == 1 and "" or "s"))
  end
end

local function print_places(args, g)
  local words = {}
  for i = 1, math.min(3, #g.examples) do
    local e = g.examples[i]
    words[i] = ("%s/%.0f (%s)"):format(args.channel, e.seq, term.printable(e.control_id))
  end
  print(term.paint("dim", "    in " .. table.concat(words, ", ")
    .. (g.messages > #words and ", ..." or "")))
end

local function print_examples(args, g)
  for i = 1, math.min(#g.examples, args.examples) do
    local e = g.examples[i]
    print(("    %s/%.0f (%s)"):format(args.channel, e.seq, term.printable(e.control_id)))
    if (e.old or "") ~= "" then print("      - " .. term.printable(e.old)) end
    if (e.new or "") ~= "" then print("      + " .. term.printable(e.new)) end
  end
end

local colours = { error = "red", filtered = "yellow", sends_not = "yellow" }

local function print_kind(args, g)
  local head = ("%s: %s"):format(term.printable(g.title), term.count(g.messages, "message"))
  if g.places > g.messages then head = head .. (" (%s places)"):format(term.number(g.places)) end
  print(term.paint(colours[g.kind] or "bold", head))
  if args.examples then
    print_examples(args, g)
  else
    print_values(g)
    print_places(args, g)
  end
end

local function print_notes(t, print)
  if t.clock > 0 then
    print(("%s differ%s only by the time of processing, which is no change"):format(
      term.count(t.clock, "message"), t.clock == 1 and "s" or ""))
  end
  local reasons = {}
  for why in pairs(t.skipped) do reasons[#reasons + 1] = why end
  table.sort(reasons)
  for _, why in ipairs(reasons) do
    print(("%s left out: %s"):format(term.count(t.skipped[why], "message"), why))
  end
  if t.beyond > 0 then print(("and %s further differences"):format(term.number(t.beyond))) end
  if t.kv_used and t.changed > 0 then
    print "kv was a copy of what the store holds now, not then (--kv none begins empty)"
  end
end

--- The report for people.
function M.text(t, args)
  if t.compared == 0 then
    print "no message to compare"
  elseif t.changed == 0 then
    print(("%s: no change%s"):format(term.count(t.compared, "message"),
      args.ignore and ", leaving out " .. args.ignore:gsub(",", ", ") or ""))
  else
    print(("%s of %s would come out differently"):format(term.number(t.changed),
      term.count(t.compared, "message")))
  end
  for _, g in ipairs(t:kinds()) do
    print ""
    print_kind(args, g)
  end
  local apart = t.changed == 0
  print_notes(t, function(line)
    if not apart then print "" end
    apart = true
    print(line)
  end)
  if t.seconds >= 1 then
    io.stderr:write(("%s in %.1f s\n"):format(term.count(t.compared, "message"), t.seconds))
  end
end

local function examples(g)
  local list = {}
  for i, e in ipairs(g.examples) do
    list[i] = json.object("seq", e.seq, "control_id", e.control_id, "old", e.old, "new", e.new)
  end
  return json.list(list)
end

local function values(g)
  local list = {}
  local top, rest = tally.top(g, 10)
  for i, p in ipairs(top) do
    list[i] = json.object("old", p.old, "new", p.new, "count", p.count)
  end
  return json.list(list), rest
end

--- The report as one document.
function M.json(t, args, channel)
  local kinds, skipped = {}, {}
  for i, g in ipairs(t:kinds()) do
    local list, rest = values(g)
    kinds[i] = json.object("kind", g.kind, "title", g.title, "messages", g.messages, "places",
      g.places, "values", list, "other_values", rest, "examples", examples(g))
  end
  for why, n in pairs(t.skipped) do
    skipped[#skipped + 1] = json.object("reason", why, "messages", n)
  end
  print(json.encode(json.object("channel", args.channel, "script", args.script or channel.script,
    "compared", t.compared, "changed", t.changed, "clock_only", t.clock, "seconds", t.seconds,
    "kinds", json.list(kinds), "skipped", json.list(skipped))))
end

return M
