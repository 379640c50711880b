-- Plans: for a field of a version, a tree of what is done with its components. A leaf is { rule,
-- entry }, a node { parts = function of the component's number }.
local dictionary = require "lunate.dictionary"
local rules = require "lunate.deid.rules"

local M = {}
local Plan = {}
Plan.__index = Plan

--- new(o): o.fields, o.types, o.segments of a site's rules; o.providers.
function M.new(o)
  return setmetatable({ o = o, kept = {} }, Plan)
end

local REMOVE = { rule = "remove" }
M.REMOVE = REMOVE

-- The plan of a data type; level 1 is a field, 2 a component, 3 a subcomponent.
function Plan:type(name, version, level, entry, plain)
  local own = not plain and self.o.types[name] -- a site's rule may name the type itself
  if own then return self:named(own, version, level, entry, true) end
  if rules.primitives[name] then
    local rule = rules.primitives[name]
    if rule == "blank" and level > 1 then rule = "remove" end
    return { rule = rule, entry = entry }
  end
  if rules.providers[name] and self.o.providers == "keep" then return { rule = "keep" } end
  local layout, t = rules.types[name], dictionary.type(name or "", version)
  if not layout and (not t or t.primitive) then
    return level == 1 and { rule = "blank" } or REMOVE
  end
  local plan, known = self, {}
  return { parts = function(i)
    local part = known[i]
    if not part then
      local c = t and t.components[i]
      local rule = layout and layout[i]
      if rule then
        part = plan:named(rule, version, level + 1, c)
      elseif layout and #layout == 0 then
        part = REMOVE
      else
        part = c and c.type and plan:type(c.type, version, level + 1, c) or REMOVE
      end
      known[i] = part
    end
    return part
  end }
end

-- The plan of a rule's or a type's name.
function Plan:named(name, version, level, entry, plain)
  if name == "person" then
    local providers = self.o.providers
    self.o.providers = "replace"
    local node = self:type("XCN", version, level, entry)
    for i = 1, 25 do node.parts(i) end
    self.o.providers = providers
    return node
  end
  if rules.types[name] then
    return self:type(name, version, level, entry, plain)
  end
  return { rule = name, entry = entry }
end

-- What OBX-5 holds hangs on OBX-2.
local results = { ST = "result", FT = "text", TX = "text", NM = "number", [""] = "blank" }

function Plan:result(type_name, version)
  if results[type_name] then return { rule = results[type_name] } end
  return self:type(type_name, version, 1)
end

--- field(segment, n, version, value_type) -> plan. value_type: OBX-2, for OBX-5.
function Plan:field(segment, n, version, value_type)
  local key = segment .. n .. "\0" .. version .. "\0" .. (value_type or "")
  local plan = self.kept[key]
  if plan then return plan end
  plan = self:make(segment, n, version, value_type)
  self.kept[key] = plan
  return plan
end

function Plan:make(segment, n, version, value_type)
  local own = self.o.fields[segment .. "-" .. n] or self.o.segments[segment]
  local info = segment:find "^%u[%u%d][%u%d]$" and dictionary.segment(segment, version)
  local entry = info and info.fields[n]
  local plan
  if own then
    plan = self:named(own, version, 1, entry)
  elseif value_type then
    plan = self:result(value_type, version)
  else
    local fixed = rules.fields[segment] and rules.fields[segment][n]
    if fixed then
      plan = self:named(fixed, version, 1, entry)
    else
      plan = entry and entry.type and self:type(entry.type, version, 1, entry) or REMOVE
    end
  end
  return self:with_components(plan, segment, n, version)
end

-- Rules of a site for single components.
function Plan:with_components(plan, segment, n, version)
  local own = self.o.components[segment .. "-" .. n]
  if not own then return plan end
  local this = self
  return { parts = function(i)
    if own[i] then return this:named(own[i], version, 2) end
    return plan.parts and plan.parts(i) or (i == 1 or plan.rule == "keep") and plan or REMOVE
  end }
end

return M
