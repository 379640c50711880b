-- Brings the segments of a message into the groups of its structure. One pass, no going back: per
-- segment a look through the structure, never through the message, so time is linear.
--
-- The place of a segment is sought from the group that the segment before stands in, outwards:
--   1. The next place that the structure allows: forward in the group, then in the groups around
--      it; going on in a repeating group before what follows it. Nothing required is passed over,
--      unless it has been there. A segment that began a group around it begins that group anew
--      rather than enter another one (an ORC after the result of an order is the next order, not a
--      prior result: HAPI does so too, hl7apy descends).
--   2. From the innermost group outwards: forward over what is required and missing; then a group
--      that lies behind, begun anew (out of order).
--   3. A segment whose place lies behind or is taken (too many), and one that has none (a Z
--      segment, an unknown one, one of another structure), stays with the group it stands in.
-- So the tree always holds the segments in the message's order.
local dictionary = require "lunate.dictionary"

local M = {}

-- ---- structures, prepared -----------------------------------------------------------------------

-- first: names that may begin it when nothing required is passed over; has: all names in it;
-- nullable: it may be empty though it is there.
local prepared = setmetatable({}, { __mode = "k" })

local function prepare(node)
  local done = prepared[node]
  if done then return done end
  done = { node = node, name = node.name, min = node.min, max = node.max, first = {}, has = {},
    choice = node.choice, nullable = false, any = false }
  prepared[node] = done
  if not node.children then
    done.first[node.name], done.has[node.name] = true, true
    done.any = node.name == "ANY"
    return done
  end
  done.children = {}
  local open = true
  for i, child in ipairs(node.children) do
    local c = prepare(child)
    done.children[i] = c
    for name in pairs(c.has) do done.has[name] = true end
    if open or node.choice then
      for name in pairs(c.first) do done.first[name] = true end
    end
    local optional = c.min == 0 or c.nullable
    if node.choice then
      done.nullable = done.nullable or optional
    elseif not optional then
      open = false
    end
    done.any = done.any or c.any
  end
  if not node.choice then done.nullable = open end
  return done
end

M.prepare = prepare

-- ---- places -------------------------------------------------------------------------------------

-- An instance of a group: `type` is the prepared group, `at` the child that was filled last,
-- `counts` how often each one was, `items` segments and groups in order, `anchor` the segment that
-- it began with.
local function instance(type, parent, index, class, anchor)
  return setmetatable({ type = type, name = type.name, parent = parent, index = index, at = 1,
    counts = {}, items = {}, class = class, anchor = anchor }, class)
end

local function forward(inst, name)
  local children = inst.type.children
  for i = inst.at, #children do
    local c, count = children[i], inst.counts[i] or 0
    if count < c.max and c.first[name] then return i end
    if count == 0 and c.min > 0 and not c.nullable then return nil end
  end
end

local function over(inst, name)
  local children = inst.type.children
  for i = inst.at, #children do
    if not inst.counts[i] and children[i].has[name] then return i end
  end
end

-- A leaf or group behind, and whether there are too many of it.
local function behind(inst, name)
  for i, c in ipairs(inst.type.children) do
    local count, leaf = inst.counts[i] or 0, not c.children or c.choice
    if c.first[name] and (leaf or count < c.max) then return i, leaf, count >= c.max end
  end
end

local function add(inst, segment)
  inst.items[#inst.items + 1] = segment
end

-- Puts the segment into child i of the instance, making groups on the way. -> the instance in
-- which it stands.
local function enter(inst, i, name, segment)
  local child = inst.type.children[i]
  inst.at = i
  inst.counts[i] = (inst.counts[i] or 0) + 1
  while child.choice do
    local inner
    for _, c in ipairs(child.children) do
      if c.first[name] then inner = c break end
    end
    if not inner then
      for _, c in ipairs(child.children) do
        if c.has[name] then inner = c break end
      end
    end
    child = inner
  end
  if not child.children then
    add(inst, segment)
    return inst
  end
  local new = instance(child, inst, i, inst.class, child.first[name] and name or false)
  inst.items[#inst.items + 1] = new
  local k = forward(new, name) or over(new, name)
  return enter(new, k, name, segment)
end

-- A group around `inst` that began with this segment and may begin anew.
local function anchored(inst, name)
  while inst.parent do
    local up = inst.parent
    if inst.anchor == name and (up.counts[inst.index] or 0) < up.type.children[inst.index].max then
      return up, inst.index
    end
    inst = up
  end
end

-- Is child i of the instance a group that has not been entered yet? One that the instance cannot be
-- without does not count: what stands in a prior result after its visit is its order.
local function new_group(inst, i, name)
  local c = inst.type.children[i]
  if c.min > 0 and inst.parent and inst.anchor ~= name then return false end
  return c.children and not c.choice and not inst.counts[i]
end

local function allowed(inst, name, segment)
  local at = inst
  while at do
    local i = forward(at, name)
    if i then
      if new_group(at, i, name) then
        local up, k = anchored(at, name)
        if up then at, i = up, k end
      end
      return enter(at, i, name, segment)
    end
    at = at.parent
  end
end

-- The second try. -> the instance in which it stands, and what is wrong: "order", "many", or nil.
local function tolerated(inst, name, segment)
  local at = inst
  while at do
    if at.type.has[name] then
      local i = over(at, name)
      if i then return enter(at, i, name, segment) end
      local k, leaf, many = behind(at, name)
      if k and leaf then
        at.counts[k] = (at.counts[k] or 0) + 1 -- it is not missing there
        add(inst, segment)
        return inst, many and "many" or "order"
      elseif k then
        return enter(at, k, name, segment), "order"
      end
    end
    at = at.parent
  end
end

-- ---- a message ----------------------------------------------------------------------------------

local function around_any(inst)
  while inst do
    if inst.type.any then return true end
    inst = inst.parent
  end
  return false
end

--- match(segments, names, structure, class) -> the root group; list of { segment, number, name,
--- rule, group } with rule "order", "many" or "unexpected". Z segments are never unexpected.
function M.match(segments, names, structure, class)
  local root = instance(prepare(structure), false, 0, class, false)
  local at, problems = root, {}
  for k = 1, #segments do
    local segment, name = segments[k], names[k]
    local found, wrong
    if root.type.has[name] then
      found = allowed(at, name, segment)
      if not found then found, wrong = tolerated(at, name, segment) end
    end
    if found then
      at = found
    else
      add(at, segment)
      if name:byte() ~= 90 and not around_any(at) then wrong = "unexpected" end
    end
    if wrong then
      problems[#problems + 1] = { segment = segment, number = k, name = name, rule = wrong,
        group = at }
    end
  end
  return root, problems
end

--- Calls report(instance, child) for each required segment or group that is missing.
function M.missing(inst, report)
  for i, c in ipairs(inst.type.children) do
    if c.min > 0 and not c.nullable and not inst.counts[i] then report(inst, c) end
  end
  for _, item in ipairs(inst.items) do
    if type(item) == "table" then M.missing(item, report) end
  end
end

-- ---- which structure ----------------------------------------------------------------------------

--- The structure that a message says it has: MSH-9.3 when the dictionary knows it, else by its
--- event, else its type alone (ACK). -> structure, nil, and MSH-9.3 when that names another one; or
--- nil and why.
function M.structure_of(msg, options)
  local version = options.version or msg["MSH-12.1"]
  if options.structure then
    if type(options.structure) == "table" then return options.structure end
    return dictionary.structure(options.structure, version)
  end
  local kind, event, named = msg["MSH-9.1"], msg["MSH-9.2"], msg["MSH-9.3"]
  local found = named and dictionary.structure(named, version)
  if found then return found end
  local name = kind and event and dictionary.event(kind, event, version)
  found = name and dictionary.structure(name, version)
  if found then return found, nil, named end
  -- ADT_A08 in MSH-9.3, which shares the structure of ADT_A01
  if named and named:find "^%w+_%w+$" then
    name = dictionary.event(named:match "^(%w+)_", named:match "_(%w+)$", version)
    found = name and dictionary.structure(name, version)
    if found then return found, nil, named end
  end
  found = kind and dictionary.structure(kind, version)
  if found then return found end
  if not kind then return nil, "MSH-9 names no message type, so there is no structure for it" end
  return nil, ("no message structure for %s%s in the dictionary"):format(kind,
    event and "^" .. event or "")
end

return M
