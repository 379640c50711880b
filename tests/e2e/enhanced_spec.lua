-- Enhanced mode (chapter 2.9.3), where ack_mode says so: MSH-15 and MSH-16 say which answers a sender wants. Guards:
-- what is asked for comes, once each and in order; what is not asked for does not; in original mode one comes.
local site = require "support.site"
local net = require "support.net"
local traffic = require "support.traffic"

local mode = 'ack_mode = "enhanced", '

local function begin(ack, more, source)
  local port = net.free_port()
  local s = site.new { ["channels/in.lua"] = traffic.channel(port, nil, { source = source or mode,
    top = ('ack = "%s", %s'):format(ack, more or "") }) }
  local e = s:start()
  return net.connect(port), e, s
end

local function message(id, accept, application, version)
  return ("MSH|^~\\&|A|B|C|D|2026||ADT^A01^ADT_A01|%s|P|%s|||%s|%s\rPID|1||9\r")
    :format(id, version or "2.5.1", accept, application)
end

-- The codes of the answers to one message, in order; a message in original mode ends the waiting.
local function answers(conn, accept, application, version)
  assert(conn:send(net.frame(message("M", accept, application, version)) .. net.frame(message("END", "", ""))))
  local codes, texts = {}, {}
  while true do
    local reply = assert(conn:recv_frame(5))
    if net.field(reply, "MSA", 2) == "END" then return table.concat(codes, " "), texts end
    codes[#codes + 1], texts[#texts + 1] = net.field(reply, "MSA", 1), reply
  end
end

local fail_m = 'transform = function(msg) if msg.control_id == "M" then error("no") end end,'

describe("e2e/enhanced", function()
  after_each(site.cleanup)

  it("answers once at commit: the accept acknowledgement when it is wanted, else the other one", function()
    local conn = begin "commit"
    for _, c in ipairs { { "", "", "AA" }, { "AL", "NE", "CA" }, { "AL", "AL", "CA" }, { "SU", "", "CA" },
      { "AL", "", "CA" }, { "NE", "AL", "AA" }, { "", "AL", "AA" }, { "ER", "AL", "AA" }, { "ER", "NE", "" },
      { "NE", "NE", "" }, { "NE", "ER", "" }, { "NE", "SU", "AA" }, { "al", "NE", "CA" } } do
      assert.equal(c[3], (answers(conn, c[1], c[2])), c[1] .. "/" .. c[2])
    end
  end)

  it("answers each message once with AA, AE or AR when nothing is said, whatever MSH-15 and MSH-16 want", function()
    for _, ack in ipairs { "commit", "transform" } do
      local conn = begin(ack, nil, "")
      for _, c in ipairs { { "AL", "NE" }, { "AL", "AL" }, { "NE", "NE" }, { "NE", "ER" }, { "ER", "" } } do
        assert.equal("AA", (answers(conn, c[1], c[2])), c[1] .. "/" .. c[2])
      end
    end
    local conn = begin("transform", fail_m, "")
    for _, c in ipairs { { "AL", "NE" }, { "NE", "NE" }, { "NE", "SU" } } do
      assert.equal("AE", (answers(conn, c[1], c[2])), c[1] .. "/" .. c[2])
    end
  end)

  it("answers at commit and again after the script, as far as it is wanted", function()
    local conn = begin "transform"
    for _, c in ipairs { { "", "", "AA" }, { "AL", "AL", "CA AA" }, { "AL", "NE", "CA" }, { "NE", "AL", "AA" },
      { "ER", "SU", "AA" }, { "SU", "ER", "CA" }, { "NE", "NE", "" } } do
      assert.equal(c[3], (answers(conn, c[1], c[2])), c[1] .. "/" .. c[2])
    end
  end)

  it("tells of a script's error in the application acknowledgement alone", function()
    local conn = begin("transform", fail_m)
    for _, c in ipairs { { "", "", "AE" }, { "AL", "AL", "CA AE" }, { "AL", "NE", "CA" }, { "NE", "ER", "AE" },
      { "ER", "SU", "" }, { "AL", "ER", "CA AE" } } do
      assert.equal(c[3], (answers(conn, c[1], c[2])), c[1] .. "/" .. c[2])
    end
  end)

  it("says what goes wrong in each version's form", function()
    local conn = begin("transform", fail_m)
    for version, form in pairs { ["2.1"] = "ERR|^^^207&", ["2.2"] = "ERR|^^^207&", ["2.3"] = "ERR|^^^207&",
      ["2.4"] = "ERR|^^^207&", ["2.5"] = "ERR|||207^", ["2.6"] = "ERR|||207^", ["2.7"] = "ERR|||207^",
      ["2.8.2"] = "ERR|||207^" } do
      local codes, texts = answers(conn, "AL", "AL", version)
      assert.equal("CA AE", codes, version)
      assert.is_nil(texts[1]:find "\rERR")
      assert.truthy(texts[2]:find("\r" .. form, 1, true), version .. ": " .. texts[2])
    end
  end)

  it("refuses what is too large with CE when an accept acknowledgement is wanted", function()
    for _, ack in ipairs { "commit", "transform" } do
      for accept, want in pairs { AL = "CE", ER = "CE", [""] = "AR" } do
        local port = net.free_port()
        local s = site.new { ["channels/in.lua"] = traffic.channel(port, nil,
          { source = mode .. "max_message = 200", top = ('ack = "%s",'):format(ack) }) }
        local e = s:start()
        local conn = net.connect(port)
        assert(conn:send(net.frame(message("M", accept, "") .. ("x"):rep(500))))
        local reply = assert(conn:recv_frame(5))
        assert.same({ want, "M" }, { net.field(reply, "MSA", 1), net.field(reply, "MSA", 2) })
        e:stop()
      end
    end
  end)

  it("keeps the order of answers to messages that come without waiting", function()
    local conn = begin "transform"
    local frames = {}
    for i = 1, 30 do frames[i] = net.frame(message("N" .. i, "AL", "AL")) end
    assert(conn:send(table.concat(frames)))
    for i = 1, 30 do
      for _, code in ipairs { "CA", "AA" } do
        local reply = assert(conn:recv_frame(5))
        assert.same({ code, "N" .. i }, { net.field(reply, "MSA", 1), net.field(reply, "MSA", 2) })
      end
    end
  end)

  it("delivers to a receiver that answers CA and later AA", function()
    local listener = net.listen {}
    local port = net.free_port()
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, listener.port) }
    local e = s:start()
    local conn = net.connect(port)
    for i = 1, 3 do assert.equal("AA", (traffic.exchange(conn, "D" .. i))) end
    local peer, last = assert(listener:accept(5)), nil
    for i = 1, 3 do
      local got = assert(peer:recv_frame(5))
      assert.equal("D" .. i, net.field(got, "MSH", 10))
      local late = last and net.frame(net.ack(last, "AE")) or "" -- of the one before, while this one waits
      assert(peer:send(late .. net.frame(net.ack(got, "CA"))))
      last = got
    end
    assert(peer:send(net.frame(net.ack(last, "AA"))))
    site.wait_until(function() return e:channel("in").dest.out.sent == 3 end, 5, "three to be sent")
    assert.equal(0, e:channel("in").dest.out.parked)
  end)

  -- Guards: the reply went by the `ack` of when it was written, and a second CA came.
  it("a reload to another ack or mode does not change what earlier messages are owed", function()
    local out = net.receiver { answer = function() end }
    local port = net.free_port()
    local function script(ack)
      return traffic.channel(port, out.port, { source = mode, top = ('ack = "%s",'):format(ack) })
    end
    local s = site.new { ["channels/in.lua"] = script "delivery" }
    local e = s:start()
    local conn = net.connect(port)
    assert(conn:send(net.frame(message("M", "AL", "AL"))))
    assert.equal("CA", net.field(assert(conn:recv_frame(5)), "MSA", 1))
    out:run_for_frames(1, 5)
    s:write("channels/in.lua", (script "commit":gsub("enhanced", "original")))
    assert.equal(0, (s:run "reload"))
    out.frames[1].conn:send(net.frame(net.ack(out.frames[1].text)))
    assert.equal("AA", net.field(assert(conn:recv_frame(5)), "MSA", 1))
    assert.equal(0, e:stop())
  end)
end)
