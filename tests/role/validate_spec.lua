-- `lunate validate`.
local site = require "support.site"
local json = require "support.json"
local proc = require "support.proc"

local GOOD = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01^ADT_A01|M1|P|2.5.1\rEVN||20260101\r" ..
  "PID|1||7^^^H^MR||DOE^JO\rPV1|1|I\r"
local BAD = GOOD:gsub("M1", "M2"):gsub("DOE^JO", "DOE^JO||20261340")
local WARN = GOOD:gsub("M1", "M3"):gsub("PV1|1|I\r", "PV1|1|Q~R\rQQQ|1\r")

local profile = [[
return hl7.profile { base = "2.5.1", type = "ADT", rules = {
  ["PID-3.5"] = { "R", values = { "PI" } },
} }
]]

describe("role/validate", function()
  after_each(site.cleanup)

  it("is quiet and 0 for a message that is well", function()
    local s = site.new { ["a.hl7"] = GOOD }
    local status, out, err = s:run("validate", s.path .. "/a.hl7")
    assert.same({ 0, "" }, { status, err })
    assert.equal(s.path .. "/a.hl7: message 1: ADT^A01 M1, version 2.5.1: no problems\n", out)
  end)

  it("shows path, what is wrong, the value, the field's name; 1 when there are errors", function()
    local s = site.new()
    local status, out, err = s:run("validate", { input = GOOD .. BAD .. WARN })
    assert.same({ 1, "" }, { status, err })
    assert.matches("message 2: ADT^A01 M2, version 2.5.1: 1 error\n", out, 1, true)
    assert.matches('\n  error    PID%-7 +there is no such month: "20261340" %(Date/Time of Birth%)\n',
      out)
    assert.matches("\n  warning  QQQ ", out)
    status = s:run("validate", { input = GOOD .. WARN })
    assert.equal(0, status)
  end)

  it("--severity", function()
    local s = site.new()
    local _, out = s:run("validate", "--severity", "error", { input = WARN })
    assert.is_nil(out:find "\n  warning")
    assert.matches("not shown", out)
    _, out = s:run("validate", "--severity", "info", { input = WARN })
    assert.matches("\n  info     PV1%-2 ", out)
    assert.equal(2, (s:run("validate", "--severity", "bad", { input = WARN })))
  end)

  it("cuts long values, and shows no control characters", function()
    local s = site.new()
    local _, out = s:run("validate", { input = GOOD:gsub("DOE^JO",
      "DOE^JO||\27[31m" .. ("x"):rep(500)) })
    assert.matches('PID%-7 .*: "·%[31mx+…" %(%d+ bytes%)', out)
    for line in out:gmatch "[^\n]+" do assert.is_true(#line < 200) end
    assert.is_nil(out:find "\27")
  end)

  it("--json: a line per message", function()
    local s = site.new { ["a.hl7"] = GOOD .. BAD }
    local status, out = s:run("validate", "--json", s.path .. "/a.hl7")
    assert.equal(1, status)
    local lines = json.lines(out)
    assert.equal(2, #lines)
    assert.same({ true, "M1", "ADT_A01", "2.5.1", 0 }, { lines[1].valid, lines[1].control_id,
      lines[1].structure, lines[1].version, #lines[1].problems })
    local p = lines[2].problems[1]
    assert.same({ "PID-7", "type", "error", "102", "20261340", 8, "PID^1^7", "E" }, { p.path, p.rule,
      p.severity, p.code, p.value, p.length, p.err.location, p.err.severity })
  end)

  it("--summary: kinds of problems over all messages", function()
    local s = site.new()
    local status, out = s:run("validate", "--summary", { input = (GOOD .. BAD .. WARN):rep(20) })
    assert.equal(1, status)
    assert.matches("^60 messages, 20 of them with errors\n", out)
    assert.matches("\n +20 +20  error    PID%-7 +there is no such month", out)
    local _, text = s:run("validate", "--summary", "--json", { input = (GOOD .. BAD):rep(3) })
    local doc = json.decode(text)
    assert.same({ 6, 3, 1, 3 }, { doc.messages, doc.wrong, #doc.kinds, doc.kinds[1].messages })
  end)

  it("--profile from lib/, with lib/'s other modules, or a file", function()
    local s = site.new { ["lib/adt.lua"] = 'require "words"\n' .. profile,
      ["lib/words.lua"] = "return { lookup('t', 'x') }", ["tables/t.csv"] = "x,y\n",
      ["other.lua"] = profile }
    for _, name in ipairs { "adt", s.path .. "/other.lua", "./other.lua" } do
      local status, out, err = s:run("validate", "--profile", name, { input = GOOD })
      assert.same({ 1, "" }, { status, err })
      assert.matches("error    PID%-3.5 +none of the values that are expected: \"MR\"", out)
    end
  end)

  it("wrong profiles: one line with place and the nearest word", function()
    local s = site.new { ["lib/adt.lua"] = "return hl7.profile {\n  base = '2.5.1',\n  rulez = {},\n}",
      ["lib/syntax.lua"] = "return {", ["lib/none.lua"] = "return {}" }
    for name, want in pairs {
      adt = "lib/adt.lua:3: profile: 'rulez' is not known in a profile (did you mean 'rules'?)",
      syntax = "lib/syntax.lua:1:", none = "lib/none.lua: it must return what hl7.profile",
      adu = "did you mean \"adt\"?",
    } do
      local status, out, err = s:run("validate", "--profile", name, { input = GOOD })
      assert.same({ 1, "" }, { status, out })
      assert.truthy(err:find(want, 1, true), err)
      assert.equal(1, select(2, err:gsub("\n", "")))
    end
  end)

  it("batches: counts that are wrong", function()
    local s = site.new()
    local status, _, err = s:run("validate", { input = "BHS|^~\\&|A\r" .. GOOD .. "BTS|2\r" })
    assert.equal(1, status)
    assert.matches("BTS%-1 says 2 messages, the batch has 1\n", err)
    assert.equal(0, (s:run("validate", { input = "BHS|^~\\&|A\r" .. GOOD .. "BTS|1\r" })))
  end)

  it("what cannot be read is one line, and the rest goes on", function()
    local s = site.new { ["a.hl7"] = GOOD, ["b.hl7"] = "hello\n" }
    local status, out, err = s:run("validate", s.path .. "/none", s.path .. "/b.hl7", s.path,
      s.path .. "/a.hl7")
    assert.equal(1, status)
    assert.matches("a.hl7: message 1: ADT^A01 M1", out, 1, true)
    for line in err:gmatch "[^\n]+" do assert.matches("^lunate validate: %S+: ", line) end
    assert.matches("/none: No such file", err)
  end)

  it("memory stays flat over many messages", function()
    local s = site.new { ["many.hl7"] = (BAD .. WARN):rep(3000) }
    local p = proc.spawn { site.binary(), "validate", "--summary", s.path .. "/many.hl7" }
    local most = 0
    while p:running() do
      most = math.max(most, proc.proc_status(p.pid, "VmHWM") or 0)
      p:wait(0.05)
    end
    assert.equal(1, p:wait(1))
    if (os.getenv "MODE" or "release") == "release" then -- the sanitizer keeps what was freed
      assert.is_true(most < 40000, most .. " kB")
    end
  end)
end)
