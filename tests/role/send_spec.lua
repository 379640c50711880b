-- `lunate send`: what goes out byte for byte, what is said of the replies, exit statuses. The
-- receiver is the tests' own, so that send and listen are not only tested against each other.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local tmp = require "support.tmp"
local json = require "support.json"

local adt = table.concat({
  "MSH|^~\\&|EHR|A|LAB|B|20260105083000||ADT^A01^ADT_A01|MSG1|P|2.5.1",
  "EVN|A01|20260105083000",
  "PID|1||100001^^^A^MR||Sample^Patient",
  "",
}, "\r")

local function message(id)
  return (adt:gsub("MSG1", id))
end

-- Runs send against a receiver that lives in this process.
local function send(receiver, ...)
  local argv = { site.binary(), "send", "127.0.0.1:" .. receiver.port, ... }
  local p = proc.spawn(argv)
  receiver:run_until(function() return not p:running() end, 20, "end of send")
  return p.status, p:out(), p:err()
end

local function run(...)
  return proc.run { site.binary(), "send", ... }
end

describe("lunate send", function()
  after_each(site.cleanup)

  describe("what goes out", function()
    it("is the file with CR as segment end, whether it has CR, LF or CR LF", function()
      local r = net.receiver()
      local files = {}
      for i, stop in ipairs { "\r", "\n", "\r\n" } do
        files[i] = tmp.file((adt:gsub("\r", stop)))
      end
      assert.equal(0, (send(r, unpack(files))))
      assert.same({ adt, adt, adt }, r:texts())
    end)

    it("gets its last segment's CR, and no blank lines at the end", function()
      local r = net.receiver()
      send(r, tmp.file(adt:sub(1, -2)), tmp.file((adt:gsub("\r", "\n") .. "\n\n")))
      assert.same({ adt, adt }, r:texts())
    end)

    it("keeps an LF that is data in a message whose segments end in CR", function()
      local r = net.receiver()
      local note = adt .. "NTE|1||two\nlines\r"
      send(r, tmp.file(note))
      assert.same({ note }, r:texts())
    end)

    it("is left as it is with --raw-bytes", function()
      local r = net.receiver()
      local lf = adt:gsub("\r", "\n")
      send(r, tmp.file(lf), "--raw-bytes")
      assert.same({ lf }, r:texts())
    end)

    it("is each message of a file with several, of a batch, of MLLP frames", function()
      local r = net.receiver()
      local one, two = message "ONE", message "TWO"
      local batch = "FHS|^~\\&|A\rBHS|^~\\&|A\r" .. one .. two .. "BTS|2\rFTS|1\r"
      send(r, tmp.file(one .. two), tmp.file(batch), tmp.file(net.frame(one) .. net.frame(two)))
      assert.same({ one, two, one, two, one, two }, r:texts())
    end)

    it("a batch in one frame: its answer is a batch, which says no when one of it does", function()
      local function ack(id, code) return ("MSH|^~\\&|R|||||| ACK|9|P|2.5\rMSA|%s|%s|\r"):format(code, id) end
      local codes = { "AA", "AA" }
      local r = net.receiver { answer = function()
        return "BHS|^~\\&\r" .. ack("B1", codes[1]) .. ack("B2", codes[2]) .. "BTS|2\r"
      end }
      local batch = "BHS|^~\\&|S\rMSH|^~\\&|||||||ADT|B1\rMSH|^~\\&|||||||ADT|B2\rBTS|2\r"
      local status, out = send(r, tmp.file(batch), "--whole")
      assert.equal(0, status, out)
      codes[2] = "AE"
      status, out = send(r, tmp.file(batch), "--whole")
      assert.equal(1, status)
      assert.matches("^AE", out)
    end)

    it("is the whole file in one frame with --whole, even when it is not HL7", function()
      local r = net.receiver { answer = function() return "MSH|^~\\&|\rMSA|AR|\r" end }
      local status = send(r, tmp.file "hello", "--whole", "--raw-bytes")
      assert.equal(1, status)
      assert.same({ "hello" }, r:texts())
    end)

    it("comes from standard input for -", function()
      local r = net.receiver()
      local p = proc.spawn { site.binary(), "send", "127.0.0.1:" .. r.port, "-",
        stdin = tmp.file(adt) }
      r:run_until(function() return not p:running() end, 20)
      assert.same({ 0, { adt } }, { p.status, r:texts() })
    end)

    it("goes round robin over the messages with --count, in order on one connection", function()
      local r = net.receiver()
      local f = tmp.file(message "A1" .. message "B2" .. message "C3")
      assert.equal(0, (send(r, f, "--count", "7")))
      assert.same({ "A1", "B2", "C3", "A1", "B2", "C3", "A1" }, r:ids())
    end)

    it("has a counter in MSH-10 with --unique-ids, put in where MSH ends too soon", function()
      local r = net.receiver()
      local short = "MSH|^~\\&|EHR\rPID|1\r"
      assert.equal(0, (send(r, tmp.file(adt), tmp.file(short), "--count", "4", "--unique-ids")))
      assert.same({ "MSG1-1", "-2", "MSG1-3", "-4" }, r:ids())
      assert.equal("MSH|^~\\&|EHR|||||||-2\rPID|1\r", r:texts()[2])
    end)
  end)

  describe("replies", function()
    it("are shown a line each: code, control id, type", function()
      local status, out = send(net.receiver(), tmp.file(adt))
      assert.equal(0, status)
      assert.matches("^AA  MSG1  ADT%^A01  [%d.]+ ms\n$", out)
    end)

    it("that refuse give status 1 and say which and why", function()
      local r = net.receiver { answer = function(t) return net.ack(t, "AE", "no such patient") end }
      local status, out, err = send(r, tmp.file(adt))
      assert.equal(1, status)
      assert.matches("^AE  MSG1  ADT%^A01 .*no such patient\n$", out)
      assert.matches("1 of 1 not accepted", err)
    end)

    it("are counted by code under load, with the refused ones named on stderr", function()
      local r = net.receiver {
        answer = function(t)
          local n = tonumber(net.field(t, "MSH", 10):match "%d+$")
          return net.ack(t, n % 10 == 0 and "AE" or n % 10 == 5 and "AR" or "AA")
        end,
      }
      local status, out, err = send(r, tmp.file(adt), "--count", "40", "--connections", "4",
        "--unique-ids", "--json")
      local doc = json.decode(out)
      assert.equal(1, status)
      assert.same({ 32, 4, 4, 32 }, { doc.AA, doc.AE, doc.AR, doc.accepted })
      assert.equal(8, #doc.failures)
      assert.matches("not accepted: A[ER]  MSG1%-%d+", err)
    end)

    it("of something else are not taken for this message's", function()
      local r = net.receiver {
        answer = function(t)
          return { raw = net.frame(net.ack(message "OTHER")) .. net.frame(net.ack(t, "AR")) }
        end,
      }
      local status, out = send(r, tmp.file(adt), "--json")
      local doc = json.decode(out)
      assert.same({ 1, 1, 0, 1 }, { status, doc.mismatched, doc.AA, doc.AR })
    end)

    it("without a readable MSA are counted as unreadable", function()
      local r = net.receiver { answer = function() return "MSH|^~\\&|R\r" end }
      local status, out = send(r, tmp.file(adt), "--json")
      assert.same({ 1, 1 }, { status, json.decode(out).unreadable })
    end)

    it("are read in one byte pieces and without the last CR", function()
      local r = net.receiver {
        answer = function(t, conn)
          for c in ("\11" .. net.ack(t) .. "\28"):gmatch "." do conn:send(c) end
        end,
      }
      assert.equal(0, (send(r, tmp.file(adt))))
    end)

    it("that do not come in time are a time-out, and the connection is made anew", function()
      local r = net.receiver {
        answer = function(t)
          if t:find("MUTE", 1, true) then return { text = net.ack(t), after = 0.6 } end
          return net.ack(t)
        end,
      }
      local status, out = send(r, tmp.file(message "MUTE" .. message "NEXT"), "--timeout", "0.3",
        "--json")
      local doc = json.decode(out)
      assert.same({ 1, 1, 1, 0, 2 },
        { status, doc.timeouts, doc.AA, doc.mismatched, r.accepted })
    end)

    it("that never come because the connection ends are counted as closed", function()
      local n = 0
      local r = net.receiver {
        answer = function(t)
          n = n + 1
          if n == 1 then return { close = true } end
          return net.ack(t)
        end,
      }
      local status, out = send(r, tmp.file(adt), "--count", "3", "--json")
      local doc = json.decode(out)
      assert.same({ 1, 1, 2, 1 }, { status, doc.closed, doc.AA, doc.reconnects })
    end)
  end)

  describe("figures", function()
    it("of latency rise from p50 to max and know what the receiver did", function()
      local r = net.receiver {
        answer = function(t)
          local n = tonumber(net.field(t, "MSH", 10):match "%d+$")
          return { text = net.ack(t), after = n % 10 == 0 and 0.3 or 0 }
        end,
      }
      local _, out = send(r, tmp.file(adt), "--count", "50", "--unique-ids", "--json")
      local l = json.decode(out).latency_ms
      assert.is_true(l.p50 <= l.p90 and l.p90 <= l.p99 and l.p99 <= l.max)
      assert.is_true(l.p50 < 150, "p50 " .. l.p50)
      assert.is_true(l.p99 >= 295, "p99 " .. l.p99)
    end)

    it("keep to --rate, and count from when a message was due", function()
      local r = net.receiver {
        answer = function(t) return { text = net.ack(t), after = 0.05 } end,
      }
      local _, out = send(r, tmp.file(adt), "--count", "20", "--rate", "100", "--json")
      local doc = json.decode(out)
      -- one connection that takes 50 ms a message cannot do 100/s: the last one was due at 0.19 s
      assert.is_true(doc.seconds >= 0.99, "seconds " .. doc.seconds)
      assert.is_true(doc.latency_ms.max > 700, "max " .. doc.latency_ms.max)
      local fast = net.receiver()
      _, out = send(fast, tmp.file(adt), "--count", "30", "--rate", "100", "--connections", "3",
        "--json")
      doc = json.decode(out)
      assert.is_true(doc.seconds > 0.28 and doc.seconds < 2, "seconds " .. doc.seconds)
    end)

    it("for people stand on stdout, without a progress bar when stderr is no terminal", function()
      local _, out, err = send(net.receiver(), tmp.file(adt), "--count", "20")
      assert.matches("^20 messages over 1 connection in ", out)
      assert.matches("latency p50 [%d.]+ ms", out)
      assert.equal("", err)
    end)
  end)

  describe("mistakes", function()
    it("nobody listens: 3, one line that says where", function()
      local status, _, err = run("127.0.0.1:" .. net.free_port(), tmp.file(adt))
      assert.equal(3, status)
      assert.matches("^lunate send: cannot connect to 127%.0%.0%.1:%d+: [^\n]+\n$", err)
    end)

    it("a host that does not resolve: 3", function()
      local status, _, err = run("no-such-host.invalid:2575", tmp.file(adt))
      assert.equal(3, status)
      assert.matches("no%-such%-host%.invalid", err)
    end)

    it("a receiver that goes away for good: 3, with what was done until then", function()
      local r = net.receiver()
      r.answer = function(t, conn)
        if #r.frames == 2 then
          r.listener:close()
          conn:close()
          return
        end
        return net.ack(t)
      end
      local p = proc.spawn { site.binary(), "send", "127.0.0.1:" .. r.port, tmp.file(adt),
        "--count", "5", "--timeout", "0.5", "--json" }
      r:run_for_frames(1)
      while #r.frames < 2 do r:step(0.02) end
      assert.equal(3, p:wait(10))
      assert.same({ 1, 1 }, { json.decode(p:out()).AA, json.decode(p:out()).closed })
      assert.matches("cannot connect again", p:err())
    end)

    it("what asks for no answer (MSH-15, MSH-16) is accepted when it is written", function()
      local function asking(id, accept, application)
        return (message(id):gsub("|P|2.5.1", "|P|2.5.1|||" .. accept .. "|" .. application))
      end
      local answers = false
      local r = net.receiver { answer = function(text) return answers and net.ack(text) or nil end }
      local ne = tmp.file(asking("NE1", "NE", "NE"))
      local status, out, err = send(r, ne)
      assert.same({ 0, "" }, { status, err })
      assert.truthy(out:find("^%-%-  NE1  ADT^A01  wants no answer"), out)
      status, out = send(r, ne, "--count", "500", "--connections", "2", "--unique-ids")
      assert.equal(0, status)
      assert.truthy(out:find("accepted 500   wanted no answer 500", 1, true), out)
      r:run_for_frames(501, 20) -- written is not read yet
      assert.equal(501, #r.frames)
      local got = {}
      for i = 2, 501 do got[net.field(r.frames[i].text, "MSH", 10)] = true end
      for i = 1, 500 do assert.truthy(got["NE1-" .. i], i) end
      local both = tmp.file(asking("ER1", "ER", "NE") .. asking("AL1", "AL", "NE"))
      status, out = send(r, both, "--timeout", "0.5", "--json")
      local t = json.decode(out)
      assert.same({ 1, 1, 1, 1 }, { status, t.accepted, t.unasked, t.timeouts })
      answers = true
      status, out = send(r, ne, "--json")
      t = json.decode(out)
      assert.same({ 0, 1, 1, 0 }, { status, t.accepted, t.AA, t.unasked })
    end)

    it("files: unreadable, empty, without a message, cut off in a frame: 1, named", function()
      local port = "127.0.0.1:" .. net.free_port()
      for what, file in pairs {
        ["No such file"] = "/nonexistent/x.hl7",
        ["empty"] = tmp.file "",
        ["no message found: no line"] = tmp.file "hello\nworld\n",
        ["byte 4: header segment without encoding characters"] = tmp.file "EVN\nMSH|ABCD|X\n",
        ["ends inside an MLLP frame"] = tmp.file("\11" .. adt),
      } do
        local status, _, err = run(port, file)
        assert.equal(1, status)
        assert.truthy(err:find(what, 1, true), err)
        assert.truthy(err:find(file, 1, true), err)
      end
    end)

    it("usage: 2, one line with a hint", function()
      local f = tmp.file(adt)
      for _, words in ipairs {
        {}, { "127.0.0.1:1" }, { "127.0.0.1", f }, { "127.0.0.1:0", f }, { "127.0.0.1:x", f },
        { "::1:2575", f }, { "127.0.0.1:1", f, "--count", "0" }, { "127.0.0.1:1", f, "--count" },
        { "127.0.0.1:1", f, "--cuont", "3" }, { "127.0.0.1:1", f, "--rate", "fast" },
        { "127.0.0.1:1", f, "--timeout", "0" }, { "127.0.0.1:1", f, "--json=1" },
        { "127.0.0.1:1", f, "--ca", "x" }, { "127.0.0.1:1", f, "-x" },
      } do
        local status, out, err = run(unpack(words))
        assert.equal(2, status, table.concat(words, " "))
        assert.equal("", out)
        assert.matches("^lunate send: [^\n]+lunate help send[^\n]+\n$", err)
      end
      local _, _, err = run("127.0.0.1:1", f, "--connection", "3")
      assert.truthy(err:find("did you mean --connections", 1, true), err)
    end)
  end)
end)
