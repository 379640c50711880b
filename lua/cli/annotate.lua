-- A script's source with what it did on one message beside each line: values read and written,
-- whether a condition held, what was returned. Several times through a line are folded.
local term = require "lunate.cli.term"
local json = require "lunate.cli.json"
local sys = require "lunate.sys"
local blocks = require "lunate.cli.blocks"

local M = {}

local function lines_of(text)
  local list = {}
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do list[#list + 1] = line end
  return list
end

-- One time through a line: { reads, writes, held, returned }.
local function digest(run, condition, source)
  local r = { reads = {}, writes = {} }
  local next_line
  for _, e in ipairs(run) do
    if e.kind == "read" then
      r.reads[#r.reads + 1] = e
    elseif e.kind == "write" then
      r.writes[#r.writes + 1] = e
    elseif e.kind == "next" then
      next_line = tonumber(e.name)
    elseif e.kind == "return" then
      r.returned = r.returned and r.returned .. ", " .. e.value or e.value
    end
  end
  r.held = blocks.held(condition, source, next_line)
  return r
end

--- view(trace, sources, script) -> list of files, the script first: { path, lines = { { n, text,
-- hits, runs } ... } }.
function M.view(trace, sources, script)
  local files = {}
  for path, lines in pairs(trace) do
    local text = sources[path] or ""
    local conditions, file = blocks.conditions(text), { path = path, lines = {} }
    for n, source in ipairs(lines_of(text)) do
      local l = lines[n]
      local line = { n = n, text = source, hits = l and l.hits or 0, runs = {} }
      for i, run in ipairs(l and l.runs or {}) do
        line.runs[i] = digest(run, conditions[n], source)
      end
      file.lines[n] = line
    end
    files[#files + 1] = file
  end
  table.sort(files, function(a, b)
    if (a.path == script) ~= (b.path == script) then return a.path == script end
    return a.path < b.path
  end)
  return files
end

--- One time through a line as text.
function M.note(run)
  local parts = {}
  for _, e in ipairs(run.reads) do parts[#parts + 1] = e.name .. " = " .. e.value end
  for _, e in ipairs(run.writes) do
    parts[#parts + 1] = (e.name == "added" or e.name == "removed") and
      e.name .. " " .. e.value:gsub('^"(.*)"$', "%1") or e.name .. " := " .. e.value
  end
  if run.held ~= nil then parts[#parts + 1] = run.held and "holds" or "does not hold" end
  if run.returned then parts[#parts + 1] = "returns " .. run.returned end
  return table.concat(parts, ";  ")
end

--- The notes of a line: { { label, text } ... }; more than four times are first and last.
function M.notes(line)
  local list, same = {}, true
  for i, run in ipairs(line.runs) do
    local text = M.note(run)
    same = same and (i == 1 or text == list[1][2])
    list[i] = { line.hits > 1 and "#" .. i or "", text }
  end
  if same and list[1] then
    list = { { line.hits > 1 and "each time" or "", list[1][2] } }
  elseif line.hits > 4 then
    list = { { "first", list[1][2] }, { "last", list[#list][2] } }
  end
  for i = #list, 1, -1 do
    if list[i][2] == "" then table.remove(list, i) end
  end
  return list
end

-- ---- for people ---------------------------------------------------------------------------------

local function shown(lines, n)
  for d = -2, 2 do
    if lines[n + d] and lines[n + d].hits > 0 then return true end
  end
  return false
end

local function rows(line)
  local list = {}
  for i, note in ipairs(M.notes(line)) do
    list[i] = (note[1] ~= "" and note[1] .. "  " or "") .. note[2]
  end
  return list
end

local function print_line(line, width, room)
  local source = line.text:gsub("\t", "  ")
  local times = line.hits > 1 and ("%dx"):format(line.hits) or ""
  local head = ("%4d %5s  "):format(line.n, times)
  if line.hits == 0 then
    return print(term.paint("dim", ((head .. term.printable(source)):gsub(" +$", ""))))
  end
  local notes = rows(line)
  local beside = room >= 30 and term.columns(source) <= width
  local first = beside and notes[1] and term.fit(term.printable(source), width) .. "  " or
    term.printable(source)
  local function cut(text) return term.clip(term.printable(text), math.max(20, room)) end
  print(head .. first .. (beside and notes[1] and term.paint("green", cut(notes[1])) or ""))
  for i = beside and 2 or 1, #notes do
    local pad = (" "):rep(beside and #head + width + 2 or #head + 4)
    print(pad .. term.paint("green", beside and cut(notes[i]) or term.printable(notes[i])))
  end
end

--- Prints it.
function M.print(files)
  local all = not sys.isatty(1) and 1000 or sys.width()
  for _, file in ipairs(files) do
    local width, gap = 0, false
    for _, line in ipairs(file.lines) do
      if line.hits > 0 then width = math.max(width, math.min(60, term.columns(line.text))) end
    end
    print(term.paint("bold", file.path))
    for n, line in ipairs(file.lines) do
      if shown(file.lines, n) then
        print_line(line, width, all - width - 14)
        gap = false
      elseif not gap then
        print(term.paint("dim", "   ..."))
        gap = true
      end
    end
  end
end

-- ---- for editors --------------------------------------------------------------------------------

local function pairs_json(list)
  local out = {}
  for i, e in ipairs(list) do out[i] = json.object("name", e.name, "value", e.value) end
  return json.list(out)
end

--- The same as JSON: [{ file, lines: [{ line, hits, text, runs: [...] }] }].
function M.json(files)
  local out = {}
  for i, file in ipairs(files) do
    local lines = {}
    for _, line in ipairs(file.lines) do
      if line.hits > 0 then
        local runs, texts = {}, {}
        for k, run in ipairs(line.runs) do
          runs[k] = json.object("reads", pairs_json(run.reads), "writes", pairs_json(run.writes),
            "held", run.held, "returns", run.returned)
        end
        for k, row in ipairs(rows(line)) do texts[k] = row end
        lines[#lines + 1] = json.object("line", line.n, "hits", line.hits, "text",
          table.concat(texts, " | "), "runs", json.list(runs))
      end
    end
    out[i] = json.object("file", file.path, "lines", json.list(lines))
  end
  return json.list(out)
end

return M
