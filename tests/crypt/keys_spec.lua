-- Keys and what is sealed with them: test vectors, key files, wrapping, streams. Whatever byte is
-- changed, nothing opens.
local ln = require "support.ln"
local tmp = require "support.tmp"
local ffi, C = ln.ffi, ln.C

local function unhex(s)
  return (s:gsub("%x%x", function(h) return string.char(tonumber(h, 16)) end))
end

local function hex(s)
  return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function u8(s)
  return ffi.cast("const unsigned char *", s)
end

local function with(a, b)
  local w = ffi.new "struct ln_span[2]"
  w[0], w[1] = ln.span(a), ln.span(b or "")
  return w
end

local function seal(key, nonce, aad, text)
  local a = C.ln_aead_new(true)
  local out = ffi.new("char[?]", #text + 16)
  assert.equal(0, C.ln_aead_key(a, u8(key)))
  assert.equal(0, C.ln_aead_seal(a, u8(nonce), with(aad), ln.span(text), out))
  C.ln_aead_free(a)
  return ffi.string(out, #text + 16)
end

local function open(key, nonce, aad, sealed)
  local a = C.ln_aead_new(false)
  local out = ffi.new("char[?]", #sealed)
  assert.equal(0, C.ln_aead_key(a, u8(key)))
  local rc = C.ln_aead_open(a, u8(nonce), with(aad), ln.span(sealed), out)
  C.ln_aead_free(a)
  return rc == 0 and ffi.string(out, #sealed - 16) or rc
end

local function parse(text, source)
  local out, err = ffi.new "struct ln_keys *[1]", ffi.new "struct ln_err"
  local rc = C.ln_keys_parse(ln.span(text), source or "test", out, err)
  if rc ~= 0 then return nil, ffi.string(err.text), rc end
  return ffi.gc(out[0], C.ln_keys_unref)
end

local function from(fn, arg)
  local out, err = ffi.new "struct ln_keys *[1]", ffi.new "struct ln_err"
  local rc = C[fn](arg, out, err)
  if rc ~= 0 then return nil, ffi.string(err.text), rc end
  return ffi.gc(out[0], C.ln_keys_unref)
end

local function id(keys, i)
  local text = ffi.new "char[17]"
  C.ln_keys_id(keys, i or 0, text)
  return ffi.string(text)
end

local function write(path, text, mode)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
  os.execute(("chmod %s %s"):format(mode or "600", path))
end

-- Every byte of s changed in turn.
local function changed(s, visit)
  for i = 1, #s do
    visit(s:sub(1, i - 1) .. string.char((s:byte(i) + 1) % 256) .. s:sub(i + 1), i)
  end
end

local one, two = ("11"):rep(32), ("2f"):rep(32)

describe("sealing", function()
  it("is AES-256-GCM, by McGrew and Viega's test case 16", function()
    local key = unhex "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
    local nonce, aad = unhex "cafebabefacedbaddecaf888", unhex "feedfacedeadbeeffeedfacedeadbeefabaddad2"
    local text = unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c9595680"
      .. "9532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
    local sealed = seal(key, nonce, aad, text)
    assert.equal("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b0"
      .. "8b1056828838c5f61e6393ba7a0abcc9f662" .. "76fc6ece0f4e1768cddf8853bb2d551b", hex(sealed))
    assert.equal(text, open(key, nonce, aad, sealed))
    changed(sealed, function(s) assert.equal(C.LN_EPARSE, open(key, nonce, aad, s)) end)
    changed(aad, function(a) assert.equal(C.LN_EPARSE, open(key, nonce, a, sealed)) end)
    assert.equal(C.LN_EPARSE, open(key, nonce, aad, "short"))
  end)

  it("is HMAC-SHA256, by RFC 4231's test case 2, as often as one likes", function()
    local m = C.ln_mac_new(u8 "Jefe", 4)
    local out = ffi.new "unsigned char[32]"
    for _ = 1, 3 do
      assert.equal(0, C.ln_mac(m, with("what do ya want ", "for nothing?"), 2, out))
      assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        hex(ffi.string(out, 32)))
    end
    C.ln_mac_free(m)
  end)
end)

describe("keys", function()
  after_each(tmp.cleanup)

  it("are read as hexadecimal, base64 or raw bytes; the first is the present one", function()
    local a = assert(parse(one))
    local b = assert(parse("# comment\n\n  " .. two .. "\r\n" .. ("ERER"):rep(10) .. "ERE=\n"))
    assert.equal(2, C.ln_keys_count(b))
    assert.equal(id(a), id(b, 1))
    assert.not_equal(id(a), id(b, 0))
    local raw = assert(parse(("\17"):rep(32)))
    assert.equal(id(a), id(raw))
  end)

  it("that are wrong are named by line", function()
    local _, why = parse("# x\n" .. one .. "\nnonsense\n", "key file /k")
    assert.truthy(why:find("key file /k, line 3: not a key", 1, true), why)
    assert.truthy(select(2, parse ""):find("there is no key in it", 1, true))
    assert.is_nil(parse(one:sub(2)))
    assert.is_nil(parse((one .. "\n"):rep(33)))
  end)

  it("come from a file that only its owner can change and others cannot read", function()
    local dir = tmp.dir()
    write(dir .. "/k", one)
    assert.equal(id(parse(one)), id(from("ln_keys_read", dir .. "/k")))
    for _, mode in ipairs { "644", "620", "604", "602" } do
      write(dir .. "/k", one, mode)
      local keys, why = from("ln_keys_read", dir .. "/k")
      assert.is_nil(keys)
      assert.truthy(why:find("chmod 600", 1, true), why)
    end
    local _, why, code = from("ln_keys_read", dir .. "/none")
    assert.equal(C.LN_ENOTFOUND, code)
    assert.truthy(why:find("lunate key new", 1, true), why)
  end)

  it("come from a command, which may fail", function()
    assert.equal(id(parse(one)), id(from("ln_keys_run", "echo " .. one)))
    local _, why = from("ln_keys_run", "exit 3")
    assert.truthy(why:find("exit status 3", 1, true), why)
    _, why = from("ln_keys_run", "kill -9 $$")
    assert.truthy(why:find("signal 9", 1, true), why)
    _, why = from("ln_keys_run", "yes")
    assert.truthy(why:find("key_command", 1, true), why)
    _, why = from("ln_keys_run", "echo secret-nonsense")
    assert.is_nil(why:find("secret", 1, true))
  end)

  it("are made new, never over another, and put before others", function()
    local dir = tmp.dir()
    local path, text, err = dir .. "/k", ffi.new "char[17]", ffi.new "struct ln_err"
    assert.equal(0, C.ln_keys_make(path, false, text, err))
    local first = ffi.string(text)
    assert.equal(C.LN_EEXIST, C.ln_keys_make(path, false, text, err))
    assert.equal(first, id(from("ln_keys_read", path)))
    assert.equal(0, C.ln_keys_make(path, true, text, err), ffi.string(err.text))
    local keys = assert(from("ln_keys_read", path))
    assert.equal(2, C.ln_keys_count(keys))
    assert.equal(first, id(keys, 1))
    assert.equal(ffi.string(text), id(keys, 0))
    assert.equal(C.LN_ENOTFOUND, C.ln_keys_make(dir .. "/none", true, text, err))
    local p = io.popen("ls -A " .. dir .. "; stat -c %a " .. path)
    assert.equal("k\n600\n", p:read "*a")
    p:close()
  end)

  it("stay the engine's to read when somebody else adds one", function()
    local dir = tmp.dir()
    local path, text, err = dir .. "/k", ffi.new "char[17]", ffi.new "struct ln_err"
    local function owner()
      local p = io.popen("stat -c '%a %u %g' " .. path)
      local all = p:read "*l"
      p:close()
      return all
    end
    write(path, one, "640")
    os.execute("chown 1:1 " .. path .. " 2>/dev/null") -- root alone can
    local before = owner()
    assert.equal(0, C.ln_keys_make(path, true, text, err), ffi.string(err.text))
    assert.equal(before, owner())
  end)

  it("wrap data keys for one use", function()
    local a, b = assert(parse(one)), assert(parse(two))
    local both = assert(parse(two .. "\n" .. one))
    local data, w, back = ("d"):rep(32), ffi.new "unsigned char[78]", ffi.new "unsigned char[32]"
    local function unwrap(keys, use, s)
      return C.ln_keys_unwrap(keys, ln.span(use), ln.span(s), back)
    end
    assert.equal(0, C.ln_keys_wrap(a, ln.span "use", u8(data), w))
    local n = 1 + 8 + 12 + 32 + 16
    local wrapped = ffi.string(w, n)
    assert.is_nil(wrapped:find(("d"):rep(8), 1, true))
    assert.equal(0, unwrap(a, "use", wrapped))
    assert.equal(data, ffi.string(back, 32))
    assert.equal(0, unwrap(both, "use", wrapped))
    assert.equal(C.LN_ENOTFOUND, unwrap(b, "use", wrapped))
    assert.equal(C.LN_EPARSE, unwrap(a, "other", wrapped))
    changed(wrapped, function(s) assert.not_equal(0, unwrap(a, "use", s)) end)
    assert.equal(0, C.ln_keys_wrap(a, ln.span "use", u8(data), w))
    assert.not_equal(wrapped, ffi.string(w, n))
  end)
end)

describe("a sealed stream", function()
  local keys, buf = assert(parse(one)), nil
  before_each(function() buf = ffi.new "struct ln_buf" end)
  after_each(function() C.ln_buf_fini(buf) end)

  local function write_stream(parts)
    local s = ffi.new "struct ln_sealer *[1]"
    assert.equal(0, C.ln_sealer_new(keys, ln.span "label", s, buf))
    for i, p in ipairs(parts) do
      assert.equal(0, C.ln_sealer_add(s[0], ln.span(p), i == #parts, buf))
    end
    C.ln_sealer_free(s[0])
    return ffi.string(buf.data, buf.len)
  end

  local function read_stream(text, label)
    local u, err = ffi.new "struct ln_unsealer *[1]", ffi.new "struct ln_err"
    local out, used = ffi.new "struct ln_buf", ffi.new "size_t[1]"
    local rc = C.ln_unsealer_new(keys, ln.span(label or "label"), ln.span(text:sub(1, 77)), u, err)
    if rc ~= 0 then return nil, ffi.string(err.text) end
    rc = C.ln_unsealer_add(u[0], ln.span(text:sub(78)), used, out)
    local done = C.ln_unsealer_done(u[0])
    local s = out.len > 0 and ffi.string(out.data, out.len) or ""
    C.ln_unsealer_free(u[0])
    C.ln_buf_fini(out)
    if rc ~= 0 then return nil, "changed" end
    return s, done
  end

  it("gives back what was put in, in pieces of any length", function()
    local big = ("0123456789abcdef"):rep(160 * 1024)
    local sealed = write_stream { "small", big, "" }
    assert.is_nil(sealed:find("0123456789", 1, true))
    local s, done = read_stream(sealed)
    assert.truthy(s == "small" .. big)
    assert.truthy(done)
  end)

  it("says when it was cut, changed, mixed or is another's", function()
    local sealed = write_stream { "one", "two", "three" }
    for n = 77, #sealed - 1 do
      local _, done = read_stream(sealed:sub(1, n))
      assert.is_false(done)
    end
    changed(sealed, function(s)
      local text, done = read_stream(s)
      assert.is_false(text ~= nil and done == true)
    end)
    local first = 4 + 3 + 16
    local swapped = sealed:sub(1, 77) .. sealed:sub(78 + first, 77 + 2 * first)
      .. sealed:sub(78, 77 + first) .. sealed:sub(78 + 2 * first)
    assert.is_nil(read_stream(swapped))
    assert.is_nil(read_stream(sealed, "another"))
    local _, why = read_stream("plain text, nothing else, but as long as a head would be ......"
      .. "................")
    assert.truthy(why:find("not a sealed file", 1, true))
  end)
end)
