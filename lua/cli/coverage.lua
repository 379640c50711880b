-- Coverage of lines: which lines of the site's Lua can run (asked of the compiler), which did.
local term = require "lunate.cli.term"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"

local M = {}

local function add_lines(util, f, set)
  local info = util.funcinfo(f)
  for pc = 1, info.bytecodes - 1 do
    local line = util.funcinfo(f, pc).currentline
    if line and line > 0 then set[line] = true end
  end
  if not info.children then return end
  local k = -1
  while true do
    local c = util.funck(f, k)
    if c == nil then return end
    if type(c) == "proto" then add_lines(util, c, set) end
    k = k - 1
  end
end

-- What the compiler puts on these lines is no statement of its own.
local function is_bracket(line)
  return line:gsub("%-%-.*$", ""):gsub("%f[%w_]end%f[^%w_]", ""):find "[^%s%(%){}%[%],;]" == nil
end

--- The lines of a text that can run: { [line] = true }; nil when it does not compile.
function M.executable(text)
  local f = loadstring(text, "=coverage")
  if not f or text:sub(1, 1) == "\27" then return nil end
  local set = {}
  add_lines(require "jit.util", f, set)
  local n = 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    n = n + 1
    if set[n] and is_bracket(line) then set[n] = nil end
  end
  return set
end

--- summary(counts, sources) -> list of { path, can, ran, lines = { { n, hits } ... },
-- missed = { n ... } }, sorted by path. counts: { [path] = { [line] = hits } }.
function M.summary(counts, sources)
  local list = {}
  for path, text in pairs(sources) do
    local file = { path = path, can = 0, ran = 0, lines = {}, missed = {} }
    local hits, numbers = counts[path] or {}, {}
    for n in pairs(M.executable(text) or {}) do numbers[#numbers + 1] = n end
    table.sort(numbers)
    for _, n in ipairs(numbers) do
      local h = hits[n] or 0
      file.can = file.can + 1
      file.lines[#file.lines + 1] = { n, h }
      if h > 0 then file.ran = file.ran + 1 else file.missed[#file.missed + 1] = n end
    end
    list[#list + 1] = file
  end
  table.sort(list, function(a, b) return a.path < b.path end)
  return list
end

-- 3, 7-9, 12
local function ranges(numbers, lines)
  local next_line = {} -- lines between two that cannot run do not part a range
  for i, l in ipairs(lines) do next_line[l[1]] = lines[i + 1] and lines[i + 1][1] end
  local out, i = {}, 1
  while i <= #numbers do
    local j = i
    while numbers[j + 1] and next_line[numbers[j]] == numbers[j + 1] do j = j + 1 end
    out[#out + 1] = i == j and tostring(numbers[i]) or ("%d-%d"):format(numbers[i], numbers[j])
    i = j + 1
  end
  return table.concat(out, ", ")
end

local function percent(ran, can)
  return can == 0 and 100 or math.floor(1000 * ran / can) / 10
end

--- Prints a table: file, percent, lines that did not run.
function M.print(list, out)
  local can, ran, width = 0, 0, 0
  for _, f in ipairs(list) do width = math.max(width, #f.path) end
  out = out or io.stdout
  out:write(term.fit("file", width), "  lines    ran  not run\n")
  for _, f in ipairs(list) do
    can, ran = can + f.can, ran + f.ran
    local line = ("%s  %5d %5.1f%%  %s"):format(term.fit(f.path, width), f.can,
      percent(f.ran, f.can), ranges(f.missed, f.lines))
    out:write(line:match "^(.-) *$", "\n")
  end
  out:write(("%s  %5d %5.1f%%\n"):format(term.fit("all", width), can, percent(ran, can)))
end

function M.json(list)
  local files, can, ran = {}, 0, 0
  for i, f in ipairs(list) do
    local lines = {}
    can, ran = can + f.can, ran + f.ran
    for k, l in ipairs(f.lines) do lines[k] = json.object("line", l[1], "hits", l[2]) end
    files[i] = json.object("file", f.path, "lines", f.can, "ran", f.ran, "percent",
      percent(f.ran, f.can), "hits", json.list(lines))
  end
  return json.object("lines", can, "ran", ran, "percent", percent(ran, can), "files",
    json.list(files))
end

--- Writes an lcov tracefile (for genhtml and editors). folder: the site's, absolute.
function M.lcov(list, path, folder)
  local f, err = io.open(path, "w")
  if not f then fail.fail(1, "%s", err) end
  f:write "TN:\n"
  for _, file in ipairs(list) do
    f:write("SF:", folder, "/", file.path, "\n")
    for _, l in ipairs(file.lines) do f:write(("DA:%d,%d\n"):format(l[1], l[2])) end
    f:write(("LF:%d\nLH:%d\nend_of_record\n"):format(file.can, file.ran))
  end
  f:close()
end

return M
