-- `lunate repl` without a terminal: reads lines, prints results, no prompt, status 1 on an error.
local site = require "support.site"
local proc = require "support.proc"
local tmp = require "support.tmp"
local net = require "support.net"

local message = table.concat({
  "MSH|^~\\&|EHR|HOSP A|LAB|CITY LAB|20261123231922||ORU^R01^ORU_R01|MSG00001|P|2.5.1",
  "PID|1||4711^^^HOSP A^MR~999^^^SSA^SS||DOE&VAN^EVE^E||19620320|F",
  "OBR|1||A77|GLU^Glucose^L", "OBX|1|NM|GLU^Glucose^L||182|mg/dL", "" }, "\n")

local script = [[
local tags = { F = "female" }
prefix = "X-"
local function tag(msg)
  local sex = msg["PID-8"]
  return prefix .. tags[sex]
end
return channel {
  source = mllp.listen { port = 6661 },
  filter = function(msg) return msg.type == "ORU", "not a result" end,
  transform = function(msg)
    log.info("tagging")
    msg["PID-5.1"] = tag(msg)
  end,
  destinations = {
    a = mllp.send { host = "127.0.0.1", port = 1 },
    b = mllp.send { host = "127.0.0.1", port = 2,
      filter = function() return false, "never" end },
  },
}
]]

describe("lunate repl in a pipe", function()
  after_each(site.cleanup)

  local function repl(input, o)
    local words = { site.binary(), "-C", o and o.site or tmp.dir(), "repl", unpack(o or {}) }
    words.input, words.timeout = input, 60
    return proc.run(words)
  end

  local function with_message(input)
    return repl(input, { tmp.file(message, "m.hl7") })
  end

  it("prints the values of expressions and what is printed", function()
    local status, out, err = with_message [[
=msg["PID-5.1"]
msg["PID-5.2"], 1 + 1
print("a", nil)
local x = 20
x + 1
msg["PID-30"]
]]
    assert.same({ 0, "" }, { status, err })
    assert.equal("DOE\nEVE\t2\na\tnil\n21\nnil\n", out)
  end)

  it("prints messages a segment a line, and tables", function()
    local status, out = with_message "msg\n{ a = { 1 } }\n"
    assert.equal(0, status)
    assert.equal(message .. "{\n  a = { 1 }\n}\n", out)
  end)

  it("waits for the rest of a chunk, and says when it does not come", function()
    local status, out, err = with_message "for i = 1, 2 do\n  print(i)\nend\n"
    assert.same({ 0, "1\n2\n", "" }, { status, out, err })
    status, out, err = with_message "for i = 1, 2 do\n"
    assert.same({ 1, "", "error: the input ends within: for i = 1, 2 do\n" }, { status, out, err })
  end)

  it("an error: on stderr, the rest goes on, status 1", function()
    local status, out, err = with_message 'msg["PID-x"] = 1\nx = = 2\n=2\n'
    assert.same({ 1, "2\n" }, { status, out })
    assert.matches('^error: wrong path "PID%-x": .-\nerror: unexpected symbol near \'=\'\n$', err)
  end)

  it("takes a message from the input", function()
    local status, out, err = repl(message .. '\n=msg["PID-3"]\n')
    assert.same({ 0, "4711\n", "" }, { status, out, err })
    status, out = repl(message:gsub("\n", "\r\n") .. 'msg["PID-3"]\n')
    assert.same({ 0, "4711\n" }, { status, out })
  end)

  it("survives loops, memory hogs and what never comes back from C", function()
    local status, out, err = repl(table.concat({ "while true do end", "=1",
      "('x'):rep(1e9)", "=2" }, "\n"))
    assert.same({ 1, "1\n2\n" }, { status, out })
    assert.matches("ran longer than limits.seconds = 5", err)
    assert.matches("used more than limits.memory_mb", err)
  end)

  it(".time runs what edits on copies of msg", function()
    local status, out, err = with_message(
      '.time if msg["PID-9"] then error "twice" end msg["PID-9"] = "x"\n' ..
      'msg["PID-9"]\n.time msg["PID-5.1"]\n')
    assert.same({ 0, "" }, { status, err })
    assert.matches("runs, each on a copy of msg%)\nnil\n[%d.]+ us %(mean of %d+ runs%)\n$", out)
  end)

  it("is in the sandbox", function()
    local _, out = repl "=os.execute, io.popen, debug, require 'hl7' == hl7\n" -- luacheck: ignore
    assert.equal("nil\tnil\tnil\ttrue\n", out)
    local _, out2 = repl "=io.open '/etc/passwd'\n"
    assert.matches("^nil\t", out2)
  end)

  it("explains fields, segments, types, tables, structures, calls", function()
    local status, out = with_message("?PID-3\n?PID-8\n?CX\n?0001\n?ORU^R01\n?msg:each\n?PID\n" ..
      "?ZZZ\n?PV1-3.1\n?hl7.text\n")
    assert.equal(0, status)
    for _, text in ipairs { "PID%-3  Patient Identifier List", "CX, required, repeats",
      "msg: 4711%^%^%^HOSP A%^MR~999%^%^%^SSA%^SS", "msg: F = Female", "CX  Extended Composite ID",
      "table 0001  Administrative Sex", "ORU_R01  message structure", "msg:each%(name%)",
      "PID  Patient", "no segment ZZZ in the dictionary",
      "table 0302, Point of Care: each site has codes of its own", "hl7.text%(value" } do
      assert.matches(text, out)
    end
  end)

  describe("with a channel", function()
    local s
    before_each(function()
      s = site.new { ["channels/oru.lua"] = script, ["samples/oru.hl7"] = message }
    end)

    local function run(input, ...)
      return repl(input, { site = s.path, ... })
    end

    it("runs it: what changes, and what goes where and why", function()
      local status, out, err = run(".run\nout[\"PID-5.1\"]\nouts.b\n", "-c", "oru")
      assert.equal(0, status)
      assert.matches("info channels/oru.lua:11: tagging", err)
      assert.matches("passed the filter, done in", out)
      assert.matches("\n%-> a\n.-PID%-5%.1%.1 +Surname +DOE %-> X%-female\n", out)
      assert.matches("\n%-> b: filtered: never\n", out)
      assert.matches("\nX%-female\nnil\n$", out)
    end)

    it("says why it was filtered", function()
      local status, out = run('msg["MSH-9.1"] = "ADT"\n.run\n')
      assert.same({ 0, "filtered: not a result\n" }, { status, out })
    end)

    it("an error: the line, the part it touched, the variables, which stay", function()
      local status, out, err = run('msg["PID-8"] = "Q"\n.run\n=sex\n=msg["PID-8"]\n')
      assert.equal(1, status)
      assert.matches("error: attempt to concatenate", err)
      assert.matches("channels/oru.lua:5 in tag\n", err)
      assert.matches("\n>    5    return prefix %.%. tags%[sex%]\n", err)
      assert.matches('\n  sex   "Q"\n', err)
      assert.matches("called from channels/oru.lua:12", err)
      assert.equal("Q\nQ\n", out)
    end)

    it("knows the channel's functions and globals", function()
      local status, out = run "=tag(msg), prefix, tags.F\n=script.filter(msg)\n"
      assert.same({ 0, "X-female\tX-\tfemale\ntrue\tnot a result\n" }, { status, out })
    end)

    it("a script that does not load, a channel and a file that are not there: one line", function()
      s:write("channels/bad.lua", "return channel {\n  source = = 1\n}\n")
      local status, _, err = run("=1\n", "-c", "bad")
      assert.equal(1, status)
      assert.matches("^lunate repl: channels/bad.lua:2: unexpected symbol near '='", err)
      status, _, err = run("=1\n", "-c", "no")
      assert.same({ 1, 'lunate repl: the site has no channel "no" (it has: bad, oru)\n' },
        { status, err })
      status, _, err = run("=1\n", "no.hl7")
      assert.same({ 1, "lunate repl: there is no file no.hl7\n" }, { status, err })
      status, _, err = run("=1\n", tmp.file("hello", "h.hl7"))
      assert.equal(1, status)
      assert.matches("no message found: no line starts with MSH\n$", err)
      status, _, err = run("=1\n", tmp.file("EVN|A01\nMSH|ABCD|X\n", "h.hl7"))
      assert.equal(1, status)
      assert.matches("no message found: line 2 starts with MSH, but has no encoding characters ", err)
    end)

    it("turns a run into a spec that passes, and fails when the script changes", function()
      local status, out, err = run(".run\n.spec first\n.spec first\n")
      assert.equal(1, status)
      assert.matches("spec/first_spec.lua written", out)
      assert.matches("first_spec.lua is there already", err)
      local text = s:read "spec/first_spec.lua"
      assert.matches('assert.equal%("X%-female", to_a%["PID%-5.1.1"%]%)', text)
      assert.matches('assert.is_nil%(r:to "b"%) %-%- filtered: never', text)
      assert.is_nil(text:find("4711", 1, true))
      assert.equal(0, (s:run("test", { timeout = 60 })))
      s:write("channels/oru.lua", (script:gsub("X%-", "Y-")))
      assert.equal(1, (s:run("test", { timeout = 60 })))
    end)

    it("makes no spec of a message that is no sample, or was changed", function()
      local file = tmp.file(message, "m.hl7")
      local status, _, err = run(".spec x\n.run\n.spec x\n", file)
      assert.equal(1, status)
      assert.matches("%.run comes first", err)
      assert.matches("a spec must not hold a patient's message", err)
      status, _, err = run('msg["PID-3"] = "1"\n.run\n.spec x\n')
      assert.equal(1, status)
      assert.matches("msg is not as it stands in .-oru.hl7: %.next 1 loads it again", err)
      assert.is_nil(s:read "spec/x_spec.lua")
    end)

    it("reads what the engine received, in its store", function()
      s:write("channels/oru.lua", (script:gsub("6661", tostring(net.free_port()))))
      local e = s:start()
      local port = e:channel("oru").listen:match ":(%d+)$"
      assert.equal(0, (s:run("send", "127.0.0.1:" .. port, "-", { input = message })))
      local received = s:json_lines("messages")[1]
      local words = ('.recent\n.get %d\n=msg["PID-3"]\n.run\n.get oru/%d\n.get oru/99\n.recent no\n')
        :format(received.seq, received.seq)
      for _ = 1, 2 do -- with the engine, and without
        local status, out, err = run(words)
        assert.equal(1, status)
        assert.matches("oru/%d+ .-ORU", out, err)
        assert.matches("\n4711\n", out)
        assert.matches("passed the filter", out)
        assert.matches("there is no message oru/99", err)
        assert.matches('no channel "no"', err)
        if e then e:stop() end
        e = nil
      end
    end)

    it("steps through a file", function()
      local file = tmp.file(message .. message:gsub("4711", "4712"), "two.hl7")
      local status, out, err = run('.next\n=msg["PID-3"]\n.next\n.next 1\n=msg["PID-3"]\n', file)
      assert.same({ 1, "4712\n4711\n" }, { status, out })
      assert.matches("has 2 messages, this is number 2", err)
    end)
  end)
end)
