-- A feed (lunate.cli.feed) as one JSON document.
local json = require "lunate.cli.json"
local feed = require "lunate.cli.feed"
local values = require "lunate.cli.feed_values"

local function counter(c, what)
  if not c then return nil end
  local list = {}
  for i, w in ipairs(feed.sorted(c)) do list[i] = json.object(what, w[1], "count", w[2]) end
  if c.more > 0 then list[#list + 1] = json.object("count", c.more) end
  return json.list(list)
end

local function codes(f)
  if not f.values then return nil end
  local list, rest = values.shown(f)
  local out = {}
  for i, v in ipairs(list) do
    out[i] = json.object("code", v[1], "count", v[2], "meaning", v[3])
  end
  if rest > 0 then out[#out + 1] = json.object("count", rest) end
  return json.list(out)
end

local function field(segment, f)
  return json.object("path", segment.name .. "-" .. f.number, "title", f.title, "type", f.type,
    "filled", f.filled, "nulls", f.nulls > 0 and f.nulls or nil,
    "shortest", f.filled > 0 and f.shortest or nil, "longest", f.longest,
    "mean_length", f.filled > 0 and math.floor(f.sum / f.filled * 10 + 0.5) / 10 or nil,
    "most_repetitions", f.most, "repeated", f.repeated > 0 and f.repeated or nil,
    "codes", codes(f), "dates", counter(f.forms, "form"), "shapes", counter(f.shapes, "shape"))
end

local function segment(s, messages)
  local fields = {}
  for n = 1, s.nfields do
    if s.fields[n] then fields[#fields + 1] = field(s, s.fields[n]) end
  end
  return json.object("segment", s.name, "messages", s.messages, "count", s.count,
    "most", s.most, "share", math.floor(s.messages / messages * 1000 + 0.5) / 1000,
    "fields", json.list(fields))
end

return function(f, name)
  local segments, problems = {}, f.problems
  for i, s in ipairs(f:ordered()) do segments[i] = segment(s, f.messages) end
  io.write(json.encode(json.object("source", name, "messages", f.messages, "bytes", f.bytes,
    "longest", f.longest, "first_day", f.first_day, "last_day", f.last_day,
    "types", counter(f.types, "type"), "versions", counter(f.versions, "version"),
    "senders", counter(f.senders, "sender"), "declared_charsets", counter(f.declared, "charset"),
    "encodings", counter(f.encodings, "encoding"),
    "delimiters", counter(f.delimiters, "delimiters"), "segments", json.list(segments),
    "order", counter(f.follows, "segments"),
    "problems", json.object("messages_with_errors", problems.wrong, "errors", problems.errors,
      "warnings", problems.warnings, "kinds", problems:json()))), "\n")
end
