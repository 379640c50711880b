-- The JSON form of messages that are not in UTF-8: text as text, when the same bytes come back.
local find = string.find

--- new(hl7): { to_utf8, from_utf8 }.
return function(hl7)
  local M = {}
  local UTF8 = "UNICODE UTF-8"

  -- The wire form of a message in another set; MSH-18 and what follows it stay as they are. Raises
  -- what msg:convert does.
  local function recode(msg, name)
    local copy, named, wire = msg:copy(), msg:raw "MSH-18", tostring(msg)
    copy:convert(name)
    if named then
      copy:set_raw("MSH-18", named)
      return tostring(copy)
    end
    copy:set_raw("MSH-18", "")
    local sep = msg:delimiters().field
    local trail = "%" .. sep .. "*\r"
    if not find(sep, "%p") then trail = sep .. "*\r" end
    local had = wire:match(trail)
    return (tostring(copy):gsub(trail, function() return had end, 1))
  end

  local function parse(bytes, name)
    return hl7.parse(bytes, { charset = { force = name } })
  end

  --- The message of such bytes again: a message in UTF-8, and the set's name. Or nil and why not.
  function M.from_utf8(msg, name)
    local ok, bytes = pcall(recode, msg, name)
    if not ok then return nil, (tostring(bytes):gsub("^.-%.lua:%d+: ", "")) end
    return parse(bytes, name)
  end

  -- Names that may say what the set is: all of MSH-18, as it may hold several, or the main one.
  local function names(msg)
    local list, named, d = { (msg:charset()) }, msg:raw "MSH-18", msg:delimiters()
    if named and d.repetition then
      named = table.concat(require "lunate.hl7.parts".split(named, d.repetition), "~")
    end
    if named and named ~= list[1] then table.insert(list, 1, named) end
    return list
  end

  --- The message in UTF-8 and the name of its set; nil when it is in UTF-8, or when its bytes would
  --- not come back from their text.
  function M.to_utf8(msg)
    local wire = tostring(msg)
    local name = find(wire, "[\128-\255\27]") and msg:charset()
    if not name or name == UTF8 or name == "ASCII" then return nil end
    local ok, text = pcall(recode, msg, UTF8)
    local copy = ok and parse(text, UTF8)
    if not copy then return nil end
    for _, candidate in ipairs(names(msg)) do
      local done, back = pcall(M.from_utf8, copy, candidate)
      if done and back and tostring(back) == wire then return copy, candidate end
    end
    return nil
  end

  return M
end
