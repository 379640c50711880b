-- The audit log's chain. Guards: whatever is done to it, byte by byte or line by line, verify finds
-- and names; what a killed writer leaves is healed openly; what cannot be written is refused.
local ln = require "support.ln"
local tmp = require "support.tmp"
local proc = require "support.proc"
local site = require "support.site"
local C, ffi = ln.C, ln.ffi

local function open(data, max)
  local out, err = ffi.new "struct ln_audit *[1]", ffi.new "struct ln_err"
  local rc = C.ln_audit_open(data, max or 0, out, err)
  if rc ~= 0 then return nil, ffi.string(err.text), rc end
  return ffi.gc(out[0], C.ln_audit_close)
end

-- The strings of list live as long as the call.
local function append(a, list)
  local e = ffi.new("struct ln_audit_entry[?]", #list)
  for i, item in ipairs(list) do
    for k, v in pairs(item) do e[i - 1][k] = v end
  end
  local err = ffi.new "struct ln_err"
  local rc = C.ln_audit_append(a, e, #list, err)
  return rc == 0, ffi.string(err.text), rc
end

local function close(a) C.ln_audit_close(ffi.gc(a, nil)) end

-- found: list of { file, line, seq, what }; the report.
local function check(data, o)
  o = o or {}
  local found = {}
  local v, r, err = ffi.new "struct ln_audit_verify", ffi.new "struct ln_audit_report", ffi.new "struct ln_err"
  local cb = ffi.cast("void (*)(void *, const char *, uint64_t, uint64_t, const char *)",
    function(_, file, line, seq, what)
      found[#found + 1] = { ffi.string(file), tonumber(line), tonumber(seq), ffi.string(what) }
    end)
  v.found, v.from = cb, o.from or 0
  if o.key then v.public_key = o.key end
  local known = ffi.new "struct ln_audit_known[1]"
  if o.known then
    known[0].seq = o.known[1]
    ffi.copy(known[0].hash, o.known[2])
    v.known, v.nknown = known, 1
  end
  local rc = C.ln_audit_check(data, v, r, err)
  cb:free()
  assert.equal(0, rc, ffi.string(err.text))
  assert.equal(tonumber(r.problems), #found)
  return found, r
end

local function names(data)
  local list = {}
  local p = io.popen("ls " .. tmp.quote(data .. "/audit"))
  for name in p:lines() do
    if name:match "jsonl$" then list[#list + 1] = data .. "/audit/" .. name end
  end
  p:close()
  return list
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]*\n" do list[#list + 1] = line end
  return list
end

-- A log of n entries (the first is that of the key).
local function filled(n, max)
  local data = tmp.dir()
  local a = assert(open(data, max))
  for i = 2, n do
    assert(append(a, { { action = "show", object = "adt_in/" .. i, reason = 'a "reason"\n\1\255' } }))
  end
  close(a)
  return data
end

-- A process that appends entry after entry, and says the number of each that is on disk.
local function writer(data, n, wrap)
  local script = tmp.file([[
    local ffi = require "ffi"
    local f = assert(io.open(os.getenv "LUNATE_CDEF"))
    ffi.cdef(f:read "*a")
    local C = ffi.load(os.getenv "LUNATE_LIB")
    local out, err = ffi.new "struct ln_audit *[1]", ffi.new "struct ln_err"
    local e = ffi.new "struct ln_audit_entry[1]"
    assert(C.ln_audit_open(arg[1], 100000, out, err) == 0, ffi.string(err.text))
    for i = 1, tonumber(arg[2]) do
      local text = ("x"):rep(i * 97 % 3000)
      e[0].action, e[0].text = "show", text
      assert(C.ln_audit_append(out[0], e, 1, err) == 0, ffi.string(err.text))
      io.write(i, "\n")
      io.flush()
    end]], "writer.lua")
  local o = { "luajit", script, data, n }
  for i = #(wrap or {}), 1, -1 do table.insert(o, 1, wrap[i]) end
  return proc.spawn(o)
end

describe("audit/chain", function()
  after_each(site.cleanup)

  it("is whole as written, by one writer or several, over files", function()
    local data = tmp.dir()
    local a, b = assert(open(data, 2000)), assert(open(data, 2000))
    for i = 1, 30 do
      assert(append(i % 2 == 0 and a or b, { { action = "show", object = "x/" .. i },
        { action = "show", object = "y/" .. i } }))
    end
    local found, r = check(data)
    assert.same({}, found)
    assert.equal(61, tonumber(r.entries))
    assert.equal(61, tonumber(r.signed_to))
    assert.truthy(tonumber(r.files) > 3)
    close(a)
    close(b)
  end)

  it("a change of any byte of any line is found in that line", function()
    local data = filled(4)
    local path = names(data)[1]
    local text = tmp.read(path)
    local starts, at = {}, 1
    for i, line in ipairs(lines(text)) do
      starts[i] = at
      at = at + #line
    end
    local kinds = { function(b) return (b + 1) % 256 end, function(b) return bit.bxor(b, 0x20) end,
      function() return 10 end, function() return 0 end }
    local tried = 0
    for i = 1, #text do
      for _, change in ipairs(kinds) do
        local b = change(text:byte(i))
        if b ~= text:byte(i) then
          tmp.write(path, text:sub(1, i - 1) .. string.char(b) .. text:sub(i + 1))
          local found = check(data)
          tried = tried + 1
          assert.truthy(#found > 0, ("byte %d to %d is not found"):format(i, b))
          local line = 1
          while starts[line + 1] and starts[line + 1] <= i do line = line + 1 end
          assert.truthy(found[1][2] == line or found[1][2] == 0 and line == 4 or found[1][2] == line + 1,
            ("byte %d to %d: line %d, said of line %d: %s"):format(i, b, line, found[1][2], found[1][4]))
        end
      end
    end
    assert.truthy(tried > 3 * #text)
    tmp.write(path, text)
    assert.same({}, (check(data)))
  end)

  it("lines that are missing, in another order, twice, or cut off are named", function()
    local data = filled(8)
    local path = names(data)[1]
    local l = lines(tmp.read(path))
    local function with(list) -- numbers of lines
      local out = {}
      for i, n in ipairs(list) do out[i] = l[n] end
      tmp.write(path, table.concat(out))
      return (check(data))
    end
    assert.same({}, with { 1, 2, 3, 4, 5, 6, 7, 8 })
    local found = with { 1, 2, 4, 5, 6, 7, 8 }
    assert.same({ 3, 3 }, { found[1][2], found[1][3] })
    assert.truthy(found[1][4]:find "entry 3 is missing")
    assert.truthy(with { 1, 2, 6, 7, 8 }[1][4]:find "entries 3 to 5 are missing")
    assert.truthy(with { 2, 3, 4, 5, 6, 7, 8 }[1][4]:find "missing")
    assert.truthy(with { 1, 3, 2, 4, 5, 6, 7, 8 }[1][3] == 2)
    assert.truthy(with { 1, 2, 3, 3, 4, 5, 6, 7, 8 }[1][4]:find "twice")
    found = with { 1, 2, 3, 4, 5 }
    assert.same({ 0, 6 }, { found[1][2], found[1][3] })
    assert.truthy(found[1][4]:find "entries 6 to 8 are missing at the end")
    assert.truthy(with {}[1][4]:find "entries 1 to 8 are missing at the end")
    os.remove(path)
    assert.truthy(check(data)[1][4]:find "entries 1 to 8 are missing at the end")
  end)

  it("a chain that was computed anew is not what was signed, nor what is known elsewhere", function()
    local data, forged = filled(6), tmp.dir()
    local a = assert(open(forged))
    for i = 2, 6 do assert(append(a, { { action = "show", object = "other/" .. i } })) end
    close(a)
    tmp.write(names(data)[1], tmp.read(names(forged)[1]))
    assert.truthy(check(data)[1][4]:find "signed")
    -- with the forger's own key and heads, too: only what lies elsewhere tells
    local key = tmp.file(tmp.read(data .. "/audit/public.pem"))
    local original = filled(6)
    local a2 = assert(open(original))
    local hash = ffi.new "char[65]"
    assert(append(a2, { { action = "show" } }))
    local seq = tonumber(C.ln_audit_head(a2, hash))
    close(a2)
    for _, name in ipairs { "head", "public.pem", "key.pem" } do
      tmp.write(data .. "/audit/" .. name, tmp.read(forged .. "/audit/" .. name))
    end
    assert.same({}, (check(data)))
    assert.truthy(check(data, { key = key })[1][4]:find "no head is signed with this key")
    assert.truthy(check(data, { known = { seq, ffi.string(hash) } })[1][4]:find "known from elsewhere")
    assert.same({}, (check(original, { known = { seq, ffi.string(hash) } })))
  end)

  it("a file that is missing, or older files that were moved away", function()
    local data = filled(40, 1500)
    local list = names(data)
    assert.truthy(#list > 3)
    local second = tmp.read(list[2])
    os.remove(list[2])
    assert.truthy(check(data)[1][4]:find "a file is missing")
    tmp.write(list[2], second)
    os.remove(list[1])
    local first = tonumber(list[2]:match "(%d+)%.jsonl")
    assert.truthy(#check(data) > 0)
    assert.same({}, (check(data, { from = first })))
  end)

  it("what a killed writer leaves is recorded by the next one, and nothing else may be", function()
    local data = filled(5)
    local path = names(data)[1]
    local text, head = tmp.read(path), tmp.read(data .. "/audit/head")
    for _, torn in ipairs { '{"seq":6,"prev":"', "{", '{"seq":6,"prev":"\0\0\0' } do
      tmp.write(path, text .. torn)
      local found, r = check(data)
      assert.same({}, found) -- nobody was told of it
      assert.is_true(r.torn)
      local a = assert(open(data))
      assert(append(a, { { action = "show", object = "x/1" } }))
      close(a)
      found, r = check(data)
      assert.same({}, found)
      assert.same({ 1, 7, false }, { tonumber(r.healed), tonumber(r.entries), r.torn })
      local all = tmp.read(path)
      assert.truthy(all:find('"action":"audit.healed"', 1, true))
      -- the torn bytes themselves cannot be changed any more
      tmp.write(path, (all:gsub('{"seq":6,"prev":"%z*\n{', "{}\n{", 1):gsub("\n{\n{", "\n[\n{", 1)))
      assert.truthy(#check(data) > 0, torn)
      tmp.write(path, text)
      tmp.write(data .. "/audit/head", head)
    end
  end)

  it("what was cut off, changed or added at the end stays told when others have written since", function()
    local data = filled(8)
    local path = names(data)[1]
    local text, head = tmp.read(path), tmp.read(data .. "/audit/head")
    local l = lines(text)
    local function after(changed, heads)
      tmp.write(path, changed)
      tmp.write(data .. "/audit/head", heads or head)
      for i = 1, 2 do -- the second does not see what the first one saw
        local a = assert(open(data))
        assert(append(a, { { action = "show", object = "x/" .. i } }))
        close(a)
      end
      local found, r = check(data)
      return found, r, tmp.read(path)
    end
    local found, _, all = after(table.concat(l, "", 1, 5))
    assert.equal(1, #found)
    assert.truthy(found[1][4]:find "entries 6 to 8 are missing", found[1][4])
    assert.truthy(all:find('"seq":9,[^\n]*"action":"audit.cut","object":"6%-8"'), all)
    assert.truthy(all:find '"seq":10,[^\n]*"object":"x/1"')
    -- a changed line at the end is not what a killed writer leaves; nor is one with a hash of its own
    assert.truthy(#after((text:gsub('adt_in/8"', 'adt_in/9"'))) > 0)
    local function hashed(body)
      local p = io.popen("sha256sum " .. tmp.quote(tmp.file(body)))
      local hex = p:read "*a":match "^%x+"
      p:close()
      return ('%s,"hash":"%s"}\n'):format(body, hex)
    end
    local last = l[8]:match '^(.*),"hash"'
    assert.equal(l[8], hashed(last))
    found, _, all = after(table.concat(l, "", 1, 7) .. hashed((last:gsub("adt_in/8", "adt_in/9"))))
    assert.truthy(#found > 0)
    assert.truthy(all:find('"action":"audit.cut","object":"8-8"', 1, true), all)
    assert.truthy(#after "" > 0)
    found = after(table.concat(l, "", 1, 5), (" "):rep(1024))
    assert.truthy(found[1][4]:find "no signed head was there", found[1][4])
    -- entries that nobody signed are no problem, but told: a writer can be killed before it does
    found, _, all = after(text .. hashed((last:gsub('"seq":8,"prev":"%x+"',
      '"seq":9,"prev":"' .. l[8]:match '"hash":"(%x+)"' .. '"'))))
    assert.same({}, found)
    assert.truthy(all:find('"action":"audit.unsigned","object":"9-9"', 1, true), all)
  end)

  it("a writer killed at the beginning of a file: the next one goes on behind the file before", function()
    local data = filled(12, 1500)
    local list = names(data)
    local path = ("%s/audit/%012d.jsonl"):format(data, 13)
    assert.not_equal(path, list[#list])
    local head = tmp.read(data .. "/audit/head")
    for _, torn in ipairs { '{"seq":13,"prev":"', "", "\n" } do
      tmp.write(path, torn)
      local a = assert(open(data))
      assert(append(a, { { action = "show", object = "x/1" } }))
      close(a)
      local found, r = check(data)
      assert.same({}, found, torn)
      assert.truthy(tonumber(r.last) > 12)
      os.remove(path)
      tmp.write(data .. "/audit/head", head)
    end
  end)

  it("an entry whose end of line alone is missing is one entry", function()
    local data = filled(5)
    local path = names(data)[1]
    tmp.write(path, (tmp.read(path):gsub("\n$", "")))
    local a = assert(open(data))
    assert(append(a, { { action = "show", object = "x/1" } }))
    close(a)
    assert.same({}, (check(data)))
  end)

  it("a process killed in the midst of writing loses nothing that was said to be written", function()
    local data = tmp.dir()
    local said = 0
    for round = 1, 8 do
      local p = writer(data, 1e9)
      site.wait_until(function() return #p:out() > 20 * round end, 20)
      p:kill(proc.KILL)
      p:wait(10)
      for _ in p:out():gmatch "%d+\n" do said = said + 1 end
      local found, r = check(data)
      assert.same({}, found)
      assert.truthy(tonumber(r.entries) >= said, p:err())
    end
  end)

  it("refuses when the disk has no room, and goes on when there is", function()
    local data = filled(3)
    local size = #tmp.read(names(data)[1])
    local p = writer(data, 5, { "prlimit", "--fsize=" .. size + 100 })
    assert.equal(1, p:wait(10))
    assert.truthy(p:err():find "cannot be written.*make room", p:err())
    assert.same({}, (check(data)))
    assert.equal(size, #tmp.read(names(data)[1]))
    assert.equal(0, writer(data, 5):wait(10))
    assert.same({}, (check(data)))
  end)

  it("identifiers stand as hashes that only this log's key makes", function()
    local one, two = assert(open(tmp.dir())), assert(open(tmp.dir()))
    local a, b, c = ffi.new "char[32]", ffi.new "char[32]", ffi.new "char[32]"
    C.ln_audit_hash(one, ln.span "100001", a, 32)
    C.ln_audit_hash(one, ln.span "100001", b, 32)
    C.ln_audit_hash(two, ln.span "100001", c, 32)
    assert.equal(ffi.string(a), ffi.string(b))
    assert.not_equal(ffi.string(a), ffi.string(c))
    assert.truthy(ffi.string(a):match "^h:%x+$")
  end)
end)
