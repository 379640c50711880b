-- `lunate diff`: what hl7.diff finds (tests/script/diff_spec.lua), for people and programs.
local site = require "support.site"
local tmp = require "support.tmp"
local json = require "support.json"

local function message(id, ...)
  return ("MSH|^~\\&|A|B|C|D|2026||ADT^A01|%s|P|2.5\r"):format(id) .. table.concat({ ... }, "\r") .. "\r"
end

local s = site.new()
local function diff(a, b, ...)
  return s:run("diff", tmp.file(a, "a.hl7"), tmp.file(b, "b.hl7"), ...)
end

describe("role/diff", function()
  teardown(site.cleanup)

  it("prints nothing and ends with 0 for the same messages, whatever ends the segments", function()
    local a = message("1", "PID|1||7", "ZZZ|1")
    assert.same({ 0, "", "" }, { diff(a, (a:gsub("\r", "\n"))) })
    assert.same({ 0, "", "" }, { diff(a, "\v" .. a .. "\28\r") })
  end)

  it("groups differences by segment, with names; 1", function()
    local status, out, err = diff(
      message("1", "PID|1||7||DOE^EVE|||F|||\"\"", "PD1||||9", "OBX|1|NM|GLU||1", "NTE|1||x"),
      message("1", "PID|1||7~8||DOE^EVA|||\"\"", "OBX|1|NM|GLU||2", "PD1||||9", "OBX|2|NM|NA||3"))
    assert.same({ 1, "" }, { status, err })
    assert.equal([[
PID  Patient identification
  PID-3[2]     Patient Identifier List       + 8
  PID-5.2      Given Name                    EVE -> EVA
  PID-8        Administrative Sex            F -> "" (null)
  PID-11       Patient Address               - "" (null)
OBX[1]  Result  moved up by 1
  OBX[1]-5     Observation Value             1 -> 2
NTE  Notes and comments  removed
    - NTE|1||x
OBX[2]  Result  added
    + OBX|2|NM|NA||3
]], out)
  end)

  it("tells null, empty and absent apart, or not", function()
    local a, b = message("1", "PID|1||7|||"), message("1", "PID|1||7")
    local _, out = diff(a, b)
    assert.truthy(out:find("PID-4 to 6   Alternate Patient ID - PID    (empty) -> (absent)", 1, true), out)
    assert.same({ 0, "", "" }, { diff(a, b, "--ignore-empty") })
  end)

  it("leaves out what is to be ignored", function()
    local a = message("1", "PID|1||7", "OBX|1|NM|A||1|||||||||1", "OBX|2|NM|B||1|||||||||1", "ZPD|1")
    local b = message("2", "PID|1||7", "OBX|1|NM|A||1|||||||||2", "OBX|2|NM|B||1|||||||||2")
    assert.equal(1, (diff(a, b)))
    assert.same({ 0, "", "" }, { diff(a, b, "--ignore", "MSH-10,OBX[*]-14", "--ignore", "ZPD") })
    local status, _, err = diff(a, b, "--ignore", "MSH-")
    assert.equal(2, status)
    assert.equal('lunate diff: "MSH-" is not a path to ignore, as in MSH-7 or OBX[*]-14 '
      .. "(see `lunate help diff`)\n", err)
  end)

  it("--quiet prints nothing", function()
    assert.same({ 1, "", "" }, { diff(message "1", message "2", "--quiet") })
  end)

  it("pairs several messages by control id, in order when no id is in both, or as told", function()
    local function m(id, pid) return message(id, "PID|1||" .. pid) end
    local a, b = m("1", "a") .. m("2", "b") .. m("3", "c"), m("3", "c") .. m("1", "x") .. m("4", "d")
    local status, out = diff(a, b)
    assert.equal(1, status)
    assert.matches("^message 2  ADT^A01  control id 1\nPID  .-\n  PID%-3 .-a %-> x\nonly in .-a.hl7: message 2  "
      .. "ADT^A01  control id 2\nonly in .-b.hl7: message 3  ADT^A01  control id 4\n\n2 pairs compared: 1 differ, "
      .. "1 only in the first file, 1 only in the second\n$", out)
    local d = json.decode(select(2, diff(m("1", "a") .. m("2", "b"), m("8", "a") .. m("9", "x"), "--json",
      "--ignore", "MSH-10")))
    assert.same({ 0, 1 }, { #d.messages[1].differences, #d.messages[2].differences })
    assert.equal(1, (diff(m("1", "a") .. m("2", "a"), m("2", "a") .. m("1", "a"), "--by", "order")))
    assert.equal(0, (diff(m("1", "a") .. m("2", "a"), m("2", "a") .. m("1", "a"))))
    assert.equal(0, (diff(m("1", "a") .. m("1", "b"), m("1", "a") .. m("1", "b"))))
  end)

  it("--json: null is two quotes, empty is an empty string, absent is left out", function()
    local status, out = diff(message("1", "PID|1||a|\"\"|x|y"), message("1", "PID|1||\255|||"), "--json")
    local d = json.decode(out)
    assert.same({ 1, false, {} }, { status, d.same, d.only_a })
    assert.same({
      { kind = "changed", path = "PID-3", segment = "PID", name = "Patient Identifier List", from = "a",
        to_base64 = "/w==", from_at = 2, to_at = 2 },
      { kind = "removed", path = "PID-4", segment = "PID", name = "Alternate Patient ID - PID", from = '""', to = "",
        from_at = 2, to_at = 2 },
      { kind = "removed", path = "PID-5", segment = "PID", name = "Patient Name", from = "x", to = "", from_at = 2,
        to_at = 2 },
      { kind = "removed", path = "PID-6", segment = "PID", name = "Mother's Maiden Name", from = "y", to = "",
        from_at = 2, to_at = 2 },
    }, d.messages[1].differences)
  end)

  it("shows of long values what differs", function()
    local long = ("QUJD"):rep(50000)
    local _, out = diff(message("1", "OBX|1|ED|A||" .. long .. "one" .. long),
      message("1", "OBX|1|ED|A||" .. long .. "two" .. long))
    assert.is_true(#out < 500)
    assert.truthy(out:find("%.%.-QUJDone") or out:find "…QUJD.-one.-…")
    assert.truthy(out:find "…QUJD.-two.-…")
  end)

  it("never lets a control character through", function()
    local _, out = diff(message("1", "PID|1||\27[2Ja", "Z\27Z|1"), message("1", "PID|1||\27[2Jb\194\155", "ZZZ|\7"))
    assert.is_nil(out:gsub("\n", ""):find "%c")
    assert.is_nil(out:find "\194\155")
  end)

  it("reads one side from standard input; trouble is 2", function()
    local file = tmp.file(message "1")
    assert.equal(0, (s:run("diff", "-", file, { input = message "1" })))
    assert.equal(1, (s:run("diff", file, "-", { input = message "2" })))
    for _, words in ipairs { { "-", "-" }, { file }, { file, file, file }, { file, s.path .. "/none" },
      { file, tmp.file "hello" } } do
      local status, out, err = s:run("diff", unpack(words))
      assert.same({ 2, "" }, { status, out })
      assert.matches("^lunate diff: .*\n$", err)
    end
  end)
end)
