-- Values as the REPL prints them: messages a segment a line, segments and fields with numbers and
-- names, tables, everything else as Lua writes it.
local text = require "lunate.repl.text"
local readable = require "lunate.repl.readable"
local paint, printable = text.paint, text.printable

local M = {}
local hl7, inspect

--- Told once: the hl7 module, and core/script/inspect.c.
function M.open(core)
  hl7, inspect = core.hl7, core.inspect
end

local function dictionary()
  return hl7.dictionary
end

--- The path of a part: "OBX[3]-5[2].1", its kind and the numbers in it; nil for anything else.
function M.path(v)
  if type(v) ~= "userdata" then return nil end
  local kind, name, n, field, repetition, component, subcomponent = inspect.place(v)
  if not kind then return nil end
  local path = name .. (n > 1 and ("[%d]"):format(n) or "")
  if field > 0 then path = path .. "-" .. field end
  if repetition > 1 then path = path .. ("[%d]"):format(repetition) end
  if component > 0 then path = path .. "." .. component end
  if subcomponent > 0 then path = path .. "." .. subcomponent end
  return path, kind, { name = name, n = n, field = field, repetition = repetition,
    component = component, subcomponent = subcomponent }
end

--- True for a message object.
function M.is_message(v)
  return type(v) == "userdata" and getmetatable(v) == "message"
end

local escapes = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\\"] = "\\\\", ['"'] = '\\"' }

--- A string as Lua would read it.
function M.quote(s)
  s = s:gsub('[%z\1-\31\\"\127]', function(c)
    return escapes[c] or ("\\%03d"):format(c:byte())
  end)
  return '"' .. printable(s) .. '"'
end

-- One segment of the wire form, its name set off.
local function segment_line(line)
  line = printable(line)
  local name, rest = line:match "^(%w+)(.*)$"
  if not name then return line end
  return paint("bold", name) .. rest
end
M.segment_line = segment_line

local function message(msg)
  local out, n, most = {}, 0, text.plain and math.huge or 60
  for line in (text.plain and tostring(msg) or readable(msg)):gmatch "[^\r]+" do
    n = n + 1
    if n <= most then out[n] = segment_line(line) end
  end
  if n > most then
    out[most + 1] = paint("dim", ("… and %d more segments (msg.OBX, msg:all \"OBX\", print(msg))")
      :format(n - most))
  end
  return table.concat(out, "\n")
end

--- Type of what stands in a field, OBX-5 by OBX-2; nil when it is not known.
function M.type_of(segment, field, version)
  local t = field and field.type
  if t and (t == "varies" or t == "VARIES") then
    local ok, two = pcall(function() return segment and segment["2"] end)
    return ok and two or nil
  end
  return t, version
end

local function version_of(msg)
  local ok, v = pcall(function() return msg and msg.version end)
  return ok and v or nil
end
M.version_of = version_of

--- A message in one line.
function M.summary(msg)
  local kind = msg.type and (msg.type .. (msg.event and "^" .. msg.event or "")) or "no type"
  local id = msg.control_id
  return ("%s%s%s, %d segment%s"):format(paint("bold", printable(kind)),
    msg.version and " " .. printable(msg.version) or "", id and "  " .. printable(id) or "", #msg,
    #msg == 1 and "" or "s")
end

-- Rows { number, name, raw } of a segment's fields that hold something.
local function segment(seg, name, version)
  local known = dictionary().segment(name, version)
  local rows = {}
  for i = 1, #seg do
    local raw = seg[i]:raw()
    if raw and raw ~= "" then
      local field = known and known.fields[i]
      rows[#rows + 1] = { ("%s-%d"):format(name, i), field and field.name or "", printable(raw) }
    end
  end
  local title = known and known.title and "  " .. known.title or ""
  return paint("bold", name) .. title .. (#rows > 0 and "\n" or "") ..
    text.rows(rows, { "cyan", "dim" }, { indent = "  " })
end

local function values(part, prefix, type_name, version, rows)
  local known = type_name and dictionary().type(type_name, version)
  for i = 1, #part do
    local below = part[i]
    local raw = below:raw()
    if raw and raw ~= "" then
      local c = known and known.components[i]
      local value = below.value
      rows[#rows + 1] = { prefix .. "." .. i, c and c.name or "",
        value == hl7.null and '""' or printable(#below > 1 and raw or value or raw) }
    end
  end
  return rows
end

local function heading(path, entry)
  if not entry then return paint("bold", path) end
  return ("%s  %s%s%s"):format(paint("bold", path), entry.title,
    entry.type and "  " .. entry.type or "", entry.repeats and ", repeats" or "")
end

local function field(f, path, at, version)
  local owner = dictionary().segment(at.name, version)
  local entry = owner and owner.fields[at.field]
  local rows, prefix = {}, path:gsub("%[%d+%]$", "")
  local n = #f
  for r = 1, math.max(n, 1) do
    local repetition = f:rep(r)
    local raw = repetition:raw()
    local label = n > 1 and ("%s[%d]"):format(prefix, r) or prefix
    if #repetition > 1 then
      values(repetition, label, M.type_of(nil, entry), version, rows)
    elseif raw and raw ~= "" then
      rows[#rows + 1] = { label, entry and entry.name or "", printable(repetition.value or raw) }
    end
  end
  if #rows == 0 then return heading(path, entry) .. "\n  " .. paint("dim", "nothing there") end
  return heading(path, entry) .. "\n" .. text.rows(rows, { "cyan", "dim" }, { indent = "  " })
end

local function component(part, path, at, version)
  local entry = dictionary().field(("%s-%d.%d"):format(at.name, at.field, at.component) ..
    (at.subcomponent > 0 and "." .. at.subcomponent or ""), version)
  if #part <= 1 then
    local v = part.value
    return heading(path, entry) .. "\n  " ..
      (v == nil and paint("dim", "nothing there") or printable(v))
  end
  return heading(path, entry) .. "\n" ..
    text.rows(values(part, path, entry and entry.type, version, {}), { "cyan", "dim" },
      { indent = "  " })
end

--- A part of a message.
function M.part(v, version)
  local path, kind, at = M.path(v)
  if kind == "segment" then return segment(v, at.name, version) end
  if kind == "field" then return field(v, path, at, version) end
  return component(v, path, at, version)
end

-- ---- in a line ---------------------------------------------------------------------------------

--- A value in one short line, for lists of variables and inside tables.
function M.brief(v)
  local t = type(v)
  if v == hl7.null then return "hl7.null" end
  if t == "string" then return M.quote(v) end
  if M.is_message(v) then
    return ("message %s^%s, %d segments"):format(v.type or "?", v.event or "?", #v)
  end
  local path, kind = M.path(v)
  if path then
    local raw = v:raw()
    return kind == "segment" and path .. ": " .. printable(raw or "") or
      ("%s: %s"):format(path, raw and M.quote(raw) or "nothing there")
  end
  if t == "function" then return "function " .. (inspect.where(v) or "of Lunate") end
  if t == "table" then
    local n = 0
    for _ in pairs(v) do n = n + 1 end
    return ("table of %d"):format(n)
  end
  return tostring(v)
end

local function key_order(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then return ta == "number" or (tb ~= "number" and ta < tb) end
  if ta == "number" or ta == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local function key_text(k)
  if type(k) == "string" and k:find "^[%a_][%w_]*$" then return k end
  return "[" .. M.brief(k) .. "]"
end

-- A short list of plain values on one line; nil when it is not that.
local function list_line(t)
  local out, long = {}, 0
  for i = 1, math.min(#t, 20) do
    local v = t[i]
    if #t > 20 or type(v) == "table" or type(v) == "userdata" or type(v) == "function" then
      return nil
    end
    out[i] = M.brief(v)
    long = long + #out[i]
  end
  return long < 60 and "{ " .. table.concat(out, ", ") .. " }" or nil
end

local MOST = 100

local function table_text(t, indent, seen)
  if seen[t] then return "(the table above)" end
  if #indent > 8 then return M.brief(t) end
  seen[t] = true
  local keys, out = {}, {}
  for k in next, t do keys[#keys + 1] = k end
  table.sort(keys, key_order)
  if #keys > 0 and #keys == #t then
    local line = list_line(t)
    if line then
      seen[t] = nil
      return line
    end
  end
  for i, k in ipairs(keys) do
    if i > MOST then
      out[#out + 1] = ("%s  … and %d more"):format(indent, #keys - MOST)
      break
    end
    local v = rawget(t, k)
    local shown = type(v) == "table" and table_text(v, indent .. "  ", seen) or M.brief(v)
    out[#out + 1] = ("%s  %s = %s"):format(indent, key_text(k), shown)
  end
  seen[t] = nil
  if #out == 0 then return "{}" end
  return "{\n" .. table.concat(out, "\n") .. "\n" .. indent .. "}"
end

--- A value in full. msg: the message at hand, for the version of the standard.
function M.value(v, msg)
  if text.plain then
    if M.is_message(v) then return message(v) end
    if type(v) ~= "table" then return tostring(v) end
  end
  if M.is_message(v) then return message(v) end
  if M.path(v) then return M.part(v, version_of(msg)) end
  if type(v) == "table" then
    local own = getmetatable(v) ~= nil and tostring(v)
    if own and not own:find "^table: " then return printable(own, true) end
    return table_text(v, "", {})
  end
  local shown = M.brief(v)
  local colours = { ["nil"] = "dim", string = "green", number = "yellow", boolean = "yellow" }
  return colours[type(v)] and paint(colours[type(v)], shown) or shown
end

return M
