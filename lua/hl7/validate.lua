-- msg:validate: a message against the standard's dictionary and a site's profile. Reads only.
-- The parts: validate_compile (what is expected), validate_walk (fields), validate_structure
-- (header and order), validate_primitive (data types), validate_report (the list).
local core = require "lunate.hl7.core"
local hl7 = require "hl7"
local compile = require "lunate.hl7.validate_compile"
local walk = require "lunate.hl7.validate_walk"
local structure = require "lunate.hl7.validate_structure"
local report = require "lunate.hl7.validate_report"
local profile = require "lunate.hl7.profile"
local nearest = require "lunate.nearest"

local M = {}

local option_keys = { profile = true, severity = true, limit = true, version = true }

local function read_options(o, level)
  if o == nil then return {} end
  if profile.is(o) or profile.is_list(o) then return { profile = o } end
  if type(o) ~= "table" then
    error("validate takes a profile or { profile = ..., severity = ..., limit = ... }", level + 1)
  end
  local read = { profile = o[1] }
  for key, value in pairs(o) do
    if key ~= 1 and not option_keys[key] then
      local near = nearest(tostring(key), option_keys)
      error(("validate knows no '%s'%s"):format(tostring(key),
        near and (", did you mean '%s'?"):format(near) or ""), level + 1)
    end
    if key ~= 1 then read[key] = value end
  end
  if read.profile ~= nil and not (profile.is(read.profile) or profile.is_list(read.profile)) then
    error("validate: a profile is what hl7.profile { ... } gives, or a list of them", level + 1)
  end
  if read.severity ~= nil and not report.rank[read.severity] then
    error('validate: severity is "error", "warning" or "info"', level + 1)
  end
  if read.limit ~= nil and (type(read.limit) ~= "number" or read.limit < 0) then
    error("validate: limit is a number", level + 1)
  end
  return read
end

-- Pattern of a character that is none of the delimiters.
local function set_of(delimiters)
  local set = {}
  for _, c in pairs(delimiters) do set[#set + 1] = c:gsub("%W", "%%%0") end
  return "[^" .. table.concat(set) .. "]"
end

local function is_old(version)
  local minor = tonumber(version:match "^2%.(%d+)")
  return minor ~= nil and minor < 5
end

local function new_walk(msg, p, o)
  local version = o.version or (p and p.version) or msg["MSH-12.1"]
  local _, text = core.version(version)
  local d = msg:delimiters()
  local w = { msg = msg, version = text, old_err = is_old(msg["MSH-12.1"] or "2.3"),
    severity = p and p.severity or {}, misread = {},
    field_sep = d.field, rep_sep = d.repetition, comp_sep = d.component, component = d.component,
    sub_sep = d.subcomponent, escape = d.escape, unescape = hl7.unescape, delimiter = {},
    code_length = core.version(text) >= core.version "2.7" and "104" or "102" }
  w.anything = set_of { d.repetition, d.component, d.subcomponent }
  w.first_leaf = (d.component or d.subcomponent) and "[" .. (("%s%s"):format(d.component or "",
    d.subcomponent or ""):gsub("%W", "%%%0")) .. "]" or "^$"
  for _, c in ipairs { "repetition", "component", "subcomponent" } do
    if d[c] then w.delimiter[d[c]:byte()] = true end
  end
  w.list, w.least, w.limit = report.new(o.severity, o.limit)
  w.compiler = compile.new(text, p)
  return w
end

local function is_name(name) return name:find "^%u[%u%d][%u%d]$" ~= nil end

-- What is left of a broken line, or a segment that no dictionary knows. before: the path of the
-- segment in front: what a broken line begins with is text, and no name to be shown.
local function unknown(w, name, made, before)
  if not is_name(name) then
    local blank = not name:find "[^%s]"
    return structure.say(w, before, "segment", blank and "info" or "error", "100", blank
      and "a line of blanks follows" or "what follows is no segment: a line break within a field?")
  end
  local path = w.nth > 1 and ("%s[%d]"):format(name, w.nth) or name
  if made.other then
    structure.say(w, path, "segment", "info", "100", ("not in version %s: read as in %s"):format(
      w.version, made.other))
  elseif not made.known and name:byte() ~= 90 then
    structure.say(w, path, "segment", "warning", "100", "the standard has no such segment")
  end
end

local function check_segments(w, p)
  local names, count = {}, {}
  local i, before, broken = 0, "MSH", false
  for segment in w.msg:each() do
    local name, raw = segment.segment_name, segment:raw()
    i = i + 1
    names[i] = name
    count[name] = (count[name] or 0) + 1
    w.name, w.nth, w.segment = name, count[name], segment
    local made = w.compiler:segment(name)
    w.misread[i] = not is_name(name)
    if w.misread[i] then
      if not broken and not w.compiler.bare then unknown(w, name, made, before) end
    else
      if (not made.known or made.other) and not w.compiler.bare then unknown(w, name, made) end
      walk.segment(w, made, raw, name == "MSH" or name == "BHS" or name == "FHS")
      before = w.nth > 1 and ("%s[%d]"):format(name, w.nth) or name
    end
    broken = w.misread[i]
  end
  if p then profile.check_segments(w, p, count) end
  return names
end

--- msg:validate([profile | { profile, severity, limit, version }]) -> list of problems, in the
--- order of the message (docs/validation.md). Errors only for wrong options.
function M.validate(msg, options)
  if getmetatable(msg) ~= "message" then
    error(("message expected, got %s: write msg:validate(...), with a colon"):format(type(msg)), 2)
  end
  local o = read_options(options, 2)
  local p, why = profile.choose(o.profile, msg)
  local w = new_walk(msg, p, o)
  local is_message = msg.MSH ~= nil
  if why then structure.say(w, "MSH-9", "profile", "error", "200", why) end
  if is_message and not (p and p.bare) then structure.header(w) end
  local names = check_segments(w, p)
  if is_message and not (p and p.bare and not p.structure) then
    w.list.structure = structure.check(w, names, p and p.structure)
  end
  if p then profile.run_checks(w, p) end
  w.list.version, w.list.profile = w.version, p and p.name
  return w.list
end

return M
