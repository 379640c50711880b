-- Finds the line of a key in Lua source text, for errors about tables: a value knows no line.
local tokens = require("lunate.lexer").tokens

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
