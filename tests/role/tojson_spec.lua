-- `lunate json`: a line of JSON per message, and back.
local site = require "support.site"
local tmp = require "support.tmp"
local json = require "support.json"

local MSG = "MSH|^~\\&|EHR|HOSP||A&B|2026||ADT^A01|7|P|2.5.1\rPID|1||4711^^^HOSP^MR~99||VAN DER BERG&VAN^EVE||\"\"|F\r"
  .. "ZPD|a||b^c&d~e|\rOBX|1|CE|X||K^Potassium\rNTE|1||\255\\X0D\\\\T\\\r"

local s = site.new()
local function run(input, ...)
  local args = { "json", ... }
  args[#args + 1] = { input = input }
  return s:run(unpack(args))
end

describe("role/json", function()
  teardown(site.cleanup)

  it("prints a line per message, byte for byte back", function()
    local status, out, err = run(MSG .. "\n" .. MSG:gsub("|7|", "|8|"))
    assert.same({ 0, "" }, { status, err })
    local docs = json.lines(out)
    assert.same({ "7", "8" }, { docs[1].segments[1][11], docs[2].segments[1][11] })
    local _, back = run(out, "--back")
    assert.equal(MSG .. MSG:gsub("|7|", "|8|"), back)
    assert.same({ 0, MSG, "" }, { run((select(2, run("\v" .. MSG .. "\28\r"))), "--back", "-") })
  end)

  it("--back takes documents that are spread over lines", function()
    local one = '{\n  "format": "lunate-hl7/1",\n  "segments": [\n    ["MSH", "|", "^~\\\\&", "A"],\n'
      .. '    ["ZZZ", "{"]\n  ]\n}\n'
    local status, out, err = run(one .. "\n" .. one:gsub('"A"', '"B"'), "--back")
    assert.same({ 0, "MSH|^~\\&|A\rZZZ|{\rMSH|^~\\&|B\rZZZ|{\r", "" }, { status, out, err })
  end)

  it("--back says which line is wrong and goes on", function()
    local good = '{"format":"lunate-hl7/1","segments":[["MSH","|","^~\\\\&","A"]]}\n'
    local file = tmp.file(good .. "{oops}\n[1]\n" .. good .. '{"format":"lunate-hl7/1","segments":[]}\n{"format":\n')
    local status, out, err = s:run("json", "--back", file)
    assert.same({ 1, ("MSH|^~\\&|A\r"):rep(2) }, { status, out })
    local where = {}
    for n, text in err:gmatch "lunate json: [^\n]-:(%d+): ([^\n]+)\n" do where[#where + 1] = { n, text ~= "" } end
    assert.same({ { "2", true }, { "3", true }, { "5", true }, { "6", true } }, where)
  end)

  it("--named has the dictionary's names and shape, whatever the sender filled in", function()
    local status, out, err = run(MSG, "--named")
    assert.same({ 0, "" }, { status, err })
    local d = json.decode(out)
    assert.same({ "ADT", "A01", "2.5.1", "7" }, { d.type, d.event, d.version, d.control_id })
    local pid = d.segments[2]
    assert.same({
      segment = "PID", set_id_pid = "1", date_time_of_birth = json.null, administrative_sex = "F",
      patient_identifier_list = { { id_number = "4711", assigning_authority = { namespace_id = "HOSP" },
        identifier_type_code = "MR" }, { id_number = "99" } },
      patient_name = { { family_name = { surname = "VAN DER BERG", own_surname_prefix = "VAN" }, given_name = "EVE" } },
    }, pid)
    assert.same({ segment = "ZPD", ["1"] = "a", ["3"] = { {
      ["1"] = "b", ["2"] = { ["1"] = "c", ["2"] = "d" } }, "e" } },
      d.segments[3])
    assert.same({ { identifier = "K", text = "Potassium" } }, d.segments[4].observation_value)
    assert.same({ "\239\191\189\r&" }, d.segments[5].comment)
  end)

  it("wrong usage is 2, an unreadable file 1", function()
    assert.equal(2, (run(MSG, "--back", "--named")))
    for _, words in ipairs { { "json", s.path .. "/none" }, { "json", "--back", s.path .. "/none" },
      { "json", "--back", s.path } } do
      local status, _, err = s:run(unpack(words))
      assert.equal(1, status)
      assert.matches("^lunate json: .*\n$", err)
    end
  end)
end)
