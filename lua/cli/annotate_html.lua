-- Annotated runs as one page that needs nothing else: no script, font or picture from elsewhere.
local annotate = require "lunate.cli.annotate"
local differ = require "lunate.cli.differ"
local term = require "lunate.cli.term"

local M = {}

local style = [[
:root { color-scheme: light dark; --dim: #8a8a8a; --line: #8883; --note: #0a6b3d; --bad: #b3261e;
  --add: #2da44e33; --del: #cf222e33 }
@media (prefers-color-scheme: dark) { :root { --note: #6fd3a0; --bad: #ff8a80 } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 100rem;
  padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td { vertical-align: top; padding: 0 .6rem; border-top: 1px solid var(--line) }
td, pre { font: 13px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
td.n, td.x { text-align: right; color: var(--dim); white-space: nowrap; width: 1% }
td.s { white-space: pre; width: 1% }
td.v { color: var(--note) }
tr.off td { color: var(--dim); border-top-color: transparent }
.k { color: var(--dim) }
.add { background: var(--add) } .del { background: var(--del) } .bad { color: var(--bad) }
pre { overflow-x: auto } pre span { display: block }
]]

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function text(s)
  return (term.printable(s):gsub('[&<>"]', entities))
end

local function notes(line)
  local out = {}
  for i, note in ipairs(annotate.notes(line)) do
    local label = note[1] ~= "" and ('<span class="k">%s</span> '):format(note[1]) or ""
    out[i] = label .. text(note[2])
  end
  return table.concat(out, "<br>")
end

local function source(add, file)
  add("<h3>", text(file.path), "</h3>\n<table>\n")
  for _, line in ipairs(file.lines) do
    local times = line.hits > 1 and line.hits .. "&times;" or ""
    local code = line.text:gsub("\t", "  ")
    add(line.hits == 0 and '<tr class="off">' or "<tr>", ('<td class="n">%d</td>'):format(line.n),
      '<td class="x">', times, '</td><td class="s">', text(code), '</td><td class="v">',
      notes(line), "</td></tr>\n")
  end
  add "</table>\n"
end

local function output(add, o, input)
  add("<h3>&rarr; ", text(o.dest), "</h3>\n")
  if not o.raw then
    return add('<p class="bad">', text(o.kind .. ": " .. (o.reason or "")), "</p>\n")
  end
  add "<pre>"
  for _, l in ipairs(differ.lines(input, o.raw)) do
    local mark = l:sub(1, 1)
    local class = mark == "+" and "add" or mark == "-" and "del" or "same"
    add('<span class="', class, '">', text(l), "</span>")
  end
  add "</pre>\n"
end

--- Begins the page.
function M.head(channel)
  return ('<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    .. '<meta name="viewport" content="width=device-width">\n<title>%s</title>\n<style>%s</style>\n'
    .. "<h1>%s</h1>\n"):format(text(channel), style, text(channel))
end

--- One message: r as lunate.cli.worker gives it, files of annotate.view.
function M.message(name, input, r, files)
  local out = {}
  local function add(...)
    for i = 1, select("#", ...) do out[#out + 1] = (select(i, ...)) end
  end
  add("<h2>", text(name), "</h2>\n")
  if r.state ~= "done" then
    local why = ("%s: %s %s"):format(r.state, r.reason or "", r.where or "")
    add('<p class="bad">', text(why), "</p>\n")
  end
  for _, l in ipairs(r.log or {}) do
    add("<p>", text(("%s %s: %s"):format(l.level, l.where, l.text)), "</p>\n")
  end
  for _, file in ipairs(files) do source(add, file) end
  for _, o in ipairs(r.outputs) do output(add, o, input) end
  return table.concat(out)
end

return M
