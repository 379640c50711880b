-- msg:groups and msg:tree: the segments of a message in the groups of its structure. A group is
-- what stood in the message when it was asked for: ask again after adding or removing segments.
local match = require "lunate.hl7.match"
local nearest = require "lunate.nearest"

local M = {}
local Group = {}
local methods = {}

local function is_group(item) return type(item) == "table" end

-- Calls visit(segment, name) for all segments in a group and in those within it, in order, until it
-- returns something.
local function walk(group, visit)
  for _, item in ipairs(group.items) do
    local result
    if is_group(item) then
      result = walk(item, visit)
    else
      result = visit(item)
    end
    if result ~= nil then return result end
  end
end

local function each_of(list)
  local i = 0
  return function()
    i = i + 1
    return list[i]
  end
end

local function collect_segments(group, name)
  local list = {}
  walk(group, function(segment)
    if not name or segment.segment_name == name then list[#list + 1] = segment end
  end)
  return list
end

local function collect_groups(group, name, list)
  for _, item in ipairs(group.items) do
    if is_group(item) then
      if not name or item.name == name then list[#list + 1] = item end
      if name then collect_groups(item, name, list) end
    end
  end
  return list
end

local function group_names(type, names)
  for _, c in ipairs(type.children) do
    if c.children then
      if not c.choice then names[c.name] = true end
      group_names(c, names)
    end
  end
  return names
end

-- A name that the structure has no group of is a slip of the pen.
local function check_group(type, name, level)
  if name == nil then return end
  local names = group_names(type, {})
  if _G.type(name) == "string" and names[name] then return end
  local list = {}
  for known in pairs(names) do list[#list + 1] = known end
  table.sort(list)
  local near = nearest(tostring(name), list)
  error(("%s has no group '%s'%s"):format(type.name, tostring(name):sub(1, 60),
    near and (": did you mean '%s'?"):format(near)
    or #list > 0 and (": it has %s"):format(table.concat(list, ", ")) or ""), level + 1)
end

local function check_self(group)
  if getmetatable(group) ~= "group" then
    error(("group expected, got %s: write group:each(...), with a colon"):format(type(group)), 3)
  end
end

--- group:each(name): its segments with that name, in order, those of groups within it as well. All
--- segments without a name.
function methods:each(name)
  check_self(self)
  if name ~= nil and (type(name) ~= "string" or not name:find "^%w+$") then
    error("each takes the name of a segment", 2)
  end
  return each_of(collect_segments(self, name))
end

--- group:segments(): a list of all its segments, in order.
function methods:segments()
  check_self(self)
  return collect_segments(self)
end

--- group:groups(name): the groups of that name within it; without a name those directly in it.
function methods:groups(name)
  check_self(self)
  check_group(self.type, name, 2)
  return each_of(collect_groups(self, name, {}))
end

local function nth_segment(group, name, nth)
  return walk(group, function(segment)
    if segment.segment_name == name then
      nth = nth - 1
      if nth == 0 then return segment end
    end
  end)
end

local function by_path(group, path, level)
  local name, nth, rest = path:match "^(%w+)%[?(%d*)%]?%-(.+)$"
  if not name then error(("wrong path \"%s\""):format(path), level + 1) end
  return nth_segment(group, name, tonumber(nth) or 1), rest
end

local function get(segment, rest) return segment[rest] end
local function set(segment, rest, value) segment[rest] = value end

-- What a segment says of a path or a value is said where the group was asked, two levels up.
local function at_caller(ok, result)
  if not ok then error((tostring(result):gsub("^lunate/[%w_/]+%.lua:%d+: ", "")), 3) end
  return result
end

-- group.OBR: the first segment of that name in it, group.OBSERVATION the first such group,
-- group["OBX[2]-5"] a value.
function Group:__index(key)
  if methods[key] then return methods[key] end
  if type(key) ~= "string" then error("a group is indexed by a name or a path", 2) end
  if key:find("-", 1, true) then
    local segment, rest = by_path(self, key, 2)
    if not segment then return nil end
    local value = at_caller(pcall(get, segment, rest)) -- no tail call: errors count the levels
    return value
  end
  if key:find "^%u%w%w$" then
    local segment = nth_segment(self, key, 1)
    if segment then return segment end
  end
  if key:find "^%u[%u%d_]*$" then return collect_groups(self, key, {})[1] end
  local name, nth = key:match "^(%u%w%w)%[(%d+)%]$"
  if name then return nth_segment(self, name, tonumber(nth)) end
  return nil
end

function Group:__newindex(key, value)
  if type(key) ~= "string" or not key:find("-", 1, true) then
    error("in a group, values are set by path: group[\"OBX-5\"] = value", 2)
  end
  local segment, rest = by_path(self, key, 2)
  if not segment then
    error(("no %s in this group: add it with msg:add(name, after)"):format(key:match "^%w+"), 2)
  end
  at_caller(pcall(set, segment, rest, value))
end

--- tostring(group): its segments, CR behind each.
function Group:__tostring()
  local list = {}
  for i, segment in ipairs(collect_segments(self)) do list[i] = segment:raw() .. "\r" end
  return table.concat(list)
end

Group.__metatable = "group"

local function check_arguments(msg, options, level)
  if getmetatable(msg) ~= "message" then
    error(("message expected, got %s"):format(type(msg)), level + 1)
  end
  if options == nil then return end
  if type(options) ~= "table" then
    error("options are a table: { structure = ..., version = ... }", level + 1)
  end
  local structure, version = options.structure, options.version
  if structure ~= nil and type(structure) ~= "string"
    and not (type(structure) == "table" and structure.name and structure.children) then
    error("structure is a name, such as \"ORU_R01\", or what hl7.dictionary.structure gives",
      level + 1)
  end
  if version ~= nil and type(version) ~= "string" then
    error("version is a text, such as \"2.5.1\"", level + 1)
  end
end

local function tree(msg, options, level)
  check_arguments(msg, options, level + 1)
  local structure, why = match.structure_of(msg, options or {})
  if not structure then error(why, level + 1) end
  local segments, names = {}, {}
  for segment in msg:each() do
    segments[#segments + 1] = segment
    names[#names + 1] = segment.segment_name
  end
  return match.match(segments, names, structure, Group)
end

--- msg:tree([{ structure, version }]): the whole message as a group, and a list of what did not
--- fit: { segment, number, name, rule = "order", "many" or "unexpected" }. Raises an error when the
--- dictionary has no structure for it.
function M.tree(msg, options)
  local root, problems = tree(msg, options, 2)
  return root, problems
end

--- msg:groups(name [, { structure, version }]): the groups of that name, in order; without a name
--- those of the highest level.
function M.groups(msg, name, options)
  local root = tree(msg, options, 2)
  check_group(root.type, name, 2)
  return each_of(collect_groups(root, name, {}))
end

return M
