-- A small JSON reader for test data: objects, arrays, strings, numbers, true, false, null (M.null).
local M = { null = setmetatable({}, { __tostring = function() return "null" end }) }

local short = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(n)
  if n < 0x80 then return string.char(n) end
  if n < 0x800 then return string.char(0xc0 + math.floor(n / 64), 0x80 + n % 64) end
  if n < 0x10000 then
    return string.char(0xe0 + math.floor(n / 4096), 0x80 + math.floor(n / 64) % 64, 0x80 + n % 64)
  end
  return string.char(0xf0 + math.floor(n / 262144), 0x80 + math.floor(n / 4096) % 64,
    0x80 + math.floor(n / 64) % 64, 0x80 + n % 64)
end

local function string_at(s, at)
  local out = {}
  while true do
    local stop = s:find('["\\]', at)
    out[#out + 1] = s:sub(at, stop - 1)
    if s:sub(stop, stop) == '"' then return table.concat(out), stop + 1 end
    local c = s:sub(stop + 1, stop + 1)
    at = stop + 2
    if c == "u" then
      local n = tonumber(s:sub(at, at + 3), 16)
      at = at + 4
      if n >= 0xd800 and n < 0xdc00 then
        n = 0x10000 + (n - 0xd800) * 1024 + tonumber(s:sub(at + 2, at + 5), 16) - 0xdc00
        at = at + 6
      end
      out[#out + 1] = utf8(n)
    else
      out[#out + 1] = short[c] or c
    end
  end
end

local words = { t = { true, 4 }, f = { false, 5 }, n = { M.null, 4 } }

local function value_at(s, at)
  at = s:find("%S", at)
  local c = s:sub(at, at)
  if c == '"' then return string_at(s, at + 1) end
  if words[c] then return words[c][1], at + words[c][2] end
  if c ~= "{" and c ~= "[" then
    local number = s:match("^[%d.eE+-]+", at)
    return tonumber(number), at + #number
  end
  local out = {}
  at = s:find("%S", at + 1)
  while not s:find("^[%]}]", at) do
    local key = #out + 1
    if c == "{" then
      key, at = string_at(s, at + 1)
      at = s:find(":", at, true) + 1
    end
    out[key], at = value_at(s, at)
    at = s:find("[^%s,]", at)
  end
  return out, at + 1
end

function M.decode(s)
  return (value_at(s, 1))
end

--- The values of a file with one JSON value per line.
function M.lines(path)
  local f = assert(io.open(path))
  return function()
    local line = f:read()
    if line then return M.decode(line) end
    f:close()
  end
end

return M
