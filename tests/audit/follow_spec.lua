-- Reading along the audit log. Guards: nothing is given that no signature covers; what was given and
-- marked is not given again, what was not marked is; what verify would find is said.
local ln = require "support.ln"
local tmp = require "support.tmp"
local site = require "support.site"
local C, ffi = ln.C, ln.ffi

local function append(data, n, max)
  local out, err = ffi.new "struct ln_audit *[1]", ffi.new "struct ln_err"
  assert(C.ln_audit_open(data, max or 0, out, err) == 0, ffi.string(err.text))
  local e = ffi.new "struct ln_audit_entry[1]"
  e[0].action, e[0].object = "show", "in/1"
  for _ = 1, n do assert(C.ln_audit_append(out[0], e, 1, err) == 0, ffi.string(err.text)) end
  C.ln_audit_close(out[0])
end

local function open(data)
  local out, err = ffi.new "struct ln_audit_follow *[1]", ffi.new "struct ln_err"
  assert(C.ln_audit_follow_open(data, out, err) == 0, ffi.string(err.text))
  return ffi.gc(out[0], C.ln_audit_follow_close)
end

-- Numbers of what it gives now, and what it says of them: { { number, note } ... }.
local function take(f)
  local e, err, numbers, notes = ffi.new "struct ln_audit_followed", ffi.new "struct ln_err", {}, {}
  while true do
    local rc = C.ln_audit_follow_next(f, e, err)
    if rc ~= 0 then return numbers, notes, rc, ffi.string(err.text) end
    numbers[#numbers + 1] = tonumber(e.seq)
    local note = ffi.string(e.note)
    if note ~= "" then notes[#notes + 1] = { tonumber(e.seq), note } end
  end
end

local function mark(f)
  local err = ffi.new "struct ln_err"
  assert(C.ln_audit_follow_mark(f, err) == 0, ffi.string(err.text))
end

local function range(a, b)
  local list = {}
  for i = a, b do list[#list + 1] = i end
  return list
end

local function read(data, name) return tmp.read(data .. "/audit/" .. name) end
local function write(data, name, text) tmp.write(data .. "/audit/" .. name, text) end
local FIRST = "000000000001.jsonl"

describe("audit/follow", function()
  after_each(site.cleanup)

  it("gives each entry once, over files, and goes on behind the mark after a crash", function()
    local data = tmp.dir()
    append(data, 30, 2000)
    local f = open(data)
    assert.same(range(1, 31), (take(f)))
    C.ln_audit_follow_rewind(f)
    assert.same(range(1, 31), (take(f)))
    mark(f)
    assert.same({}, (take(f)))
    append(data, 2, 2000)
    assert.same({ 32, 33 }, (take(f)))
    local g = open(data) -- as after a kill -9: these two were not marked
    local numbers, notes = take(g)
    assert.same({ 32, 33 }, numbers)
    assert.same({}, notes)
    mark(g)
    append(data, 1)
    mark(f) -- an older mark beside the newer one: the newest counts
    assert.same({ 34 }, (take(open(data))))
  end)

  it("half a mark leaves the one before", function()
    local data = tmp.dir()
    append(data, 3)
    local f = open(data)
    take(f)
    mark(f)
    append(data, 2)
    take(f)
    mark(f)
    local sent = read(data, "sent")
    assert.equal(256, #sent)
    write(data, "sent", sent:sub(1, 130) .. "x" .. sent:sub(132))
    assert.same({ 5, 6 }, (take(open(data))))
    write(data, "sent", "")
    assert.same(range(1, 6), (take(open(data))))
  end)

  it("an entry that is not signed waits for the next signature", function()
    local data = tmp.dir()
    append(data, 3)
    local head = read(data, "head")
    append(data, 2)
    write(data, "head", head) -- the writer was killed before it had signed
    local f = open(data)
    assert.same(range(1, 4), (take(f)))
    append(data, 1) -- says so, and signs
    local numbers, notes = take(f)
    assert.same(range(5, 8), numbers)
    assert.same({}, notes)
    write(data, "head", "")
    local _, _, rc, why = take(open(data))
    assert.equal(C.LN_EAGAIN, rc, why)
  end)

  it("says what was changed, taken out, put in another order, or put back", function()
    local data = tmp.dir()
    append(data, 5)
    local text = read(data, FIRST)
    local lines = {}
    for line in text:gmatch "[^\n]*\n" do lines[#lines + 1] = line end
    local function with(list)
      write(data, FIRST, table.concat(list))
      return take(open(data))
    end
    local _, notes = with { lines[1], lines[2], (lines[3]:gsub("in/1", "in/2")), lines[4], lines[5], lines[6] }
    assert.equal(3, notes[1][1])
    assert.matches("entry 3 was changed", notes[1][2])
    _, notes = with { lines[1], lines[2], lines[5], lines[6] }
    assert.same({ { 5, "entries 3 to 4 are missing" } }, notes)
    _, notes = with { lines[1], lines[3], lines[2], lines[4], lines[5], lines[6] }
    assert.same({ { 3, "entries 2 to 2 are missing" }, { 2, "entry 2 stands behind entry 3" },
      { 4, "entries 3 to 3 are missing" } }, notes)
    write(data, FIRST, text)
    local f = open(data)
    take(f)
    mark(f)
    write(data, FIRST, table.concat(lines, "", 1, 3)) -- cut off, and another goes on
    append(data, 2)
    local numbers
    numbers, notes = take(open(data))
    assert.equal(7, numbers[1])
    assert.same({}, notes) -- the first of them is audit.cut itself
    os.execute("cd " .. tmp.quote(data .. "/audit") .. " && rm *.jsonl head")
    append(data, 2) -- another log under the same key
    numbers, notes = take(open(data))
    assert.equal(1, numbers[1])
    assert.matches("not the one that was sent before", notes[1][2])
  end)
end)
