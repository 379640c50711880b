-- Where the message at hand comes from: a file's messages one after another, what was pasted, or
-- the store of the site, whether its engine runs or not.
local lazy = require "lunate.lazy"
local sys = require "lunate.sys"
local site = require "lunate.cli.site"
local term = lazy "lunate.cli.term"
local time = lazy "lunate.cli.time"
local fail = require "lunate.cli.fail"
local audit = lazy "lunate.cli.audit"
local text = require "lunate.repl.text"

local M = {}

--- Line ends as MLLP carries them: CR.
function M.wire(bytes)
  if not bytes:find("\r", 1, true) then bytes = bytes:gsub("\n", "\r") end
  bytes = bytes:gsub("\r\n", "\r"):gsub("[\r\n]+$", "")
  return bytes .. "\r"
end

--- The messages of a text: a list.
function M.split(bytes)
  local list = sys.messages(bytes)
  for i, message in ipairs(list) do list[i] = M.wire(message) end
  return list
end

--- A file's messages: { label, list, at, file }, or nil and why. The name is taken as it is, then
-- below the site, then as a sample's.
function M.load(name)
  local tried = { name, site.file(name), site.file("samples/" .. name),
    site.file("samples/" .. name .. ".hl7") }
  local path
  for _, candidate in ipairs(tried) do
    if sys.kind(candidate) then
      path = candidate
      break
    end
  end
  if not path then return nil, ("there is no file %s"):format(name) end
  if sys.kind(path) == "folder" then return nil, path .. " is a folder" end
  local bytes, why = site.read(path)
  if not bytes then return nil, why end
  local list = M.split(bytes)
  if #list == 0 then return nil, path .. ": " .. require "lunate.cli.no_message"(bytes) end
  return { label = (path:gsub("^%./", "")), list = list, at = 1, file = path }
end

-- Calls f with the site's store; nil, why when it cannot be read.
local function with_store(f)
  local ok, result = pcall(function()
    return f(require "lunate.cli.history".open())
  end)
  if ok then return result end
  if fail.is(result) then return nil, result.text end
  return nil, tostring(result)
end

--- The newest messages of a channel as text.
function M.recent(channel, most)
  return with_store(function(h)
    local c = h:channel(channel)
    local rows, ids, seq = {}, {}, c.next_seq - 1
    while seq >= 0 and #rows < most do
      local receipt = h:receipt(c, seq, -1)
      if not receipt then break end
      rows[#rows + 1] = { ("%s/%.0f"):format(c.name, receipt.seq),
        time.text(receipt.time_us):sub(1, 19), (h:state(c, receipt.seq)),
        text.printable(("%s  %s"):format(receipt.type, receipt.control_id)) }
      ids[#ids + 1] = { c.name, receipt.seq }
      seq = receipt.seq - 1
    end
    audit.put { action = "repl.recent", object = c.name, shown = audit.ids(ids) }
    if #rows == 0 then return "no messages yet" end
    return text.rows(rows, { "cyan", "dim" }) .. "\n" .. text.paint("dim", ".get takes one of them")
  end)
end

--- A recorded message: { label, list, at }, or nil and why.
function M.get(channel, seq)
  return with_store(function(h)
    local c = h:channel(channel)
    local receipt = h:one(c, seq, true)
    audit.put { action = "repl.get", object = ("%s/%.0f"):format(c.name, seq),
      outcome = receipt and "ok" or "failed" }
    if not receipt then
      fail.fail(1, "there is no message %s/%.0f (the store has %s of %s)", channel, seq,
        term.count(c.next_seq - c.first_seq, "message"), channel)
    end
    return { label = ("%s/%.0f, %s"):format(channel, seq, (h:state(c, seq))),
      list = { receipt.raw }, at = 1 }
  end)
end

return M
