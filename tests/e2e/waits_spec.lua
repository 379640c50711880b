-- What is said while scripts are not there yet: to who reloads, and to who looks at the status. Guards: a
-- worker that hung in its start looked like a running channel for up to 60 s, and whatever a reload waited
-- for was said to be "the message in hand".
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local traffic = require "support.traffic"
local has = site.has

-- Hangs where no hook of Lua's looks, once the file says so.
local hang = 'if io.open("tables/flag.txt"):read "*a" == "hang" then local a = ("a"):rep(60); '
  .. 'a:find(("a?"):rep(60) .. a) end\n'

local function lunate(s, ...)
  return proc.spawn { site.binary(), "-C", s.path, ... }
end

describe("e2e/waits", function()
  after_each(site.cleanup)

  it("a script that hangs in its start is told in status, with since when; others run", function()
    local port, other = net.free_port(), net.free_port()
    local s = site.new { ["channels/in.lua"] = hang .. traffic.channel(port), ["tables/flag.txt"] = "",
      ["channels/other.lua"] = traffic.channel(other) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "M1" })
    site.wait_until(function() return e:channel("in").processed == 1 end, 10, "the script")
    assert.are_not.equal("number", type(e:channel("in").starting_s))
    assert.equal("", e:channel("in").waits_for)
    s:write("tables/flag.txt", "hang")
    proc.kill(e:channel("in").worker_pid, 9)
    local out
    site.wait_until(function()
      out = select(2, s:run "status")
      return out:find("in: its script has been starting for %d+ s, messages wait")
    end, 20, function() return out end)
    has((out:gsub("%s+", " ")), "after 10 s of processor time, or 60 s, it is ended")
    assert.is_true(e:channel("in").starting_s >= 2)
    traffic.send_all(net.connect(other), { "O1" })
    traffic.send_all(net.connect(port), { "M2" })
    site.wait_until(function() return e:channel("other").processed == 1 end, 10, "the other channel")
    s:write("tables/flag.txt", "")
    site.wait_until(function() return e:channel("in").processed == 2 end, 90, "its next start")
    has(e:log(), "script did not load within")
  end)

  it("a reload says what it waits for: the message in hand", function()
    local port = net.free_port()
    local script = traffic.channel(port, nil, { top =
      'limits = { seconds = 25, attempts = 1 }, filter = function() while true do end end,' })
    local s = site.new { ["channels/in.lua"] = script }
    local e = s:start()
    traffic.send_all(net.connect(port), { "M1" })
    s:write("channels/in.lua", script .. "-- changed\n")
    local status, out = s:run "reload" -- 15 s
    assert.equal(0, status)
    has(out, "in: not yet reloaded, swapped in as soon as the old script is done with the message in hand (lunate")
    has(select(2, s:run "status"), "in: swapped in as soon as the old script is done with the message in hand")
    site.wait_until(function() return e:channel("in").waits_for == "" end, 60, "the new script")
    assert.equal(1, e:channel("in").parked)
  end)

  it("many channels take their turns, which is one line", function()
    local s, n = site.new {}, 12
    local function write(mark)
      for i = 1, n do
        s:write(("channels/c%02d.lua"):format(i), "local n = 0 for i = 1, 1e7 do n = n + i end -- " .. mark .. "\n"
          .. traffic.channel(net.free_port()))
      end
    end
    local function wait_for(what)
      local e, out = s.e, ""
      site.wait_until(function()
        local ok, doc = pcall(e.status, e)
        for _, c in ipairs(ok and doc.channels or {}) do out = out .. c.waits_for .. "\n" end
        return out:find(what, 1, true)
      end, 60, function() return out .. e:log() end)
    end
    write "a"
    s.e = s:spawn()
    wait_for "its script waits for its turn to be started, messages wait meanwhile"
    assert(s.e:wait_ready(60))
    site.wait_until(function()
      for _, c in ipairs(s.e:status().channels) do if c.waits_for ~= "" then return false end end
      return true
    end, 60, "all scripts")
    write "b"
    local reload = lunate(s, "reload")
    wait_for "the old script goes on until it is this one's turn"
    assert.truthy(reload:wait(60))
  end)
end)
