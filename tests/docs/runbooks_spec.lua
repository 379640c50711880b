-- Runs the commands of docs/runbooks.md against engines that have the trouble which each section is
-- about: what they print must be what stands below them. `...` stands for what differs from run to
-- run; on a line of its own, for any lines. RUNBOOKS=show prints what they print.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local sys = require "support.sys"
local tmp = require "support.tmp"
local certs = require "support.certs"
local traffic = require "support.traffic"
local commands = require("support.transcript").commands

local text = assert(tmp.read "docs/runbooks.md")
local show = os.getenv "RUNBOOKS" == "show"

local script = [[
return channel {
  source = mllp.listen { port = 6661 },
  transform = function(msg)
    msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper()
  end,
  destinations = {
    lab = mllp.send { host = "127.0.0.1", port = 6662, retry = { first = 0.2, max = 0.5 } },
  },
}
]]

local site_file = [[
return {
  retention = { days = 30 },
  alerts = {
    every = "0.3s", wait = "0.3s", clear = "0.6s",
    targets = { duty = { command = { "/bin/true" } } },
    rules = { disconnected = "1s", queue_age = "1h", disk_free = false },
  },
}
]]

local World = {}
World.__index = World

-- Text of the document with this run's ports and paths; and back.
function World:real(s)
  s = s:gsub("6661", self.ports[1]):gsub("6662", self.ports[2])
  return self.disk and (s:gsub("/srv", self.disk)) or s
end

function World:plain(s)
  s = s:gsub(tostring(self.ports[1]), "6661"):gsub(tostring(self.ports[2]), "6662")
    :gsub(self.s.path:gsub("%p", "%%%0"), "hospital")
  return self.disk and (s:gsub(self.disk:gsub("%p", "%%%0"), "/srv")) or s
end

function World:write(name, content) self.s:write(name, self:real(content)) end

function World:start() self.e = self.s:start { cwd = self.root } end

function World:lab(...)
  self.lab_proc = proc.spawn { site.binary(), "listen", tostring(self.ports[2]), ... }
  net.connect_when_open(self.ports[2], 10):close()
end

function World:send(n, prefix)
  local c = net.connect(self.ports[1])
  traffic.send_all(c, traffic.ids(prefix or "MSG", n))
  c:close()
end

-- Waits until a verb's output has something.
function World:see(words, pattern)
  sys.wait_until(function()
    local _, out, err = self.s:run(unpack(words))
    return (out .. err):find(pattern)
  end, 30, table.concat(words, " ") .. " to show " .. pattern)
end

-- Waits until so many are delivered.
function World:sent(n)
  sys.wait_until(function() return self.e:channel("adt_in").dest.lab.sent == n end, 30,
    n .. " delivered")
end

local function new_world()
  local w = setmetatable({ ports = { net.free_port(), net.free_port() } }, World)
  w.s = site.new {}
  w:write("channels/adt_in.lua", script)
  w:write("lunate.lua", site_file)
  w:write("samples/adt.hl7", traffic.adt "MSG0")
  w.bin = tmp.dir()
  local pipe = io.popen("realpath " .. site.binary())
  os.execute(("ln -s %s %s/lunate"):format(tmp.quote(pipe:read "*l"), w.bin))
  pipe:close()
  return w
end

-- What is the matter in each section: [n] runs before its nth block.
local scenes = {}

scenes["A receiver is down"] = {
  function(w)
    w:start()
    w:send(3)
    w:see({ "alerts" }, "told once")
  end,
  nil,
  function(w)
    w:lab()
    w:sent(3)
    w:see({ "alerts" }, "nothing is firing")
  end,
}

scenes["A queue grows"] = {
  function(w)
    w:lab()
    w:start()
    w.s:run("hold", "adt_in/lab")
    w:send(40)
    w:see({ "status" }, "40 waiting")
  end,
  nil,
  function(w) w:sent(40) end,
}

scenes["Messages are parked"] = {
  function(w)
    w:lab("--ack", "AE")
    w:start()
    w:send(3)
    w:see({ "status" }, "3 messages parked")
  end,
  nil,
  function(w)
    w.lab_proc:kill(proc.TERM)
    w.lab_proc:wait(5)
    w:lab()
  end,
  function(w) w:see({ "messages", "adt_in", "--state", "parked" }, "MSG3") end,
}

scenes["A certificate has expired"] = {
  function(w)
    local ca = certs.ca(w.s.path, "ca")
    ca:cert("old", { days = -1 })
    w:write("channels/adt_in.lua", (script:gsub("port = 6661",
      'port = 6661, tls = { cert = "old.pem", key = "old.key" }')))
    w:lab()
    w:start()
  end,
  nil,
  function(w)
    w:write("channels/adt_in.lua", (script:gsub("port = 6661",
      'port = 6661, tls = { cert = "tls/localhost.pem", key = "tls/localhost.key" }')))
  end,
}

scenes["A change was wrong"] = {
  function(w)
    w:lab()
    w:start()
    w:send(2)
    w:sent(2)
    w:write("channels/adt_in.lua", (script:gsub(":upper%(%)", ":upper(")))
  end,
  function(w)
    w:write("channels/adt_in.lua", (script:gsub(":upper%(%)", ":uppper()")))
    assert.equal(0, (w.s:run "reload"))
    w:send(2, "BAD")
    w:see({ "status" }, "2 messages parked")
  end,
  nil,
  function(w) w:see({ "status" }, "lab") end,
}

scenes["A sender cannot connect"] = {
  function(w)
    w:lab()
    w.blocker = net.listen { port = w.ports[1] }
    w:write("channels/other.lua", ([[return channel { source = mllp.listen { port = %d } }]]):format(
      net.free_port()))
    w.e = w.s:spawn()
    w:see({ "status" }, "failed")
  end,
  function(w)
    w.blocker:close()
    w:see({ "status" }, "running")
    sys.wait_until(function() return (pcall(function() net.connect(w.ports[1]):close() end)) end, 20,
      "the port")
  end,
}

scenes["The engine does not start"] = {
  function(w) w:write("lunate.lua", (site_file:gsub("retention", "retenton"))) end,
  function(w)
    w:write("lunate.lua", site_file)
    w:start()
  end,
}

scenes["The store is damaged"] = {
  function(w)
    w:lab()
    w:start()
    w:send(5)
    w:sent(5)
    assert.equal(0, (w.s:run("backup", w.s.path .. "/backup")))
    w.e:stop()
    -- What a disk does: a byte within a message. Pages no longer in use may hold it, too.
    local bytes, at = w.s:read "data/data.mdb", 0
    repeat
      at = assert(select(2, bytes:find("MSG3%^%^%^HOSP", at + 1)), "verify sees no damage")
      w.s:write("data/data.mdb", bytes:sub(1, at - 1) .. "X" .. bytes:sub(at + 1))
    until w.s:run "verify" ~= 0
  end,
}

scenes["Back from a backup"] = {
  function(w)
    w:start()
    w:send(4)
    w:see({ "status" }, "4 waiting")
    assert.equal(0, (w.s:run("backup", w.s.path .. "/backup")))
    w:lab()
    w:sent(4)
    w.e:stop()
  end,
  function(w) w:start() end,
}

local mounted = {}

scenes["The disk is full"] = {
  function(w)
    local disk = tmp.dir()
    if not os.execute(("mount -t tmpfs -o size=16m,mode=0700 lunate-test %s 2>/dev/null"):format(disk))
      or os.execute("mountpoint -q " .. disk) ~= 0 and os.execute("mountpoint -q " .. disk) ~= true
    then
      return "no tmpfs can be mounted"
    end
    mounted[#mounted + 1] = disk
    w.disk = disk
    w:write("lunate.lua", (site_file:gsub("retention", ('data = "%s/data", retention'):format(disk), 1)
      :gsub("disk_free = false", 'disk_free = "10%%"')))
    w:lab()
    w:start()
    w:send(3)
    os.execute(("head -c 15800000 /dev/zero > %s/dump.sql 2>/dev/null"):format(disk))
    w:see({ "alerts" }, "disk_free .-\n.-told once")
    sys.wait_until(function()
      local c = net.connect(w.ports[1])
      local code = traffic.exchange(c, "FULL")
      c:close()
      return code == "AR"
    end, 20, "a refusal")
    w:see({ "status" }, "the store: ")
    w:see({ "alerts" }, "takes no messages")
  end,
  function(w)
    os.remove(w.disk .. "/dump.sql")
    sys.wait_until(function()
      local c = net.connect(w.ports[1])
      local code = traffic.exchange(c, "AGAIN")
      c:close()
      return code == "AA"
    end, 20, "a receipt")
    w:see({ "alerts" }, "nothing is firing")
  end,
}

scenes["To another machine"] = {
  function(w)
    w:lab()
    w:start()
    w:send(6)
    w:sent(6)
  end,
  function(w) w.e:stop() end,
  nil,
}

-- ---- the document -------------------------------------------------------------------------------

-- Whether out is what is wanted, with ... in it.
local function is(wanted, out)
  local parts = {}
  for line in wanted:gmatch "[^\n]*\n" do
    if line == "...\n" then
      parts[#parts + 1] = ".-"
    else
      local pattern = line:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0"):gsub("%%%.%%%.%%%.", "[^\n]-")
      parts[#parts + 1] = (pattern:gsub(" +", " +"))
    end
  end
  return out:find("^" .. table.concat(parts) .. "$") ~= nil
end

-- Commands that look at what comes about in its time, and by itself.
local looks = { ["lunate status"] = true, ["lunate alerts"] = true }

local function run(w, command)
  local env = { PATH = w.bin .. ":" .. os.getenv "PATH", NO_COLOR = false, COLUMNS = false,
    EDITOR = false, SUDO_USER = "nina", LD_PRELOAD = false }
  local _, out = proc.run { "sh", "-c", "exec 2>&1; " .. w:real(command), cwd = w.s.path, env = env,
    timeout = 60 }
  if out:sub(-1) ~= "\n" and out ~= "" then out = out .. "\n" end
  return w:plain(out)
end

describe("docs/runbooks", function()
  after_each(function()
    proc.cleanup()
    for _, disk in ipairs(mounted) do os.execute("umount -l " .. disk) end
    mounted = {}
    site.cleanup()
  end)

  local at, count = 1, 0
  while true do
    local from, to, heading = text:find("\n## ([^\n]+)\n", at)
    if not from then break end
    local next_one = text:find("\n## ", to, true) or #text
    local body = text:sub(to, next_one)
    at = next_one
    local scene = scenes[heading]
    if body:find "\n```sh\n" and scene then
      count = count + 1
      it(heading, function()
        local w, n = new_world(), 0
        for block in body:gmatch "\n```sh\n(.-)```" do
          n = n + 1
          local why = scene[n] and scene[n](w)
          if why then return pending(why) end
          for _, c in ipairs(commands(block)) do
            local out = run(w, c[1])
            local deadline = sys.now() + sys.patience(10)
            while looks[c[1]] and not is(c[2], out) and sys.now() < deadline do
              sys.sleep(0.2)
              out = run(w, c[1])
            end
            if show then
              io.stderr:write("$ ", c[1], "\n", out)
            else
              assert.is_true(is(c[2], out), ("$ %s\n%swas to print\n%s"):format(c[1], out, c[2]))
            end
          end
        end
      end)
      scenes[heading] = nil
    end
  end

  it("has a scene for every section, and no other", function()
    assert.same({}, scenes)
    assert.is_true(count >= 9)
  end)
end)
