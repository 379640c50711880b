-- hl7.batch: envelopes of every shape, counts, several messages without any; and back.
local hl7 = require "support.hl7"

local function msh(id)
  return "MSH|^~\\&|A|B|C|D|2026||ADT^A01|" .. id .. "|P|2.5\rPID|1||" .. id .. "\r"
end

local function ids(list)
  local t = {}
  for i, m in ipairs(list) do t[i] = m.control_id end
  return table.concat(t, " ")
end

local function problems(b)
  local t = {}
  for i, p in ipairs(b.problems) do t[i] = p.where .. ": " .. p.text end
  return t
end

describe("script/batch", function()
  it("splits every shape of envelope", function()
    for _, c in ipairs {
      { msh "1" .. msh "2", 1 }, { "BHS|^~\\&\r" .. msh "1" .. msh "2" .. "BTS|2\r", 1 },
      { "FHS|^~\\&\rBHS|^~\\&\r" .. msh "1" .. "BTS|1\rBHS|^~\\&\r" .. msh "2" .. "BTS|1\rFTS|2\r", 2 },
      { "\239\187\191\r\n" .. (msh "1" .. msh "2"):gsub("\r", "\r\n"), 1 },
      { "FHS|^~\\&\r" .. msh "1" .. msh "2" .. "FTS|1\r", 1 }, { "BHS#!@%*\r" .. msh "1" .. msh "2" .. "BTS#2\r", 1 },
      { (msh "1" .. "\r\r" .. msh "2"):gsub("\r", "\n"), 1 }, { "BHS|^~\\&\r" .. msh "1" .. msh "2" .. "BTS\r", 1 },
    } do
      local b = hl7.batch.split(c[1])
      assert.same({ "1 2", c[2] }, { ids(b.messages), #b.batches }, c[1])
      assert.same({}, problems(b), c[1])
    end
    local none = hl7.batch.split "FHS|^~\\&\rBHS|^~\\&\rBTS|0\rFTS|1\r"
    assert.same({ 0, 1, 0 }, { #none.messages, #none.batches, #none.problems })
    assert.equal("1", hl7.batch.split("BHS|^~\\&\r" .. msh "1" .. "BTS|1|x\r").batches[1].messages[1].control_id)
  end)

  it("lists what is wrong", function()
    for text, want in pairs {
      ["BHS|^~\\&\r" .. msh "1" .. "BTS|2\r"] = "BTS-1: BTS-1 says 2, there are 1 messages",
      ["BHS|^~\\&\r" .. msh "1" .. "BTS|some\r"] =
        "BTS-1: BTS-1 says something that is no number, there are 1 messages",
      ["FHS|^~\\&\rBHS|^~\\&\r" .. msh "1" .. "BTS|1\rFTS|7\r"] = "FTS-1: FTS-1 says 7, there are 1 batches",
      ["BHS|^~\\&\r" .. msh "1"] = "BTS: BHS without BTS behind it",
      ["FHS|^~\\&\r" .. msh "1"] = "FTS: FHS without FTS behind it",
      ["# a comment\r" .. msh "1"] = ": a line of 11 bytes that belongs to no message",
      ["BTS|0\r"] = "BHS: BTS without BHS",
    } do
      assert.same({ want }, problems(hl7.batch.split(text)), text)
    end
  end)

  it("builds what it splits", function()
    local a, b = hl7.parse(msh "1"), hl7.parse "MSH#!@%*#X#Y#Z#Q#2026##ADT!A01#2#P#2.5\rPID#1##2\r"
    for _, o in ipairs { {}, { file = true }, { batch = false }, { batch = false, file = true } } do
      o.messages = { a, tostring(b) }
      local text = hl7.batch.build(o)
      local back = hl7.batch.split(text)
      assert.equal("1 2", ids(back.messages))
      if o.batch ~= false or not o.file then assert.same({}, problems(back)) end
      assert.equal(tostring(a), tostring(back.messages[1]))
      assert.equal(tostring(b), tostring(back.messages[2]))
      if o.file then assert.equal("A", back.file["FHS-3"]) end
    end
    local other = hl7.batch.split(hl7.batch.build { messages = { b }, batch = { ["BHS-11"] = "id" } })
    assert.same({ "X", "id", "#" }, { other.batches[1].header["BHS-3"], other.batches[1].header["BHS-11"],
      other.batches[1].header["BHS-1"] })
    assert.same({ 0, 0 }, { #hl7.batch.split(hl7.batch.build { messages = {} }).messages, 0 })
  end)

  it("keeps the parties' bytes, whatever the delimiters and the set", function()
    local a = hl7.parse("MSH$%fj!?$M\252 2?$\r", { charset = { force = "8859/1" } })
    assert.equal("BHS$%fj!?$M\252 2?$", hl7.batch.build({ messages = { a } }):sub(1, 16))
    local plus = hl7.batch.build { messages = { "MSH+^+A\r" } }
    assert.equal("BHS+^+A++++", plus:sub(1, 11))
    assert.truthy(plus:match "^BHS%+%^%+A%+%+%+%+%d+%+%+%+%+%w+\r")
    assert.same({}, problems(hl7.batch.split(plus)))
  end)

  it("tells of bytes that look like nothing", function()
    assert.same({ ": a line of 1 bytes that belongs to no message" }, problems(hl7.batch.split "\187"))
    assert.same({}, problems(hl7.batch.split("\239\187\191" .. msh "1")))
    assert.equal("BHS: BTS without BHS", problems(hl7.batch.split "BTS\0x\r")[1])
  end)

  it("blames the caller's line", function()
    for want, o in pairs {
      ["message 1 is a number: messages and strings are known"] = { messages = { 5 } },
      ["BHS%-0: .+counted from 1"] = { messages = {}, batch = { ["BHS-0"] = "x" } },
      ["BHS%-3: a table is no value"] = { messages = {}, batch = { ["BHS-3"] = {} } },
    } do
      local ok, err = pcall(function() return (hl7.batch.build(o)) end)
      assert.is_false(ok)
      assert.truthy(err:find("batch_spec.lua:%d+: hl7.batch.build: " .. want), err)
    end
  end)

  it("says what is wrong with its arguments", function()
    assert.is_false(pcall(hl7.batch.split))
    assert.is_false(pcall(hl7.batch.build, { messages = {}, bacth = true }))
    assert.is_false(pcall(hl7.batch.build, { messages = { "no message" } }))
    assert.is_false(pcall(hl7.batch.build, { messages = {}, batch = { ["MSH-3"] = "x" } }))
  end)

  it("takes the character set of its messages", function()
    local b = hl7.batch.split(msh("1"):gsub("PID|1", "PID|M\252ller"), { charset = { default = "8859/1" } })
    assert.equal("Müller", b.messages[1]["PID-1"])
    local wide = "\255\254" .. (msh "1" .. msh "2"):gsub(".", "%0\0")
    assert.equal("1 2", ids(hl7.batch.split(wide).messages))
  end)
end)
