-- The list of problems that msg:validate gives. An item:
--   path      "PID-3[2].4": where, as paths are written everywhere
--   rule      "required", "type", "table", "length", "repeat", "extra", "segment", "structure",
--             "header", "usage", "value", "pattern", "check", "profile"
--   severity  "error", "warning", "info"
--   text      what is wrong, for people; never text of the message, so it may be logged and sent
--   title     the field's name in the standard, when it has one
--   value     the text that stands there, its first 200 bytes
--   length    its length in bytes
--   code      ERR-3, table 0357
--   err       { location, code, severity }: ERR-2 (ERR-1 up to 2.4), ERR-3, ERR-4 of an answer
-- The list has errors, warnings, infos (counts), valid (no errors) and left_out (beyond the limit).
local concat, floor = table.concat, math.floor

local M = { rank = { info = 1, warning = 2, error = 3 } }
local rank = M.rank
local List = {}
List.__index = List
List.__metatable = "problems"

local letters = { error = "E", warning = "W", info = "I" }
local counts = { error = "errors", warning = "warnings", info = "infos" }
local VALUE_MAX = 200

--- An empty list; options: least severity, most problems.
function M.new(severity, limit)
  return setmetatable({ errors = 0, warnings = 0, infos = 0, left_out = 0, valid = true },
    List), rank[severity or "info"], limit or 1000
end

-- "PID-3[2].4" as ERR says it: PID^1^3^2^4, up to 2.4 PID^1^3.
local function location(path, old, sep)
  local name, nth, rest = path:match "^([^%[%-]+)%[?(%d*)%]?%-?(.*)$"
  if not name then return "" end
  local parts = { name, nth == "" and "1" or nth }
  local field, rep, below = rest:match "^(%d+)%[?(%d*)%]?%.?(.*)$"
  if field then
    parts[3] = field
    if not old and (rep ~= "" or below ~= "") then
      parts[4] = rep == "" and "1" or rep
      for n in below:gmatch "%d+" do parts[#parts + 1] = n end
    end
  end
  return concat(parts, sep)
end

--- Adds a problem. w: the walk, which knows the version's form.
function M.add(w, path, rule, severity, code, text, title, value)
  local list = w.list
  list[counts[severity]] = list[counts[severity]] + 1
  if severity == "error" then list.valid = false end
  if rank[severity] < w.least then return end
  if #list >= w.limit then
    list.left_out = list.left_out + 1
    return
  end
  list[#list + 1] = { path = path, rule = rule, severity = severity, text = text, title = title,
    value = value and value:sub(1, VALUE_MAX), length = value and #value, code = code,
    err = { location = location(path, w.old_err, w.component or "^"), code = code,
      severity = letters[severity] } }
end

local function count(n, word)
  return n > 0 and ("%d %s%s"):format(n, word, n == 1 and "" or "s") or nil
end

--- tostring(list): one line for a log or MSA-3: counts and the worst problem.
function List:__tostring()
  local parts = {}
  parts[1] = count(self.errors, "error")
  parts[#parts + 1] = count(self.warnings, "warning")
  parts[#parts + 1] = count(self.infos, "info")
  if #parts == 0 then return "no problems" end
  local worst
  for _, p in ipairs(self) do
    if not worst or rank[p.severity] > rank[worst.severity] then worst = p end
  end
  return concat(parts, ", ") .. (worst and ("; %s: %s"):format(worst.path, worst.text) or "")
end

--- list:least(severity) -> a list of the problems that are at least so bad.
function List:least(severity)
  local want = rank[severity]
  if not want then error('least takes "error", "warning" or "info"', 2) end
  local list = M.new(severity)
  for _, p in ipairs(self) do
    if rank[p.severity] >= want then
      list[#list + 1] = p
      list[counts[p.severity]] = list[counts[p.severity]] + 1
    end
  end
  list.valid, list.version, list.structure = list.errors == 0, self.version, self.structure
  return list
end

-- For error(list): a line per problem, as ln_ack_errors_read (core/hl7/ack.h) takes them.
function List:__errors()
  local lines = {}
  for i, p in ipairs(self) do
    if i > 100 then break end
    lines[i] = ("%s %s %s: %s"):format(letters[p.severity] or "E", p.code, p.path,
      (p.text:gsub("%c", " ")))
  end
  return concat(lines, "\n")
end

--- Characters of UTF-8 text; bytes when it is none.
function M.characters(text)
  local _, n = text:gsub("[^\128-\191]", "")
  return floor(n)
end

return M
