-- What a script made of a message then and now: calls add(kind, title, old, new) for each way in
-- which the two differ. Both have the shape that lunate.cli.worker gives.
local changes = require "lunate.cli.changes"

local M = {}

-- "file.lua:31: text" -> "file.lua:31", "text".
local function place(reason, where)
  if where and where ~= "" then return where, reason end
  local at, text = reason:match "^([^\n]-%.lua:%d+): (.*)$"
  return at, text or reason
end

local function error_title(what, reason, where)
  local at, text = place(reason, where)
  return at and ("%s at %s"):format(what, at) or ("%s: %s"):format(what, text), text
end

-- Errors of both sides: the same text is the same error, on whichever line.
local function errors(add, dest, old, new)
  local _, before = place(old.reason, old.where)
  local title, after = error_title(dest .. "other error", new.reason, new.where)
  if before ~= after then add("error", title, before, after) end
end

local function by_dest(outputs)
  local list = {}
  for _, o in ipairs(outputs) do
    local d = list[o.dest]
    if not d then
      d = {}
      list[o.dest] = d
    end
    if o.raw then d[#d + 1] = o.raw else d[o.kind] = o end
  end
  return list
end

local function fields(add, dest, before, after, info)
  if before == after then return end
  changes.each(before, after, info.now_us, info.ignore, function(kind, path, old, new)
    local title = ("%s: %s"):format(dest, path)
    if kind == "added" or kind == "removed" or kind == "moved" then
      title = ("%s: segment %s %s"):format(dest, path, kind)
      kind = kind == "moved" and kind or "segment"
    end
    add(kind, title, old, new)
  end)
end

local function destination(add, name, old, new, info)
  local title = ("destination %s: "):format(name)
  if new.error and old.error then
    errors(add, title, old.error, new.error)
  elseif new.error then
    local what, text = error_title(title .. "new error", new.error.reason)
    add("error", what, nil, text)
  elseif old.error then
    add("no_error", title .. "no longer an error", old.error.reason)
  elseif #old == 0 and #new > 0 then
    add("sends", title .. (info.known[name] and "now sends" or "now sends (it is new)"),
      old.filtered and old.filtered.reason)
  elseif #old > 0 and #new == 0 then
    add("sends_not", title .. (info.there[name] and "no longer sends" or
      "no longer sends (it is gone)"), nil, new.filtered and new.filtered.reason)
  elseif #old ~= #new then
    add("count", title .. ("%d messages instead of %d"):format(#new, #old))
  elseif old.filtered and new.filtered and old.filtered.reason ~= new.filtered.reason then
    add("reason", title .. "another reason for not sending", old.filtered.reason,
      new.filtered.reason)
  end
  for i = 1, math.min(#old, #new) do fields(add, name, old[i], new[i], info) end
end

local function destinations(add, old, new, info)
  local before, after, names = by_dest(old.outputs), by_dest(new.outputs), {}
  for name in pairs(before) do names[#names + 1] = name end
  for name in pairs(after) do
    if not before[name] then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    destination(add, name, before[name] or {}, after[name] or {}, info)
  end
end

--- info: ignore (paths that do not count, or nil), known (destinations that the store knows), there
-- (those of the candidate), now_us (the time that the script was told).
function M.results(old, new, info, add)
  if new.state == "limit" then
    add("error", "new error: " .. new.reason)
  elseif new.state == "error" and old.state == "error" then
    errors(add, "", old, new)
  elseif new.state == "error" then
    local title, text = error_title("new error", new.reason, new.where)
    add("error", title, nil, text)
  elseif old.state == "error" then
    local where = place(old.reason, old.where)
    add("no_error", "no longer an error" .. (where and " (was at " .. where .. ")" or ""),
      old.reason)
  elseif new.state == "filtered" and old.state == "filtered" then
    if old.reason ~= new.reason then
      add("reason", "another reason for filtering", old.reason, new.reason)
    end
  elseif new.state == "filtered" then
    add("filtered", "now filtered", nil, new.reason)
  elseif old.state == "filtered" then
    add("filtered_not", "no longer filtered", old.reason)
  else
    destinations(add, old, new, info)
  end
end

return M
