local oru = lunate.channel "oru_to_ehr"

-- What became of a message for a destination: { kind = "bytes", raw, changed } or { kind =
-- "filtered", reason }.
local function output(message, dest)
  for _, o in ipairs(oru:run(message).outputs) do
    if o.dest == dest then return o end
  end
end

describe("oru_to_ehr", function()
  it("gives final and corrected results to the EHR, byte for byte", function()
    for _, sample in ipairs { "oru_final", "oru_corrected" } do
      local bytes = lunate.sample(sample)
      assert.equal(bytes, output(bytes, "ehr").raw)
    end
  end)

  it("keeps preliminary ones from the EHR, and says why", function()
    local o = output(lunate.sample "oru_preliminary", "ehr")
    assert.equal("filtered", o.kind)
    assert.equal("result status (OBR-25) is P", o.reason)
  end)

  it("holds a message back when one of its orders is preliminary, or says nothing", function()
    local msg = hl7.parse(lunate.sample "oru_final")
    local obr = msg:add "OBR"
    assert.equal("result status (OBR-25) is absent", output(msg, "ehr").reason)
    obr[25] = "F"
    assert.equal("bytes", output(msg, "ehr").kind)
  end)

  it("archives all of them", function()
    for _, sample in ipairs { "oru_final", "oru_preliminary", "oru_corrected" } do
      local bytes = lunate.sample(sample)
      assert.equal(bytes, output(bytes, "archive").raw)
    end
  end)

  it("filters what is not a result", function()
    assert.equal("not a result", oru:run(lunate.sample "adt_a01").reason)
  end)
end)
