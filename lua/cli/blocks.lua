-- Which lines belong to which `if`, `elseif` and `while` of a Lua text, to say of a condition
-- whether it held. Reads words only; strings and comments are skipped.
local M = {}

local function words(text)
  local list, at, line = {}, 1, 1
  local function skip(to)
    for _ in text:sub(at, to):gmatch "\n" do line = line + 1 end
    at = to + 1
  end
  while at <= #text do
    local _, blank = text:find("^[%s]+", at)
    local _, _, long = text:find("^%-?%-?%[(=*)%[", at)
    local _, stop, word = text:find("^([%a_][%w_]*)", at)
    local quote = text:match("^[\"']", at)
    if blank then
      skip(blank)
    elseif long then
      local _, e = text:find("]" .. long .. "]", at, true)
      skip(e or #text)
    elseif text:find("^%-%-", at) then
      skip((text:find("\n", at, true) or #text + 1) - 1)
    elseif word then
      list[#list + 1] = { word, line }
      at = stop + 1
    elseif quote then
      local e = at
      repeat
        e = text:find("[\\\n" .. quote .. "]", e + 1) or #text
        local c = text:sub(e, e)
        if c == "\\" then e = e + 1 end
      until c ~= "\\" or e >= #text
      skip(e)
    else
      at = at + 1
    end
  end
  return list
end

local opens = { ["function"] = true, ["repeat"] = true, ["if"] = true, ["do"] = true }

--- conditions(text) -> { [line] = { first, last } }: the condition that begins on that line rules
--- the lines behind `first` (its `then` or `do`) and before `last`.
function M.conditions(text)
  local found, stack, pending = {}, {}, nil
  local function close(line)
    local c = stack[#stack] and stack[#stack].clause
    if c then
      c.last = line
      found[c.line] = found[c.line] or c
    end
  end
  for _, w in ipairs(words(text)) do
    local word, line = w[1], w[2]
    if word == "elseif" or word == "else" then
      close(line)
      if stack[#stack] then stack[#stack].clause = nil end
    end
    if word == "end" or word == "until" then
      close(line)
      stack[#stack] = nil
    elseif opens[word] then
      stack[#stack + 1] = {}
    end
    if word == "if" or word == "elseif" or word == "while" then
      pending = { line = line }
    elseif (word == "then" or word == "do") and pending then
      pending.first = line
      if stack[#stack] then stack[#stack].clause = pending end
      pending = nil
    elseif word == "for" then
      pending = nil
    end
  end
  return found
end

--- held(condition, source line, next line or nil) -> true, false, or nil when it cannot be said.
-- Without a next line the function returned on this one.
function M.held(c, source, next_line)
  if not c then return nil end
  if c.first == c.last then -- all on one line
    if not next_line then return true end
    local leaves = source:find "%f[%w_]return%f[^%w_]" or source:find "%f[%w_]error%f[^%w_]"
    if leaves then return false end
    return nil
  end
  if not next_line then return nil end
  if next_line > c.first and next_line < c.last then return true end
  if next_line > c.line and next_line <= c.first then return nil end -- still the condition
  return false
end

return M
