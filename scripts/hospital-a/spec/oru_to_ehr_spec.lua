local oru = lunate.channel "oru_to_ehr"

-- What became of the output to a destination: its kind, and its reason or bytes.
local function output(r, dest)
  for _, o in ipairs(r.outputs) do
    if o.dest == dest then return o.kind, o.reason or o.raw end
  end
end

describe("oru_to_ehr", function()
  it("gives final and corrected results to the EHR, byte for byte", function()
    for _, sample in ipairs { "oru_final", "oru_corrected" } do
      local bytes = lunate.sample(sample)
      local r = oru:run(bytes)
      assert.equal("done", r.state, r.reason)
      assert.same({ "bytes", bytes }, { output(r, "ehr") })
    end
  end)

  it("keeps preliminary ones from the EHR, and says why", function()
    local kind, reason = output(oru:run(lunate.sample "oru_preliminary"), "ehr")
    assert.equal("filtered", kind)
    assert.equal("result status (OBR-25) is P", reason)
  end)

  it("holds a message back when one of its orders is preliminary, or says nothing", function()
    local msg = hl7.parse(lunate.sample "oru_final")
    local obr = msg:add "OBR"
    local kind, reason = output(oru:run(msg), "ehr")
    assert.equal("filtered", kind)
    assert.equal("result status (OBR-25) is absent", reason)
    obr[25] = "F"
    assert.equal("bytes", (output(oru:run(msg), "ehr")))
  end)

  it("archives all of them", function()
    for _, sample in ipairs { "oru_final", "oru_preliminary", "oru_corrected" } do
      local r = oru:run(lunate.sample(sample))
      assert.equal(lunate.sample(sample), select(2, output(r, "archive")))
    end
  end)

  it("filters what is not a result", function()
    assert.equal("not a result", oru:run(lunate.sample "adt_a01").reason)
  end)
end)
