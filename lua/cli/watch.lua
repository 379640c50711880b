-- Runs a command again whenever a file of the site changes, until Ctrl-C.
local sys = require "lunate.sys"
local shell = require "lunate.cli.shell"
local site = require "lunate.cli.site"
local term = require "lunate.cli.term"

local M = {}

local folders = { "channels", "lib", "tables", "samples", "spec" }

local function look(path, seen, depth)
  local kind = sys.kind(path)
  if kind == "file" then
    seen[path] = sys.modified(path)
  elseif kind == "folder" and depth < 8 then
    for _, name in ipairs(sys.list(path) or {}) do
      if name:sub(1, 1) ~= "." then look(path .. "/" .. name, seen, depth + 1) end
    end
  end
end

local function state()
  local seen = {}
  look(site.file "lunate.lua", seen, 0)
  for _, name in ipairs(folders) do look(site.file(name), seen, 0) end
  return seen
end

-- A file that is new, changed or gone; nil when all is as it was.
local function changed(before, now)
  for path, t in pairs(now) do
    if before[path] ~= t then return path end
  end
  for path in pairs(before) do
    if now[path] == nil then return path end
  end
end

--- loop(words): runs `lunate words...` now and after each change.
function M.loop(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = shell.quote(word) end
  local command = ("'%s' "):format(sys.realpath "/proc/self/exe") .. table.concat(quoted, " ")
  sys.interrupted()
  local why
  while true do
    local before = state()
    if sys.isatty(1) and os.getenv "TERM" ~= "dumb" then io.write "\27[H\27[2J" end
    if why then print(term.paint("dim", why .. " changed")) end
    io.stdout:flush()
    os.execute(command)
    print(term.paint("dim", "waiting for changes, Ctrl-C ends"))
    io.stdout:flush()
    repeat
      sys.sleep(0.3)
      why = changed(before, state())
    until why or sys.interrupted()
    if not why then return 0 end
    sys.sleep(0.1) -- editors write in steps
  end
end

return M
