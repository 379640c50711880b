-- An error for people: what, the lines of the script around it, the parts of the message that line
-- touched with what stands there, and the variables as they were.
local text = require "lunate.repl.text"
local show = require "lunate.repl.show"
local paint, printable = text.paint, text.printable

local M = {}
local AROUND, MOST = 2, 12

local function lines_of(source)
  local list = {}
  for line in (source .. "\n"):gmatch "(.-)\r?\n" do list[#list + 1] = line end
  return list
end

-- The lines around number n, the line itself marked.
local function excerpt(source, n, out)
  local list = lines_of(source)
  for i = math.max(1, n - AROUND), math.min(#list, n + AROUND) do
    local line = ("%s %4d  %s"):format(i == n and ">" or " ", i, printable(list[i], true))
    line = text.cut(line, text.width - 1)
    out[#out + 1] = i == n and paint("bold", line) or paint("dim", line)
  end
  return list[n] or ""
end

-- Parts of messages that a line of source names: x["PID-5.1"], x:raw "PID-3", x.PID[3].given_name.
local function expressions(line)
  local list, seen = {}, {}
  local function add(at, owner, code)
    if not seen[code] then
      seen[code] = true
      list[#list + 1] = { at = at, owner = owner, code = code }
    end
  end
  for at, owner, path in line:gmatch '()([%a_][%w_]*)%[%s*["\']([%w%[%]%.%-]+)["\']%s*%]' do
    add(at, owner, ('%s["%s"]'):format(owner, path))
  end
  for at, owner, method, path in
    line:gmatch '()([%a_][%w_]*):(%a+)%s*%(?%s*["\']([%w%[%]%.%-]+)["\']' do
    if method == "raw" then add(at, owner, ('%s:raw "%s"'):format(owner, path)) end
  end
  for at, owner, rest in line:gmatch "()([%a_][%w_]*)(%.%u[%u%d][%u%d][%w_%.%[%]]*)" do
    add(at, owner, owner .. rest:gsub("[%.%[]+$", ""))
  end
  for at, owner, rest in line:gmatch "()([%a_][%w_]*)(%[%d+%][%w_%.%[%]]*)" do
    add(at, owner, owner .. rest:gsub("[%.%[]+$", ""))
  end
  table.sort(list, function(a, b) return a.at < b.at end)
  return list
end

local function part_of(v)
  return show.is_message(v) or show.path(v)
end

-- Adds rows { code, value } of the parts that a line touched. evaluate(code) -> ok, value.
local function touched(line, evaluate, rows, seen)
  for _, e in ipairs(expressions(line)) do
    local found, owner = evaluate(e.owner)
    if found and part_of(owner) and not seen[e.code] then
      seen[e.code] = true
      local ok, value, why = evaluate(e.code)
      local path = show.path(owner)
      rows[#rows + 1] = { e.code .. (path and ("  (%s)"):format(path) or ""),
        ok and show.brief(value) or tostring(why or value) }
    end
  end
end

-- The same for that line and those it was called from.
local function all_touched(first, f, o)
  local rows, seen = {}, {}
  if not first then return rows end
  touched(first, o.evaluate, rows, seen)
  for file, n in f.trace:gmatch "([^\n:]+%.lua):(%d+):" do
    local source = o.source(file)
    local line = source and lines_of(source)[tonumber(n)]
    if line and #rows < MOST then touched(line, o.evaluate, rows, seen) end
  end
  return rows
end

local function variables(frame)
  local rows, seen = {}, {}
  for _, v in ipairs(frame or {}) do
    local name, value, level = v[1], v[2], v[3]
    if level == 1 and not seen[name] and type(value) ~= "function" then
      rows[#rows + 1] = { name, show.brief(value) }
    end
    seen[name] = true
  end
  return rows
end

-- "prompt:3: what" -> 3, "what"
local function at_prompt(reason)
  local n, rest = reason:match "^prompt:(%d+): (.*)$"
  if n then return tonumber(n), rest end
  return nil, reason
end

--- The text of a fault { reason, where, trace }. o: typed (what was typed, when it was that),
-- source (path -> text or nil), frame, evaluate.
function M.text(fault, o)
  local n, reason = at_prompt(fault.reason)
  local out = { paint("red", "error: ") .. printable(reason, true) }
  local file, line = fault.where:match "^(.*):(%d+)$"
  local source, touched_line = file and o.source(file), nil
  if source then
    local name = o.frame and o.frame.name
    out[#out + 1] = ("  %s:%s%s"):format(file, line, name and " in " .. name or "")
    touched_line = excerpt(source, tonumber(line), out)
  elseif n and o.typed and o.typed:find "\n" then
    excerpt(o.typed, n, out)
  end
  local rows = all_touched(touched_line, fault, o)
  if #rows > 0 then
    out[#out + 1] = text.rows(rows, { "cyan" }, { indent = "  " })
  end
  rows = source and variables(o.frame) or {}
  if #rows > 0 then
    out[#out + 1] = paint("dim", "  the variables there (there.NAME, or just NAME):")
    out[#out + 1] = text.rows(rows, { "cyan" }, { indent = "  ", most = MOST })
  end
  local callers = {}
  for l in fault.trace:gmatch "[^\n]+" do
    if not l:find "^prompt:" and not l:find("^" .. fault.where:gsub("%p", "%%%0") .. ":") then
      callers[#callers + 1] = "  called from " .. l
    end
  end
  if #callers > 0 and source then
    out[#out + 1] = paint("dim", printable(table.concat(callers, "\n", 1, math.min(#callers, 4)),
      true))
  end
  return table.concat(out, "\n")
end

return M
