-- A small strict JSON decoder, so that specs need no library. json.null stands for null.
local M = { null = setmetatable({}, { __tostring = function() return "null" end }) }

local escapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r",
  t = "\t" }

local function fail(text, at, why)
  error(("json: %s at byte %d: %s"):format(why, at, text:sub(at, at + 30)), 0)
end

local function utf8(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then
    return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64)
  end
  if code < 0x10000 then
    return string.char(0xe0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64,
      0x80 + code % 64)
  end
  return string.char(0xf0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function unicode(text, at)
  local hex = text:match("^%x%x%x%x", at)
  if not hex then fail(text, at, "bad \\u") end
  return tonumber(hex, 16)
end

local function string_at(text, at)
  local parts = {}
  at = at + 1
  while true do
    local stop = text:find('["\\%c]', at)
    if not stop then fail(text, at, "unterminated string") end
    parts[#parts + 1] = text:sub(at, stop - 1)
    local c = text:sub(stop, stop)
    if c == '"' then return table.concat(parts), stop + 1 end
    if c ~= "\\" then fail(text, stop, "control character in a string") end
    local e = text:sub(stop + 1, stop + 1)
    at = stop + 2
    if e == "u" then
      local code = unicode(text, at)
      at = at + 4
      if code >= 0xd800 and code < 0xdc00 and text:sub(at, at + 1) == "\\u" then
        code = 0x10000 + (code - 0xd800) * 1024 + unicode(text, at + 2) - 0xdc00
        at = at + 6
      end
      parts[#parts + 1] = utf8(code)
    else
      parts[#parts + 1] = escapes[e] or fail(text, stop, "bad escape")
    end
  end
end

local value_at

local function skip(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

local function list_at(text, at, close, read)
  local list = {}
  at = skip(text, at + 1)
  if text:sub(at, at) == close then return list, at + 1 end
  while true do
    at = skip(text, read(list, at))
    local c = text:sub(at, at)
    if c == close then return list, at + 1 end
    if c ~= "," then fail(text, at, "expected , or " .. close) end
    at = skip(text, at + 1)
  end
end

function value_at(text, at)
  at = skip(text, at)
  local c = text:sub(at, at)
  if c == "{" then
    return list_at(text, at, "}", function(object, i)
      if text:sub(i, i) ~= '"' then fail(text, i, "expected a key") end
      local key
      key, i = string_at(text, i)
      i = skip(text, i)
      if text:sub(i, i) ~= ":" then fail(text, i, "expected :") end
      object[key], i = value_at(text, i + 1)
      return i
    end)
  elseif c == "[" then
    return list_at(text, at, "]", function(array, i)
      array[#array + 1], i = value_at(text, i)
      return i
    end)
  elseif c == '"' then
    return string_at(text, at)
  end
  for word, value in pairs { ["true"] = true, ["false"] = false, null = M.null } do
    if text:sub(at, at + #word - 1) == word then return value, at + #word end
  end
  local number = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  if not number or not tonumber(number) then fail(text, at, "expected a value") end
  return tonumber(number), at + #number
end

--- Decodes one document; raises on anything else.
function M.decode(text)
  local value, at = value_at(text, 1)
  if skip(text, at) <= #text then fail(text, at, "more after the document") end
  return value
end

--- Decodes one document a line.
function M.lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = M.decode(line) end
  return list
end

return M
