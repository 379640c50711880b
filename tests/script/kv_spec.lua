-- kv beyond what tests/role/worker_spec.lua shows: its sugar, limits, copies.
local peer = require "support.peer"

local raw = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r"

local function run(body, kv)
  local w = assert(peer.worker { kv = kv, body })
  local r = w:run(raw)
  return r.verdict == "done" and (w.logs[1] and w.logs[1].text or "") or r.reason, r
end

describe("script/kv", function()
  after_each(peer.cleanup)

  it("takes strings, numbers, booleans and plain tables, by get and set or by name", function()
    assert.equal("s 1.5 true 2 nil", (run [[
      kv.set("a", "s") kv.b = 1.5 kv["c"] = true kv.d = { x = { 1, 2 } }
      log.info("%s %s %s %s %s", kv.get "a", kv.b, tostring(kv.get "c"), kv.d.x[2],
        tostring(kv.none))]]))
    assert.truthy(run("kv.f = print"):find("no JSON form", 1, true))
    assert.truthy(run("kv.m = msg"):find("no JSON form", 1, true))
  end)

  it("gives copies: only set changes what is kept", function()
    local text, r = run("local t = kv.t t.n = 2 log.info('%d', kv.t.n)", { t = '{"n":1}' })
    assert.equal("1", text)
    assert.same({}, r.kv)
  end)

  it("lists keys in order, with what is pending", function()
    assert.equal("a,c,d a", (run([[kv.c = 1 kv.b = nil kv.delete "x" kv.d = 1
      log.info("%s %s", table.concat(kv.keys(), ","), table.concat(kv.keys "a", ","))]],
      { a = "1", b = "2", x = "3" })))
  end)

  it("keeps numbers and bytes exactly", function()
    local _, r = run("kv.a = kv.big kv.b = 'x\\0\\255'", { big = "12345678901234567890" })
    assert.same({ a = "12345678901234567890", b = '"x\\u0000\255"' }, r.kv)
  end)

  it("has limits that say so", function()
    assert.truthy(run("kv.set(('k'):rep(401), 1)"):find("1 to 400 bytes", 1, true))
    assert.truthy(run("kv.set('', 1)"):find("1 to 400 bytes", 1, true))
    assert.truthy(run("kv.set(1, 1)"):find("a kv key is a string", 1, true))
    assert.truthy(run("kv.x = ('v'):rep(2^20)"):find("at most 1 MiB", 1, true))
    assert.truthy(run("for i = 1, 10001 do kv.x = i end"):find("more than 10000", 1, true))
  end)

  it("is not written while the script loads", function()
    local _, err = peer.worker {
      script = "kv.x = 1 return channel { source = mllp.listen { port = 1 } }" }
    assert.truthy(err:find("^channels/x%.lua:1: kv can be written only while a message"), err)
  end)
end)
