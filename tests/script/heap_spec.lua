-- The allocator of states that live a moment (core/script/heap.h).
local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

describe("the heap of a brief state", function()
  local h
  before_each(function() h = C.ln_heap_new() end)
  after_each(function() C.ln_heap_free(h) end)

  local function alloc(n) return ffi.cast("char *", C.ln_heap_alloc(h, nil, 0, n)) end
  local function address(p) return tonumber(ffi.cast("uintptr_t", p)) end
  local function inside(p)
    return address(p) > address(h) and address(p) < address(h) + 2 * 2 ^ 20
  end

  it("hands out aligned blocks of its own first", function()
    assert.equal(0, address(h) % 2 ^ 21)
    for _, n in ipairs { 1, 15, 16, 17, 1000, 1024, 1025, 2048, 5000, 262144 } do
      local p = alloc(n)
      assert.equal(0, address(p) % 16)
      assert.is_true(inside(p), tostring(n))
    end
    local big = alloc(262145)
    assert.is_false(inside(big))
    C.ln_heap_alloc(h, big, 262145, 0)
  end)

  it("a block that was freed is the next one of its size", function()
    local a, b = alloc(40), alloc(40)
    C.ln_heap_alloc(h, a, 40, 0)
    assert.equal(address(a), address(alloc(33)))
    C.ln_heap_alloc(h, b, 40, 0)
    assert.is_not.equal(address(b), address(alloc(49)))
  end)

  it("goes on in malloc's memory when it is full", function()
    local list, outside = {}, 0
    for i = 1, 40 do
      list[i] = alloc(100000)
      ffi.fill(list[i], 100000, i)
      if not inside(list[i]) then outside = outside + 1 end
    end
    assert.is_true(outside > 0 and outside < 40)
    for i = 1, 40 do
      assert.equal(i, list[i][0])
      assert.equal(i, list[i][99999])
      C.ln_heap_alloc(h, list[i], 100000, 0)
    end
  end)

  it("keeps what stands in blocks, however they grow and shrink", function()
    math.randomseed(7)
    local blocks = {}
    for round = 1, 20000 do
      local i = math.random(200)
      local b = blocks[i]
      local n = math.random(3) == 1 and 0 or math.floor(2 ^ (math.random() * 19))
      if b or n > 0 then
        local p = C.ln_heap_alloc(h, b and b.p or nil, b and b.n or 0, n)
        if n == 0 then
          assert.is_true(p == nil)
          blocks[i] = nil
        else
          local text = ffi.cast("char *", p)
          if b then
            assert.equal(b.fill, text[0])
            assert.equal(b.fill, text[math.min(b.n, n) - 1])
          end
          blocks[i] = { p = text, n = n, fill = round % 100 }
          ffi.fill(text, n, round % 100)
        end
      end
    end
    for _, b in pairs(blocks) do
      assert.equal(b.fill, b.p[b.n - 1])
      C.ln_heap_alloc(h, b.p, b.n, 0)
    end
  end)
end)
