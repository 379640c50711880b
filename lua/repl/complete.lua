-- Tab, in the child: what can follow in Lua and in paths, with the values that msg has there.
-- Nothing that was typed is run: chains of names are followed by indexing alone.
--
-- A candidate is { text, description, value, tail }: tail is added when it is the only one.
local text = require "lunate.repl.text"
local show = require "lunate.repl.show"
local topics = require "lunate.repl.topics"
local parts = require "lunate.repl.complete_parts"
local cursor = require "lunate.repl.complete_cursor"

local MOST = 500 -- segments that are looked at for one list
local short, segments, fields, below = parts.short, parts.segments, parts.fields, parts.below
local resolve, chain_before, open_string = cursor.resolve, cursor.chain_before, cursor.open_string

local methods = {
  message = { "raw", "set_raw", "all", "each", "add", "remove", "move", "copy", "ack", "groups",
    "tree", "validate", "delimiters", "charset", "convert" },
  segment = { "each", "raw" },
  field = { "rep", "each", "raw", "set_raw", "upper", "lower", "sub", "find", "match", "gmatch",
    "gsub", "byte" },
  component = { "raw", "set_raw", "upper", "lower", "sub", "find", "match", "gmatch", "gsub" },
}

local function method_list(kind)
  local list = {}
  for _, name in ipairs(methods[kind]) do
    local t = topics["msg:" .. name] or topics["field:" .. name]
    list[#list + 1] = { name, t and t[1] or "" }
  end
  return list
end

-- ---- names -------------------------------------------------------------------------------------

local function keys_of(t, list, seen)
  for k, v in next, t do
    if type(k) == "string" and k:find "^[%a_][%w_]*$" and not seen[k] then
      seen[k] = true
      list[#list + 1] = { k, show.brief(v) }
    end
  end
end

local keywords = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if",
  "in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

-- What a sandbox holds cannot be listed from within: these are looked up.
local known = { "assert", "bit", "channel", "coroutine", "env", "error", "getmetatable", "hl7",
  "http", "io", "ipairs", "json", "kv", "log", "lookup", "math", "mllp", "next", "now", "os",
  "pairs", "pcall", "print", "rawequal", "rawget", "rawset", "require", "secret", "select",
  "setmetatable", "string", "table", "tonumber", "tostring", "type", "unpack", "xpcall" }

local function globals(session, prefix)
  local list, seen = {}, { ["_G"] = true, ["_VERSION"] = true, load = true, loadstring = true }
  keys_of(session.env, list, seen)
  keys_of(session.owned, list, seen)
  keys_of(session.frame, list, seen)
  for _, name in ipairs(known) do
    if not seen[name] and session.base[name] ~= nil then
      list[#list + 1] = { name, topics[name] and topics[name][1] or "" }
    end
  end
  for _, word in ipairs(prefix ~= "" and keywords or {}) do list[#list + 1] = { word, "" } end
  return list
end

-- Some of hl7 is loaded when it is first used; what can be asked about is listed all the same.
local function of_hl7(hl7)
  local list, seen = {}, {}
  for _, key in ipairs(topics.keys) do
    local name = key:match "^hl7%.([%w_]+)$"
    if name then
      list[#list + 1] = { name, topics[key][1] }
      seen[name] = true
    end
  end
  keys_of(hl7, list, seen)
  return list
end

-- What follows `v.`, or `v:` when colon.
local function members(session, v, colon)
  local msg = session.env.msg
  local version = show.version_of(msg)
  if show.is_message(v) then
    if colon then return method_list "message" end
    local list = segments(session, v)
    for _, name in ipairs { "type", "event", "version", "control_id" } do
      list[#list + 1] = { name, "", short(tostring(v[name] or "")) }
    end
    return list
  end
  local _, kind, at = show.path(v)
  if kind then
    if colon then return method_list(kind) end
    if kind == "segment" then
      return fields(session, v, at.name, "name", version),
        function() return fields(session, v, at.name, "name", version, true) end
    end
    local list = at.subcomponent > 0 and {} or below(session, v, at, "name", version)
    list[#list + 1] = { "value", "", short(v.value) }
    return list, function()
      return at.subcomponent > 0 and {} or below(session, v, at, "name", version, true)
    end
  end
  local list = {}
  if v == session.core.hl7 then return of_hl7(v) end
  if type(v) == "table" then keys_of(v, list, {}) end
  if type(v) == "string" and colon then keys_of(session.base.string, list, {}) end
  return list
end

-- ---- what stands before the cursor -------------------------------------------------------------

-- What can follow in a path (within a string, or behind `?`): list and the part already there.
local function path_candidates(session, msg, path, seg)
  local version = show.version_of(msg)
  if seg then -- a path within a segment: obx["3.1"]
    local _, _, at = show.path(seg)
    local f, rest = path:match "^(%d+)%.(.*)$"
    if not f then return fields(session, seg, at.name, "number", version), path end
    local part = seg[tonumber(f)]
    local _, _, place = show.path(part)
    return below(session, part, place, "number", version), rest
  end
  local name, rest = path:match "^(%u[%u%d][%u%d][%[%]%d]*)%-(.*)$"
  if not name then
    local n = path:match "^%u[%u%d][%u%d]%[(%d*)$"
    if n then
      local list, count = {}, 0
      for s in msg:each(path:sub(1, 3)) do
        count = count + 1
        list[count] = { ("%d]-"):format(count), "", short(s:raw()) }
        if count >= MOST then break end
      end
      return list, n
    end
    local list = segments(session, msg)
    for _, c in ipairs(list) do c[4] = "-" end
    return list, path:match "^[%u%d]*"
  end
  local s = msg[name]
  if not s then return {}, rest end
  local f, deeper = rest:match "^(%d+)[%[%]%d]*%.(.*)$"
  if not f then
    local field, r = rest:match "^(%d+)%[(%d*)$"
    if field then
      local list = {}
      for i = 1, #s[tonumber(field)] do
        list[i] = { i .. "]", "", short(s[tonumber(field)]:rep(i):raw()) }
      end
      return list, r
    end
    return fields(session, s, name:sub(1, 3), "number", version), rest
  end
  local r = rest:match "^%d+%[(%d+)%]"
  local part = s[tonumber(f)]
  if r then part = part:rep(tonumber(r)) end
  local c, last = deeper:match "^(%d+)%.(.*)$"
  if c then part, deeper = part[tonumber(c)], last end
  local _, _, place = show.path(part)
  return below(session, part, place, "number", version), deeper
end

local function owner_of(session, before)
  local chain = before:match "^(.*)%[%s*$" or before:match "^(.*):%a+%s*%(?%s*$"
  if not chain then return nil end
  local ok, v = pcall(resolve, session, chain_before(chain))
  return ok and v or nil
end

local function in_string(session, before, inside, quote)
  local owner = owner_of(session, before)
  local msg, seg = session.env.msg, nil
  if show.is_message(owner) then
    msg = owner
  elseif owner and select(2, show.path(owner)) == "segment" then
    seg = owner
  end
  if not show.is_message(msg) then return {}, "" end
  local list, prefix = path_candidates(session, msg, inside, seg)
  if before:find "%[%s*$" then
    for _, c in ipairs(list) do c[4] = c[4] or quote .. "]" end
  end
  return list, prefix
end

local function explained(session, topic)
  local msg = session.env.msg
  if show.is_message(msg) and topic:find "^%u[%u%d][%u%d]%S*%-" then
    return path_candidates(session, msg, topic)
  end
  local list = {}
  if show.is_message(msg) then list = segments(session, msg) end
  for _, key in ipairs(topics.keys) do list[#list + 1] = { key, topics[key][2] } end
  if topic:find "^%u%u" then
    for _, what in ipairs { "segments", "types" } do
      for _, name in ipairs(session.core.hl7.dictionary.names(what)) do
        list[#list + 1] = { name, what == "types" and "data type" or "segment" }
      end
    end
  end
  return list, topic
end

-- list, prefix, and what makes a longer list when nothing in it fits.
local function candidates(session, line)
  local topic = line:match "^%s*%?%s*(.*)$"
  if topic then return explained(session, topic) end
  local before, inside, quote = open_string(line)
  if before then return in_string(session, before, inside, quote) end
  local chain = chain_before(line)
  local owner, separator, prefix = chain:match "^(.*)([%.:])([%w_]*)$"
  if not owner then
    if chain:find "^%d" then return {}, "" end
    return globals(session, chain), chain
  end
  local v = resolve(session, owner)
  if v == nil then return {}, "" end
  local list, more = members(session, v, separator == ":")
  return list, prefix, more
end

local function fitting(list, prefix)
  local out, seen = {}, {}
  for _, c in ipairs(list) do
    if c[1]:sub(1, #prefix) == prefix and not seen[c[1]] then
      seen[c[1]] = true
      out[#out + 1] = c
    end
  end
  return out
end

local function rows(list)
  local out = {}
  for i, c in ipairs(list) do
    out[i] = c[3] and c[3] ~= "" and { c[1], c[2], c[3] } or { c[1], c[2] }
  end
  return out
end

return function(session, line)
  local ok, list, prefix, more = pcall(candidates, session, line)
  if not ok then return tostring(#line), "", "" end
  local found = fitting(list, prefix)
  if #found == 0 and more then found = fitting(more(), prefix) end
  if #found == 0 then return tostring(#line), "", "" end
  local keep = tostring(#line - #prefix)
  if #found == 1 then return keep, found[1][1] .. (found[1][4] or ""), "" end
  local shared = text.common(found)
  if #shared > #prefix then return keep, shared, "" end
  local numbered = found[1][1]:find "^%d"
  if not numbered and #prefix == 0 and not found[1][3] then
    table.sort(found, function(a, b) return a[1] < b[1] end)
  end
  return keep, prefix, text.rows(rows(found), { "cyan", "dim" }, { most = session.lines or 40 }) ..
    "\n"
end
