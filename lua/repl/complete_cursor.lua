-- What stands before the cursor, for completion: a chain of names and keys, or a string that is not
-- closed. Nothing of it is run.
local show = require "lunate.repl.show"

local M = {}

-- Follows a chain "msg.PID[3]:rep(2)" without running anything but parts' own indexing.
local function resolve(session, chain)
  local name, rest = chain:match "^([%a_][%w_]*)(.*)$"
  if not name then return nil end
  local v = session.env[name]
  while rest ~= "" and v ~= nil do
    local key, after = rest:match "^%.([%a_][%w_]*)(.*)$"
    local is_part = show.is_message(v) or show.path(v)
    if not key then
      key, after = rest:match "^%[(%d+)%](.*)$"
      if key then key = tonumber(key) end
    end
    if not key then key, after = rest:match "^%[[\"']([^\"']*)[\"']%](.*)$" end
    if key then
      if is_part then v = v[key] elseif type(v) == "table" then v = rawget(v, key) else v = nil end
    else
      key, after = rest:match "^:rep%((%d+)%)(.*)$"
      if not key or not show.path(v) then return nil end
      v = v:rep(tonumber(key))
    end
    rest = after
  end
  return v
end

-- The chain that ends a text.
local function chain_before(s)
  local at = #s
  while at > 0 do
    local c = s:sub(at, at)
    if c == "]" or c == ")" then
      local open = s:sub(1, at):match(c == "]" and "()%[[^%[%]]*%]$" or "()%([^%(%)]*%)$")
      if s:sub(1, at):find "%[[\"'][^\"']*[\"']%]$" then
        open = s:sub(1, at):match "()%[[\"'][^\"']*[\"']%]$"
      end
      if not open then break end
      at = open - 1
    elseif c:find "[%w_%.:]" then
      at = at - 1
    else
      break
    end
  end
  return s:sub(at + 1)
end

-- The string that is not closed before the cursor, and what stands before it.
local function open_string(line)
  local at, quote, from = 1, nil, nil
  while at <= #line do
    local c = line:sub(at, at)
    if quote then
      if c == "\\" then at = at + 1 elseif c == quote then quote = nil end
    elseif c == '"' or c == "'" then
      quote, from = c, at
    elseif c == "-" and line:sub(at, at + 1) == "--" then
      return nil
    end
    at = at + 1
  end
  if quote then return line:sub(1, from - 1), line:sub(from + 1), quote end
end

M.resolve, M.chain_before, M.open_string = resolve, chain_before, open_string
return M
