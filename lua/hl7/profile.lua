-- hl7.profile { ... }: what a site expects of its messages, over what the standard says:
--   name       for people
--   base       "2.5.1": the standard's rules of that version; nil: of the message's own; another
--              profile: its rules; false: nothing but what stands here
--   type       "ADT", "ADT^A01" or a list of them: other messages are not of this profile
--   rules      { ["PID-3.4"] = "R" or { "R", max = 2, ... } }: lunate.hl7.profile_rules
--   segments   { ZPD = { [1] = { name, type, ... } } }, types, as dictionary.extend takes them
--   tables     { ["0001"] = { "F", "M" } or { codes = {...}, open = true } }
--   structure  "ADT_A05", or a grammar: "MSH EVN PID [PV1] [{ZPD}]"
--   severity   { length = "off", table = "error", ... }: how bad what the standard says is
--   checks     list of function(msg, report), where report(path, text [, severity [, code]])
-- A wrong one is an error at the line where it is written. What is made is checked once and never
-- changes; nodes that were compiled from it are kept in it.
local core = require "lunate.hl7.core"
local dictionary = require "lunate.dictionary"
local grammar = require "lunate.dictionary.grammar"
local site = require "lunate.dictionary.site"
local locate = require "lunate.locate"
local nearest = require "lunate.nearest"
local report = require "lunate.hl7.validate_report"
local rules = require "lunate.hl7.profile_rules"

local M = {}
local Profile = { __metatable = "profile" }
Profile.__index = function() return nil end

local made = setmetatable({}, { __mode = "k" }) -- what hl7.profile gave -> what is known of it

local keys = { name = "string", base = true, type = true, rules = "table", segments = "table",
  tables = "table", structure = "string", severity = "table", checks = "table" }
local rule_names = { required = true, type = true, table = true, length = true, ["repeat"] = true,
  extra = true, segment = true, structure = true, header = true, usage = true }

function M.is(value)
  return type(value) == "table" and made[value] ~= nil
end

function M.is_list(value)
  if type(value) ~= "table" or value[1] == nil then return false end
  for key, item in pairs(value) do
    if type(key) ~= "number" or not M.is(item) then return false end
  end
  return true
end

-- ---- errors -------------------------------------------------------------------------------------

-- fail(keys, text, ...): raises at the line of the key in the site's file, as far as it is found.
local function failer(where)
  local path, line = where:match "^(.*):(%d+)$"
  return function(at, text, ...)
    text = text:format(...)
    if not path then error("profile: " .. text, 0) end
    local source = core.source and core.source(path)
    local n = source and locate(source)(at, tonumber(line))
    error(("%s:%d: profile: %s"):format(path, n or tonumber(line), text), 0)
  end
end

local function unknown(fail, at, word, known, what)
  local near = nearest(tostring(word), known)
  fail(at, "%s is not known in %s%s", ("'%s'"):format(tostring(word)), what,
    near and (" (did you mean '%s'?)"):format(near) or "")
end

-- ---- the parts ----------------------------------------------------------------------------------

local function read_base(p, base, fail)
  if base == nil then return end
  if base == false then
    p.bare = true
    return
  end
  if M.is(base) then
    local from = made[base]
    p.version, p.bare, p.structure = from.version, from.bare, from.structure
    for _, key in ipairs { "segments", "tables", "severity" } do
      for k, v in pairs(from[key]) do p[key][k] = v end
    end
    for i, f in ipairs(from.checks) do p.checks[i] = f end
    p.kinds = from.kinds
    rules.inherit(p.tree, from.tree)
    return
  end
  for _, version in ipairs(dictionary.versions) do
    if base == version then
      p.version = version
      return
    end
  end
  if type(base) ~= "string" then
    fail({ "base" }, "base is a version such as \"2.5.1\", a profile, or false")
  end
  local near = nearest(base, dictionary.versions)
  for _, version in ipairs(dictionary.versions) do
    if version:gsub("%.", "") == base:gsub("%.", "") then near = version end
  end
  fail({ "base" }, "base \"%s\" is no version of the standard (%s)", base,
    near and ("did you mean \"%s\"?"):format(near) or table.concat(dictionary.versions, ", "))
end

local function read_kinds(p, kinds, fail)
  if kinds == nil then return end
  if type(kinds) == "string" then kinds = { kinds } end
  if type(kinds) ~= "table" then fail({ "type" }, "type is \"ADT^A01\" or a list of such") end
  p.kinds = {}
  for _, text in ipairs(kinds) do
    local kind, event = tostring(text):match "^(%w+)%^?(%w*)$"
    if type(text) ~= "string" or not kind then
      fail({ "type" }, "type \"%s\" is not as in \"ADT\" or \"ADT^A01\"", tostring(text))
    end
    p.kinds[#p.kinds + 1] = { kind = kind, event = event ~= "" and event or nil, text = text }
  end
end

local function read_tables(p, tables, fail)
  for id, t in pairs(tables or {}) do
    local key = tonumber(id) and ("%04d"):format(tonumber(id)) or id
    if type(t) ~= "table" then
      fail({ "tables", tostring(id) }, "table %s is a list of codes", tostring(id))
    end
    local codes = {}
    for code, meaning in pairs(type(t.codes) == "table" and t.codes or t) do
      if type(code) == "number" then code = meaning end
      codes[tostring(code)] = true
    end
    p.tables[key] = { codes = codes, open = t.codes ~= nil and t.open == true }
  end
end

local function read_severity(p, severity, fail)
  for rule, level in pairs(severity or {}) do
    if not rule_names[rule] then
      unknown(fail, { "severity", tostring(rule) }, rule, rule_names, "severity")
    end
    if level ~= "off" and not report.rank[level] then
      fail({ "severity", rule }, "severity is \"error\", \"warning\", \"info\" or \"off\"")
    end
    p.severity[rule] = level
  end
end

local function read_structure(p, text, fail)
  if text == nil then return end
  local root, why
  if text:find "^%s*[%w_]+%s*$" then
    local name = text:match "[%w_]+"
    root, why = dictionary.structure(name, p.version)
    if not root then
      local near = nearest(name, dictionary.names "structures")
      why = ("%s%s"):format(why, near and (", did you mean '%s'?"):format(near) or "")
    end
  else
    root, why = grammar.parse(p.name or "of the profile", text)
  end
  if not root then fail({ "structure" }, "%s", why) end
  p.structure = root
end

local function read_segments(p, segments, fail)
  for name, t in pairs(segments or {}) do
    local entries, why = site.entries("=", name, t)
    if not entries then fail({ "segments", tostring(name) }, "%s", why) end
    p.segments[name] = entries
  end
end

local function read_checks(p, checks, fail)
  for i, f in ipairs(checks or {}) do
    if type(f) ~= "function" then
      fail({ "checks" }, "check %d is a %s, not a function", i, type(f))
    end
    p.checks[#p.checks + 1] = f
  end
end

local function make(args, where)
  local fail = failer(where)
  if type(args) ~= "table" then fail({}, "a table is expected, got a %s", type(args)) end
  for key, value in pairs(args) do
    local want = keys[key]
    if not want then unknown(fail, { tostring(key) }, key, keys, "a profile") end
    if type(want) == "string" and type(value) ~= want then
      fail({ key }, "%s is a %s, not a %s", key, want, type(value))
    end
  end
  local p = { name = args.name or where, segments = {}, tables = {}, severity = {}, checks = {},
    tree = {}, compiled = {} }
  read_base(p, args.base, fail)
  read_kinds(p, args.type, fail)
  read_tables(p, args.tables, fail)
  read_segments(p, args.segments, fail)
  rules.read(p, args.rules or {}, fail)
  read_severity(p, args.severity, fail)
  read_structure(p, args.structure, fail)
  read_checks(p, args.checks, fail)
  local handle = setmetatable({}, Profile)
  made[handle] = p
  return handle
end

--- hl7.profile: reading it gives the function for this very line of the site's Lua; called with a
--- table, that gives a profile for msg:validate and `lunate validate --profile`.
function M.profile()
  local where = core.where()
  return function(args) return make(args, where) end
end

-- ---- use ----------------------------------------------------------------------------------------

local function matches(p, msg)
  if not p.kinds then return true end
  for _, k in ipairs(p.kinds) do
    if k.kind == msg.type and (not k.event or k.event == msg.event) then return true end
  end
  return false
end

--- The profile (or the first of a list) that is for this message, as hl7.profile made it inside;
--- nil, and why when none is.
function M.choose(profile, msg)
  if profile == nil then return nil end
  local list = M.is(profile) and { profile } or profile
  local names = {}
  for _, handle in ipairs(list) do
    local p = made[handle]
    if matches(p, msg) then return p end
    for _, k in ipairs(p.kinds) do names[#names + 1] = k.text end
  end
  local kind = msg.type or ""
  return nil, ("no profile is for %s: they are for %s"):format(msg.event
    and kind .. "^" .. msg.event or kind, table.concat(names, ", "))
end

--- Rules about whole segments: how often each one stands in the message.
function M.check_segments(w, p, count)
  for _, name in ipairs(rules.sorted(p.tree)) do
    local rule = p.tree[name].rule
    if rule then rules.check_segment(w, name, rule, count[name] or 0) end
  end
end

--- The profile's own checks.
function M.run_checks(w, p)
  local function tell(path, text, severity, code)
    if type(path) ~= "string" or type(text) ~= "string" then
      error("report takes a path and a text", 2)
    end
    if severity ~= nil and not report.rank[severity] then
      error('report: severity is "error", "warning" or "info"', 2)
    end
    report.add(w, path, "check", severity or "error", code or "207", text)
  end
  for _, f in ipairs(p.checks) do f(w.msg, tell) end
end

return M
