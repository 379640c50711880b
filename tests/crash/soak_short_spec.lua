-- The short form of `make soak`, part of every `make test`; and that its book-keeping sees what is wrong.
local site = require "support.site"
local soak = require "crash.soak"
local ledger = require "crash.soak_ledger"

describe("crash/soak (short)", function()
  after_each(site.cleanup)

  it("reloads, holds, outages, refusals and kills in ten seconds: all arrives, in order, counts agree", function()
    local w = soak.run { seconds = 10, seed = os.time(), pause = 0.6, rate = 200, say = function() end }
    assert.is_true(w.load:total() > 10)
    io.stderr:write(("## %d acknowledged, %d ends of the engine, none lost, counts agree\n"):format(w.load:total(),
      w.kills))
  end)

  it("sees what is lost, out of order, or there twice", function()
    local l = ledger.new("out", function(n) return n ~= 3 end, { 1 })
    for _, n in ipairs { 1, 2, 4, 5 } do l:arrived(1, n) end
    assert.same({ {}, {} }, { l.faults, l:missing { 5 } })
    assert.same({ "S1-6" }, l:missing { 6 })
    l:arrived(1, 5)
    assert.same({ "out: S1-5 came again, and nothing explains it" }, l.faults)
    l:arrived(1, 8)
    assert.same("out: S1-8 came before S1-6", l.faults[2])
    assert.same({ "S1-6", "S1-7" }, l:missing { 8 })
    l:refused(1, 9)
    assert.same({ "S1-6", "S1-7", "S1-9" }, l:missing { 9 })
    for _, n in ipairs { 6, 7, 9 } do l:arrived(1, n) end
    assert.same({}, l:missing { 9 })
    l:replay(2)
    l:arrived(1, 8)
    l:arrived(1, 9)
    assert.equal(3, #l.faults)
    l:arrived(1, 10)
    l:arrived(1, 9)
    assert.equal(4, #l.faults)
    l:expect(1, 10)
    l:arrived(1, 10)
    l:arrived(1, 3)
    assert.equal("out: S1-3 is not meant for it", l.faults[5])
  end)
end)
