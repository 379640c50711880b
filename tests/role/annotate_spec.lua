-- `lunate eval --annotate`, `--html`, `--coverage`: what stands beside each line, folded loops, scripts
-- that fail, loop or use coroutines; which lines count as covered.
local site = require "support.site"
local json = require "support.json"

local script = [[
local clean = require "clean"
local limit = 3
return channel {
  source = mllp.listen { port = 6661 },
  filter = function(msg)
    if msg.event == "A02" then return false, "no transfers" end
    return true
  end,
  transform = function(msg)
    local name = clean(msg["PID-5.1"])
    msg["PID-5.1"] = name
    local pid = msg.PID
    pid[8] = pid[8].value == "1" and "M" or "F"
    for obx in msg:each "OBX" do
      local text = "v" .. obx[5]
      if text == "vbad" then
        error("bad value")
      elseif #text > limit then
        obx["5"] = text:sub(1, limit)
      else
        obx[5][1] = text:upper()
      end
    end
    if msg.NK1 then msg:remove(msg.NK1) end
    msg:add("ZZ1")[1] = 7
    --MORE--
  end,
  destinations = {
    lab = mllp.send { host = "127.0.0.1", port = 6662,
      filter = function(m)
        return m:raw "PID-8" == "M", "no women"
      end },
  },
}]]

local function message(sex, more)
  return "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|<1>|P|2.5.1\rPID|1||7||Do  e^J|||" .. sex .. "\rNK1|1\r"
    .. (more or "OBX|1|ST|a||1\rOBX|2|ST|b||long\rOBX|3|ST|c||2\rOBX|4|ST|d||3\rOBX|5|ST|e||\r")
end

describe("annotated eval", function()
  local s
  before_each(function()
    s = site.new { ["channels/adt.lua"] = script,
      ["lib/clean.lua"] = "return function(v)\n  return (v:gsub('%s+', ' '))\nend\n",
      ["samples/m.hl7"] = message "1" }
  end)
  after_each(site.cleanup)

  local function run(text, ...)
    s:write("samples/m.hl7", text)
    return s:run("eval", "-c", "adt", s.path .. "/samples/m.hl7", ...)
  end

  -- Notes by line of one file, and hits.
  local function annotated(text, path)
    s:write("samples/m.hl7", text)
    local status, out, err = s:run("eval", "-c", "adt", "--annotate", "--json", s.path .. "/samples/m.hl7")
    assert.equal("", err)
    local doc = json.decode(out)
    for _, file in ipairs(doc.annotations) do
      if file.file == (path or "channels/adt.lua") then
        local notes, hits = {}, {}
        for _, l in ipairs(file.lines) do notes[l.line], hits[l.line] = l.text, l.hits end
        return notes, hits, doc, status
      end
    end
  end

  it("has what each line read and wrote, branches, loops, returned values", function()
    local notes, hits, doc, status = annotated(message "1")
    assert.equal(0, status)
    assert.equal('MSH-9.2 = "A01";  does not hold', notes[6])
    assert.equal("returns true", notes[7])
    assert.equal('PID-5.1 = "Do  e";  name := "Do e"', notes[10])
    assert.equal('name = "Do e";  PID-5.1 := "Do e"', notes[11])
    assert.equal("pid := PID", notes[12])
    assert.equal('PID-8 = "1";  PID-8 := "M"', notes[13])
    assert.equal(6, hits[14])
    assert.equal("first  obx := OBX[1]", notes[14])
    assert.equal('first  OBX[1]-5 = "1";  text := "v1" | last  OBX[5]-5 = nil;  text := "v"', notes[15])
    assert.equal('first  text = "v1";  does not hold | last  text = "v";  does not hold', notes[16])
    assert.matches("^first  text = \"v1\";  limit = 3;  does not hold | last", notes[18])
    assert.equal('text = "vlong";  limit = 3;  OBX[2]-5 := "vlo"', notes[19])
    assert.matches('OBX%[1%]%-5%.1 := "V1" | ', notes[21])
    assert.equal(4, hits[21])
    assert.equal("removed NK1", notes[24])
    assert.equal("added ZZ1;  ZZ1-1 := 7", notes[25])
    assert.equal('raw("PID-8") = "M";  returns true, "no women"', notes[31])
    assert.is_nil(notes[17])
    assert.equal("done", doc.state)
    assert.equal('v = "Do  e"', annotated(message "1", "lib/clean.lua")[2])
  end)

  it("as text: source and notes side by side, other outputs before", function()
    local status, out = run(message "2", "--annotate")
    assert.equal(0, status)
    assert.matches("^%-> lab: filtered: no women\nchannels/adt.lua\n", out)
    assert.matches('\n  11 .-msg%["PID%-5.1"%] = name +name = "Do e";  PID%-5.1 := "Do e"\n', out)
    assert.matches("   6x      for obx in msg:each \"OBX\" do +first  obx := OBX%[1%]\n", out)
    assert.matches("\nlib/clean.lua\n", out)
    assert.is_nil(out:find "\27")
  end)

  it("of a script that fails, stops or loops: up to there", function()
    local notes, _, doc, status = annotated(message("1", "OBX|1|ST|a||bad\r"))
    assert.equal(1, status)
    assert.equal("error", doc.state)
    assert.equal('text = "vbad";  holds', notes[16])
    assert.is_nil(notes[24])
    notes = annotated((message("1"):gsub("A01", "A02")))
    assert.equal('MSH-9.2 = "A02";  holds;  returns false, "no transfers"', notes[6])
    assert.is_nil(notes[10])
    s:write("channels/adt.lua", (script:gsub("%-%-MORE%-%-", "local i = 0 while true do i = i + 1 end")
      :gsub("source =", "limits = { seconds = 0.3 }, source =")))
    notes, _, doc = annotated(message "1")
    assert.equal("limit", doc.state)
    assert.equal("added ZZ1;  ZZ1-1 := 7", notes[25])
  end)

  it("of coroutines, recursion, pcall, deep calls, tables and odd values", function()
    s:write("channels/adt.lua", (script:gsub("%-%-MORE%-%-", [[
      local function down(n)
        if n == 0 then return 0 end
        return 1 + down(n - 1)
      end
      local depth = down(150)
      local ok, why = pcall(function()
        error("oh \1\"")
      end)
      local co = coroutine.wrap(function()
        local x = 1
        coroutine.yield(x)
      end)
      local got = co()
      local t = { 1, { 2 }, a = "b" }
      msg["PID-9"] = hl7.null
      local null, raw, all = msg["PID-9"], msg:raw "PID-5", msg:all "OBX[*]-1"
      local latin, long = "\228", ("x"):rep(500)
      local function tail(n) if n > 0 then return tail(n - 1) end end
      tail(5)
      local last = tostring(pid[8]) .. pid[8]:lower() .. #pid[8]
    ]])))
    local notes, hits, doc = annotated(message "1")
    assert.equal("done", doc.state, doc.reason)
    assert.equal("depth := 150", notes[31 - 1])
    assert.equal(151, hits[27])
    assert.matches('^#2  ok := false;  why := ".*oh \\1\\""$', notes[31])
    assert.equal(1, hits[35])
    assert.equal("got := 1", notes[38])
    assert.equal('t := { 1, {...}, a = "b" }', notes[39])
    assert.equal("PID-9 := hl7.null", notes[40])
    assert.equal('PID-9 = hl7.null;  raw("PID-5") = "Do e^J";  all("OBX[*]-1") = { "1", "2", "3", "4", "5" };  '
      .. 'null := hl7.null;  raw := "Do e^J";  all := { "1", "2", "3", "4", "5" }', notes[41])
    assert.equal('latin := "\239\191\189";  long := "' .. ("x"):rep(96) .. '"…', notes[42])
    assert.matches('^PID%-8 = "M";  PID%-8 = "M";  last := "Mm1"$', notes[45])
  end)

  it("the script cannot see that it is watched", function()
    s:write("channels/adt.lua", (script:gsub("%-%-MORE%-%-", [[
      msg["ZZ1-2"] = tostring(debug) .. tostring(getmetatable(msg)) .. type(msg.raw) .. tostring(package)
    ]])))
    local plain, watched = { s:run("eval", "-c", "adt", s.path .. "/samples/m.hl7") },
      { s:run("eval", "-c", "adt", "--annotate", s.path .. "/samples/m.hl7") }
    assert.truthy(plain[2]:find("ZZ1|7|nilmessagefunctionnil", 1, true))
    assert.equal(plain[2], watched[2]:sub(1, #plain[2]))
  end)

  it("--html: one page, escaped", function()
    local status, out = run(message "1", "--html")
    assert.equal(0, status)
    assert.matches("^<!doctype html>", out)
    assert.matches('PID%-5.1 := &quot;Do e&quot;', out)
    assert.is_nil(out:find("<1>", 1, true))
    assert.truthy(out:find("|&lt;1&gt;|", 1, true))
    assert.is_nil(out:find "https?://")
  end)

  it("--coverage: lines that can run and did, over all messages; lcov", function()
    local file = s:write("samples/two.hl7", message "1" .. message "2")
    local status, out = s:run("eval", "-c", "adt", "--coverage", file)
    assert.equal(0, status)
    assert.equal("file              lines    ran  not run\n"
      .. "channels/adt.lua     22  95.4%  17\n"
      .. "lib/clean.lua         1 100.0%\n"
      .. "all                  23  95.6%\n", out)
    status, out = s:run("eval", "-c", "adt", "--coverage", "--json", "--lcov", s.path .. "/lcov.info", file)
    assert.equal(0, status)
    local doc = json.lines(out)
    doc = doc[#doc]
    assert.same({ 23, 22 }, { doc.lines, doc.ran })
    local lcov = s:read "lcov.info"
    assert.matches("SF:/[^\n]*/channels/adt.lua\n", lcov)
    assert.matches("\nDA:10,2\n", lcov)
    assert.matches("\nDA:17,0\n", lcov)
    assert.matches("\nLF:1\nLH:1\nend_of_record\n$", lcov)
  end)

  it("mistakes: one line", function()
    for _, words in ipairs { { "--annotate", "--coverage" }, { "--html", "--json" } } do
      local status, out, err = run(message "1", unpack(words))
      assert.same({ 2, "" }, { status, out })
      assert.matches("not both", err)
    end
    local status, _, err = s:run("eval", "-c", "adt", "--lcov", "/nowhere/x", s.path .. "/samples/m.hl7")
    assert.equal(1, status)
    assert.matches("/nowhere/x: No such file", err)
  end)
end)
