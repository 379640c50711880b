-- lookup: tables/NAME.csv as RFC 4180 has it (quotes, doubled quotes, line ends within quotes;
-- CR LF or LF; a byte order mark is skipped, blank lines too). The first column is the key. A first
-- line that starts with # names the columns; without it they have numbers only.
local nearest = require "lunate.nearest"
local find, sub, gsub, byte = string.find, string.sub, string.gsub, string.byte

local M = {}

-- One field at `at`: its value and where it ends (the separator), or nil and what is wrong.
local function field(text, at)
  if byte(text, at) ~= 34 then
    local stop = find(text, '[,\r\n"]', at) or #text + 1
    if byte(text, stop) == 34 then return nil, 'a " within a value that does not start with one' end
    return sub(text, at, stop - 1), stop
  end
  local from, quoted = at + 1, false
  while true do
    local q = find(text, '"', from, true)
    if not q then return nil, 'a quoted value does not end' end
    if byte(text, q + 1) == 34 then
      quoted, from = true, q + 2
    else
      local value = sub(text, at + 1, q - 1)
      local after = byte(text, q + 1)
      if after and after ~= 44 and after ~= 13 and after ~= 10 then
        return nil, 'something follows a closing "'
      end
      return quoted and gsub(value, '""', '"') or value, q + 1
    end
  end
end

local function count_lines(text, from, to)
  local n = 0
  for _ in string.gmatch(sub(text, from, to), "\n") do n = n + 1 end
  return n
end

-- finder(text, char) -> function(at): where the next one stands at or behind `at`, which never goes
-- back; behind the text when there is none. What was found is not looked for again.
local function finder(text, char)
  local next_one = 0
  return function(at)
    if next_one < at then next_one = find(text, char, at, true) or #text + 1 end
    return next_one
  end
end

-- The fields of a line that has no quotes, from `at` up to its end at `last`; how many.
local function plain(text, at, last, comma, row)
  local n, stop = 0, comma(at)
  while stop < last do
    n = n + 1
    row[n] = sub(text, at, stop - 1)
    at = stop + 1
    stop = comma(at)
  end
  row[n + 1] = sub(text, at, last - 1)
  return n + 1
end

local function value_of(place) return place.value end

--- parse(text, path) -> { names = {...} or nil, rows = { key -> { cells } } }, or nil and
--- "path:line: what".
function M.parse(text, path)
  local at, line = 1, 1
  if sub(text, 1, 3) == "\239\187\191" then at = 4 end
  local t = { rows = {} }
  local lines = {} -- key -> line, to name doubles
  local quote, comma = finder(text, '"'), finder(text, ",")
  local lf, cr = finder(text, "\n"), finder(text, "\r")
  while at <= #text do
    local start, row, n = line, {}, 0
    local last = lf(at) -- where the line ends, when there is nothing special in it
    if cr(at) < last then last = cr(at) end
    if quote(at) > last then
      n, at = plain(text, at, last, comma, row), last + 1
    else
      repeat
        local value, stop = field(text, at)
        if not value then return nil, ("%s:%d: %s"):format(path, line, stop) end
        line = line + count_lines(text, at, stop - 1)
        n = n + 1
        row[n] = value
        at = stop + 1
      until byte(text, stop) ~= 44
    end
    if byte(text, at - 1) == 13 and byte(text, at) == 10 then at = at + 1 end
    line = line + 1
    if start == 1 and sub(row[1], 1, 1) == "#" then
      row[1] = gsub(sub(row[1], 2), "^%s+", "")
      t.names = row
    elseif n > 1 or row[1] ~= "" then -- not a blank line
      if lines[row[1]] then
        return nil, ("%s:%d: key already stands on line %d"):format(path, start, lines[row[1]])
      end
      lines[row[1]] = start
      t.rows[row[1]] = row
    end
  end
  return t
end

local function path_of(name) return "tables/" .. name .. ".csv" end

-- What is wrong with a table's name when the site has these paths.
local function no_table(name, paths)
  local names = {}
  for _, path in ipairs(paths) do names[#names + 1] = path:match "^tables/(.+)%.csv$" end
  table.sort(names)
  local near = nearest(name, names)
  return ("lookup: no table '%s' (no %s%s); tables there are: %s"):format(name, path_of(name),
    near and (", did you mean '%s'?"):format(near) or "",
    #names > 0 and table.concat(names, ", ") or "none")
end

--- missing(name, files): why a look-up in that table will fail; nil when files (path -> text) has
-- it.
function M.missing(name, files)
  if files[path_of(name)] or byte(name, 1) == 47 then return nil end
  local paths = {}
  for path in pairs(files) do paths[#paths + 1] = path end
  return no_table(name, paths)
end

--- new(file, paths, outside, reading) -> the lookup object: file(path) gives a file's text or nil,
--- paths() the list of all; reading(true) is told before a table is read, reading(false) after
--- (may be nil). Tables are read when first asked for. One that is named by its absolute path
--- comes from outside(path, known): stamp [, text], and is read again whenever it has changed.
function M.new(file, paths, outside, reading)
  local tables, stamps = {}, {}

  local function parse(text, path)
    if reading then reading(true) end -- a large one takes longer than a script may
    local t, err = M.parse(text, path)
    if reading then reading(false) end
    return t, err
  end

  local function get_outside(path)
    local stamp, text = outside(path, stamps[path])
    if not stamp then error("lookup: " .. text, 4) end
    if text then
      local t, err = parse(text, path)
      if not t then error("lookup: " .. err, 4) end
      tables[path], stamps[path] = t, stamp
    end
    return tables[path]
  end

  local function get(name)
    if type(name) ~= "string" then error("lookup: the table's name is a string", 4) end
    if byte(name, 1) == 47 then return get_outside(name) end
    local path = path_of(name)
    local text = file(path)
    if not text then error(no_table(name, paths()), 4) end
    local t, err = parse(text, path)
    if not t then error("lookup: " .. err, 4) end
    tables[name] = t
    return t
  end

  local function row(name, key)
    local t = not stamps[name] and tables[name] or get(name)
    local kind = type(key)
    if kind == "userdata" then -- a place in a message: what stands there
      local ok, text = pcall(value_of, key)
      if ok then key, kind = text, type(text) end
    end
    if kind == "number" then key = tostring(key) elseif kind ~= "string" then return nil, t end
    return t.rows[key], t
  end

  local lookup = {}

  --- lookup.row(name, key) -> all cells of the row by number and by column name, or nil.
  function lookup.row(name, key)
    local cells, t = row(name, key)
    if not cells then return nil end
    local out = {}
    for i = 1, #cells do
      out[i] = cells[i]
      if t.names and t.names[i] then out[t.names[i]] = cells[i] end
    end
    return out
  end

  return setmetatable(lookup, {
    __call = function(_, name, key, default)
      local cells = row(name, key)
      if cells and cells[2] then return cells[2] end
      return default
    end,
    __metatable = false,
  })
end

return M
