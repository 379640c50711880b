-- `lunate` in a site's specs: channels to be run on messages, and the site's samples.
--   local adt = lunate.channel "adt_to_lab"
--   local r = adt:run(lunate.sample "adt_a01")
--   assert.equal("done", r.state)
--   assert.equal("DOE", r:to("lab")["PID-5.1"])
-- Scripts run in a worker, as they do in the engine: the same sandbox, the same limits.
local sys = require "lunate.sys"
local site = require "lunate.cli.site"
local loader = require "lunate.cli.loader"
local worker = require "lunate.cli.worker"

local M = {}
local Channel, Result = {}, {}
Channel.__index, Result.__index = Channel, Result

local loaded

--- The first message that goes to a destination, as a message object; nil when none does.
function Result:to(dest)
  for _, o in ipairs(self.outputs) do
    if o.dest == dest and o.raw then return assert(require("hl7").parse(o.raw)) end
  end
end

--- Runs the channel's filter and transform on a message (bytes or a message object). Gives
-- { state = "done" | "filtered" | "error" | "limit", reason, where, trace,
-- outputs = { { dest, kind = "bytes" | "filtered" | "error", raw, changed, reason } }, log }
-- and the method to(dest).
function Channel:run(message)
  if not self.worker then
    local w, err = worker.start(loaded, self.channel)
    if not w then error(err, 2) end
    self.worker = w
  end
  local r = self.worker:run(tostring(message))
  if r.state == "limit" then self.worker = nil end
  return setmetatable(r, Result)
end

--- A channel of the site; raises what `lunate check` would say of it.
function M.channel(name)
  loaded = loaded or loader.load()
  local c = loaded.by_name[name]
  if not c then error(("the site has no channel \"%s\""):format(name), 2) end
  for _, e in ipairs(loaded.errors) do
    if e.channel == name then error(e.text, 2) end
  end
  return setmetatable({ channel = c }, Channel)
end

--- The messages of samples/NAME.hl7 as bytes with CR as segment end; the first one first.
function M.samples(name)
  local path = site.file("samples/" .. name .. ".hl7")
  local text, err = site.read(path)
  if not text then error(err, 2) end
  local list = sys.messages(text)
  for i, bytes in ipairs(list) do
    list[i] = bytes:gsub("\r\n", "\r"):gsub("\n", "\r")
  end
  if #list == 0 then error(path .. " holds no message", 2) end
  return list
end

--- The first message of samples/NAME.hl7.
function M.sample(name)
  return M.samples(name)[1]
end

return M
