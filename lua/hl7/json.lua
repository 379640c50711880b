-- Messages as JSON and back, byte for byte (docs/json.md): hl7.to_json, hl7.from_json. A row per
-- segment: its name, then its fields, so that in jq .[5] is field 5.
local new_charset = require "lunate.hl7.json_charset"
local parts = require "lunate.hl7.parts"
local concat, find, sub = table.concat, string.find, string.sub
local byte, char = string.byte, string.char

local FORMAT = "lunate-hl7/1"
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local value_of = {}
for i = 1, 64 do value_of[byte(alphabet, i)] = i - 1 end

-- The character in a set of a pattern.
local function in_set(c)
  return find(c, "%p") and "%" .. c or c
end

local function base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = byte(bytes, i, i + 2)
    local v = a * 65536 + (b or 0) * 256 + (c or 0)
    local function digit(shift)
      local at = math.floor(v / shift) % 64 + 1
      return sub(alphabet, at, at)
    end
    out[#out + 1] = digit(262144) .. digit(4096) .. (b and digit(64) or "=")
      .. (c and digit(1) or "=")
  end
  return concat(out)
end

local function unbase64(text)
  if #text % 4 ~= 0 or not find(text, "^[%w+/]*=?=?$") then return nil end
  local out = {}
  for i = 1, #text, 4 do
    local a, b, c, d = byte(text, i, i + 3)
    local v = value_of[a] * 262144 + value_of[b] * 4096 + (value_of[c] or 0) * 64
      + (value_of[d] or 0)
    local three = char(math.floor(v / 65536), math.floor(v / 256) % 256, v % 256)
    out[#out + 1] = sub(three, 1, value_of[d] and 3 or value_of[c] and 2 or 1)
  end
  return concat(out)
end

--- new(hl7, json): { to_json, from_json } over the message object and the JSON of scripts.
return function(hl7, json)
  local M = { format = FORMAT }
  local charset = new_charset(hl7)
  local quote_any = json.encode

  local function quote(text)
    if not find(text, '[%c"\\\127-\255]') then return '"' .. text .. '"' end
    return quote_any(text)
  end

  -- A string that is what it stands for, with nothing to unescape.
  local function plain(text)
    local ok, q = pcall(quote, text)
    return ok and q or '{"base64":"' .. base64(text) .. '"}'
  end

  -- One value: text when the text gives the same bytes again, else the bytes themselves.
  local function leaf(raw, msg, special)
    if raw == "" then return '""' end
    if raw == '""' then return "null" end
    if not find(raw, special) then return plain(raw) end
    local text = hl7.unescape(raw, msg)
    local ok, again = pcall(hl7.escape, text, msg)
    if ok and again == raw and text ~= '""' then
      local valid, q = pcall(quote, text)
      if valid then return q end
    end
    local ok_raw, q = pcall(quote, raw)
    return ok_raw and '{"raw":' .. q .. "}" or '{"base64":"' .. base64(raw) .. '"}'
  end

  local function list(pieces, item)
    for i, piece in ipairs(pieces) do pieces[i] = item(piece) end
    return "[" .. concat(pieces, ",") .. "]"
  end

  --- The message as one line of JSON.
  function M.to_json(msg)
    if getmetatable(msg) ~= "message" then
      error("hl7.to_json takes a message, not a " .. type(msg), 2)
    end
    local text, set = charset.to_utf8(msg)
    msg = text or msg
    local segments, d = parts.message(msg)
    local special = "[%c" .. in_set(d.escape or "\1") .. in_set(d.truncation or "\1") .. "]"
    local function value(raw) return leaf(raw, msg, special) end
    local function component(raw)
      if not (d.subcomponent and find(raw, d.subcomponent, 1, true)) then return value(raw) end
      return list(parts.split(raw, d.subcomponent), value)
    end
    local function repetition(raw)
      if not (d.component and find(raw, d.component, 1, true)) then
        local one = component(raw)
        return sub(one, 1, 1) == "[" and "[" .. one .. "]" or one
      end
      return list(parts.split(raw, d.component), component)
    end
    local function field(raw)
      if raw == "" then return '""' end
      if not (d.repetition and find(raw, d.repetition, 1, true)) then
        local one = repetition(raw)
        return sub(one, 1, 1) == "[" and "[" .. one .. "]" or one
      end
      return list(parts.split(raw, d.repetition), repetition)
    end
    local rows = {}
    for i, segment in ipairs(segments) do
      local cells = { plain(segment.name) }
      for n, raw in ipairs(segment) do
        cells[n + 1] = segment.header and n <= 2 and plain(raw) or field(raw)
      end
      rows[i] = "[" .. concat(cells, ",") .. "]"
    end
    return '{"format":"' .. FORMAT .. '",' .. (set and '"charset":' .. quote(set) .. "," or "")
      .. '"segments":[' .. concat(rows, ",") .. "]}"
  end

  -- ---- back ---------------------------------------------------------------------------------

  local function bad(where, what, ...)
    error({ text = ("%s: %s"):format(where, what:format(...)) }, 0)
  end

  local function bytes_of(v, where)
    local b = type(v.base64) == "string" and unbase64(v.base64)
    return b or bad(where, "base64 is expected")
  end

  -- What stands for itself: names, delimiters.
  local function exact(v, where)
    if type(v) == "string" then return v end
    if type(v) == "table" and v.base64 ~= nil then return bytes_of(v, where) end
    bad(where, "a string is expected")
  end

  local function has_separator(raw, d)
    for _, name in ipairs { "field", "repetition", "component", "subcomponent" } do
      if d[name] and find(raw, d[name], 1, true) then return name end
    end
    return find(raw, "\r", 1, true) and "segment"
  end

  local function unleaf(v, x, where)
    if type(v) == "string" then
      if v == "" or not find(v, x.plain) then return v end
      local ok, raw = pcall(hl7.escape, v, x.head)
      return ok and raw or bad(where, "%s", tostring(raw):gsub("^.-:%d+: ", ""))
    end
    if v == json.null then return '""' end
    if type(v) == "number" or type(v) == "boolean" then return tostring(v) end
    if type(v) ~= "table" then return tostring(v) end -- a json.number
    local raw = v.raw
    if v.base64 ~= nil then raw = bytes_of(v, where) end
    if type(raw) ~= "string" then
      bad(where, 'a string, null, a list, or an object with "raw" or "base64" is expected')
    end
    local separator = has_separator(raw, x.d)
    if separator then bad(where, "the raw value holds a %s separator", separator) end
    return raw
  end

  local levels = { "repetition", "component", "subcomponent" }
  local marks = { "[%d]", ".%d", ".%d" }

  local function join(v, level, x, where)
    if type(v) ~= "table" or v == json.null or v.raw ~= nil or v.base64 ~= nil then
      return unleaf(v, x, where)
    end
    local name = levels[level]
    if not name then bad(where, "lists deeper than subcomponents") end
    if #v == 0 and next(v) ~= nil then
      bad(where, 'a string, null, a list, or an object with "raw" or "base64" is expected')
    end
    if #v == 1 then return join(v[1], level + 1, x, where) end
    if #v > 1 and not x.d[name] then bad(where, "MSH-2 declares no separator of a %s", name) end
    local out = {}
    for i, item in ipairs(v) do
      out[i] = join(item, level + 1, x, where .. marks[level]:format(i))
    end
    return concat(out, x.d[name])
  end

  local function head_of(row)
    if type(row) ~= "table" or #row < 3 then bad("segments[0]", "a header segment is expected") end
    local name, sep = exact(row[1], "segments[0]"), exact(row[2], "segments[0]")
    if not parts.is_header(name) or #sep ~= 1 then
      bad("segments[0]", 'MSH, BHS or FHS, a separator, encoding characters are expected')
    end
    local msg, err = hl7.parse(name .. sep .. exact(row[3], "segments[0]") .. "\r")
    return msg or bad("segments[0]", "%s", err)
  end

  local function line_of(row, i, x)
    local where = "segments[" .. i - 1 .. "]"
    if type(row) ~= "table" or row[1] == nil then bad(where, "a list with a name is expected") end
    local name = exact(row[1], where)
    if find(name, x.d.field, 1, true) or find(name, "\r", 1, true) then
      bad(where, "the name holds a separator")
    end
    local seg = { name = name }
    seg.header = parts.is_header(name) and row[2] == x.d.field
    for n = 1, #row - 1 do
      local at = ("%s %s-%d"):format(where, find(name, "^%w+$") and name or "?", n)
      seg[n] = seg.header and n <= 2 and exact(row[n + 1], at) or join(row[n + 1], 1, x, at)
    end
    return parts.line(seg, x.d.field)
  end

  local function build(document)
    if type(document) ~= "table" or document.format ~= FORMAT then
      bad("document", 'an object with "format":"%s" is expected', FORMAT)
    end
    local rows = document.segments
    if type(rows) ~= "table" then bad("document", 'a list "segments" is expected') end
    local head = head_of(rows[1])
    local d = head:delimiters()
    local x = { head = head, d = d, plain = "[^%w ._]" }
    for _, c in pairs(d) do
      if not find(c, x.plain) then x.plain = "" end -- an odd delimiter: nothing is plain
    end
    local out = {}
    for i, row in ipairs(rows) do out[i] = line_of(row, i, x) end
    out[#out + 1] = ""
    local set = document.charset
    if set == nil or set == json.null then return hl7.parse(concat(out, "\r")) end
    if type(set) ~= "string" then bad("charset", "a string is expected") end
    local msg, err = hl7.parse(concat(out, "\r"), { charset = { force = "UNICODE UTF-8" } })
    if msg then msg, err = charset.from_utf8(msg, set) end
    return msg or bad("charset", "%s", err)
  end

  --- A message of such JSON (a string, or the table it decodes to), or nil and why not.
  function M.from_json(document)
    if type(document) == "string" then
      local value, err = json.decode(document)
      if value == nil then return nil, err end
      document = value
    end
    local ok, msg, err = pcall(build, document)
    if ok then return msg, err end
    if type(msg) == "table" and msg.text then return nil, msg.text end
    error(msg, 0)
  end

  return M
end
