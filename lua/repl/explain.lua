-- `?TOPIC`: what the standard says of a field, segment, data type, table or message structure, and
-- what the message at hand has there; how a function of Lunate is called.
local text = require "lunate.repl.text"
local show = require "lunate.repl.show"
local topics = require "lunate.repl.topics"
local nearest = require "lunate.nearest"
local paint, printable = text.paint, text.printable
local MOST = 30

local usage = { R = "required", RE = "required, may be empty", O = "optional", C = "conditional",
  X = "not used", B = "kept for older versions", W = "withdrawn" }

local function traits(e)
  local list = { e.type or "no type" }
  list[#list + 1] = usage[e.usage]
  if e.repeats then
    list[#list + 1] = e.max == math.huge and "repeats" or ("repeats up to %d times"):format(e.max)
  end
  if e.length then list[#list + 1] = ("length %d"):format(e.length) end
  if e.table then list[#list + 1] = "table " .. e.table end
  return table.concat(list, ", ")
end

local function entry_rows(entries, count, prefix)
  local rows = {}
  for i = 1, count do
    local e = entries[i]
    if e then
      local more = (e.repeats and "*" or "") .. (e.table and " " .. e.table or "")
      rows[#rows + 1] = { prefix .. i, e.name, (e.type or "-") .. more, e.title }
    end
  end
  return rows
end

local columns = { "cyan", nil, "dim" }

local function code_rows(t, most)
  local rows = {}
  for _, code in ipairs(t.list) do rows[#rows + 1] = { code, t.codes[code] } end
  return text.rows(rows, { "cyan" }, { indent = "  ", most = most })
end

local function table_text(d, id, version)
  local t = d.table(id, version) or d.table(id)
  if not t then return nil end
  local kind = ({ hl7 = "HL7's", user = "user-defined", site = "the site's" })[t.kind] or t.kind
  return ("%s  %s, %s, %d code%s%s\n%s"):format(paint("bold", "table " .. t.id), t.name, kind,
    #t.list, #t.list == 1 and "" or "s", t.open and ", more may be used" or "",
    code_rows(t, text.plain and nil or MOST * 2))
end

-- What the message has at the place of a field or component: lines.
local function present(session, path)
  local msg = session.env.msg
  if not show.is_message(msg) then return nil end
  local seg, rest = path:match "^(%w+[%[%]%d]*)%-(.+)$"
  local ok, raw = pcall(function() return msg:raw(path) end)
  if not ok then return printable(tostring(raw)) end
  if not msg[seg] then return ("msg has no %s"):format(seg) end
  if raw == nil or raw == "" then return "msg has nothing there" end
  local value = msg[path]
  local line = "msg: " .. printable(raw)
  if value ~= nil and tostring(value) ~= raw then
    line = line .. ("   msg[\"%s\"] is %s"):format(path, show.brief(value))
  end
  if not rest:find "[%.%[]" and #msg:all(seg:match "^%w+") > 1 and not seg:find "%[" then
    local n = #msg:all(seg)
    line = line .. paint("dim", ("   (the first of %d %s)"):format(n, seg))
  end
  return line
end

-- A code of the table that stands in the message.
local function meaning(session, path, t)
  local msg = session.env.msg
  if not t or not show.is_message(msg) then return "" end
  local ok, value = pcall(function() return msg[path] end)
  local found = ok and value and t.codes[tostring(value)]
  if found and found ~= "" then return (" = %s"):format(found) end
  return ok and value and #t.list > 0 and t.kind == "hl7" and " (not in the table)" or ""
end

local function owner_title(d, path, version)
  local name = path:match "^%w+"
  local s = d.segment(name, version)
  return s and s.title or "site's own segment"
end

local function field_text(session, path, version)
  local d = session.core.hl7.dictionary
  local plain = path:gsub("%[[%d*]+%]", "")
  local name = plain:match "^%w+"
  local e, why = d.field(plain, version)
  local out = {}
  if e then
    out[1] = text.fold(("%s  %s"):format(paint("bold", path), e.title))
    out[2] = text.wrap(("%s of %s: %s"):format(e.name, owner_title(d, plain, version), traits(e)),
      "  ")
  else
    out[1] = paint("bold", path)
    out[2] = "  " .. why
  end
  local t = e and e.table and d.table(e.table, version)
  local here = present(session, path)
  if here then
    out[#out + 1] = "  " .. paint("green", here .. meaning(session, path, t))
  end
  local known = e and e.type and d.type(e.type, version)
  if known and not known.primitive then
    out[#out + 1] = text.rows(entry_rows(known.components, known.count, plain .. "."), columns,
      { indent = "  " })
  end
  if t and #t.list > 0 then
    out[#out + 1] = text.fold(("  table %s, %s:"):format(t.id, t.name))
    out[#out + 1] = code_rows(t, MOST)
  elseif t then
    out[#out + 1] = text.wrap(("table %s, %s: each site has codes of its own"):format(t.id,
      t.name), "  ")
  end
  return table.concat(out, "\n"), e or name
end

local function segment_text(session, name, version)
  local d = session.core.hl7.dictionary
  local s, why = d.segment(name, version)
  local msg = session.env.msg
  local n = show.is_message(msg) and #msg:all(name) or 0
  local here = show.is_message(msg) and
    paint("green", ("  msg has %s"):format(n == 0 and "none" or tostring(n))) or ""
  if not s then
    if n > 0 then return ("%s%s\n  %s"):format(paint("bold", name), here, why) end
    return nil, why
  end
  local head = ("%s  %s (version %s)%s"):format(paint("bold", name), s.title, s.version, here)
  return text.fold(head) .. "\n" .. text.rows(entry_rows(s.fields, s.count, name .. "-"), columns,
    { indent = "  " })
end

local function type_text(session, name, version)
  local t = session.core.hl7.dictionary.type(name, version)
  if not t then return nil end
  if t.primitive then
    return text.fold(("%s  %s, a simple type"):format(paint("bold", name), t.title))
  end
  return ("%s\n%s"):format(text.fold(("%s  %s (version %s)"):format(paint("bold", name), t.title,
    t.version)), text.rows(entry_rows(t.components, t.count, "."), columns, { indent = "  " }))
end

local function structure_lines(node, indent, out)
  for _, child in ipairs(node.children) do
    local often = (child.min == 0 and "optional" or "") ..
      (child.max > 1 and (child.min == 0 and ", repeats" or "repeats") or "")
    local name = child.choice and "one of" or child.name
    out[#out + 1] = ("%s%s  %s"):format(indent, child.children and paint("cyan", name) or name,
      paint("dim", often))
    if child.children then structure_lines(child, indent .. "  ", out) end
  end
  return out
end

local function structure_text(session, topic, version)
  local d = session.core.hl7.dictionary
  local a, b = topic:match "^(%u%u%w)[%^_](%w+)$"
  local name = a and d.event(a, b, version) or topic
  local s = d.structure(name, version)
  if not s then return nil end
  return ("%s  message structure%s\n%s"):format(paint("bold", name),
    s.version and " of version " .. s.version or "",
    table.concat(structure_lines(s, "  ", {}), "\n"))
end

local function topic_text(key)
  local t = topics[key]
  return t and ("%s\n%s"):format(paint("bold", t[1]), text.wrap(t[2], "  ")) ..
    (t[3] and "\n  " .. paint("cyan", t[3]) or "")
end

-- Fields whose title or name holds these words.
local function search(session, words, version)
  local d = session.core.hl7.dictionary
  local rows, plain = {}, words:lower():gsub("_", " ")
  for _, name in ipairs(d.names "segments") do
    local s = d.segment(name, version)
    for i = 1, s and s.count or 0 do
      local e = s.fields[i]
      if e and (e.title:lower():find(plain, 1, true) or
        e.name:gsub("_", " "):find(plain, 1, true)) then
        rows[#rows + 1] = { ("%s-%d"):format(name, i), e.name, e.type or "-", e.title }
      end
    end
  end
  return #rows > 0 and text.rows(rows, columns, { most = MOST }) or nil
end

local function value_text(session, topic)
  local f = session.core.load("return " .. topic, "=prompt", session.env)
  local ok, v = false, nil
  if f then ok, v = pcall(f) end
  if not ok or v == nil then return nil end
  local path, kind = show.path(v)
  if path then return kind, path end
  return ("%s is %s%s"):format(topic, type(v) == "function" and "a " or type(v) == "table"
    and "a " or "", show.brief(v))
end

local function overview()
  local rows = {
    { "?PID-3", "a field: its type, table, what msg has there" },
    { "?PID-3.4", "a component" }, { "?PID", "a segment" }, { "?CX", "a data type" },
    { "?0001", "a table and its codes" }, { "?ADT^A01", "a message structure" },
    { "?patient name", "fields with these words in their names" },
    { "?msg:each", "how a call is used; also " .. table.concat(topics.some, " ") },
  }
  return text.rows(rows, { "cyan" })
end

return function(session, topic)
  if topic == "" then return overview() end
  topic = topic:gsub("^[\"']", ""):gsub("[\"']$", "")
  local version = show.version_of(session.env.msg)
  local upper = topic:upper()
  if upper:find "^%u[%u%d][%u%d]%[?[%d]*%]?%-%d+[%[%]%.%d]*$" then
    return (field_text(session, upper, version))
  end
  local found = topic_text(topic) or topic_text((topic:gsub("%(.*$", "")))
  if found then return found end
  if topic:find "^%d+$" then
    return table_text(session.core.hl7.dictionary, topic, version) or
      ("there is no table %s in the dictionary"):format(topic)
  end
  local why
  if upper:find "^%u[%u%d][%u%d]$" then
    found, why = segment_text(session, upper, version)
    if found then return found end
  end
  found = (upper:find "^[%u%d_]+$" and type_text(session, upper, version)) or
    structure_text(session, upper, version)
  if found then return found end
  local kind, path = value_text(session, topic)
  if path then
    return kind == "segment" and segment_text(session, path:match "^%w+", version) or
      (field_text(session, path, version))
  end
  if kind then return kind end
  found = search(session, topic, version)
  if found then return found end
  local near = nearest(topic, topics.keys)
  return why or ("nothing is known of \"%s\"%s (? alone shows what can be asked)"):format(
    printable(topic), near and (", did you mean ?%s"):format(near) or "")
end
