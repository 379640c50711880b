-- hl7.diff: what differs between two messages, and how segments and repetitions are brought in line.
local hl7 = require "support.hl7"

local HEAD = "MSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.5\r"

local function message(...)
  return HEAD .. table.concat({ ... }, "\r") .. "\r"
end

--- Differences as short texts: "changed PID-5.1 a>b", with - for absent and 0 for empty.
local function short(a, b, o)
  local function show(v)
    return v == nil and "-" or v == "" and "0" or v
  end
  local out = {}
  for i, d in ipairs(hl7.diff(a, b, o)) do
    local from = d.from_path and d.from_path .. "=" or ""
    out[i] = ("%s %s%s%s %s>%s"):format(d.kind, from, d.path, d.last and ".." .. d.last or "",
      show(d.from), show(d.to))
  end
  return out
end

describe("script/diff: values", function()
  it("gives nothing for the same message, bytes or objects", function()
    local text = message("PID|1||7^^^H~8||DOE^J", "OBX|1|ST|A||x", "OBX|2|ST|A||x")
    assert.same({}, short(text, text))
    assert.same({}, short(hl7.parse(text), text))
    assert.equal("", tostring(hl7.diff(text, text)))
  end)

  it("goes down to what differs", function()
    assert.same({ "changed PID-5.1 DOE>ROE", "changed PID-8 F>M" },
      short(message "PID|1||7||DOE^J|||F", message "PID|1||7||ROE^J|||M"))
    assert.same({ "changed PID-5.1.2 a>b", "added PID-5.3 ->X" },
      short(message "PID|||||N&a^J", message "PID|||||N&b^J^X"))
    assert.same({ "added PID-5.1.2 ->b" }, short(message "PID|||||N", message "PID|||||N&b"))
    assert.same({ "added PID-5.2 ->J" }, short(message "PID|||||N", message "PID|||||N^J"))
  end)

  it("gives a whole field that came or went as one", function()
    assert.same({ "added PID-3 0>7^^^H~8", "removed PID-5 DOE^J>-" },
      short(message "PID|1||||DOE^J", message "PID|1||7^^^H~8"))
  end)

  it("tells null, empty and absent apart", function()
    assert.same({ 'changed PID-3 "">x', 'added PID-4 0>""', 'changed PID-5 0>-' },
      short(message 'PID|1||""||', message 'PID|1||x|""'))
    assert.same({ "changed PID-2..PID-5 ->0" }, short(message "PID|1", message "PID|1||||"))
    assert.same({ "changed PID-5.2..PID-5.3 ->0" }, short(message "PID|||||A", message "PID|||||A^^"))
    assert.same({}, short(message "PID|1||A", message "PID|1||A^^||", { ignore_empty = true }))
    assert.same({ 'removed PID-2 "">0' },
      short(message 'PID|1|""', message "PID|1||", { ignore_empty = true }))
  end)

  it("sees repetitions that came, went, moved or changed", function()
    assert.same({ "added PID-3[1] ->0^^^N" },
      short(message "PID|1||7^^^H~8^^^I", message "PID|1||0^^^N~7^^^H~8^^^I"))
    assert.same({ "removed PID-3[1] 7^^^H>-" },
      short(message "PID|1||7^^^H~8^^^I", message "PID|1||8^^^I"))
    assert.same({ "changed PID-3[2].4 I>J" },
      short(message "PID|1||7^^^H~8^^^I", message "PID|1||7^^^H~8^^^J"))
    assert.same({ "removed PID-3[1] 7^^^H>-", "changed PID-3[2].4=PID-3[1].4 I>J", "added PID-3[2] ->9" },
      short(message "PID|1||7^^^H~8^^^I", message "PID|1||8^^^J~9"))
    assert.same({ "moved PID-3[2]=PID-3[1] 8^^^I>8^^^I" },
      short(message "PID|1||7^^^H~8^^^I", message "PID|1||8^^^I~7^^^H"))
  end)

  it("compares escapes as they stand, and MSH-2 whole", function()
    assert.same({ "changed PID-5 a\\T\\b>a\\X26\\b" }, short(message "PID|||||a\\T\\b", message "PID|||||a\\X26\\b"))
    assert.same({ "changed MSH-2 ^~\\&>^~\\&#" }, short(message "PID|1", (message "PID|1":gsub("&|", "&#|", 1))))
  end)

  it("brings other delimiters into line", function()
    local b = "MSH#!@%*#A#B#C#D#2026##ORU!R01#1#P#2.5\rPID#1##7!!!H@8##D%F%E*f!a|b\r"
    assert.same({ "changed MSH-1 |>#", "changed MSH-2 ^~\\&>!@%*", "changed PID-5.1.1 D>D#E" },
      short(message "PID|1||7^^^H~8||D&f^a\\F\\b", b))
  end)
end)

describe("script/diff: segments", function()
  it("sees what was inserted and removed, renumbered set ids and all", function()
    local a = message("OBR|1", "OBX|1|NM|GLU||1", "OBX|2|NM|NA||140", "OBX|3|NM|K||4")
    local b = message("OBR|1", "OBX|1|NM|GLU||1", "OBX|2|NM|CL||99", "OBX|3|NM|NA||140", "OBX|4|NM|K||4")
    assert.same({ "added OBX[2] ->OBX|2|NM|CL||99", "changed OBX[2]-1=OBX[3]-1 2>3",
      "changed OBX[3]-1=OBX[4]-1 3>4" }, short(a, b))
    assert.same({ "removed OBX[2] OBX|2|NM|CL||99>-", "changed OBX[3]-1=OBX[2]-1 3>2",
      "changed OBX[4]-1=OBX[3]-1 4>3" }, short(b, a))
  end)

  it("sees a move as a move, with what changed on the way", function()
    local a = message("PID|1", "PV1|1|I", "AL1|1||X", "DG1|1||Y")
    assert.same({ "moved PV1=PV1 PV1|1|I>PV1|1|I" }, short(a, message("PID|1", "AL1|1||X", "DG1|1||Y", "PV1|1|I")))
    assert.same({ "moved PV1=PV1 PV1|1|I>PV1|1|O", "changed PV1-2 I>O" },
      short(a, message("PID|1", "AL1|1||X", "DG1|1||Y", "PV1|1|O")))
    assert.same({ "moved OBX[2]=OBX[1] OBX|2|NM|B||1>OBX|2|NM|B||1" },
      short(message("OBX|1|NM|A||1", "OBX|2|NM|B||1"), message("OBX|2|NM|B||1", "OBX|1|NM|A||1")))
  end)

  it("pairs what is alike, and not what has nothing in common", function()
    assert.same({ "changed OBX[2]-3.1 GLU>2345-7", "changed OBX[2]-3.3 L>LN" },
      short(message("OBX|1|NM|NA||140|mmol/L", "OBX|2|NM|GLU^Glucose^L||182|mg/dL|70-105|H"),
        message("OBX|1|NM|NA||140|mmol/L", "OBX|2|NM|2345-7^Glucose^LN||182|mg/dL|70-105|H")))
    assert.same({ "removed OBX[1] OBX|1|NM|GLU||182|mg/dL|70>-", "added OBX[1] ->OBX|1|ST|NOTE||see below" },
      short(message("OBX|1|NM|GLU||182|mg/dL|70", "OBX|2|NM|NA"), message("OBX|1|ST|NOTE||see below", "OBX|2|NM|NA")))
    assert.same({ "changed ZPD-1 a>b" }, short(message "ZPD|a", message "ZPD|b"))
  end)

  it("keeps a note with what it stands behind", function()
    local a = message("OBX|1|NM|A||1", "NTE|1||low", "OBX|2|NM|B||2", "NTE|1||low")
    assert.same({ "added NTE[2] ->NTE|2||again" },
      short(a, message("OBX|1|NM|A||1", "NTE|1||low", "NTE|2||again", "OBX|2|NM|B||2", "NTE|1||low")))
  end)

  it("says where a segment stands in each message", function()
    local d = hl7.diff(message("PID|1", "PV1|1", "DG1|1", "NTE|1"), message("NTE|1", "PID|2", "PV1|1", "DG1|1"))
    assert.same({ "moved", "NTE", 5, 2 }, { d[1].kind, d[1].segment, d[1].from_at, d[1].to_at })
    assert.same({ "changed", "PID-1", 2, 3 }, { d[2].kind, d[2].path, d[2].from_at, d[2].to_at })
    assert.equal("NTE moved from NTE: NTE|1\nPID-1 changed: 1 -> 2", tostring(d))
  end)
end)

describe("script/diff: ignoring", function()
  local a = message("PID|1||7^^^H~8^^^I||DOE^J", "OBX|1|NM|A||1|||||||||2026", "OBX|2|NM|B||2", "ZPD|1")
  local b = message("PID|1||0^^^H~8^^^I||DOE^K", "OBX|1|NM|A||1|||||||||2027", "OBX|2|NM|B||3|||||||||2028", "ZPD|2")

  it("leaves out fields, repetitions, components and segments", function()
    local all = { "changed PID-3[1].1 7>0", "changed PID-5.2 J>K", "changed OBX[1]-14 2026>2027",
      "changed OBX[2]-5 2>3", "added OBX[2]-14 ->2028", "changed ZPD-1 1>2" }
    local function without(...)
      local drop, list = {}, {}
      for _, i in ipairs { ... } do drop[i] = true end
      for i, d in ipairs(all) do
        if not drop[i] then list[#list + 1] = d end
      end
      return list
    end
    local full = short(a, b)
    assert.same(all, full)
    assert.same(without(3, 5), short(a, b, { ignore = "OBX-14" , ignore_empty = true }))
    assert.same(without(1, 6), short(a, b, { ignore = { "PID-3[1].1", "ZPD" }, ignore_empty = true }))
    assert.same(without(2, 3), short(a, b, { ignore = "PID-5.2, OBX[1]-14", ignore_empty = true }))
    assert.same(without(1), short(a, b, { ignore = "PID-3[*].1", ignore_empty = true }))
  end)

  it("leaves an ignored field out of the pairing, too", function()
    local x = message("OBX|1|ST|A||v1|||||||||1", "OBX|2|ST|A||v2|||||||||2")
    local y = message("OBX|1|ST|A||v0|||||||||9", "OBX|2|ST|A||v1|||||||||9", "OBX|3|ST|A||v2|||||||||9")
    assert.same({ "added OBX[1] ->OBX|1|ST|A||v0|||||||||9" }, short(x, y, { ignore = "OBX[*]-14,OBX-1" }))
  end)

  it("a wrong path or argument is an error at the caller", function()
    for _, bad in ipairs { "PID-", "pid-3", "PID-3.1.2.3", "PID-3[x]", "" } do
      local ok, err = pcall(hl7.diff, a, b, { ignore = { bad } })
      assert.is_false(ok)
      assert.matches("is not a path to ignore", err)
    end
    assert.matches("the second message: byte 0", select(2, pcall(hl7.diff, a, "x")))
    assert.matches("the first message: a message or its bytes are expected", select(2, pcall(hl7.diff, 1, "x")))
  end)
end)

describe("script/diff: size", function()
  -- Counts what the engine does instead of how long it takes: cells and tokens are linear.
  local function big(n, change)
    local out = { HEAD }
    for i = 1, n do
      out[#out + 1] = ("OBX|%d|NM|C%d^Name||%d|mg|||||F|||2026\r"):format(i, i % 50, change and i + 1 or i)
    end
    return table.concat(out)
  end

  it("every segment of 20,000 changed", function()
    assert.equal(20000, #hl7.diff(big(20000), big(20000, true)))
  end)

  it("blocks of many that come and go", function()
    local a = big(20000)
    local lines = {}
    for line in a:gmatch "[^\r]+" do lines[#lines + 1] = line end
    local b = {}
    for i, line in ipairs(lines) do
      if i < 5000 or i > 9000 then b[#b + 1] = line end
      if i == 12000 then
        for k = 1, 3000 do b[#b + 1] = "NTE|" .. k .. "||new" end
      end
    end
    local count = { added = 0, removed = 0, moved = 0, changed = 0 }
    for _, d in ipairs(hl7.diff(a, table.concat(b, "\r") .. "\r")) do count[d.kind] = count[d.kind] + 1 end
    assert.same({ added = 3000, removed = 4001, moved = 0, changed = 0 }, count)
  end)

  it("the same line 20,000 times against 19,000 times", function()
    local line = "NTE|1||same\r"
    assert.equal(1000, #hl7.diff(HEAD .. line:rep(20000), HEAD .. line:rep(19000)))
  end)

  it("a field of 20,000 repetitions", function()
    local a, b = {}, {}
    for i = 1, 20000 do a[i], b[i] = "i" .. i, "i" .. (i + 1) end
    assert.equal(2, #hl7.diff(message("PID|1||" .. table.concat(a, "~")), message("PID|1||" .. table.concat(b, "~"))))
  end)
end)
