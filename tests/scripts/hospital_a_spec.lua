-- The demo site is what people copy from: it loads, its specs pass, and the demo that shows it ends
-- well by itself, also without a terminal.
local site = require "support.site"
local proc = require "support.proc"

local function run(...)
  return proc.run { timeout = 60, env = { NO_COLOR = "1" }, ... }
end

describe("scripts/hospital-a", function()
  after_each(site.cleanup)

  it("loads", function()
    local status, out, err = run(site.binary(), "-C", "scripts/hospital-a", "check")
    assert.equal(0, status, out .. err)
  end)

  it("passes its specs", function()
    local status, out, err = run(site.binary(), "-C", "scripts/hospital-a", "test")
    assert.equal(0, status, out .. err)
    assert.matches("[1-9]%d* successes / 0 failures / 0 errors", out)
  end)

  it("runs as the demo, from start to end", function()
    local status, out, err = run("sh", "contrib/demo.sh")
    assert.equal(0, status, out .. err)
    assert.matches("Everything came out as expected.", out, 1, true)
    assert.is_nil(out:find("\27", 1, true))
  end)

  it("fails the demo when something comes out otherwise", function()
    local copy = site.new()
    os.execute("cp -R contrib scripts " .. copy.path)
    copy:write("scripts/hospital-a/tables/facilities.csv",
      "#code,lab_code,name,phone\nNORTH,WRONG,Hospital A North,+12025550110\n" ..
      "SOUTH,HA02,\"Hospital A South, Building 2\",+12025550120\n" ..
      "CLINIC,HA10,Hospital A Day Clinic,+12025550130\n")
    local status, out = run("sh", copy.path .. "/contrib/demo.sh")
    assert.equal(1, status, out)
    assert.matches("NOT AS EXPECTED: MSH%-4 is WRONG", out)
  end)
end)
