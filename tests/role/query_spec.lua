-- `lunate query --rows` and what it says of words it cannot take.
local site = require "support.site"
local tmp = require "support.tmp"

local MSG = "MSH|^~\\&|A|B|||2026||ORU^R01|%s|P|2.5\rPID|1||7^^^H~8^^^I\rOBX|1|ST|A||x~y\r"
  .. "NTE|1||n\rOBX|2|ST|B\rOBX|3|ST|C||z\r"

local s = site.new()
local one = tmp.file(MSG:format "1", "one.hl7")

local function out(...)
  local status, text, err = s:run("query", ...)
  assert.same({ 0, "" }, { status, err })
  return text
end

describe("role/query", function()
  teardown(site.cleanup)

  it("--rows: a line per segment, a line per repetition in it", function()
    assert.equal("1\tA\tx\n1\tB\t\n1\tC\tz\n", out("--rows", "MSH-10", "OBX[*]-3", "OBX[*]-5", one))
    assert.equal("A\tx\nA\ty\nC\tz\n", out("--rows", "OBX[*]-3", "OBX[*]-5[*]", one))
    assert.equal("7\tH\t1\n8\tI\t1\n", out("--rows", "PID-3[*].1", "PID-3[*].4", "MSH-10", one))
    assert.equal("y\n", out("--rows", "OBX-5[2]", one))
    assert.equal("", out("--rows", "ZZZ[*]-1", one))
    assert.equal("x~y\n\nz\n", out("--rows", "--raw", "OBX[*]-5", one))
  end)

  it("--rows: segments and fields that do not go side by side are wrong usage", function()
    for _, paths in ipairs { { "OBX[*]-3", "NTE[*]-3" }, { "OBX[*]-3", "PID-3[*]" }, { "PID-3[*]", "PID-5[*]" },
      { "OBX[*]-5[*]", "OBX[*]-3[*]" } } do
      local status, text, err = s:run("query", "--rows", paths[1], paths[2], one)
      assert.same({ 2, "" }, { status, text })
      assert.matches("do not go side by side", err)
    end
  end)

  it("finds files of the site with -C, says what is no path and no file", function()
    s:write("samples/a.hl7", MSG:format "5")
    assert.equal("5\n", out("MSH-10", "samples/a.hl7"))
    for word, text in pairs { ["pid-3"] = "a path is written in capitals",
      ["PID-3"] = "paths stand before the files" } do
      local status, _, err = s:run("query", "MSH-10", one, word)
      assert.equal(2, status)
      assert.truthy(err:find(text, 1, true), err)
    end
  end)

  -- With several files each line began with a column that no path had asked for.
  it("of several files: the paths' columns alone, the file's name with --file", function()
    local two = tmp.file(MSG:format "2", "two.hl7")
    assert.equal("1\t7\n2\t7\n", out("MSH-10", "PID-3", one, two))
    assert.equal(("%s\t1\n%s\t2\n"):format(one, two), out("MSH-10", "--file", one, two))
    assert.equal(("file\tMSH-10\n%s\t1\n"):format(one), out("MSH-10", "--file", "--header", one))
    assert.equal(('{"file":"%s","MSH-10":"1"}\n{"file":"%s","MSH-10":"2"}\n'):format(one, two),
      out("MSH-10", "--json", one, two))
    assert.equal('{"MSH-10":"1"}\n', out("MSH-10", "--json", one))
  end)

  it("--where takes wildcards, and negation means none", function()
    local both = tmp.file(MSG:format "1" .. (MSG:format "2"):gsub("|z", "|q"))
    assert.equal("1\n", out("MSH-10", "--where", "OBX[*]-5=z", both))
    assert.equal("2\n", out("MSH-10", "--where", "OBX[*]-5!=z", both))
    assert.equal("2\n", out("MSH-10", "--where", "OBX[*]-5~^q", "--where", "PID-3=7", both))
  end)

  it("takes a message of 20,000 segments", function()
    local list = { "MSH|^~\\&|A" }
    for i = 1, 20000 do list[#list + 1] = ("OBX|%d|NM|C||%d"):format(i, i) end
    local file = tmp.file(table.concat(list, "\r") .. "\r")
    local text = out("--rows", "OBX[*]-1", "OBX[*]-5", file)
    assert.equal("20000\t20000\n", text:match "[^\n]*\n$")
    assert.equal(20000, select(2, text:gsub("\n", "")))
  end)
end)
