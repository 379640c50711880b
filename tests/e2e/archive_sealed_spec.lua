-- Archives of an encrypted store. Guards: nothing of a message is on disk in clear, at no time; they
-- open with the site's keys, also former ones; a changed byte or a key that is missing is named.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local sys = require "support.sys"
local tmp = require "support.tmp"
local traffic = require "support.traffic"
local must, has = site.must, site.has

local function new_site(o)
  local port = net.free_port()
  local s = site.new { ["channels/adt.lua"] = traffic.channel(port, nil,
    { top = "retention = { days = 0.0000231 }," }), ["lunate.lua"] = 'return { archive = "archive" }' }
  s.port = port
  if not (o and o.clear) then
    must(s, "key", "new", s.path .. "/store.key")
    s:write("lunate.lua", 'return { archive = "archive", encryption = { key_file = "store.key" } }')
  end
  return s
end

local function send(s, prefix, n)
  local c = net.connect(s.port)
  traffic.send_all(c, traffic.ids(prefix, n), { name = "Geheim^Zora" })
  c:close()
end

local function trimmed(e)
  sys.wait_until(function() return e:status().store.messages == 0 end, 40, "trimmed")
end

local function first_key(text)
  for line in text:gmatch "[^\n]+" do
    if line:sub(1, 1) ~= "#" then return line .. "\n" end
  end
end

local function key_file(s, text)
  s:write("store.key", text)
  proc.run { "chmod", "600", s.path .. "/store.key" }
end

local function file(form, n)
  return ("archive/adt/%s%s.%s"):format(os.date "!%Y-%m-%d", n and "_" .. n or "", form)
end

-- Files of the site that hold any of these words.
local function with(s, ...)
  local argv = { "grep", "-rlaF" }
  for _, word in ipairs { ... } do
    argv[#argv + 1] = "-e"
    argv[#argv + 1] = word
  end
  argv[#argv + 1] = s.path
  return (select(2, proc.run(argv)))
end

describe("archive, encrypted", function()
  after_each(site.cleanup)

  it("holds what is trimmed; found and shown with the key; in clear nowhere, also while it is written", function()
    local s = new_site()
    local e = s:start()
    for round = 1, 3 do
      send(s, "M" .. round .. "-", 60)
      for _ = 1, 20 do
        assert.equal("", with(s, "Geheim", "M1-7", "M2-8^^^HOSP", "control_id"))
        sys.sleep(0.1)
      end
    end
    trimmed(e)
    assert.is_true(#s:read(file "sealed") > 1000)
    assert.is_false(tmp.exists(s.path .. "/" .. file "zst"))
    assert.equal("", with(s, "Geheim", "M1-7", "M2-8^^^HOSP", "control_id"))
    assert.equal(180, #s:json_lines("messages", "--archive", "--limit", "1000"))
    local one = s:json_lines("messages", "--archive", "--control-id", "M2-8")
    assert.equal(1, #one)
    has(one[1].raw, "PID|1||M2-8^^^HOSP^MR||Geheim^Zora")
    assert.equal(1, #s:json_lines("messages", "--archive", "--patient", "M3-9"))
    has(must(s, "show", "adt/7", "--archive"), "processed by script")
    has(must(s, "verify", "--archive"), "180 messages in 1 file")
    assert.equal("", e:status().store.archive.failure)
    e:stop()
    -- without the key
    s:write("lunate.lua", 'return { archive = "archive" }')
    local status, out = s:run("verify", "--archive")
    assert.equal(1, status)
    has(out, "it is encrypted, and lunate.lua names no key")
    assert.equal("", (select(2, s:run("messages", "--archive"))))
  end)

  it("a rotation: what is there needs the former key, which is named; key encrypt takes that away", function()
    local s = new_site()
    local e = s:start()
    send(s, "A", 20)
    trimmed(e)
    local before = s:json("key", "status").site_key
    must(s, "key", "new", "--add", s.path .. "/store.key")
    must(s, "key", "rotate")
    send(s, "B", 20)
    trimmed(e)
    local after = s:json("key", "status")
    assert.equal(2, #after.archive_keys)
    has(must(s, "key", "status"), "still encrypted with former key " .. before .. ": keep it")
    assert.equal(40, #s:json_lines("messages", "--archive", "--limit", "1000"))
    e:kill9()
    local both = s:read "store.key"
    key_file(s, first_key(both))
    local status, out = s:run("verify", "--archive")
    assert.equal(1, status)
    has(out, "it was sealed with key " .. before .. ", which is not in ")
    local _, some, err = s:run("messages", "--archive", "--limit", "1000")
    has(some, "B7")
    assert.is_nil(some:find("A7", 1, true))
    has(err, before)
    key_file(s, both)
    has(must(s, "key", "encrypt"), "40 messages of the archive encrypted with the present key")
    key_file(s, first_key(both))
    assert.equal(40, #s:json_lines("messages", "--archive", "--limit", "1000"))
    local now = s:json("key", "status")
    assert.same({ 1, now.site_key }, { #now.archive_keys, now.archive_keys[1].key })
    e = s:start()
    send(s, "C", 5)
    trimmed(e)
    assert.equal(45, #s:json_lines("messages", "--archive", "--limit", "1000"))
    assert.equal(0, (s:run("verify", "--archive")))
    e:stop()
  end)

  it("any byte that is changed is found, and its block named; a block cut off is taken off", function()
    local s = new_site()
    local e = s:start()
    send(s, "A", 3)
    trimmed(e)
    send(s, "B", 3)
    trimmed(e)
    e:stop()
    local path = file "sealed"
    local whole = s:read(path)
    local at, tried = 1, 0
    while at <= #whole do
      s:write(path, whole:sub(1, at - 1) .. string.char((whole:byte(at) + 1 + at % 254) % 256) .. whole:sub(at + 1))
      local status, out = s:run("verify", "--archive")
      assert.equal(1, status, "byte " .. at)
      has(out, path)
      assert.is_truthy(out:find "sealed: block at byte %d+: " or out:find "sealed: damaged at byte"
        or out:find "sealed: torn at byte", out)
      at, tried = at + (at < 40 and 1 or 61), tried + 1
    end
    assert.is_true(tried > 60)
    s:write(path, whole .. whole:sub(1, 100)) -- a third block, its begin
    e = s:start()
    send(s, "C", 4)
    trimmed(e)
    e:stop()
    assert.equal(0, (s:run("verify", "--archive")))
    s:write(path, whole:sub(1, -2) .. string.char((whole:byte(-1) + 1) % 256))
    e = s:start()
    send(s, "D", 2)
    sys.sleep(4)
    assert.equal(0, e:status().store.messages) -- its head opens: what is archived is known
    s:write(path, whole:sub(1, 130) .. string.char((whole:byte(131) + 1) % 256) .. whole:sub(132))
    e:stop()
    e = s:start()
    send(s, "E", 2)
    sys.wait_until(function()
      local failure = e:status().store.archive.failure
      return failure and failure:find("block at byte 0", 1, true)
    end, 20, "a failure")
    assert.is_true(e:status().store.messages >= 2)
    e:stop()
  end)

  it("what was archived in clear: key encrypt seals it, and takes up after a crash in between", function()
    local s = new_site { clear = true }
    local e = s:start()
    send(s, "A", 20)
    trimmed(e)
    e:stop()
    local clear = s:read(file "zst")
    must(s, "key", "new", s.path .. "/store.key")
    s:write("lunate.lua", 'return { archive = "archive", encryption = { key_file = "store.key" } }')
    has(must(s, "key", "status"), "archive: 1 file is in clear, from before")
    e = s:start()
    send(s, "B", 10)
    trimmed(e)
    e:stop()
    assert.truthy(s:read(file("sealed", 2)))
    assert.equal(30, #s:json_lines("messages", "--archive", "--limit", "1000"))
    must(s, "key", "encrypt")
    assert.is_false(tmp.exists(s.path .. "/" .. file "zst"))
    assert.equal(30, #s:json_lines("messages", "--archive", "--limit", "1000"))
    s:write(file "zst", clear) -- it was ended before it had removed that
    s:write(file "sealed" .. ".new", "half")
    assert.equal(30, #s:json_lines("messages", "--archive", "--limit", "1000"))
    must(s, "key", "encrypt")
    assert.is_false(tmp.exists(s.path .. "/" .. file "zst"))
    assert.is_false(tmp.exists(s.path .. "/" .. file "sealed" .. ".new"))
    assert.equal(0, (s:run("verify", "--archive")))
    assert.equal("", with(s, "Geheim"))
  end)
end)
