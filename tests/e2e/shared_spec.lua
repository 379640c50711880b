-- Files that many channels share: held, hashed, compressed and handed on once, and versions that were
-- numbered before that.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local traffic = require "support.traffic"
local run, has = site.must, site.has

-- The most memory that the engine has had, in MB. Sanitizers have their own on top.
local function peak(e)
  if os.getenv "MODE" == "asan" or os.getenv "MODE" == "tsan" then return 0 end
  return proc.proc_status(e.pid, "VmHWM") / 1024
end

describe("e2e/shared", function()
  after_each(site.cleanup)

  it("a table of many channels is in the engine once, through reload, rollback and start", function()
    local rows = { "code,name" }
    for i = 1, 10000 do rows[#rows + 1] = ("C%d,%s"):format(i, ("%d"):format(i * 7919):rep(100)) end
    local files = { ["tables/big.csv"] = table.concat(rows, "\n") .. "\n" }
    local ports = {}
    for i = 1, 12 do
      ports[i] = net.free_port()
      files[("channels/c%02d.lua"):format(i)] = traffic.channel(ports[i])
    end
    local s = site.new(files)
    local e = s:start()
    local size = #files["tables/big.csv"] / 2 ^ 20
    assert.is_true(size > 5, size)
    site.wait_until(function() return #s:json_lines("versions", "c12") == 1 end, 60)
    for name, text in pairs(files) do
      if name:match "%.lua$" then s:write(name, text .. "-- b\n") end
    end
    run(s, "reload", { timeout = 60 })
    for i = 1, 12 do
      local name = ("c%02d"):format(i)
      site.wait_until(function() return #s:json_lines("versions", name) == 2 end, 60, name)
      run(s, "rollback", name, { timeout = 60 })
    end
    assert.is_true(peak(e) < 12 * size, ("%d MB at most, with a table of %d MB"):format(peak(e), size))
    assert.equal(0, e:stop())
    e = s:start()
    for i = 1, 12 do
      local c = e:channel(("c%02d"):format(i))
      assert.equal(c.script, c.rolled_back.to)
      traffic.send_all(net.connect(ports[i]), { "M" .. i })
    end
    assert.is_true(peak(e) < 12 * size, ("%d MB at most after a start"):format(peak(e)))
    assert.equal(0, e:stop())
    has(run(s, "verify"), "all in order")
  end)

  -- The descriptors of a process that stand for a file that workers map.
  local function lent(pid)
    local list = {}
    local _, out = proc.run { "find", "/proc/" .. pid .. "/fd", "-lname", "*memfd:lunate-file*" }
    for path in out:gmatch "[^\n]+" do list[#list + 1] = path end
    return list
  end

  it("workers map a large table that nobody can write to, and see the new one after a reload", function()
    local function table_of(mark)
      local rows = {}
      for i = 1, 3000 do rows[i] = ("K%d,%s"):format(i, mark:rep(1000)) end
      return table.concat(rows, "\n") .. "\n"
    end
    local files, ports, want = { ["tables/big.csv"] = table_of "a" }, {}, {}
    local out = net.free_port()
    local got = net.receiver { port = out }
    for i = 1, 3 do
      ports[i] = net.free_port()
      files[("channels/c%d.lua"):format(i)] = ([[
return channel {
  source = mllp.listen { port = %d },
  transform = function(msg) msg["PID-5"] = lookup("big", "K3000", "?"):sub(-1) end,
  destinations = { out = mllp.send { host = "127.0.0.1", port = %d } },
}]]):format(ports[i], out)
    end
    local s = site.new(files)
    local e = s:start()
    for _, mark in ipairs { "a", "b", "c" } do
      s:write("tables/big.csv", table_of(mark))
      if mark ~= "a" then has(run(s, "reload"), "c3: reloaded") end
      for i = 1, 3 do
        traffic.send_all(net.connect(ports[i]), { mark .. i })
        want[#want + 1] = mark
      end
      site.wait_until(function()
        got:step(0.05)
        return #got.frames == #want
      end)
      assert.equal(1, #lent(e.pid), "the table before it is given back")
      for _, pid in ipairs(e:workers()) do
        assert.equal(0, #lent(pid))
        local f = assert(io.open("/proc/" .. pid .. "/maps"))
        has(f:read "*a", "memfd:lunate-file")
        f:close()
      end
    end
    for i, frame in ipairs(got.frames) do assert.equal(want[i], net.field(frame.text, "PID", 5)) end
    local f, why = io.open(lent(e.pid)[1], "r+")
    assert.is_true(not f or not (f:write "x" and f:flush()), why)
    assert.equal(0, e:stop())
  end)

  -- Up to here a version's number was the SHA-256 over paths, lengths and contents.
  local function former(s, paths)
    local all = {}
    for _, path in ipairs(paths) do
      local text = s:read(path)
      local len, n = {}, #text
      for i = 1, 8 do len[i], n = string.char(n % 256), math.floor(n / 256) end
      all[#all + 1] = path .. "\0" .. table.concat(len) .. text
    end
    local status, out = proc.run { "sha256sum", input = table.concat(all) }
    assert.equal(0, status)
    return out:match "^%x+"
  end

  -- Guards: the reading counted as the script's time, and the first message was parked after three tries.
  it("a message for which a large table has to be read is not stopped for that", function()
    local rows = {}
    local slow = os.getenv "MODE" == "asan" -- there a tenth takes as long
    for i = 1, slow and 40000 or 400000 do rows[i] = ("K%06d,value %d,ward %d"):format(i, i, i) end
    local port = net.free_port()
    local loop = 'if msg.control_id == "M3" then while true do end end'
    local s = site.new { ["tables/big.csv"] = table.concat(rows, "\n") .. "\n",
      ["channels/in.lua"] = traffic.channel(port, nil, { top = [[
        limits = { seconds = 1, memory_mb = 1000, attempts = 1 },
        transform = function(msg) kv.last = lookup("big", "K000007") ]] .. loop .. " end," }) }
    local e = s:start()
    traffic.send_all(net.connect(port), { "M1", "M2", "M3", "M4" })
    site.wait_until(function() return e:channel("in").pending == 0 end, 60, "an empty queue")
    local c = e:channel "in"
    assert.same({ 3, 1 }, { c.processed, c.errors }) -- the endless loop is stopped as ever
    has(run(s, "show", "in/3"), "limit")
    assert.equal(0, e:stop())
  end)

  it("a rollback to a version with a number of the former kind stands", function()
    local st = require "support.store"
    local ffi, C, ln = st.ffi, st.C, st.ln
    local port, paths = net.free_port(), { "channels/in.lua", "lib/m.lua" }
    local s = site.new { ["channels/in.lua"] = traffic.channel(port) .. "-- a\n", ["lib/m.lua"] = "return 1" }
    local e = s:start()
    site.wait_until(function() return #s:json_lines("versions", "in") == 1 end)
    assert.equal(0, e:stop())
    local a = former(s, paths)
    local file = ffi.new "struct ln_version_file[2]"
    local keep = {}
    for i, path in ipairs(paths) do
      local packed = ffi.new "struct ln_buf"
      local text = s:read(path)
      assert.equal(0, C.ln_version_pack(ln.span(text), packed))
      file[i - 1].path, file[i - 1].len = ln.span(path), #text
      file[i - 1].packed.ptr, file[i - 1].packed.len = packed.data, packed.len
      local _, hex = proc.run { "sha256sum", input = text }
      for k = 0, 31 do file[i - 1].hash[k] = tonumber(hex:sub(2 * k + 1, 2 * k + 2), 16) end
      keep[#keep + 1] = packed
    end
    s:write("channels/in.lua", traffic.channel(port) .. "-- b\n")
    local b = former(s, paths)
    local function number(hex)
      return tonumber(hex:sub(1, 8), 16) * 0x100000000ull + tonumber(hex:sub(9, 16), 16)
    end
    local v = ffi.new("struct ln_version", { first_us = 1, last_us = 1, nfile = 2, file = file })
    for k = 0, 31 do v.hash[k] = tonumber(a:sub(2 * k + 1, 2 * k + 2), 16) end
    v.id = number(a)
    local store = assert(st.open(s.path .. "/data"))
    local chan = C.ln_store_channel(store.s, "in")
    local now = ffi.new("struct ln_version_now", { pin = number(a), pin_from = number(b), pin_us = 1 })
    assert.equal(0, C.ln_store_version(store.s, chan, v, store.so.collect_done, (store:slot())))
    assert.equal(0, C.ln_store_pin(store.s, chan, now, store.so.collect_done, (store:slot())))
    assert.is_true(store:wait())
    assert.same({ 0, 0 }, { store:code(0), store:code(1) })
    store:close()
    for _, packed in ipairs(keep) do C.ln_buf_fini(packed) end

    e = s:start()
    assert.same({ "running", a:sub(1, 6) }, { e:channel("in").state, e:channel("in").rolled_back.to })
    traffic.send_all(net.connect(port), { "M1" })
    local status, _, err = s:run("reload", "in")
    assert.equal(1, status, "the files on disk are what was rolled back from")
    has(err, "which was rolled back from")
    s:write("channels/in.lua", traffic.channel(port) .. "-- c\n")
    has(run(s, "reload", "in"), "in: reloaded")
    assert.equal(0, e:stop())
    has(run(s, "verify"), "all in order")
  end)
end)
