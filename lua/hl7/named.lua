-- A message as a tree of tables with the dictionary's names, for reading: what repeats by the
-- dictionary is a list, what has components by the dictionary is a table, so that the shape hangs
-- on the version and not on what a sender filled in. It is a one-way view: no way leads back.
local dictionary = require "lunate.dictionary"
local parts = require "lunate.hl7.parts"
local find = string.find

local M = {}

local function has(text, separator)
  return separator and find(text, separator, 1, true) ~= nil
end

-- new(msg, hl7, o): o.object(list of key, value, ...), o.list(values), o.null make the values.
function M.new(msg, hl7, o)
  local d, version = msg:delimiters(), msg.version
  local special = "[" .. (d.escape and "%" .. d.escape or "%z") .. "]"
  if d.escape and not find(d.escape, "%p") then special = d.escape end

  local function text(raw)
    if raw == '""' then return o.null end
    return find(raw, special) and hl7.unescape(raw, msg) or raw
  end

  local function composite(type_name)
    local t = type_name and dictionary.type(type_name, version)
    return t and not t.primitive and t or nil
  end

  local value

  -- The parts of a value one level down, by name or number.
  local function members(raw, t, level)
    local out, n = {}, 0
    for i, piece in ipairs(parts.split(raw, level == 1 and d.component or d.subcomponent)) do
      if piece ~= "" then
        local entry = t and t.components[i]
        out[n + 1] = entry and entry.name or tostring(i)
        out[n + 2] = level == 1 and value(piece, entry and entry.type, 2) or text(piece)
        n = n + 2
      end
    end
    return o.object(out)
  end

  function value(raw, type_name, level)
    if raw == '""' then return o.null end
    local t = composite(type_name)
    if level == 1 and (t or has(raw, d.component) or has(raw, d.subcomponent)) then
      return members(raw, t, 1)
    end
    if level == 2 and (t or has(raw, d.subcomponent)) then return members(raw, t, 2) end
    return text(raw)
  end

  local function field(raw, entry, type_name)
    if raw == '""' then return o.null end
    local list = parts.split(raw, d.repetition)
    for i, rep in ipairs(list) do list[i] = rep == "" and o.null or value(rep, type_name, 1) end
    if #list == 1 and not (entry and entry.repeats) then return list[1] end
    return o.list(list)
  end

  local function segment(line)
    local fields = parts.fields(line, d.field)
    local info = find(fields.name, "^%u[%u%d][%u%d]$") and dictionary.segment(fields.name, version)
    local out, n = { "segment", fields.name }, 2
    for i, raw in ipairs(fields) do
      if raw ~= "" then
        local entry = info and info.fields[i]
        local type_name = entry and entry.type
        if fields.name == "OBX" and i == 5 then type_name = fields[2] ~= "" and fields[2] end
        out[n + 1] = entry and entry.name or tostring(i)
        out[n + 2] = fields.header and i <= 2 and raw or field(raw, entry, type_name)
        n = n + 2
      end
    end
    return o.object(out)
  end

  local list = {}
  for i, line in ipairs(parts.lines(tostring(msg))) do list[i] = segment(line) end
  return list
end

return M
