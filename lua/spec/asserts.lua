-- Assertions for specs of channels: assert.field, assert.sends, assert.filtered, assert.fails. Each
-- says what there was instead.
local M = {}

local function shown(v)
  if v == nil then return "(absent)" end
  return ('"%s"'):format(tostring(v):gsub("%c", "·"))
end

local function parsed(v)
  if type(v) == "string" then return assert(require("hl7").parse(v)) end
  return v
end

local function different(what, expected, got)
  return ("%s\n  expected: %s\n  got:      %s"):format(what, shown(expected), shown(got))
end

-- The segment that a path is about, for the message.
local function around(msg, path)
  local name = path:match "^([%w%[%]]+)"
  local ok, raw = pcall(msg.raw, msg, name)
  return ok and raw and "\n  in: " .. raw:gsub("%c", "·") or ""
end

local function field(msg, path, expected)
  if msg == nil then return false, ("%s: there is no message"):format(path) end
  msg = parsed(msg)
  local got = msg[path]
  if got == expected then return true, ("%s is %s"):format(path, shown(got)) end
  return false, different(path, expected, got) .. around(msg, path)
end

local function state_of(r)
  local text = r.state
  if (r.reason or "") ~= "" then text = text .. ": " .. r.reason end
  if (r.where or "") ~= "" then text = text .. " (" .. r.where .. ")" end
  return text
end

-- Where a message went instead.
local function elsewhere(r)
  if r.state ~= "done" then return state_of(r) end
  local list, seen = {}, {}
  for _, o in ipairs(r.outputs) do
    if o.raw and not seen[o.dest] then list[#list + 1] = o.dest end
    seen[o.dest] = true
  end
  return #list > 0 and "it goes to " .. table.concat(list, ", ") or "done, with no output"
end

local function sends(r, dest)
  local why
  for _, o in ipairs(r.outputs) do
    if o.dest == dest and o.raw then return true, "sends to " .. dest end
    if o.dest == dest then why = o.kind .. ": " .. (o.reason or "") end
  end
  return false, ("nothing goes to %s: %s"):format(dest, why or elsewhere(r))
end

local function filtered(r, reason)
  if r.state ~= "filtered" then return false, "not filtered, but " .. state_of(r) end
  if reason and r.reason ~= reason then
    return false, different("filtered", reason, r.reason)
  end
  return true, "filtered: " .. (r.reason or "")
end

local function fails(r, pattern)
  if r.state ~= "error" and r.state ~= "limit" then
    return false, "no error, but " .. state_of(r)
  end
  if pattern and not r.reason:find(pattern) then
    return false, different("error", pattern, r.reason)
  end
  return true, "error: " .. r.reason
end

--- Makes them known to luassert.
function M.register(luassert)
  for name, check in pairs { field = field, sends = sends, filtered = filtered, fails = fails } do
    luassert:register("assertion", name, function(state, args)
      local ok, text = check(unpack(args, 1, 3))
      state.failure_message = text
      return ok
    end)
  end
end

return M
