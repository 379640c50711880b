-- Lua source text as tokens: for what has to be known of a script's text before it runs.
local find, sub, gmatch = string.find, string.sub, string.gmatch

local M = {}

--- Names, strings and punctuation with line and brace depth; comments are skipped.
function M.tokens(text)
  local list, n = {}, 0
  local at, line, depth = 1, 1, 0
  local function advance(stop)
    for _ in gmatch(sub(text, at, stop), "\n") do line = line + 1 end
    at = stop + 1
  end
  local function add(kind, word)
    n = n + 1
    list[n] = { kind = kind, text = word, line = line, depth = depth }
  end
  while at <= #text do
    local _, stop = find(text, "^%s+", at)
    local _, _, level = find(text, "^%-%-%[(=*)%[", at)
    local _, _, long = find(text, "^%[(=*)%[", at)
    local _, name_end, name = find(text, "^([%a_][%w_]*)", at)
    local quote = sub(text, at, at):match "[\"']"
    if stop then
      advance(stop)
    elseif level then
      local _, e = find(text, "]" .. level .. "]", at, true)
      advance(e or #text)
    elseif find(text, "^%-%-", at) then
      advance((find(text, "\n", at, true) or #text + 1) - 1)
    elseif long then
      local _, e = find(text, "]" .. long .. "]", at, true)
      add("string", "")
      advance(e or #text)
    elseif quote then
      local e = at
      repeat
        e = find(text, "[\\\n" .. quote .. "]", e + 1) or #text
        local c = sub(text, e, e)
        if c == "\\" then e = e + 1 end
      until c ~= "\\" or e >= #text
      add("string", sub(text, at + 1, e - 1))
      advance(e)
    elseif name then
      add("name", name)
      advance(name_end)
    else
      local op = text:match("^[=~<>]=", at) or sub(text, at, at)
      if op == "}" then depth = depth - 1 end
      add("op", op)
      if op == "{" then depth = depth + 1 end
      advance(at + #op - 1)
    end
  end
  return list
end

-- The token i is `name` as a global, not a field, a method or a definition.
local function is_global(list, i)
  local before, second = list[i - 1], list[i - 2]
  if not before or before.kind ~= "op" then return true end
  if before.text == ":" then return false end
  return before.text ~= "." or second ~= nil and second.text == "."
end

-- The script has a function of that name of its own. `local lookup = lookup` is still ours.
local function is_own(list, i, name)
  local before, value = list[i - 1], list[i + 2]
  if not before or before.kind ~= "name" then return false end
  return before.text == "function"
    or before.text == "local" and not (value and value.text == name)
end

--- calls(text, name, method): { { name, line } } of the calls name "X", name("X", ...) and
-- name.method("X", ...) whose first argument is written out.
function M.calls(text, name, method)
  local list, found = M.tokens(text), {}
  for i, t in ipairs(list) do
    if t.kind == "name" and t.text == name and is_global(list, i) then
      if is_own(list, i, name) then return {} end
      local at = i + 1
      if method and list[at + 1] and list[at].text == "." and list[at + 1].text == method then
        at = at + 2
      end
      local open = list[at] and list[at].kind == "op" and list[at].text == "("
      local word = list[open and at + 1 or at]
      local behind = open and list[at + 2]
      if word and word.kind == "string" and word.text ~= ""
        and (not open or behind and (behind.text == ")" or behind.text == ",")) then
        found[#found + 1] = { name = word.text, line = t.line }
      end
    end
  end
  return found
end

return M
