-- What is taken out of an archive. Guards: a block, a file, the end, all of a channel: each is named by
-- `verify --archive`, also after the engine has written on; what retention of files moves away is told.
local site = require "support.site"
local net = require "support.net"
local json = require "support.json"
local proc = require "support.proc"
local sys = require "support.sys"
local traffic = require "support.traffic"
local must, has = site.must, site.has

local function new_site(sealed)
  local port = net.free_port()
  local s = site.new { ["channels/adt.lua"] = traffic.channel(port, nil,
    { top = "retention = { days = 0.0000116 }," }), ["lunate.lua"] = 'return { archive = "archive" }' }
  s.port, s.form = port, sealed and "sealed" or "zst"
  if sealed then
    must(s, "key", "new", s.path .. "/store.key")
    s:write("lunate.lua", 'return { archive = "archive", encryption = { key_file = "store.key" } }')
  end
  return s
end

-- A block at least for each of these.
local function archive(s, e, prefixes)
  for _, prefix in ipairs(prefixes) do
    local c = net.connect(s.port)
    traffic.send_all(c, traffic.ids(prefix, 3))
    c:close()
    sys.wait_until(function() return e:status().store.messages == 0 end, 40, "trimmed")
  end
end

local function file(s) return ("archive/adt/%s.%s"):format(os.date "!%Y-%m-%d", s.form) end

-- Where each block begins, and the end.
local function places(s)
  local text, list, at = s:read(file(s)), {}, 1
  local mark = s.form == "sealed" and "LNARCS1\n" or "LNARCH1\n"
  while true do
    local found = text:find(mark, at, true)
    if not found then break end
    list[#list + 1] = s.form == "sealed" and found or found - 8
    at = found + 1
  end
  list[#list + 1] = #text + 1
  return list, text
end

local function verify(s, ...)
  local status, out = s:run("verify", "--archive", ...)
  return status, out
end

local function named(s, ...)
  local status, out = verify(s)
  assert.equal(1, status, out)
  for _, what in ipairs { ... } do has(out, what) end
end

for _, sealed in ipairs { false, true } do
  describe("e2e/archive, " .. (sealed and "encrypted" or "in clear") .. ":", function()
    after_each(site.cleanup)

    it("every block that is taken out, doubled, moved or cut off is missed", function()
      local s = new_site(sealed)
      local e = s:start()
      archive(s, e, { "A", "B", "C" })
      assert.equal(0, e:stop(20))
      assert.equal(0, (verify(s)))
      local at, text = places(s)
      assert.is_true(#at >= 4)
      local function block(n) return text:sub(at[n], at[n + 1] - 1) end
      local last = #at - 1
      -- the first: may have been moved away, and is told; not when it must be there
      s:write(file(s), text:sub(at[2]))
      local status, out = verify(s)
      assert.equal(0, status, out)
      has(out, "adt begins with block 2, of " .. os.date "!%Y-%m-%d" .. ": the 1 block before it is not here")
      status, out = verify(s, "--json")
      assert.equal(0, status)
      assert.equal(2, json.decode(out).begins[1].block)
      assert.equal(0, (verify(s, "--from", os.date "!%Y-%m-%d")))
      status, out = verify(s, "--from", "2020-01-01")
      assert.equal(1, status)
      has(out, "block 1 is missing before it")
      assert.equal(2, (verify(s, "--from", "yesterday")))
      -- one in between
      for n = 2, last - 1 do
        s:write(file(s), text:sub(1, at[n] - 1) .. text:sub(at[n + 1]))
        named(s, ("block %d is missing before it"):format(n))
      end
      -- the last one, all of them
      s:write(file(s), text:sub(1, at[last] - 1))
      named(s, ("block %d is missing at the end (up to message 9 of"):format(last))
      s:write(file(s), text .. block(last))
      named(s, "was there before, or stands in the wrong place")
      s:write(file(s), block(2) .. block(1) .. text:sub(at[3]))
      named(s, "in the wrong place")
      os.remove(s.path .. "/" .. file(s))
      named(s, ("blocks 1 to %d are missing at the end"):format(last))
      proc.run { "rm", "-r", s.path .. "/archive/adt" }
      named(s, ("adt: all %d blocks of the channel are missing"):format(last))
    end)

    it("an end that was cut off stays missing when more is written behind it", function()
      local s = new_site(sealed)
      local e = s:start()
      archive(s, e, { "A", "B", "C" })
      assert.equal(0, e:stop(20))
      local at, text = places(s)
      s:write(file(s), text:sub(1, at[#at - 2] - 1))
      e = s:start()
      archive(s, e, { "D" })
      assert.equal(0, e:stop(20))
      named(s, ("blocks %d to %d are missing before it (messages between"):format(#at - 2, #at - 1))
    end)

    it("without its ledger nobody can say; what is written then says so", function()
      local s = new_site(sealed)
      local e = s:start()
      archive(s, e, { "A" })
      assert.equal(0, e:stop(20))
      local path = s.path .. "/data/archive.ledger"
      local kept = s:read "data/archive.ledger"
      if sealed then
        assert.is_nil(kept:find("adt", 1, true))
        for at = 1, #kept, 7 do
          s:write("data/archive.ledger", kept:sub(1, at - 1) .. string.char((kept:byte(at) + 1) % 256)
            .. kept:sub(at + 1))
          named(s, "archive.ledger: ")
        end
      end
      os.remove(path)
      named(s, "archive.ledger is not there")
      e = s:start()
      archive(s, e, { "B" })
      assert.equal(0, e:stop(20))
      local status, out = verify(s)
      assert.equal(0, status, out)
      has(out, "was written while there was no ledger")
    end)

    -- Guards: a backup left it out, and what was cut off of the archive on the way could not be told.
    it("a backup takes it along; it is put where there is none, never over a newer one", function()
      local s = new_site(sealed)
      local e = s:start()
      archive(s, e, { "A", "B" })
      must(s, "backup", s.path .. "/copy")
      local copied = s:read "copy/archive.ledger"
      assert.equal(s:read "data/archive.ledger", copied)
      archive(s, e, { "C" })
      assert.equal(0, e:stop(20))
      local newer = s:read "data/archive.ledger"
      has(must(s, "verify", s.path .. "/copy"), "all in order")
      must(s, "restore", s.path .. "/copy", "--force")
      assert.equal(newer, s:read "data/archive.ledger")
      local at, text = places(s)
      proc.run { "rm", "-rf", s.path .. "/data" } -- as on another machine
      must(s, "restore", s.path .. "/copy")
      assert.equal(copied, s:read "data/archive.ledger")
      assert.equal(0, (verify(s)))
      s:write(file(s), text:sub(1, at[2] - 1)) -- all but the first block
      named(s, "adt")
    end)

    -- Guards: the next block replaced it, and with it what had been cut off before.
    it("a damaged ledger is kept aside, and status says so until somebody has looked", function()
      local s = new_site(sealed)
      local e = s:start()
      archive(s, e, { "A" })
      assert.equal(0, e:stop(20))
      local kept = "x" .. s:read "data/archive.ledger"
      s:write("data/archive.ledger", kept)
      e = s:start()
      site.wait_until(function() return s:read "data/archive.ledger.damaged" == kept end, 20, "the old one aside")
      local function told() return e:status().store.archive.failure:find("archive.ledger was damaged", 1, true) end
      site.wait_until(told, 20, "status to say so")
      os.remove(s.path .. "/data/archive.ledger.damaged")
      site.wait_until(function() return not told() end, 20, "status to forget it")
      assert.equal(0, e:stop(20))
    end)
  end)
end

describe("e2e/archive ledger:", function()
  after_each(site.cleanup)

  it("a new key seals it anew; key encrypt keeps the chain", function()
    local s = new_site(false)
    local e = s:start()
    archive(s, e, { "A", "B" })
    assert.equal(0, e:stop(20))
    must(s, "key", "new", s.path .. "/store.key")
    s:write("lunate.lua", 'return { archive = "archive", encryption = { key_file = "store.key" } }')
    s.form = "sealed"
    must(s, "key", "encrypt")
    assert.equal(0, (verify(s)))
    assert.is_nil(s:read "data/archive.ledger":find("adt", 1, true))
    e = s:start()
    archive(s, e, { "C" })
    must(s, "key", "new", "--add", s.path .. "/store.key")
    must(s, "key", "rotate")
    archive(s, e, { "D" })
    assert.equal(0, e:stop(20))
    assert.equal(0, (verify(s)))
    must(s, "key", "encrypt")
    local _, out = s:run("key", "status", "--json")
    local keys = json.decode(out)
    assert.equal(1, #keys.archive_keys, out)
    assert.equal(keys.site_key, keys.archive_keys[1].key)
    assert.equal(0, (verify(s)))
    local at, text = places(s)
    s:write(file(s), text:sub(1, at[#at - 1] - 1))
    named(s, "missing at the end")
  end)
end)
