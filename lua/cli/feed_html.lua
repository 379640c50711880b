-- A feed (lunate.cli.feed) as one HTML page that needs nothing else: no script, no other file.
-- Charts are inline SVG. All text is escaped, and shown only as far as feed_values lets it.
local feed = require "lunate.cli.feed"
local values = require "lunate.cli.feed_values"
local term = require "lunate.cli.term"

local escapes = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function esc(text)
  return (term.printable(tostring(text)):gsub('[&<>"]', escapes))
end

local function put(text, ...)
  io.write(select("#", ...) > 0 and text:format(...) or text)
end

local style = [[
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em;
color:#1b2733}
h1{font-size:1.5em}h2{font-size:1.15em;margin:2em 0 .4em}
table{border-collapse:collapse;width:100%}
td,th{padding:.2em .6em;text-align:left;vertical-align:top;border-bottom:1px solid #e3e8ec}
th{font-weight:600;color:#5b6b78}td.n{text-align:right;white-space:nowrap}
.bar{fill:#2f7fb8}.back{fill:#e3edf4}.error{color:#b3261e}.warning{color:#9a6700}.dim{color:#6b7a86}
code{font-size:.93em;background:#f2f5f7;padding:0 .25em;border-radius:3px}svg{vertical-align:middle}
@media(prefers-color-scheme:dark){body{background:#12181d;color:#dce4ea}td,th{border-color:#2a343c}
.back{fill:#24303a}code{background:#1e272e}}
]]

-- A bar that is `part` (0 to 1) full.
local function bar(part, width)
  return (('<svg width="%d" height="11" role="img" aria-label="%d%%"><rect class="back" width="%d" '
    .. 'height="11" rx="2"/><rect class="bar" width="%.1f" height="11" rx="2"/></svg>'):format(
    width, math.floor(part * 100 + 0.5), width, math.max(part > 0 and 1 or 0, part * width)))
end

local function percent(n, of)
  return ("%.1f%%"):format(of > 0 and n / of * 100 or 0)
end

local function chart(title, counter, top)
  local list = feed.sorted(counter)
  put("<h2>%s</h2>\n<table>\n", esc(title))
  for i = 1, math.min(top, #list) do
    put("<tr><td><code>%s</code></td><td class=n>%s</td><td class=n>%s</td><td>%s</td></tr>\n",
      esc(list[i][1]), term.number(list[i][2]), percent(list[i][2], counter.total),
      bar(list[i][2] / counter.total, 320))
  end
  local rest = counter.more
  for i = top + 1, #list do rest = rest + list[i][2] end
  if rest > 0 then
    put("<tr><td class=dim>others</td><td class=n>%s</td><td class=n>%s</td><td></td></tr>\n",
      term.number(rest), percent(rest, counter.total))
  end
  put "</table>\n"
end

local function coded(list, total, top, rest)
  local out = {}
  for i = 1, math.min(top, #list) do
    local v = list[i]
    out[i] = ("<code>%s</code>%s %s"):format(esc(v[1]), v[3] and " " .. esc(v[3]) or "",
      percent(v[2], total))
  end
  for i = top + 1, #list do rest = rest + list[i][2] end
  if rest > 0 then
    out[#out + 1] = "<span class=dim>others " .. percent(rest, total) .. "</span>"
  end
  return table.concat(out, ", ")
end

local function about(f, top)
  local parts = {}
  if f.most > 1 then parts[1] = ("up to %d repetitions"):format(f.most) end
  if f.nulls > 0 then parts[#parts + 1] = term.number(f.nulls) .. " null" end
  if f.values and f.values.total > 0 then
    local list, rest = values.shown(f)
    parts[#parts + 1] = coded(list, f.values.total, top, rest)
  end
  for _, c in ipairs { f.forms or f.shapes } do
    parts[#parts + 1] = coded(feed.sorted(c), c.total, top, c.more)
  end
  return table.concat(parts, "; ")
end

local function segment(s, f, top)
  put('<h2 id="%s">%s %s</h2>\n<p class=dim>in %s of the messages; %s, at most %d in one</p>\n',
    s.name, s.name, bar(s.messages / f.messages, 120), percent(s.messages, f.messages),
    esc(term.count(s.count, "segment")), s.most)
  put "<table><tr><th>field</th><th></th><th>filled</th><th></th><th>length</th><th></th></tr>\n"
  for n = 1, s.nfields do
    local x = s.fields[n]
    if x then
      put("<tr><td>%s-%d</td><td>%s <span class=dim>%s</span></td><td class=n>%s</td><td>%s</td>"
        .. "<td class=n>%s</td><td>%s</td></tr>\n", s.name, n, esc(x.title or ""), x.type or "",
        percent(x.filled, s.count), bar(x.filled / s.count, 80), x.filled == 0 and "" or x.shortest
        == x.longest and x.longest or x.shortest .. "–" .. x.longest, about(x, top))
    end
  end
  put "</table>\n"
end

local function problems(f)
  local list = f.problems:sorted()
  put("<h2>Against the standard</h2>\n<p>%s of %s with errors, %s errors, %s warnings.</p>\n",
    term.number(f.problems.wrong), esc(term.count(f.messages, "message")),
    term.number(f.problems.errors), term.number(f.problems.warnings))
  if #list == 0 then return end
  put "<table><tr><th>messages</th><th></th><th></th><th>path</th><th>what</th></tr>\n"
  for i = 1, math.min(200, #list) do
    local k = list[i]
    put('<tr><td class=n>%s</td><td>%s</td><td class="%s">%s</td><td>%s</td><td>%s '
      .. "<span class=dim>%s</span></td></tr>\n", percent(k.messages, f.messages),
      bar(k.messages / f.messages, 80), k.problem.severity, k.problem.severity, esc(k.path),
      esc(k.problem.text), esc(k.problem.title or ""))
  end
  put "</table>\n"
end

-- Segments by how many messages have them, each with a link to its fields.
local function overview(f, ordered)
  put "<h2>Segments</h2>\n<table>\n"
  for _, s in ipairs(ordered) do
    put('<tr><td><a href="#%s">%s</a></td><td class=n>%s</td><td>%s</td><td class=n>%.1f a message'
      .. "</td></tr>\n", s.name, s.name, percent(s.messages, f.messages),
      bar(s.messages / f.messages, 320), s.count / f.messages)
  end
  put "</table>\n"
end

return function(f, name, top)
  put('<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Profile of %s</title>\n'
    .. "<style>%s</style>\n<h1>%s</h1>\n", esc(name), style, esc(name))
  put("<p>%s, %s, the longest %s%s.</p>\n", esc(term.count(f.messages, "message")),
    esc(term.bytes(f.bytes)), esc(term.bytes(f.longest)), f.first_day
    and (", %s to %s by MSH-7"):format(f.first_day, f.last_day) or "")
  put "<p class=dim>Names, identifiers, addresses and texts are measured, never shown.</p>\n"
  chart("Message types", f.types, 30)
  chart("Versions", f.versions, 10)
  chart("Senders (MSH-3, MSH-4)", f.senders, 20)
  chart("Character sets declared (MSH-18)", f.declared, 10)
  chart("Character encoding found", f.encodings, 5)
  local ordered = f:ordered()
  overview(f, ordered)
  problems(f)
  for _, s in ipairs(ordered) do segment(s, f, top) end
  put "</html>\n"
end
