-- The channel's script runs here in a worker, as in the engine.
local adt = lunate.channel "adt_to_lab"

local function to_lab(sample)
  local r = adt:run(lunate.sample(sample))
  assert.equal("done", r.state, r.reason)
  return r:to "lab"
end

-- An ADT made for one question.
local function message(event, pid)
  local msh = "MSH|^~\\&|EHR|NORTH|LAB|A|20260105||ADT^" .. event .. "|1|P|2.5.1"
  return msh .. "\r" .. (pid or "PID|||1") .. "\r"
end

describe("adt_to_lab", function()
  it("takes the six events the laboratory asked for", function()
    for _, event in ipairs { "A01", "A02", "A03", "A04", "A08", "A31" } do
      assert.equal("done", adt:run(message(event)).state)
    end
  end)

  it("filters all others, and says why", function()
    local r = adt:run(lunate.sample "adt_a40")
    assert.equal("filtered", r.state)
    assert.equal("the laboratory does not take A40", r.reason)
    assert.equal("not an ADT", adt:run(lunate.sample "oru_final").reason)
  end)

  it("writes the laboratory's code of the facility", function()
    local msg = to_lab "adt_a08"
    assert.equal("HA02", msg:raw "MSH-4") -- our own id of it goes, too
  end)

  it("parks what comes from a facility it does not know", function()
    local r = adt:run(lunate.sample "adt_new_facility")
    assert.equal("error", r.state)
    assert.matches("facility 'HARBOUR' is not in tables/facilities.csv", r.reason, 1, true)
  end)

  it("parks an ADT without a patient", function()
    assert.equal("error", adt:run(message("A08", "EVN|A08")).state)
  end)

  it("normalises names and phone numbers", function()
    local msg = to_lab "adt_a01"
    assert.equal("TESTPERSON^ANNA^B", msg:raw "PID-5")
    assert.equal("+12025550123", msg["PID-13.1"])
    assert.equal("+12025550187X45", msg["PID-14.1"])
  end)

  it("does so in every repetition, and keeps nulls", function()
    local msg = to_lab "adt_a08"
    assert.equal("VON MUSTERMANN&VON&MUSTERMANN^JÜRGEN^^^Dr~BEISPIEL^JÜRGEN^^^^^A", msg:raw "PID-5")
    assert.equal(hl7.null, msg["PID-13.1"])
    assert.equal("+4930901820^WPN^PH", msg:raw "PID-14")
  end)

  it("adds ZPD", function()
    local msg = to_lab "adt_a08"
    assert.equal("ZPD|1|UPDATED|SOUTH|Hospital A South, Building 2|+12025550120",
      tostring(msg):match "ZPD[^\r]*")
  end)

  it("leaves everything else as it came", function()
    local before, after = lunate.sample "adt_a01", tostring(to_lab "adt_a01")
    for _, name in ipairs { "EVN", "NK1", "PV1" } do
      assert.equal(before:match(name .. "[^\r]*"), after:match(name .. "[^\r]*"))
    end
  end)
end)
