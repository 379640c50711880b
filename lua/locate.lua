-- Finds the line of a key in Lua source text, for errors about tables: a value knows no line.
local find, sub, gmatch = string.find, string.sub, string.gmatch

-- Names, strings and punctuation with line and brace depth; comments are skipped.
local function tokens(text)
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

-- Token i starts `key =` or `["key"] =`.
local function is_key(list, i, key)
  local t = list[i]
  if t.text ~= key then return false end
  if t.kind == "name" then
    return list[i + 1] and list[i + 1].text == "="
  end
  return t.kind == "string" and i > 1 and list[i - 1].text == "[" and list[i + 1]
    and list[i + 1].text == "]"
end

--- locate(text) -> function(keys, from_line): the line of the last of nested keys
--- { "destinations", "lab", "port" } that is found from from_line on; nil when the first is not.
return function(text)
  local list
  return function(keys, from_line)
    list = list or tokens(text)
    local at, depth, line = 1, nil, nil
    while list[at] and list[at].line < from_line do at = at + 1 end
    for _, key in ipairs(keys) do
      local found
      for want = 1, 2 do -- first at the depth it should have, then anywhere
        for i = at, #list do
          local t = list[i]
          if depth and t.depth < depth and (t.text == "}" or t.depth < depth - 1) then break end
          if is_key(list, i, key) and (want == 2 or t.depth == (depth or list[at].depth + 1)) then
            found = i
            break
          end
        end
        if found then break end
      end
      if not found then break end
      at, line, depth = found + 1, list[found].line, list[found].depth + 1
    end
    return line
  end
end
