-- Message structures as text, the standard's way: [X] is optional, {X} repeats, NAME(X Y) is a
-- group, NAME<X/Y> a choice (NAME may be left out). "MSH [{NTE}] {ORDER(ORC [OBR])}".
local M = {}

local function fail(state, what)
  error({ ("%s at character %d"):format(what, state.at) }, 0)
end

local function peek(state)
  state.at = state.text:find("%S", state.at) or #state.text + 1
  return state.text:sub(state.at, state.at)
end

local function expect(state, char)
  if peek(state) ~= char then fail(state, "expected " .. char) end
  state.at = state.at + 1
end

local sequence

local function choice(state)
  local list = {}
  repeat
    state.at = state.at + 1
    local items = sequence(state)
    if #items ~= 1 then fail(state, "one segment or group between / is expected") end
    list[#list + 1] = items[1]
    local c = peek(state)
  until c ~= "/" and c ~= "|"
  expect(state, ">")
  return list
end

local function element(state)
  local c = peek(state)
  if c == "[" or c == "{" then
    state.at = state.at + 1
    local inner = sequence(state)
    expect(state, c == "[" and "]" or "}")
    if #inner ~= 1 then fail(state, "one segment or group in brackets is expected") end
    if c == "[" then inner[1].min = 0 else inner[1].max = math.huge end
    return inner[1]
  end
  local name = state.text:match("^[%w_]+", state.at) or ""
  state.at = state.at + #name
  c = state.text:sub(state.at, state.at)
  if c == "<" then return { name = name, min = 1, max = 1, choice = true,
    children = choice(state) } end
  if name == "" then fail(state, "expected a segment or group") end
  local node = { name = name, min = 1, max = 1 }
  if c == "(" then
    state.at = state.at + 1
    node.children = sequence(state)
    expect(state, ")")
    if #node.children == 0 then fail(state, "a group without segments") end
  end
  return node
end

sequence = function(state)
  local list = {}
  state.depth = (state.depth or 0) + 1
  if state.depth > 50 then fail(state, "brackets too deep") end
  while peek(state):find "[%w_%[{<]" do list[#list + 1] = element(state) end
  state.depth = state.depth - 1
  return list
end

--- parse(name, text) -> { name, min, max, children }, or nil and what is wrong.
function M.parse(name, text)
  local state = { text = text, at = 1 }
  local ok, list = pcall(sequence, state)
  if ok and peek(state) ~= "" then
    ok, list = pcall(fail, state, "unexpected " .. peek(state))
  end
  if not ok then
    if type(list) ~= "table" then error(list, 0) end
    return nil, ("structure %s: %s"):format(name, list[1])
  end
  if #list == 0 then return nil, ("structure %s is empty"):format(name) end
  return { name = name, min = 1, max = 1, children = list }
end

return M
