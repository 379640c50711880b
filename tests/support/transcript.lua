-- Documents that are transcripts: their blocks are done one after another in one folder, and what
-- a command prints must be what stands below it. UPDATE=1 writes what was printed into the document
-- instead; look at the difference in git.
--
--   ```LANG FILE   a file is written
--   ```diff FILE   lines with - are replaced by those with + (lines with a blank find the place)
--   ```sh          "$ command" and what it prints; "cd DIR" and "kill %N" as in a shell; one that
--                  ends in & runs on, and what it printed until `ready` is compared
--   ```repl        "$ command", then a session in a terminal: "prompt> line", what is shown
--
-- What no two runs have in common (times, durations, hashes of scripts) is not compared. The ports 6661
-- and 6662 of the document are free ones in the run.
local site = require "support.site"
local sys = require "support.sys"
local tmp = require "support.tmp"
local net = require "support.net"
local proc = require "support.proc"
local terminal = require "support.terminal"

local M = {}
local World = {}
World.__index = World

-- n ports of as many digits as those in the document, so that tables keep their columns.
local function ports(n)
  local list = {}
  for p = 2000 + math.floor(sys.now() * 1000) % 5000, 9999 do
    local ok, l = pcall(net.listen, { port = p })
    if ok then
      l:close()
      list[#list + 1] = tostring(p)
      if #list == n then return list end
    end
  end
  error "no free ports of four digits"
end

function M.world()
  local folder = tmp.dir()
  local pipe = io.popen("realpath " .. site.binary())
  local binary = pipe:read "*l"
  pipe:close()
  os.execute(("mkdir %s/bin %s/work && ln -s %s %s/bin/lunate"):format(folder, folder,
    tmp.quote(binary), folder))
  local w = setmetatable({ cwd = folder .. "/work", jobs = {}, ports = {} }, World)
  w.ports["6661"], w.ports["6662"] = unpack(ports(2))
  w.env = { PATH = folder .. "/bin:" .. os.getenv "PATH", NO_COLOR = "1", COLUMNS = "100",
    HOME = folder, XDG_STATE_HOME = folder .. "/state", TZ = "UTC" }
  return w
end

function World:inward(text) return (text:gsub("%f[%d]666[12]%f[%D]", self.ports)) end

function World:outward(text)
  for theirs, ours in pairs(self.ports) do
    text = text:gsub("%f[%d]" .. ours .. "%f[%D]", theirs)
  end
  return text
end

-- What must be the same in any two runs.
local function comparable(text)
  text = text:gsub("%d%d%d%d%-%d%d%-%d%d[ T]%d%d:%d%d:%d%d[%.%dZ]*", "DATE")
    :gsub("%d%d:%d%d:%d%d%.?%d*", "TIME"):gsub("%d+%.?%d* ([mu]?s)%f[^%w]", "N %1")
    :gsub("%d+%.%d+ seconds", "N seconds"):gsub("script %x%x%x%x%x%x", "script HASH")
    :gsub("(pid=)%d+", "%1N"):gsub("(ms=)[%d.]+", "%1N"):gsub("(127%.0%.0%.1:)%d%d%d%d%d", "%1PORT")
  return (text:gsub("[ \t]+\n", "\n"):gsub(" +", " "))
end

local function lines_end(text)
  return (text == "" or text:sub(-1) == "\n") and text or text .. "\n"
end

-- ---- what blocks do ----------------------------------------------------------------------------

function World:background(command)
  local p = proc.spawn { "sh", "-c", "exec 2>&1; exec " .. command, cwd = self.cwd, env = self.env }
  self.jobs[#self.jobs + 1] = p
  sys.wait_until(function() return p:out():find "ready\n" or not p:running() end, 20, command)
  return p:out():match "^.-ready\n" or p:out()
end

function World:kill(command)
  for n in command:gmatch "%%(%d+)" do
    local p = self.jobs[tonumber(n)]
    p:kill()
    assert(p:wait(20), "job " .. n .. " does not end")
  end
  return ""
end

--- Runs one line; gives what it printed.
function World:command(command)
  local folder = command:match "^cd (%S+)$"
  if folder then
    self.cwd = self.cwd .. "/" .. folder
    return ""
  end
  if command:find "^kill %%" then return self:kill(command) end
  local job = command:match "^(.*)&$"
  if job then return self:outward(self:background(self:inward(job))) end
  local _, out, err = proc.run { "sh", "-c", "exec 2>&1; " .. self:inward(command), cwd = self.cwd,
    env = self.env }
  return lines_end(self:outward(out .. err))
end

-- Verbs that look at an engine at work: what they show comes about in its time.
local function looks(command)
  return command:find "^lunate messages" or command:find "^lunate show" or
    command:find "^lunate status"
end

--- Runs a command until it prints what is wanted, or time is over.
function World:until_same(command, wanted)
  local out = self:command(command)
  local deadline = sys.now() + sys.patience(10)
  while looks(command) and comparable(out) ~= comparable(wanted) and sys.now() < deadline and
    not M.update do
    sys.sleep(0.1)
    out = self:command(command)
  end
  return out
end

--- A session in a terminal: the screen behind its last line.
function World:session(command, lines, prompt)
  local env = {}
  for k, v in pairs(self.env) do env[k] = v end
  env.TERM = "screen"
  local t = terminal.open(command, { width = 100, height = 60, env = env, cwd = self.cwd })
  for i, line in ipairs(lines) do
    t:prompt(prompt)
    t:type(line)
    t:press "Enter"
    if i == #lines then t:wait "ended 0" end
  end
  local screen = t:screen():gsub("ended 0\n$", "")
  t:close()
  return screen
end

function World:patch(file, block)
  local from, to = {}, {}
  for mark, line in block:gmatch "([-+ ])([^\n]*)\n" do
    if mark ~= "+" then from[#from + 1] = line end
    if mark ~= "-" then to[#to + 1] = line end
  end
  local path = self.cwd .. "/" .. file
  local text = assert(tmp.read(path))
  local first, last = text:find(table.concat(from, "\n") .. "\n", 1, true)
  assert(first, "the lines to be changed are not in " .. file)
  tmp.write(path, text:sub(1, first - 1) .. table.concat(to, "\n") .. "\n" .. text:sub(last + 1))
end

-- ---- documents ---------------------------------------------------------------------------------

--- Commands of a block and what they should print: { { "command", "output" }, ... }.
-- A command that ends in \ goes on in the next line.
function M.commands(block)
  local list = {}
  for line in block:gmatch "[^\n]*\n" do
    local command = line:match "^%$ (.*)\n$"
    local last = list[#list]
    if command then
      list[#list + 1] = { command, "" }
    elseif last and last[1]:sub(-1) == "\\" then
      last[1] = last[1] .. "\n" .. line:sub(1, -2)
    elseif last then
      last[2] = last[2] .. line
    end
  end
  return list
end

local function run_sh(w, block, same)
  local out = {}
  for _, c in ipairs(M.commands(block)) do
    if M.update and looks(c[1]) then sys.sleep(1) end
    local got = w:until_same(c[1], c[2])
    if not M.update then same(c[2], got, c[1]) end
    if comparable(c[2]) == comparable(got) then got = c[2] end
    out[#out + 1] = "$ " .. c[1] .. "\n" .. got
  end
  return table.concat(out)
end

local function run_repl(w, block, same)
  local command, rest = block:match "^%$ ([^\n]*)\n(.*)$"
  local prompt, lines = nil, {}
  for p, line in ("\n" .. rest):gmatch "\n([%w_]+>) ([^\n]*)" do
    prompt = prompt or p
    lines[#lines + 1] = line
  end
  local screen = w:session(command, lines, prompt)
  if not M.update then same(rest, screen, command) end
  if comparable(rest) == comparable(screen) then screen = rest end
  return "$ " .. command .. "\n" .. screen
end

--- Does one block: kind, file (or ""), text. same(wanted, got, what) compares. Gives the block as it
-- is now.
function World:block(kind, file, text, same)
  if kind == "sh" then return run_sh(self, text, same) end
  if kind == "repl" then return run_repl(self, text, same) end
  if kind == "diff" then
    self:patch(file, self:inward(text))
  elseif file ~= "" then
    tmp.write(self.cwd .. "/" .. file, self:inward(text))
  end
  return text
end

--- Defines a test per section of the document, in order. Gives the number of commands.
function M.define(path, it)
  M.update = os.getenv "UPDATE" == "1"
  local text = assert(tmp.read(path))
  local w, count, out = nil, 0, {}
  local function same(wanted, got, what)
    local luassert = require "luassert"
    luassert.equal(comparable(wanted), comparable(got), what)
  end
  for section in ("\n## " .. text):gsub("\n## ", "\0## "):gmatch "%z([^%z]*)" do
    local title = section:match "^## ([^\n]*)"
    for block in section:gmatch "\n```sh\n(.-)```" do count = count + #M.commands(block) end
    it(title:gsub("^# ", ""), function()
      w = w or M.world()
      out[#out + 1] = section:gsub("(\n```(%l%w*) ?([^\n]*)\n)(.-)```", function(head, kind, file, body)
        return head .. w:block(kind, file, body, same) .. "```"
      end)
    end)
  end
  if M.update then
    it("is written anew", function()
      tmp.write(path, (table.concat(out, "\n"):gsub("^## ", "")))
    end)
  end
  return count
end

return M
