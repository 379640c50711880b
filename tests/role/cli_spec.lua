-- The command line's verbs that need no running engine, and the control protocol against a fake
-- one (support.control_fake). The verbs on a real engine: tests/e2e.
local site = require "support.site"
local proc = require "support.proc"
local tmp = require "support.tmp"
local json = require "support.json"
local net = require "support.net"
local fake = require "support.control_fake"

local function lunate(...)
  return proc.run { site.binary(), ... }
end

local function one_line(err)
  return select(2, err:gsub("\n", "")) == 1 and err:sub(-1) == "\n"
end

local document = [[{"version":"0.1.0","uptime_s":7265.5,"state":"running",
 "store":{"bytes":123456,"messages":45678,"failure":""},
 "channels":[
  {"name":"calm","state":"running","script":"3f2a9c","listen":"127.0.0.1:6661","connections":2,
   "received":100,"filtered":3,"processed":12345,"errors":0,"parked":0,"pending":0,
   "worker_restarts":0,"error":"","destinations":[{"name":"lab","state":"idle","queued":0,
   "sent":93,"parked":0,"retries":1,"oldest_s":0,"last_error":""}]},
  {"name":"held_one","state":"running","received":1,"processed":1,"parked":0,"pending":0,
   "destinations":[{"name":"ehr","state":"held","queued":4,"sent":0,"parked":0,"oldest_s":30}]},
  {"name":"stuck","state":"running","received":5,"processed":4,"parked":2,"pending":0,
   "destinations":[{"name":"ris","state":"retrying","queued":3,"sent":0,"parked":0,
   "oldest_s":240,"last_error":"connection refused"}]}]}]]

describe("command line", function()
  local s
  before_each(function() s = site.new() end)
  after_each(site.cleanup)

  -- Runs a verb on a site where a fake engine listens: status, stdout, stderr, the words it sent.
  local function ask(answer, ...)
    local o = type(answer) == "table" and answer or { answer = answer }
    local folder = o.folder or s.path .. "/data"
    os.execute("mkdir -p " .. tmp.quote(folder))
    local engine = fake.listen(folder)
    local argv = { site.binary(), "-C", s.path, ... }
    argv.env = o.env
    local p = proc.spawn(argv)
    local ok, words = pcall(engine.serve, engine, o.answer)
    engine:close()
    assert(p:wait(10), "the verb does not end")
    if not ok then error(words .. "; stderr: " .. p:err(), 2) end
    return p.status, p:out(), p:err(), words
  end

  describe("words", function()
    it("nothing: usage on stderr, 2", function()
      local status, out, err = lunate()
      assert.same({ 2, "" }, { status, out })
      assert.matches("Usage: lunate %[%-C SITE%] VERB", err)
    end)

    it("an unknown option: 2, one line in the same words from every verb, the nearest one named", function()
      for words, want in pairs {
        ["status --jsno"] = "lunate status: unknown option --jsno, did you mean --json?",
        ["listen 1 --quite"] = "lunate listen: unknown option --quite, did you mean --quiet?",
        ["fmt --zzz"] = "lunate fmt: unknown option --zzz",
        ["lua --zzz"] = "lunate lua: unknown option --zzz: FILE comes first, its options behind it",
        ["--json status"] = "lunate: unknown option --json before the verb: only -C SITE stands there",
      } do
        local argv = {}
        for w in words:gmatch "%S+" do argv[#argv + 1] = w end
        local status, out, err = lunate(unpack(argv))
        local verb = want:match "^lunate (%l+):"
        assert.same({ 2, "", ("%s (see `lunate help%s`)\n"):format(want, verb and " " .. verb or "") },
          { status, out, err })
      end
    end)

    it("an unknown verb: 2, one line, the nearest one named", function()
      for word, near in pairs { statsu = "status", mesages = "messages", shwo = "show" } do
        local status, _, err = lunate(word)
        assert.equal(2, status)
        assert.is_true(one_line(err))
        assert.truthy(err:find(('did you mean "%s"?'):format(near), 1, true), err)
      end
      assert.is_nil((select(3, lunate "xyzzy")):find "did you mean")
    end)

    it("help VERB and VERB --help say the same, examples first, for every verb listed", function()
      local _, list = lunate "help"
      local n = 0
      for verb in list:gsub("`lunate help VERB`.*", ""):gmatch "\n  (%l+) +%S" do
        n = n + 1
        local status, out, err = lunate("help", verb)
        assert.same({ 0, "" }, { status, err })
        assert.matches("^lunate " .. verb .. ": ", out)
        assert.is_true(out:find "Examples" < out:find "Usage")
        local again, other = lunate(verb, "--help")
        assert.same({ 0, out }, { again, other })
      end
      assert.is_true(n > 20)
    end)

    it("version", function()
      for _, word in ipairs { "version", "--version", "-V" } do
        local status, out = lunate(word)
        assert.equal(0, status)
        assert.matches("^lunate %d+%.%d+%.%d+\n$", out)
      end
    end)

    it("mistakes in options and arguments: 2, one line with a hint", function()
      for _, words in ipairs {
        { "status", "--jsno" }, { "stop" }, { "stop", "a", "b" }, { "hold", "nodest" },
        { "skip", "a/b" }, { "skip", "a/b", "--reason", " " }, { "show", "adt" },
        { "show", "adt/x" }, { "resend", "adt" }, { "eval", "f" }, { "query" }, { "query", "pid" },
        { "new", "thing", "x" }, { "help", "nosuch" }, { "-C" },
      } do
        local status, out, err = lunate(unpack(words))
        assert.equal(2, status, table.concat(words, " "))
        assert.equal("", out)
        assert.is_true(one_line(err), err)
      end
    end)

    it("output into a pipe that closes is no crash", function()
      local status = os.execute(("%s help 2>&1 | head -n 1 >/dev/null"):format(site.binary()))
      assert.equal(0, status)
    end)
  end)

  describe("control", function()
    it("no engine: 3, one line that says how to start one", function()
      for _, words in ipairs { { "status" }, { "stop", "a" }, { "reload" }, { "metrics" },
        { "hold", "a/b" }, { "resend", "a/1" } } do
        local status, _, err = s:run(unpack(words))
        assert.equal(3, status)
        assert.equal(("lunate %s: no engine is running for %s (start one with: lunate -C %s run)\n")
          :format(words[1], s.path, s.path), err)
      end
      assert.equal(3, (lunate("-C", s.path .. "/nothing", "status")))
    end)

    it("a socket that nobody listens on any more is no engine", function()
      os.execute("mkdir -p " .. s.path .. "/data")
      fake.listen(s.path .. "/data"):close()
      assert.equal(3, (s:run "status"))
    end)

    it("sends the words of the protocol", function()
      for line, expected in pairs {
        ["status --json"] = { "status" },
        ["reload"] = { "reload" },
        ["reload adt"] = { "reload", "adt" },
        ["start adt"] = { "start", "adt" },
        ["pause adt"] = { "pause", "adt" },
        ["hold adt/lab"] = { "hold", "adt/lab" },
        ["step adt/lab 17"] = { "step", "adt/lab", "17" },
        ["skip adt/lab 17 --reason because"] = { "skip", "adt/lab", "because", "17" },
        ["skip adt --reason because"] = { "skip", "adt", "because" },
        ["resend adt/17"] = { "resend", "adt", "17", "", "0", "", "SINCE" },
        ["resend adt/17 --dest lab --reprocess"] = { "resend", "adt", "17", "lab", "1", "", "SINCE" },
        ["metrics"] = { "metrics" },
      } do
        local words = {}
        for word in line:gmatch "%S+" do words[#words + 1] = word end
        local status, _, err, got = ask(fake.reply(0, '{"ok":true}'), unpack(words))
        if got[7] then got[7] = math.abs(tonumber(got[7]) / 1e6 - os.time()) < 60 and "SINCE" or got[7] end
        assert.same({ 0, "", expected }, { status, err, got })
        os.remove(s.path .. "/data/control.sock")
      end
    end)

    it("gives the engine's status and its one line when it says no", function()
      local status, out, err = ask(fake.reply(1, "no channel named x"), "stop", "x")
      assert.same({ 1, "", "lunate stop: no channel named x\n" }, { status, out, err })
      os.remove(s.path .. "/data/control.sock")
      local _
      status, _, err = ask(fake.reply(1, "a.lua:3: bad\nb.lua:4: bad"), "reload")
      assert.same({ 1, "lunate reload: a.lua:3: bad b.lua:4: bad\n" }, { status, err })
    end)

    it("an engine that goes away without an answer: 3", function()
      local status, _, err = ask("", "status")
      assert.equal(3, status)
      assert.matches("gave no answer", err)
    end)

    it("finds the data folder that lunate.lua names, also a far one with a long path", function()
      local deep = s.path .. ("/" .. ("d"):rep(50)):rep(4)
      s:write("lunate.lua", ("return { data = %q }"):format(deep))
      local status, out = ask({ answer = fake.reply(0, "{}"), folder = deep }, "status", "--json")
      assert.same({ 0, "{}\n" }, { status, out })
    end)

    it("a lunate.lua that does not load: 1, with its line", function()
      s:write("lunate.lua", "return {\n  data = \n}")
      local status, _, err = s:run "status"
      assert.equal(1, status)
      assert.matches("lunate%.lua:3:", err)
    end)
  end)

  describe("status for people", function()
    it("has what needs a hand first, in 80 columns, without colour in a pipe", function()
      local status, out = ask(fake.reply(0, document), "status")
      assert.equal(0, status)
      assert.is_nil(out:find("\27", 1, true))
      for line in out:gmatch "[^\n]+" do
        assert.is_true(#line <= 80, #line .. ": " .. line)
      end
      assert.matches("up 2 h 01 min, 3 channels, 45,678 messages kept %(123 KB%)", out)
      local stuck = out:find("stuck/ris: retrying, 3 waiting, the oldest 4 min", 1, true)
      local parked = out:find("stuck: 2 messages parked", 1, true)
      local held = out:find("held_one/ehr: held, 4 waiting", 1, true)
      assert.is_true(stuck < held and parked < held)
      assert.truthy(out:find("lunate release held_one/ehr", 1, true))
      local rows = out:match "channel, %-> destination.*"
      assert.is_true(rows:find "\nstuck " < rows:find "\nheld_one ")
      assert.is_true(rows:find "\nheld_one " < rows:find "\ncalm ")
      assert.truthy(rows:find("12,345", 1, true))
    end)

    it("names every trouble of a destination, and what helps", function()
      local troubled = [[{"version":"1","uptime_s":5,"store":{},"channels":[{"name":"a","state":"failed",
        "error":"cannot listen on 127.0.0.1:1: Address already in use","parked":3,"pending":0,
        "destinations":[{"name":"x","state":"held","queued":4,"parked":2,"oldest_s":1,
        "last_error":"answered AR"}]}]}]]
      local _, out = ask(fake.reply(0, troubled), "status")
      for _, text in ipairs { "a: failed: cannot listen on 127.0.0.1:1", "a: 1 message parked by the script",
        "a/x: 2 messages parked", "a/x: held, 4 waiting: answered AR", "lunate release a/x" } do
        assert.truthy(out:find(text, 1, true), text .. "\n" .. out)
      end
    end)

    it("says what is wrong in the moment of another try, too", function()
      local trying = [[{"version":"1","uptime_s":5,"store":{},"channels":[{"name":"a","state":"running",
        "parked":0,"pending":0,"destinations":[{"name":"x","state":"connecting","queued":4,"parked":0,
        "oldest_s":5,"retrying_since":"2020-01-01T00:00:00Z","to":"10.0.0.9:2575",
        "last_error":"cannot connect to 10.0.0.9 port 2575: Connection refused"}]}]}]]
      local _, out = ask(fake.reply(0, trying), "status")
      assert.matches("a/x: retrying for .- days, 4 waiting, the oldest 5 s: cannot connect", out)
      assert.truthy(out:find("nc -vz 10.0.0.9 2575", 1, true))
    end)

    it("--json is the engine's document as it is", function()
      local _, out = ask(fake.reply(0, document), "status", "--json")
      assert.equal(document .. "\n", out)
    end)
  end)

  describe("new", function()
    it("makes a site that passes check and its own specs, and a second channel", function()
      local dir = s.path .. "/sub/hospital"
      local status, out = lunate("new", "site", dir)
      assert.equal(0, status)
      assert.truthy(out:find(dir .. "/channels/adt_in.lua", 1, true))
      assert.equal("data/\nsecrets/\n*.key\n", tmp.read(dir .. "/.gitignore"))
      assert.equal(0, (lunate("-C", dir, "new", "channel", "results")))
      local ok, text, err = lunate("-C", dir, "check")
      assert.same({ 0, "2 channels, all well\n", "" }, { ok, text, err })
      ok, text, err = lunate("-C", dir, "test")
      assert.equal(0, ok, text .. err)
      assert.matches("6 successes / 0 failures / 0 errors", text)
      local ports = {}
      for _, name in ipairs { "adt_in", "results" } do
        ports[#ports + 1] = tmp.read(dir .. "/channels/" .. name .. ".lua"):match "port = (%d+)"
      end
      assert.is_true(ports[1] ~= ports[2])
    end)

    it("never writes over anything, and then makes nothing", function()
      s:write("samples/x.hl7", "mine")
      s:write("lunate.lua", "return {}")
      local status, _, err = s:run("new", "channel", "x")
      assert.equal(1, status)
      assert.truthy(err:find("samples/x.hl7 is there already", 1, true))
      assert.is_false(tmp.exists(s.path .. "/channels/x.lua"))
      assert.equal("mine", s:read "samples/x.hl7")
    end)

    it("makes no channel in a folder that is no site", function()
      local status, out, err = s:run("new", "channel", "x")
      assert.same({ 1, "" }, { status, out })
      assert.equal(("lunate new: %s is no site (it has neither lunate.lua nor channels/): lunate new site DIR "
        .. "makes one\n"):format(s.path), err)
      assert.is_false(tmp.exists(s.path .. "/channels/x.lua"))
    end)

    it("refuses names that are no channel names", function()
      for _, name in ipairs { "a/b", "..", "a b", ("x"):rep(65) } do
        assert.equal(2, (s:run("new", "channel", name)))
      end
    end)
  end)

  it("says what there is instead of a channel, a site, an audit log", function()
    local function why(...)
      local status, out, err = s:run(...)
      assert.same({ 1, "" }, { status, out })
      return err
    end
    assert.equal(("lunate eval: %s is no site (it has neither lunate.lua nor channels/): lunate new site DIR "
      .. "makes one\n"):format(s.path), why("eval", "-c", "x", s.path .. "/m.hl7"))
    s:write("lunate.lua", "return {}")
    assert.equal("lunate eval: the site has no channel \"x\": lunate new channel x makes one\n",
      why("eval", "-c", "x", s.path .. "/m.hl7"))
    for _, what in ipairs { "list", "export", "verify" } do
      assert.equal(("lunate audit: there is no audit log yet: %s/data/audit is made with the first entry\n")
        :format(s.path), why("audit", what))
    end
  end)

  describe("check", function()
    it("says what is wrong with file:line, 1", function()
      s:write("channels/bad.lua", "return channel {\n  source = = 1,\n}\n")
      local status, _, err = s:run "check"
      assert.equal(1, status)
      assert.matches("channels/bad%.lua:2:", err)
      local doc
      status, doc = s:run("check", "--json")
      doc = json.decode(doc)
      assert.same({ 1, false, "bad" }, { status, doc.ok, doc.errors[1].channel })
      assert.matches("channels/bad%.lua:2:", doc.errors[1].text)
    end)

    it("warns of a store's key that is not there", function()
      s:write("lunate.lua", 'return { encryption = { key_file = "store.key" } }')
      s:write("channels/a.lua", "return channel { source = mllp.listen { port = 6661 } }")
      local status, out, err = s:run "check"
      assert.equal(0, status)
      assert.matches("^warning: lunate.lua: encryption: there is no file store.key: ", err)
      s:write("store.key", ("0"):rep(64))
      assert.same({ 0, out, "" }, { s:run "check" })
    end)

    it("sees look-ups of tables that are not there, where their names are written out", function()
      s:write("tables/wards.csv", "A,1\n")
      s:write("lib/places.lua", 'return { at = function(k) return lookup.row("palces", k) end }')
      s:write("channels/a.lua", [=[
-- lookup("in_a_comment", 1)
--[[ lookup("in_a_block", 1)
]]
local text = 'lookup("in_a_string", 1)'
return channel { source = mllp.listen { port = ]=] .. net.free_port() .. [=[ },
  filter = function(msg) return "x"..lookup("warsd", msg["PV1-3"], "") end,
  transform = function(msg)
    local mine = { lookup = function(k) return k end }
    return lookup("wards", 1) .. mine.lookup("mine") .. lookup("wa" .. text, 1) .. lookup "floors"
  end }]=])
      s:write("channels/b.lua", [=[
local function lookup(name) return name end
return channel { source = mllp.listen { port = ]=] .. net.free_port() .. [=[ },
  filter = function() return lookup("own") end }]=])
      local status, _, err = s:run "check"
      assert.equal(1, status)
      assert.equal(table.concat({
        "channels/a.lua:6: lookup: no table 'warsd' (no tables/warsd.csv, did you mean 'wards'?); "
          .. "tables there are: wards",
        "channels/a.lua:9: lookup: no table 'floors' (no tables/floors.csv); tables there are: wards",
        "lib/places.lua:1: lookup: no table 'palces' (no tables/palces.csv); tables there are: wards",
        "lunate check: 3 mistakes in 2 channels", "" }, "\n"), err)
      local e = s:start() -- a message that needs them may never come
      assert.equal("running", e:channel("a").state)
      assert.equal(0, e:stop())
    end)
  end)

  local adt = "MSH|^~\\&|EHR|A|LAB|B|20260105||ADT^A01|M1|P|2.5.1\rPID|1||1^^^A~2^^^B||Doe^J\r"

  describe("eval", function()
    before_each(function()
      s:write("channels/a.lua", [[
return channel {
  source = mllp.listen { port = 6661 },
  filter = function(msg) return msg.event == "A01", "only admissions" end,
  transform = function(msg)
    if msg["PID-5.1"] == "Boom" then error "no such name" end
    msg["PID-5.1"] = (msg["PID-5.1"] or ""):upper()
  end,
  destinations = {
    one = mllp.send { host = "127.0.0.1", port = 6662 },
    two = mllp.send { host = "127.0.0.1", port = 6663,
      filter = function() return false, "not for two" end },
  },
}]])
    end)

    it("prints the outputs of each destination", function()
      local status, out = s:run("eval", "-c", "a", tmp.file(adt))
      assert.equal(0, status)
      assert.truthy(out:find("-> one\n", 1, true))
      assert.truthy(out:find("PID|1||1^^^A~2^^^B||DOE^J", 1, true))
      assert.truthy(out:find("-> two: filtered: not for two", 1, true))
    end)

    it("says why a message is filtered, and shows differences", function()
      local _, out = s:run("eval", "-c", "a", tmp.file((adt:gsub("A01", "A02"))))
      assert.equal("filtered: only admissions\n", out)
      s:write("channels/a.lua", (s:read("channels/a.lua"):gsub(', "[^"]*" end', " end")))
      _, out = s:run("eval", "-c", "a", tmp.file((adt:gsub("A01", "A02"))))
      assert.equal("filtered: the filter gave no reason\n", out)
      _, out = s:run("eval", "-c", "a", tmp.file(adt))
      assert.truthy(out:find("-> two: filtered: its filter gave no reason\n", 1, true), out)
      _, out = s:run("eval", "-c", "a", "--diff", tmp.file(adt))
      assert.truthy(out:find("- PID|1||1^^^A~2^^^B||Doe^J\n  + PID|1||1^^^A~2^^^B||DOE^J", 1, true))
    end)

    it("a script error: 1, with file:line; goes on with the next message", function()
      local f = tmp.file(adt:gsub("Doe", "Boom") .. adt)
      local status, out = s:run("eval", "-c", "a", "--json", f)
      local docs = json.lines(out)
      assert.equal(1, status)
      assert.same({ "error", "channels/a.lua:5", "done" },
        { docs[1].state, docs[1].where, docs[2].state })
      assert.is_true(docs[2].outputs[1].changed)
    end)

    it("an endless loop ends at the channel's limit", function()
      s:write("channels/l.lua", [[
return channel {
  source = mllp.listen { port = 6664 },
  limits = { seconds = 0.2 },
  transform = function() while true do end end,
  destinations = { one = mllp.send { host = "127.0.0.1", port = 6662 } },
}]])
      local status, out = s:run("eval", "-c", "l", tmp.file(adt))
      assert.equal(1, status)
      assert.matches("^error: ", out)
    end)

    it("an unknown channel, no message, a script that does not load: 1", function()
      assert.equal(1, (s:run("eval", "-c", "zz", tmp.file(adt))))
      assert.equal(1, (s:run("eval", "-c", "a", tmp.file "nothing")))
      s:write("channels/a.lua", "return 1 +\n")
      local status, _, err = s:run("eval", "-c", "a", tmp.file(adt))
      assert.equal(1, status)
      assert.matches("channels/a%.lua:", err)
    end)
  end)

  describe("query", function()
    it("prints a line per message, tab between paths", function()
      local f = tmp.file(adt .. adt:gsub("Doe", 'A\\T\\B'))
      local status, out = lunate("query", "PID-5.1", "PID-3[2]", "PID-99", f)
      assert.same({ 0, "Doe\t2\t\nA&B\t2\t\n" }, { status, out })
      status, out = lunate("query", "--raw", "PID-5.1", "PID-3", f)
      assert.same({ 0, "Doe\t1^^^A~2^^^B\nA\\T\\B\t1^^^A~2^^^B\n" }, { status, out })
    end)

    it("reads standard input, gives lists, JSON, and the explicit null", function()
      local status, out = proc.run { site.binary(), "query", "--json", "PID-3[*]", "PID-5", "PID-7",
        input = adt:gsub("Doe%^J", '""') }
      assert.equal(0, status)
      assert.equal('{"PID-3[*]":["1","2"],"PID-5":"\\"\\"","PID-7":null}\n', out)
    end)

    it("what cannot be read: 1, named, after the rest", function()
      local good = tmp.file(adt)
      local status, out, err = lunate("query", "PID-5.1", tmp.file "junk", good)
      assert.same({ 1, "Doe\n" }, { status, out })
      assert.matches("no message found", err)
      assert.equal(1, (lunate("query", "PID-5.1", "/nonexistent/f.hl7")))
    end)
  end)

  describe("messages and show without a store", function()
    it("1, and say so", function()
      for _, words in ipairs { { "messages" }, { "show", "adt/1" } } do
        local status, _, err = s:run(unpack(words))
        assert.equal(1, status)
        assert.matches("has no store yet", err)
      end
    end)
  end)

  it("a terminal gets colour, NO_COLOR and TERM=dumb do not", function()
    local with = { { TERM = "xterm", NO_COLOR = false }, { TERM = "xterm", NO_COLOR = "1" },
      { TERM = "dumb", NO_COLOR = false } }
    local seen = {}
    for i, env in ipairs(with) do
      local argv = { "script", "-qec", site.binary() .. " help send", "/dev/null", env = env }
      local ok, status, out = pcall(proc.run, argv)
      if not ok or status ~= 0 then return pending "script(1) is not there" end
      seen[i] = out:find("\27[1m", 1, true) ~= nil
    end
    assert.same({ true, false, false }, seen)
  end)
end)
