-- A feed (lunate.cli.feed) as text for a terminal.
local term = require "lunate.cli.term"
local feed = require "lunate.cli.feed"
local values = require "lunate.cli.feed_values"

local PROBLEMS = 40

local function percent(n, of)
  if n == of then return "100%" end
  local p = n / of * 100
  return p < 1 and "<1%" or ("%d%%"):format(math.min(99, math.floor(p + 0.5)))
end

-- "ADT^A01 812 (81%), ADT^A08 188 (19%)"
local function words(list, total, top, rest)
  local out = {}
  for i = 1, math.min(top, #list) do
    out[i] = ("%s %s"):format(term.printable(list[i][1]), percent(list[i][2], total))
  end
  for i = top + 1, #list do rest = rest + list[i][2] end
  if rest > 0 then out[#out + 1] = ("others %s"):format(percent(rest, total)) end
  return table.concat(out, ", ")
end

local function line(label, counter, top)
  io.write(("  %-12s %s\n"):format(label, words(feed.sorted(counter), counter.total, top,
    counter.more)))
end

local function head(f, name, top)
  io.write(term.paint("bold", ("%s: %s, %s, longest %s"):format(name,
    term.count(f.messages, "message"), term.bytes(f.bytes), term.bytes(f.longest))), "\n")
  if f.first_day then io.write(("  %-12s %s to %s\n"):format("days", f.first_day, f.last_day)) end
  line("types", f.types, top)
  line("versions", f.versions, top)
  line("senders", f.senders, top)
  line("MSH-18", f.declared, top)
  line("encoding", f.encodings, top)
  line("delimiters", f.delimiters, top)
end

local function lengths(f)
  if f.filled == 0 then return "" end
  if f.shortest == f.longest then return tostring(f.longest) end
  return ("%d-%d"):format(f.shortest, f.longest)
end

local function about(f, top)
  local parts = {}
  if f.most > 1 then parts[1] = ("up to %d repetitions"):format(f.most) end
  if f.nulls > 0 then parts[#parts + 1] = ("%s null"):format(term.number(f.nulls)) end
  local list, rest = values.shown(f)
  if f.values and f.values.total > 0 then
    parts[#parts + 1] = words(list, f.values.total, top, rest)
  end
  for _, c in ipairs { f.forms or f.shapes } do
    parts[#parts + 1] = words(feed.sorted(c), c.total, top, c.more)
  end
  return table.concat(parts, "; ")
end

local function segment(s, f, top)
  io.write("\n", term.paint("bold", s.name), ("  in %s of the messages, %s, at most %d in one\n")
    :format(percent(s.messages, f.messages), term.count(s.count, "segment"), s.most))
  for n = 1, s.nfields do
    local x = s.fields[n]
    if x then
      io.write(("%7d %s %5s %9s  %s\n"):format(n, term.fit(x.title or "", 28),
        percent(x.filled, s.count), lengths(x), about(x, top)))
    end
  end
end

local function problems(f)
  local list = f.problems:sorted()
  if #list == 0 then
    io.write "\nAgainst the standard: no errors or warnings\n"
    return
  end
  io.write("\n", term.paint("bold", "Against the standard"), ("  %s with errors\n"):format(
    term.count(f.problems.wrong, "message")))
  for i = 1, math.min(PROBLEMS, #list) do
    local k = list[i]
    io.write(("  %6s %s %s %s\n"):format(percent(k.messages, f.messages),
      term.fit(k.problem.severity, 8), term.fit(k.path, math.max(12, #k.path)), k.problem.text))
  end
  if #list > PROBLEMS then
    io.write(("  and %d more kinds (lunate validate --summary)\n"):format(#list - PROBLEMS))
  end
end

return function(f, name, top)
  head(f, name, top)
  for _, s in ipairs(f:ordered()) do segment(s, f, top) end
  problems(f)
end
