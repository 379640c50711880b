-- hl7.text: formatted text (FT, TX) as plain lines. Works on what msg[path] gives: delimiters and
-- hex bytes are decoded there already, the formatting commands of chapter 2.7 stay in it.
local tonumber, type, tostring, min = tonumber, type, tostring, math.min

-- Commands that begin with a full stop, by name; n: their argument.
local commands = {
  br = function() return "\n" end,
  ce = function() return "\n" end,
  sp = function(n) return ("\n"):rep(min(tonumber(n) or 1, 100)) end,
  sk = function(n) return (" "):rep(min(tonumber(n) or 1, 1000)) end,
  ["in"] = function() return "" end,
  ti = function() return "" end,
  fi = function() return "" end,
  nf = function() return "" end,
}

-- What a sequence stands for, without its escape characters; nil: it is no command.
local function meaning(inner)
  if inner == "H" or inner == "N" then return "" end -- highlighting
  local name, argument = inner:match "^%.(%l%l)%s*%+?(%-?%d*)$"
  local command = name and commands[name]
  return command and command(argument)
end

--- text(value [, msg]) -> plain text with line feeds. Highlighting, indents and filling are
-- dropped; what is no command stays as it is. nil gives "". msg: whose escape character.
return function(value, msg)
  if value == nil then return "" end
  if type(value) ~= "string" then value = tostring(value) end
  local escape = msg and msg:delimiters().escape or "\\"
  local e = escape:gsub("%W", "%%%0")
  local pattern, out, at = "(" .. e .. "([^" .. e .. "]*)" .. e .. ")", {}, 1
  while true do
    local from, to, whole, inner = value:find(pattern, at)
    if not from then break end
    local with = meaning(inner)
    out[#out + 1] = value:sub(at, from - 1)
    out[#out + 1] = with or whole:sub(1, -2)
    at = with and to + 1 or to -- the last character of what is none may start the next one
  end
  out[#out + 1] = value:sub(at)
  return (table.concat(out):gsub("\r\n?", "\n"))
end
