-- Paths of `lunate query`: read from words, and their values in a message.
local hl7 = require "hl7"
local fail = require "lunate.cli.fail"

local M = {}

-- A word that reads as a path: { name, segment, field, repetition, rest }, * for all.
local function read_path(word)
  local name, rest = word:match "^(%u[%u%d][%u%d])(.*)$"
  if not name then return nil end
  local path = { text = word, name = name }
  local n, after = rest:match "^%[([%d*]+)%](.*)$"
  if n then path.segment, rest = n, after end
  if rest ~= "" then
    path.field, rest = rest:match "^%-(%d+)(.*)$"
    if not path.field then return nil end
    n, after = rest:match "^%[([%d*]+)%](.*)$"
    if n then path.repetition, rest = n, after end
    if not (rest == "" or rest:find "^%.%d+$" or rest:find "^%.%d+%.%d+$") then return nil end
    path.rest = rest
  end
  path.many = path.segment == "*" or path.repetition == "*"
  return path
end

local probe

-- The path of a word, or nothing when it is none; a path with a mistake in it ends the verb.
function M.read(word)
  local path = read_path(word)
  if not path then return nil end
  probe = probe or hl7.parse "MSH|^~\\&\r"
  local ok, err = pcall(probe.all, probe, word)
  if not ok then fail.usage("%s", err) end
  return path
end

function M.one(msg, path, raw)
  if raw then return msg:raw(path) end
  local v = msg[path]
  return v ~= nil and tostring(v) or nil
end

-- Values of a path with *: list (with holes where nothing stands) and its length.
function M.several(msg, path, raw)
  local list, n = {}, 0
  local function take(prefix)
    n = n + 1
    list[n] = M.one(msg, prefix .. (path.rest or ""), raw)
  end
  local function fields(segment, prefix)
    if not path.field then return take(prefix) end
    prefix = prefix .. "-" .. path.field
    if path.repetition ~= "*" then
      return take(path.repetition and ("%s[%s]"):format(prefix, path.repetition) or prefix)
    end
    for r = 1, #segment[tonumber(path.field)] do take(("%s[%d]"):format(prefix, r)) end
  end
  if path.segment == "*" then
    local i = 0
    for segment in msg:each(path.name) do
      i = i + 1
      fields(segment, ("%s[%d]"):format(path.name, i))
    end
  else
    local prefix = path.segment and ("%s[%s]"):format(path.name, path.segment) or path.name
    local segment = msg[prefix]
    if segment then fields(segment, prefix) end
  end
  return list, n
end

-- ---- rows ---------------------------------------------------------------------------------------

--- The segment and field whose values become rows: { name, field }, or an error of usage when the
--- paths would not stand side by side.
function M.rows_of(paths)
  local by
  for _, path in ipairs(paths) do
    if path.segment == "*" then
      if by and by.name ~= path.name then
        fail.usage("--rows: %s[*] and %s[*] do not go side by side", by.name, path.name)
      end
      by = { name = path.name }
    end
  end
  local field
  for _, path in ipairs(paths) do
    if path.repetition == "*" then
      local this = ("%s%s-%s"):format(path.name, path.segment and "[" .. path.segment .. "]" or "",
        path.field)
      if by and path.segment ~= "*" or field and field ~= this then
        fail.usage("--rows: %s[*] and %s[*] do not go side by side", field or by.name, this)
      end
      field = this
    end
  end
  return by or {}
end

--- rows(msg, paths, by, raw, take): calls take(values, n) per row.
function M.rows(msg, paths, by, raw, take)
  local function segment_rows(prefix)
    local values, lists, n = {}, {}, 1
    for i, path in ipairs(paths) do
      local own = path.segment == "*" and prefix .. path.text:match "^...%[%*%](.*)$" or path.text
      if path.repetition == "*" then
        local from = { segment = nil, name = own:match "^[^-]*", field = path.field,
          repetition = "*", rest = path.rest }
        lists[i], n = M.several(msg, from, raw)
      else
        values[i] = M.one(msg, own, raw)
      end
    end
    for k = 1, n do
      for i, list in pairs(lists) do values[i] = list[k] end
      take(values)
    end
  end
  if not by.name then return segment_rows() end
  local n = 0
  for _ in msg:each(by.name) do
    n = n + 1
    segment_rows(("%s[%d]"):format(by.name, n))
  end
end

return M
