-- Receivers for alerts: SMTP and HTTP servers, with TLS or without (mailbox.c), as processes of
-- their own. proc.cleanup ends them.
local proc = require "support.proc"
local sys = require "support.sys"
local tmp = require "support.tmp"

local M = {}
local Box = {}
Box.__index = Box

local program

local function compiled()
  if program then return program end
  program = os.tmpname()
  local status, out, err = proc.run { os.getenv "CC" and os.getenv("CC"):match "%S+$" or "gcc", "-O1",
    "-D_GNU_SOURCE", "-o", program, "tests/support/mailbox.c", "-lssl", "-lcrypto", timeout = 60 }
  assert(status == 0, out .. err)
  return program
end

--- Starts one. o: cert, key (paths), auth (what AUTH PLAIN must give, in base64).
function M.open(kind, o)
  o = o or {}
  local b = setmetatable({ folder = tmp.dir() }, Box)
  b.proc = proc.spawn { compiled(), kind, b.folder, o.cert or "", o.key or "", o.auth }
  b.port = sys.wait_until(function() return tonumber(b.proc:out():match "^(%d+)\n") end, 10,
    "the mailbox's port")
  return b
end

--- All messages so far.
function Box:all()
  local list = {}
  while tmp.exists(self.folder .. "/" .. #list + 1) do
    list[#list + 1] = tmp.read(self.folder .. "/" .. #list + 1)
  end
  return list
end

--- Waits until there are n messages; the nth.
function Box:wait(n, seconds)
  sys.wait_until(function() return #self:all() >= n end, seconds or 20, n .. " alerts")
  return self:all()[n]
end

--- Refuses from now on; nil: takes them again.
function Box:refuse(why)
  if why then
    tmp.write(self.folder .. "/refuse", why)
  else
    os.remove(self.folder .. "/refuse")
  end
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

--- The text of a mail whose body is in base64.
function M.text(mail)
  local out, bits, n = {}, 0, 0
  for ch in mail:match "\n\n(.*)$":gmatch "[%w+/]" do
    bits, n = bits * 64 + alphabet:find(ch, 1, true) - 1, n + 6
    if n >= 8 then
      n = n - 8
      out[#out + 1] = string.char(math.floor(bits / 2 ^ n))
      bits = bits % 2 ^ n
    end
  end
  return table.concat(out)
end

--- Removes the program: for the last of a spec.
function M.done()
  if program then os.remove(program) end
  program = nil
end

return M
