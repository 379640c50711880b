-- `lunate profile`.
local site = require "support.site"
local json = require "support.json"
local net = require "support.net"
local proc = require "support.proc"

-- Everything that could be somebody's has SECRET in it, in letters or as digits.
local function adt(n, o)
  o = o or {}
  return table.concat({
    ("MSH|^~\\&|EHR|HOSP|LAB|CITY|202611231200%02d||%s|ID%d|P|2.5.1"):format(n % 60,
      o.kind or "ADT^A01^ADT_A01", n),
    "EVN||20261123",
    ("PID|1||777%04d^^^H^MR~SECRET%d||SECRETNAME^SECRET||19620320|%s|SECRETALIAS|SECRETRACE|"
      .. "SECRETSTREET^^SECRETCITY||SECRETPHONE"):format(n, n, n % 2 == 0 and "F" or "M"),
    "PV1|1|I|SECRETWARD|E|||123456789^SECRETDOC||||SECRETCODE1234567890123",
    "ZPD|SECRETZ|SECRETZ2",
    "NTE|1||SECRETTEXT",
  }, "\r") .. "\r"
end

local function many(n, o)
  local list = {}
  for i = 1, n do list[i] = adt(i, o) end
  return table.concat(list)
end

local function of(list, key, value)
  for _, item in ipairs(list) do
    if item[key] == value then return item end
  end
end

describe("role/profile", function()
  after_each(site.cleanup)

  it("counts types, segments, fields", function()
    local s = site.new { ["feed.hl7"] = many(30) .. many(10, { kind = "ADT^A08" }) }
    local d = s:json("profile", s.path .. "/feed.hl7")
    assert.same({ 40, "20261123", "20261123" }, { d.messages, d.first_day, d.last_day })
    assert.same({ { type = "ADT^A01", count = 30 }, { type = "ADT^A08", count = 10 } }, d.types)
    local names = {}
    for i, x in ipairs(d.segments) do names[i] = x.segment end
    assert.same({ "MSH", "EVN", "PID", "PV1", "ZPD", "NTE" }, names)
    local pid = of(d.segments, "segment", "PID")
    assert.same({ 40, 40, 1, 1 }, { pid.messages, pid.count, pid.most, pid.share })
    local id = of(pid.fields, "path", "PID-3")
    assert.same({ 40, 40, 2, "CX" }, { id.filled, id.repeated, id.most_repetitions, id.type })
    assert.same({ { shape = "9999999", count = 40 } }, id.shapes)
    assert.same({ { form = "YYYYMMDD", count = 40 } }, of(pid.fields, "path", "PID-7").dates)
    assert.same({ { code = "F", count = 20, meaning = "Female" },
      { code = "M", count = 20, meaning = "Male" } }, of(pid.fields, "path", "PID-8").codes)
    assert.equal(40, of(d.order, "segments", "EVN PID").count)
    assert.is_true(#d.problems.kinds > 0)
  end)

  it("never shows what could be somebody's", function()
    local s = site.new { ["feed.hl7"] = many(60) }
    for _, how in ipairs { "--top=9", "--json", "--html" } do
      local status, out, err = s:run("profile", how, s.path .. "/feed.hl7")
      assert.same({ 0, "" }, { status, err })
      assert.is_true(#out > 1000)
      assert.is_nil(out:find "SECRET", how)
      assert.is_nil(out:find "777%d%d%d%d", how)
      assert.is_nil(out:find("123456789", 1, true), how)
      assert.is_nil(out:find("19620320", 1, true), how)
      assert.is_nil(out:find "ID%d%d", how)
    end
  end)

  it("shows codes that are in no table when they stand in three messages", function()
    local function oru(code)
      return "MSH|^~\\&|A||||2026||ORU^R01|1|P|2.5.1\rPID|||1\rOBR|1|||GLU^Glucose^L\rOBX|1|NM|" ..
        code .. "^Text^L||1||||||F\r"
    end
    local s = site.new()
    local _, out = s:run("profile", "--json", { input = oru("GLU"):rep(3) .. oru "RARE" })
    local d = json.decode(out)
    local f = of(of(d.segments, "segment", "OBX").fields, "path", "OBX-3")
    assert.same({ { code = "GLU", count = 3 }, { count = 1 } }, f.codes)
  end)

  it("html is one page without scripts or other files, and escaped", function()
    local s = site.new()
    local _, out = s:run("profile", "--html", { input = (adt(1):gsub("EHR", '<b>"E')):rep(3) })
    assert.matches("^<!doctype html>", out)
    assert.matches("</html>\n$", out)
    assert.matches("<svg", out)
    assert.is_truthy(out:find("&lt;b&gt;&quot;E^HOSP", 1, true))
    for _, word in ipairs { "<script", "<link", "http:", "https:", "src=", "<b>" } do
      assert.is_nil(out:find(word, 1, true), word)
    end
    local _, open = out:gsub("<table>", "")
    local _, close = out:gsub("</table>", "")
    assert.equal(open, close)
  end)

  it("of a channel, from its store", function()
    local port = net.free_port()
    local s = site.new { ["channels/x.lua"] =
      ("return channel { source = mllp.listen { port = %d } }"):format(port) }
    local e = s:start()
    local conn = net.connect(port)
    for i = 1, 12 do assert(net.exchange(conn, adt(i))) end
    assert.equal(12, (s:json("profile", "-c", "x")).messages)
    assert.equal(0, e:stop())
    assert.equal(5, (s:json("profile", "-c", "x", "--last", "5")).messages)
    assert.equal(12, (s:json("profile", "-c", "x", "--since", "1h")).messages)
    local status, _, err = s:run("profile", "-c", "y")
    assert.equal(1, status)
    assert.matches("no channel \"y\"", err)
  end)

  it("says what is wrong in one line", function()
    local s = site.new { ["bad.hl7"] = "hello\n" }
    for want, words in pairs { [1] = { s.path .. "/none.hl7" }, [2] = { "-c", "x", "a.hl7" } } do
      local status, out, err = s:run("profile", unpack(words))
      assert.same({ want, "" }, { status, out })
      assert.equal(1, select(2, err:gsub("\n", "")))
    end
    assert.equal(1, (s:run("profile", s.path .. "/bad.hl7")))
    assert.equal(2, (s:run("profile", "--top", "x", s.path .. "/bad.hl7")))
  end)

  it("memory stays flat over many messages", function()
    local s = site.new()
    local f = assert(io.open(s.path .. "/many.hl7", "w"))
    for i = 1, 4000 do f:write((adt(i):gsub("EHR", "APP" .. i))) end
    f:close()
    local p = proc.spawn { site.binary(), "profile", "--json", s.path .. "/many.hl7" }
    local most = 0
    while p:running() do
      most = math.max(most, proc.proc_status(p.pid, "VmHWM") or 0)
      p:wait(0.05)
    end
    assert.equal(0, p:wait(1))
    if os.getenv "MODE" ~= "asan" then assert.is_true(most < 40000, most .. " kB") end
  end)
end)
