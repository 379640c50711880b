-- A REPL session: reads a line, does what it says, shows what came of it. Lua and scripts run in
-- the child (lunate.repl.child); this process holds the terminal, the files, and the way back.
local sys = require "lunate.sys"
local person = require "lunate.person"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"
local text = require "lunate.repl.text"
local loader = require "lunate.cli.loader"
local child = require "lunate.repl.child"
local editor = require "lunate.repl.editor"
local messages = require "lunate.repl.messages"
local commands = require "lunate.lazy" "lunate.repl.commands"

local M = {}
local Session = {}
Session.__index = Session
require "lunate.repl.scripts"(Session)

-- ---- what people see ---------------------------------------------------------------------------

local function colour_wanted()
  local no = os.getenv "NO_COLOR"
  return sys.isatty(1) and os.getenv "TERM" ~= "dumb" and (no == nil or no == "")
end

--- Writes to a stream; while a line is being typed, above it (Session:idle).
function Session:put(stream, written)
  if self.news then
    self.news[#self.news + 1] = written
  else
    stream:write(written)
  end
end

--- Prints text and a line feed.
function Session:say(line, ...)
  if select("#", ...) > 0 then line = line:format(...) end
  if line ~= "" then self:put(io.stdout, line .. "\n") end
  self.said = true
end

--- Says what went wrong: a person goes on, a pipe ends with status 1.
function Session:wrong(line, ...)
  if select("#", ...) > 0 then line = line:format(...) end
  self.status = 1
  io.stdout:flush()
  local stream = self.person and io.stdout or io.stderr
  local said = line:find "^\27?%[?3?1?m?error: " and line or text.paint("red", "error: ") .. line
  if self.person then
    self:look()
    said = said:gsub("^[^\n]+", text.fold)
  end
  self:put(stream, said .. "\n")
end

-- ---- the message at hand -----------------------------------------------------------------------

--- Takes a message (bytes) from a source { label, list, at }.
function Session:take(source)
  local bytes = source.list[source.at]
  local answer = self:ask("message", bytes, self:charset())
  if not answer then return end
  if answer[1] == "error" then return self:wrong("%s: %s", source.label, answer[2]) end
  self.bytes, self.source, self.last_run = bytes, source, nil
  if self.person then
    local place = #source.list > 1 and (", %d of %d"):format(source.at, #source.list) or ""
    self:look()
    self:say("%s", text.fold(("%s%s: %s"):format(text.printable(source.label), place, answer[2])))
  end
end

-- What was typed or pasted and looks like messages.
function Session:take_text(bytes, label)
  local list = messages.split(bytes)
  if #list == 0 then
    return self:wrong("%s: %s", label, require "lunate.cli.no_message"(bytes))
  end
  self:take { label = label, list = list, at = 1 }
end

--- The bytes of msg as it is now; nil when there is none, which has been said.
function Session:message_bytes()
  local answer = self:ask "wire"
  if not answer then return nil end
  if not answer[1] then
    self:wrong "there is no message yet: .load FILE, .recent CHANNEL, or paste one"
  end
  return answer[1]
end

-- ---- lines -------------------------------------------------------------------------------------

local function holds_message(line)
  return line:find "%f[%w]%u[%u%d][%u%d]|" ~= nil
end

function Session:remember(line)
  if self.person and not holds_message(line) then self.editor:remember(line) end
end

function Session:evaluate(typed)
  self:follow()
  self.typed = typed
  local answer = self:ask("eval", typed)
  self.chunk = nil
  if not answer then return end
  if answer[1] == "more" then
    self.chunk = typed
    return
  end
  self:remember(typed)
  if answer[1] == "error" then return self:wrong(answer[2]) end
  if answer[1] == "value" then self:say(answer[2]) end
end

local function begins_message(line)
  return line:find "^%s*[MFB][S][H]%p" or line:find "^%s*[FB]HS%p"
end

-- A message that comes line by line ends at a line that is no segment.
function Session:message_line(line)
  if line:find "^%u[%u%d][%u%d]%p" or line:find "^%u[%u%d][%u%d]$" then
    self.lines[#self.lines + 1] = line
    return true
  end
  local bytes = table.concat(self.lines, "\r") .. "\r"
  self.lines = nil
  self:take_text(bytes, "pasted")
  return line:find "^%s*$" ~= nil
end

function Session:line(line)
  self.typed = line
  if self.lines and self:message_line(line) then return end
  if self.chunk then return self:evaluate(self.chunk .. "\n" .. line) end
  if line:find "^%s*$" then return end
  if begins_message(line) and not line:find "\n" then
    self.lines = { (line:gsub("^%s+", "")) }
    return
  end
  local command, rest = line:match "^%s*%.(%a[%w_]*)%s*(.-)%s*$"
  if command then
    self:remember(line)
    self:follow()
    return commands.run(self, command, rest)
  end
  local topic = line:match "^%s*%?%s*(.-)%s*$"
  if topic then
    self:remember(line)
    local answer = self:ask("explain", topic)
    if answer then self:say(answer[1]) end
    return
  end
  self:evaluate(line)
end

function Session:prompt()
  local width = person.size()
  if not self.person then return "" end
  if self.chunk or self.lines then return "..> " end
  local name = width < 40 and "" or self.tutor and "tutor" or self.channel or "lunate"
  if self.live then name = name .. (width < 40 and "!" or " live") end
  if not self.colour then return name .. "> " end
  return ("\1\27[%sm\2%s>\1\27[0m\2 "):format(self.live and "31" or "36", name)
end

--- A file of the user's folder for state; nil when there is none.
function M.state(name)
  local home = os.getenv "HOME"
  local state = os.getenv "XDG_STATE_HOME"
  if not state or state:sub(1, 1) ~= "/" then
    if not home or home == "" then return nil end
    state = home .. "/.local/state"
  end
  return ("%s/lunate/%s"):format(state, name)
end

-- The file of this site's history: not in the site, which is in git.
local function history_path()
  local folder = site.is_site() and sys.realpath(site.path()) or nil
  return M.state("history/" .. (folder and folder:gsub("[^%w%-_]", "_"):sub(-150) or "no-site"))
end

local function complete(self, line)
  return require "lunate.repl.completion" (self, line)
end

-- The line editor, which got ready meanwhile.
local function open_editor(s)
  local why
  s.editor, why = editor.open(s.started, function(line) return complete(s, line) end)
  local history = history_path()
  if history then s.editor:history(history) end
  if why then
    s:say(text.paint("dim", ("no line editor (%s): no completion, no history"):format(why)))
  end
end

--- Reads and answers until the end. Returns the exit status.
function Session:loop()
  open_editor(self)
  while not self.quit do
    io.stdout:flush()
    local kind, line = self.editor:read(self:prompt(), nil, function() return self:idle() end)
    if kind == "end" then break end
    if kind == "interrupted" then
      self.chunk, self.lines = nil, nil
    elseif kind == "pasted" then
      self.chunk, self.lines = nil, nil
      self:take_text(line, "pasted")
    else
      self:line(line)
      if self.after and not self.chunk and not self.quit then self:after(self.typed) end
    end
  end
  if self.lines then self:message_line "" end
  if self.chunk then self:wrong("the input ends within: %s", self.chunk:match "^[^\n]*") end
  io.stdout:flush()
  return self.person and 0 or self.status
end

-- ---- beginning and end -------------------------------------------------------------------------

--- Opens a session. o: channel, live (effects are done, not held back).
function M.open(o)
  local s = setmetatable({ status = 0, channel = o.channel, live = o.live,
    person = sys.isatty(0) }, Session)
  if site.is_site() and not o.no_channel then s.loading = loader.spawn() end
  s.started, s.spare = editor.start(), child.spawn()
  s.colour = colour_wanted()
  s:look()
  if s.person then person.catch_interrupts() end
  if not s.channel and site.is_site() and not o.no_channel then
    local names = site.channels()
    if #names == 1 then s.channel = names[1] end
  end
  return s
end

--- The first script and message.
function Session:begin(file)
  local ok, why = self:load_site()
  if not ok then
    if not self.person then fail.fail(1, "%s", (why:match "^[^\n]*")) end
    self:wrong(why)
    local channel = self.channel
    self.channel = nil
    local started, broken = self:start()
    if not started then fail.fail(1, "%s", broken) end
    self.channel = channel
  end
  if not file and self.channel and sys.kind(site.file("samples/" .. self.channel .. ".hl7")) then
    file = site.file("samples/" .. self.channel .. ".hl7")
  end
  if not file then return end
  local source, wrong = messages.load(file)
  if source then
    self:take(source)
  elseif self.person then
    self:wrong(wrong)
  else
    fail.fail(1, "%s", wrong)
  end
end

function Session:close()
  if self.child then self.child:close() end
  if self.spare then self.spare:close() end
  if self.loading then self.loading:close() end
  if self.spent then self.spent:close() end
  if self.editor then self.editor:close() end
end

return M
