-- A program in a real terminal (tmux): keys go in, the screen is compared. Nothing sleeps and hopes:
-- wait() looks until the screen shows what is expected. terminal.cleanup() (in after_each) ends all.
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"

local M = {}
local Terminal = {}
Terminal.__index = Terminal
local open = {}

local function tmux(t, ...)
  local words = { "tmux", "-S", t.socket, "-f", "/dev/null", ... }
  words.env = { TMUX = false, LD_PRELOAD = false }
  words.timeout = 30
  local status, out, err = proc.run(words)
  return status, out, err
end

--- Runs a shell command in a terminal. o: width (80), height (24), env (name -> value), cwd.
function M.open(command, o)
  o = o or {}
  local folder = tmp.dir()
  local t = setmetatable({ socket = folder .. "/socket", width = o.width or 80 }, Terminal)
  local words = {}
  for name, value in pairs(o.env or {}) do
    words[#words + 1] = value and ("export %s=%s;"):format(name, tmp.quote(value)) or
      ("unset %s;"):format(name)
  end
  -- Stays behind when the program is gone, so that its last screen can be seen.
  local line = ("%s %s; echo \"ended $?\"; exec sleep 1000"):format(table.concat(words, " "), command)
  local status, _, err = tmux(t, "new-session", "-d", "-x", tostring(t.width), "-y",
    tostring(o.height or 24), "-c", o.cwd or folder, line)
  if status ~= 0 then error("tmux: " .. err, 2) end
  open[t] = true
  return t
end

--- Types text as it is.
function Terminal:type(text)
  tmux(self, "send-keys", "-l", text)
end

--- Presses keys by tmux's names: "Enter", "Tab", "C-c".
function Terminal:press(...)
  tmux(self, "send-keys", ...)
end

--- Types a line and Enter.
function Terminal:line(text)
  self:type(text)
  self:press "Enter"
end

--- Pastes, as a terminal does (bracketed when the program asked for it).
function Terminal:paste(text)
  tmux(self, "load-buffer", tmp.file(text))
  tmux(self, "paste-buffer", "-p")
end

--- The screen: its lines without blanks at their ends, and without empty ones at the bottom.
function Terminal:screen(colour)
  local _, out = tmux(self, "capture-pane", "-p", colour and "-e" or nil)
  return (out:gsub("[ \t]+\n", "\n"):gsub("\n+$", "\n"))
end

--- Waits until the screen holds this text (plain). Raises with the screen when it does not come.
function Terminal:wait(text, seconds)
  local deadline = sys.now() + sys.patience(seconds or 20)
  local screen
  repeat
    screen = self:screen()
    if screen:find(text, 1, true) then return screen end
    sys.sleep(0.02)
  until sys.now() > deadline
  error(("the screen does not show %q:\n%s"):format(text, screen), 2)
end

--- Waits until the last line is this prompt, with nothing behind it.
function Terminal:prompt(prompt, seconds)
  local deadline = sys.now() + sys.patience(seconds or 20)
  local screen
  repeat
    screen = self:screen()
    if screen:match "([^\n]*)\n$" == prompt then return screen end
    sys.sleep(0.02)
  until sys.now() > deadline
  error(("the screen does not end in %q:\n%s"):format(prompt, screen), 2)
end

--- Clears the screen (Ctrl-L) and waits for the prompt.
function Terminal:clear(prompt)
  self:press "C-l"
  local deadline = sys.now() + sys.patience(20)
  repeat
    if self:screen() == prompt .. "\n" then return end
    sys.sleep(0.02)
  until sys.now() > deadline
  error("the screen does not become clear:\n" .. self:screen(), 2)
end

function Terminal:close()
  tmux(self, "kill-server")
  open[self] = nil
end

function M.cleanup()
  for t in pairs(open) do t:close() end
end

return M
