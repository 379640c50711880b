-- What `.run` shows: what the filter said, per destination what goes out as a difference to what
-- came in, field by field.
local differ = require "lunate.cli.differ"
local text = require "lunate.repl.text"
local paint, printable = text.paint, text.printable

local M = {}
local MOST = 60 -- lines of a difference

local function split(s, separator)
  local list, at = {}, 1
  while true do
    local stop = separator and separator ~= "" and s:find(separator, at, true)
    list[#list + 1] = s:sub(at, (stop or 0) - 1)
    if not stop then return list end
    at = stop + 1
  end
end

--- The delimiters of a message: field, then repetition, component, subcomponent.
function M.delimiters(raw)
  local f, c, r, _, s = raw:match "^%w%w%w(.)(.?)(.?)(.?)(.?)"
  return { f or "|", r or "~", c or "^", s or "&" }
end

-- Appends { path, before, after } of all leaves that differ between two raw values.
local function leaves(path, a, b, d, level, out)
  if a == b then return end
  local as, bs = split(a, d[level]), split(b, d[level])
  if level > 4 or (#as == 1 and #bs == 1) then
    if level >= 4 then
      out[#out + 1] = { path, a, b }
      return
    end
    return leaves(path, a, b, d, level + 1, out)
  end
  for i = 1, math.max(#as, #bs) do
    local below = level == 2 and (i > 1 and ("%s[%d]"):format(path, i) or path) or
      path .. "." .. i
    leaves(below, as[i] or "", bs[i] or "", d, level + 1, out)
  end
end

--- The leaves that differ between two segments of the same name: { path, before, after }. label:
-- the segment's path, as in OBX[2].
function M.changes(label, before, after, d)
  local a, b, out = split(before, d[1]), split(after, d[1]), {}
  local header = before:find "^[MFB][S][H]" and 1 or 0
  for i = 2, math.max(#a, #b) do
    local path = ("%s-%d"):format(label, i - 1 + header)
    if header == 1 and i == 2 then
      if a[i] ~= b[i] then out[#out + 1] = { path, a[i] or "", b[i] or "" } end
    else
      leaves(path, a[i] or "", b[i] or "", d, 2, out)
    end
  end
  return out
end

-- Pairs up what was removed and added, segment by segment: a list of { "same" | "changed" |
-- "removed" | "added", before, after, label }.
function M.compare(before, after)
  local out, removed, counts = {}, {}, {}
  local function label(line)
    local name = line:sub(1, 3)
    counts[name] = (counts[name] or 0) + 1
    return counts[name] > 1 and ("%s[%d]"):format(name, counts[name]) or name
  end
  local function flush()
    for _, line in ipairs(removed) do out[#out + 1] = { "removed", line } end
    removed = {}
  end
  for _, entry in ipairs(differ.lines(before, after)) do
    local sign, line = entry:sub(1, 1), entry:sub(3)
    if sign == "-" then
      removed[#removed + 1] = line
    elseif sign == "+" and removed[1] and removed[1]:sub(1, 3) == line:sub(1, 3) then
      out[#out + 1] = { "changed", table.remove(removed, 1), line, label(line) }
    else
      flush()
      out[#out + 1] = { sign == "+" and "added" or "same", line, line, label(line) }
    end
  end
  flush()
  return out
end

local function quoted(value)
  return value == "" and "(nothing)" or printable(value)
end

--- The difference of two messages as lines of text.
function M.diff(before, after)
  local lines, d = {}, M.delimiters(before)
  for _, e in ipairs(M.compare(before, after)) do
    local what, a, b, label = e[1], e[2], e[3], e[4]
    if what == "same" then
      local line = printable(a)
      lines[#lines + 1] = paint("dim", "    " .. (text.plain and line or
        text.cut(line, text.width - 5)))
    elseif what == "removed" then
      lines[#lines + 1] = paint("red", "  - " .. printable(a))
    elseif what == "added" then
      lines[#lines + 1] = paint("green", "  + " .. printable(a))
    else
      lines[#lines + 1] = paint("red", "  - " .. printable(a))
      lines[#lines + 1] = paint("green", "  + " .. printable(b))
      for _, c in ipairs(M.changes(label, a, b, d)) do
        lines[#lines + 1] = ("      %s  %s -> %s"):format(paint("cyan", c[1]), quoted(c[2]),
          paint("bold", quoted(c[3])))
      end
    end
  end
  if #lines > MOST then
    local more = #lines - MOST
    for i = #lines, MOST + 1, -1 do lines[i] = nil end
    lines[#lines + 1] = ("    … and %d more lines"):format(more)
  end
  return table.concat(lines, "\n")
end

local function milliseconds(us)
  return us < 1000 and ("%d us"):format(us) or ("%.1f ms"):format(us / 1000)
end

--- The text of a result (lunate.repl.child) on `before`; o.filter: the channel has a filter.
function M.text(r, before, o)
  local out = {}
  if r.state == "filtered" then
    return ("%s: %s"):format(paint("yellow", "filtered"),
      r.reason ~= "" and printable(r.reason) or "the filter gave no reason")
  end
  if r.state ~= "done" then return paint("red", "error: ") .. printable(r.reason, true) end
  out[1] = ("%s in %s"):format(o.filter and "passed the filter, done" or
    "done (there is no filter)", milliseconds(r.duration_us))
  local shown = {}
  for _, item in ipairs(r.outputs) do
    local to = paint("bold", "-> " .. item.dest)
    if item.kind == "filtered" then
      out[#out + 1] = ("%s: %s: %s"):format(to, paint("yellow", "filtered"),
        item.reason ~= "" and printable(item.reason) or "its filter gave no reason")
    elseif item.kind == "error" then
      out[#out + 1] = ("%s: %s: %s"):format(to, paint("red", "error"), printable(item.reason))
    elseif item.raw == before then
      out[#out + 1] = to .. ": as received"
    elseif shown[item.raw] then
      out[#out + 1] = ("%s: the same as to %s"):format(to, shown[item.raw])
    else
      shown[item.raw] = item.dest
      out[#out + 1] = to .. "\n" .. M.diff(before, item.raw)
    end
  end
  if #r.outputs == 0 then out[#out + 1] = "nothing goes out" end
  return table.concat(out, "\n")
end

return M
