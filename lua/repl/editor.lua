-- Where input comes from: GNU readline in a process of its own (core/repl), a plain line reader
-- when that is missing, or a pipe. All have read(prompt, begin, idle) -> kind, text: "text", "end",
-- "interrupted", or "pasted" (a whole message); and remember(line).
local wire = require "lunate.wire"
local sys = require "lunate.sys"
local person = require "lunate.person"

local M = {}
local IDLE = 0.25 -- seconds
local kinds = { [0] = "text", "end", "interrupted", "pasted" }

-- ---- readline ----------------------------------------------------------------------------------

local Editor = {}
Editor.__index = Editor

--- Starts the line editor, so that it gets ready while scripts are loaded: what M.open takes; nil
-- where none is needed.
function M.start()
  local program, why = person.editor()
  if not program then return why and { why = why } end
  local stream, wrong = wire.spawn("lunate-repl", program)
  return { stream = stream, program = program, why = wrong }
end

-- The editor that was started; nil, why when it is none of ours. complete(line) -> keep, text,
-- list.
local function greet(started, complete)
  local stream = started.stream
  if not stream then return nil, started.why end
  local kind, payload = stream:receive(10)
  local _, build = nil, nil
  if kind == wire.HELLO then _, build = wire.unpack("b", payload) end
  if build == wire.BUILD then
    return setmetatable({ stream = stream, complete = complete }, Editor)
  end
  stream:close()
  return nil, started.program .. (build and " belongs to another version of lunate" or
    " does not start")
end

--- Reads a line. idle() is called again and again until it comes: text that it returns is shown
-- above what is being typed.
function Editor:read(prompt, begin, idle)
  self.stream:send(wire.READ, wire.pack("bb", prompt, begin or ""))
  while true do
    local kind, payload = self.stream:receive(idle and IDLE or 3600)
    if kind == wire.LINE then
      local _, what, text = wire.unpack("1b", payload)
      person.interrupted() -- it was meant for the editor
      return kinds[what], text
    elseif kind == wire.COMPLETE then
      local _, line = wire.unpack("b", payload)
      local ok, keep, text, list = pcall(self.complete, line)
      if not ok then keep, text, list = #line, "", "" end
      self.stream:send(wire.MATCHES, wire.pack("4bb", keep, text, list))
    elseif not kind and payload ~= "timeout" then
      return "end", ""
    elseif not kind and idle then
      local news = idle()
      if news then self.stream:send(wire.NEWS, wire.pack("b", news)) end
    end
  end
end

function Editor:remember(line)
  self.stream:send(wire.REMEMBER, wire.pack("b", line))
end

function Editor:history(path)
  self.stream:send(wire.HISTORY, wire.pack("b", path))
end

function Editor:close()
  self.stream:close()
end

-- ---- a line reader, and a pipe -----------------------------------------------------------------

local Plain = {}
Plain.__index = Plain

function Plain:read(prompt)
  if self.prompts then
    self.out:write((prompt:gsub("[\1\2]", "")))
    self.out:flush()
  end
  local line = io.read "*l"
  if line then return "text", (line:gsub("\r$", "")) end
  if self.prompts and person.interrupted() then return "interrupted", "" end
  if self.prompts then self.out:write "\n" end
  return "end", ""
end

function Plain.remember() end
function Plain.history() end
function Plain.close() end

--- Opens what fits: editor, and why there is no readline (or nil).
function M.open(started, complete)
  local why
  if started then
    local editor
    editor, why = greet(started, complete)
    if editor then return editor end
  end
  local out = sys.isatty(1) and io.stdout or io.stderr
  return setmetatable({ prompts = sys.isatty(0), out = out }, Plain), why
end

return M
