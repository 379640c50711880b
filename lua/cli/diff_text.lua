-- Differences between two messages (the list of hl7.diff) for people: grouped by segment, with the
-- dictionary's names.
local diff = require "lunate.hl7.diff"
local dictionary = require "lunate.dictionary"
local term = require "lunate.cli.term"
local wrap = require "lunate.cli.wrap"

local M = {}

local LONG = 200 -- bytes of a value from which on only what differs in it is shown
local NEAR = 24 -- bytes beside it

--- The dictionary's name of a path, or nil. OBX-5 has the components of its type.
function M.name(path, version)
  if not path:find "^%u[%u%d][%u%d]" or not path:find("-", 1, true) then return nil end
  local ok, entry = pcall(dictionary.field, path, version)
  if ok and entry then return entry.title end
  ok, entry = pcall(dictionary.field, path:match "^[^.]*", version)
  return ok and entry and entry.title or nil
end

-- Only what differs in two long values, with a little around it.
local function essence(from, to)
  if #from <= LONG and #to <= LONG then return from, to end
  local n, m = 0, 0
  local most = math.min(#from, #to)
  while n < most and from:byte(n + 1) == to:byte(n + 1) do n = n + 1 end
  while m < most - n and from:byte(-m - 1) == to:byte(-m - 1) do m = m + 1 end
  local head, tail = math.max(0, n - NEAR), math.max(0, m - NEAR)
  local function cut(v)
    local text = v:sub(head + 1, #v - tail)
    if head > 0 then text = "…" .. text:gsub("^[\128-\191]+", "") end
    if #text > 4000 then text = text:sub(1, 4000):gsub("[\192-\255][\128-\191]*$", "") .. "…" end
    if tail > 0 then text = text:gsub("[\192-\255][\128-\191]*$", "") .. "…" end
    return text
  end
  return cut(from), cut(to)
end

local function shown(v)
  if v == '""' then return '"" (null)' end
  return term.printable(diff.shown(v))
end

local function label(d, version, columns)
  local wide = (not columns or columns >= 90) and 28 or columns >= 60 and 18 or 0
  local path = term.printable(d.path) .. (d.last and " to " .. d.last:match "[^-]*$" or "")
  local text = ("  %-12s "):format(path)
  local name = M.name(d.path, version)
  if not name or wide == 0 then return text, math.max(12, #path) + 3 end
  return text .. term.paint("dim", term.fit(name, wide)) .. "  ", math.max(12, #path) + wide + 5
end

local function value_lines(out, mark, colour, v, columns)
  wrap.add(out, "    " .. term.paint(colour, mark) .. " ", 6, { v, colour }, columns, 0)
end

local function changed(out, d, version, columns)
  local head, used = label(d, version, columns)
  local from, to = d.from, d.to
  if from and to then from, to = essence(from, to) end
  from, to = shown(from), shown(to)
  local moved = d.kind ~= "moved" and d.from_path and (" (was %s)"):format(d.from_path) or ""
  if used + term.columns(from) + term.columns(to) + 4 + #moved <= (columns or 120) then
    out[#out + 1] = head .. term.paint("red", from) .. " -> " .. term.paint("green", to) .. moved
    return
  end
  out[#out + 1] = (head .. moved):gsub(" +$", "")
  value_lines(out, "-", "red", from, columns)
  value_lines(out, "+", "green", to, columns)
end

local function came_or_went(out, d, version, columns)
  local head, used = label(d, version, columns)
  local added = d.kind == "added"
  local mark, colour = added and "+ " or "- ", added and "green" or "red"
  local v = shown(added and d.to or d.from)
  if #v > 4000 then v = v:sub(1, 4000):gsub("[\192-\255][\128-\191]*$", "") .. "…" end
  if used + term.columns(v) + 2 <= (columns or 160) then
    out[#out + 1] = head .. term.paint(colour, mark .. v)
  else
    out[#out + 1] = head:gsub(" +$", "")
    value_lines(out, mark:sub(1, 1), colour, v, columns)
  end
end

local function is_segment(d)
  return not d.path:find("-", 1, true) or d.path == d.segment
end

local words = { added = "added", removed = "removed", moved = "moved" }

-- A segment that came, went or moved.
local function whole(out, d, version, columns)
  local info = d.segment:find "^%u[%u%d][%u%d]$" and dictionary.segment(d.segment, version)
  local text = term.paint("bold", term.printable(d.path))
  if info then text = text .. "  " .. info.title end
  text = ("%s  %s"):format(text, words[d.kind])
  if d.kind == "moved" then
    local far = d.to_at - d.from_at
    local way = far < 0 and "up" or "down"
    out[#out + 1] = far == 0 and text or ("%s %s by %d"):format(text, way, math.abs(far))
    return
  end
  out[#out + 1] = text
  local raw = d.to or d.from
  if #raw > 4000 then raw = raw:sub(1, 4000):gsub("[\192-\255][\128-\191]*$", "") .. "…" end
  value_lines(out, d.kind == "added" and "+" or "-", d.kind == "added" and "green" or "red",
    term.printable(raw), columns)
end

--- The lines of a list of differences. version: of the message (MSH-12); columns: of the screen,
--- nil when lines may be of any length.
function M.lines(list, version, columns)
  local out, at = {}, nil
  for _, d in ipairs(list) do
    if is_segment(d) then
      whole(out, d, version, columns)
      at = d.kind == "moved" and d.to_at or nil
    else
      if at ~= d.to_at then
        local name = d.path:match "^[^-]*"
        local info = d.segment:find "^%u[%u%d][%u%d]$" and dictionary.segment(d.segment, version)
        out[#out + 1] = term.paint("bold", term.printable(name))
          .. (info and "  " .. info.title or "")
        at = d.to_at
      end
      if d.kind == "changed" then
        changed(out, d, version, columns)
      elseif d.kind == "moved" then
        out[#out + 1] = ("%smoved from %s: %s"):format((label(d, version, columns)), d.from_path,
          shown(d.to))
      else
        came_or_went(out, d, version, columns)
      end
    end
  end
  return out
end

return M
