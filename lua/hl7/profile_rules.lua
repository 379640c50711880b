-- The rules of a profile: path -> usage, or { usage, ... }. Paths are SEG, SEG-F, SEG-F.C and
-- SEG-F.C.S; a rule holds for every segment of that name and every repetition. Usage: R required,
-- RE and O may be empty, X must be empty, C(a/b) a when the condition `when` holds, else b; C is
-- C(R/X)... without the X: C(R/O). What a rule says:
local dictionary = require "lunate.dictionary"
local nearest = require "lunate.nearest"
local report = require "lunate.hl7.validate_report"

local M = {}

local rule_keys = { usage = "string", max = "number", min = "number", length = "number",
  table = "string", type = "string", title = "string", value = "string", values = "table",
  pattern = "string", when = "function", check = "function", severity = "string", text = "string" }
local usages = { R = true, RE = true, O = true, X = true, C = true }
local segment_keys = { usage = true, max = true, min = true, when = true, severity = true,
  text = true }

function M.sorted(t)
  local list = {}
  for key in pairs(t) do list[#list + 1] = key end
  table.sort(list)
  return list
end

local function copy(t)
  local new = {}
  for key, value in pairs(t) do new[key] = value end
  return new
end

--- Rules of a profile that this one starts from.
function M.inherit(into, from)
  for name, node in pairs(from) do
    local function clone(n)
      local new = { rule = n.rule, parts = {} }
      for k, part in pairs(n.parts or {}) do
        local inner = copy(part)
        if part.parts then inner.parts = clone({ parts = part.parts }).parts end
        new.parts[k] = inner
      end
      return new
    end
    into[name] = clone(node)
  end
end

-- ---- reading ------------------------------------------------------------------------------------

local function read_usage(rule, usage, fail, at)
  local yes, no = usage:match "^C%((%u+)/(%u+)%)$"
  if yes and usages[yes] and usages[no] then
    rule.if_true, rule.if_false, usage = yes, no, "C"
  elseif not usages[usage] then
    fail(at, "usage \"%s\" of %s: it is R, RE, O, X, C or C(R/X)", usage, at[2])
  elseif usage == "C" then
    rule.if_true, rule.if_false = "R", "O"
  end
  rule.usage = usage
  if usage == "C" and not rule.when then
    fail(at, "%s is conditional: it needs when = function(segment, msg)", at[2])
  end
end

local function read_values(rule, given, fail, at)
  local list = given.values or (given.value and { given.value })
  if not list then return end
  rule.values, rule.value = {}, given.value
  for key, v in pairs(list) do
    if type(key) == "number" then rule.values[tostring(v)] = true else rule.values[key] = true end
  end
  if next(rule.values) == nil then fail(at, "%s has no values", at[2]) end
end

local function read_numbers(rule, fail, at)
  if rule.when and rule.usage ~= "C" then
    fail(at, "%s has a condition, but its usage is not C", at[2])
  end
  if rule.max and rule.min and rule.max < rule.min then
    fail(at, "%s: max is less than min", at[2])
  end
  if rule.severity and not report.rank[rule.severity] then
    fail(at, "%s: severity is \"error\", \"warning\" or \"info\"", at[2])
  end
  if rule.pattern and not pcall(string.find, "", rule.pattern) then
    fail(at, "%s: \"%s\" is no Lua pattern", at[2], rule.pattern)
  end
end

-- Whatever names a table or type names one that is there.
local function read_names(p, rule, fail, at)
  if rule.table then
    local id = tonumber(rule.table) and ("%04d"):format(tonumber(rule.table)) or rule.table
    rule.table = id
    if not p.tables[id] and not dictionary.table(id) then
      local near = nearest(id, dictionary.names "tables")
      fail(at, "%s: no table %s%s", at[2], id, near and (", did you mean %s?"):format(near) or "")
    end
  end
  if rule.type and not dictionary.type(rule.type, p.version) then
    local near = nearest(rule.type, dictionary.names "types")
    fail(at, "%s: no data type %s%s", at[2], rule.type,
      near and (", did you mean %s?"):format(near) or "")
  end
end

local function read_rule(p, given, fail, at, segment)
  if type(given) == "string" then given = { given } end
  if type(given) ~= "table" then
    fail(at, "the rule of %s is a usage or a table, not a %s", at[2], type(given))
  end
  local rule = { own = {} }
  for key, value in pairs(given) do
    if key ~= 1 then
      local want = rule_keys[key]
      if not want or (segment and not segment_keys[key]) then
        local near = nearest(tostring(key), segment and segment_keys or rule_keys)
        fail({ at[1], at[2], tostring(key) }, "'%s' is not known in a rule%s%s", tostring(key),
          segment and " for a segment" or "", near and (" (did you mean '%s'?)"):format(near) or "")
      end
      if type(value) ~= want then
        fail({ at[1], at[2], key }, "%s of %s is a %s, not a %s", key, at[2], want, type(value))
      end
      rule[key] = value
    end
    rule.own[key == 1 and "usage" or key] = true
  end
  rule.own.values = rule.own.values or rule.own.value
  local usage = given[1] or given.usage
  if usage then read_usage(rule, usage, fail, at) end
  read_values(rule, given, fail, at)
  read_numbers(rule, fail, at)
  read_names(p, rule, fail, at)
  return rule
end

-- ---- paths --------------------------------------------------------------------------------------

local function check_segment_name(p, name, fail, at)
  if p.segments[name] or name:byte() == 90 or p.bare then return end
  if dictionary.segment(name, p.version) then return end
  for _, version in ipairs(dictionary.versions) do
    if dictionary.segment(name, version) then return end
  end
  local near = nearest(name, dictionary.names "segments")
  fail(at, "no segment %s in the dictionary%s", name,
    near and (" (did you mean %s?)"):format(near) or "")
end

-- A field that no version has, of a segment of the standard, is a slip of the pen.
local function check_field(p, name, f, fail, at)
  if p.segments[name] or p.bare or name:byte() == 90 then return end
  local most = 0
  for _, version in ipairs(dictionary.versions) do
    local segment = dictionary.segment(name, version)
    if segment then most = math.max(most, segment.count) end
  end
  if f > most then fail(at, "%s has %d fields, and no %s", name, most, at[2]) end
end

local function node_of(parts, n)
  local node = parts[n] or { own = {} }
  parts[n] = node
  return node
end

-- A rule takes the place of what a base said of the same path; of what is below, it says nothing.
local function fill(node, rule)
  for key in pairs(node) do
    if key ~= "parts" then node[key] = nil end
  end
  node.own = {}
  for key, value in pairs(rule) do
    if key ~= "own" then node[key] = value end
  end
  for key in pairs(rule.own) do node.own[key] = true end
end

--- Reads args.rules into p.tree: { SEG = { rule, parts = { [field] = rule with parts } } }.
function M.read(p, rules, fail)
  for _, path in ipairs(M.sorted(rules)) do
    local at = { "rules", tostring(path) }
    if type(path) ~= "string" then fail({ "rules" }, "rules are named by paths, as in PID-3.4") end
    local name, rest = path:match "^(%u[%u%d][%u%d])(.*)$"
    local f, c, s = (rest or ""):match "^%-(%d+)%.?(%d*)%.?(%d*)$"
    if not name or (rest ~= "" and not f) then
      fail(at, "'%s' is no path of a rule, as in PID, PID-3 or PID-3.4%s", path, path:find("[", 1,
        true) and ": a rule holds for every segment and repetition" or "")
    end
    check_segment_name(p, name, fail, at)
    local tree = p.tree[name] or { parts = {} }
    p.tree[name] = tree
    local rule = read_rule(p, rules[path], fail, at, not f)
    if not f then
      tree.rule = rule
    else
      check_field(p, name, tonumber(f), fail, at)
      local parts, node = tree.parts, nil
      for _, n in ipairs { f, c, s } do
        if n ~= "" then
          if node then
            node.parts = node.parts or {}
            parts = node.parts
          end
          node = node_of(parts, tonumber(n))
        end
      end
      fill(node, rule)
    end
  end
end

-- ---- whole segments -----------------------------------------------------------------------------

--- A rule about a segment: n of them stand in the message.
function M.check_segment(w, name, rule, n)
  local usage = rule.usage
  if rule.when then usage = rule.when(nil, w.msg) and rule.if_true or rule.if_false end
  local severity, why, code, kind = rule.severity or "error", nil, "100", "required"
  if usage == "R" and n == 0 then
    why, code = "the profile requires this segment", "101"
  elseif usage == "X" and n > 0 then
    why, kind = "the profile forbids this segment", "usage"
  elseif n > 0 and rule.max and n > rule.max then
    why, kind = ("%d of at most %d"):format(n, rule.max), "repeat"
  elseif rule.min and n < rule.min then
    why, kind = ("%d of at least %d"):format(n, rule.min), "repeat"
  end
  if why then report.add(w, name, kind, severity, code, rule.text or why) end
end

return M
