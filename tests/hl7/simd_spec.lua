-- The twins of core/hl7/simd.h: the same results, byte for byte, at every length and alignment.
local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

local names = { "scalar", "sse2", "avx2", "neon" }
local twins = {}
for kind = 1, 3 do
  local t = C.ln_simd_kind(kind)
  if t ~= nil then twins[names[kind + 1]] = t end
end
local scalar = C.ln_simd_kind(0)

local function census(t, p, len, sep)
  local c = ffi.new "struct ln_simd_census"
  t.census(p, len, sep, c)
  return ("%d %d %d %s %s"):format(tonumber(c.sep), tonumber(c.cr), tonumber(c.lf),
    tostring(c.high), tostring(c.esc))
end

local function index(t, p, len, sep, e1, e2, add)
  local at, ends = ffi.new("uint32_t[?]", len + 1), ffi.new("uint32_t[?]", len + 1)
  at[len], ends[len] = 0xdead, 0xdead
  local ne = ffi.new "size_t[1]"
  local n, out = tonumber(t.index(p, len, sep, e1, e2, add, at, ends, ne)), {}
  assert(n <= len and tonumber(ne[0]) <= n)
  assert.equal(0xdead, at[len], "wrote behind its room")
  assert.equal(0xdead, ends[len], "wrote behind its room")
  for i = 0, n - 1 do out[#out + 1] = at[i] end
  out[#out + 1] = "ends"
  for i = 0, tonumber(ne[0]) - 1 do out[#out + 1] = ends[i] end
  return table.concat(out, " ")
end

describe("simd", function()
  it("has a best twin that is one of them", function()
    local best = ffi.string(C.ln_simd().name)
    assert.truthy(best == "scalar" or twins[best], best)
    if ffi.arch == "x64" then assert.truthy(twins.sse2) end
  end)

  it("counts and finds what stands there", function()
    local text = "MSH|^~\\&|A\rPID|1\nx\r\27\200"
    assert.equal("3 2 1 true true", census(scalar, text, #text, 124))
    assert.equal("4 9 11 15 19 ends 2 4", index(scalar, text, #text, 124, 13, 13, 1))
    assert.equal("3 8 10 14 16 18 ends 2 4 5", index(scalar, text, #text, 124, 13, 10, 0))
  end)

  for name, twin in pairs(twins) do
    it(name .. " agrees with plain C at every length and place", function()
      math.randomseed(7)
      local alphabets = { "|", "|\r", "|\r\nAB", "|^~\\&\r\nABCDEFGHIJKLMNOP", "\0\1\127\128\255\27|\r\n" }
      for round = 1, 400 do
        local letters = alphabets[round % #alphabets + 1]
        local len = round <= 200 and round - 1 or math.random(0, 5000)
        local shift = math.random(0, 40)
        local bytes = {}
        for i = 1, len + shift do
          local k = math.random(1, #letters)
          bytes[i] = letters:sub(k, k)
        end
        -- Behind the text stands a separator that must not be seen.
        local text = table.concat(bytes) .. "|\r\27\255"
        local p = ffi.cast("const char *", text) + shift
        local sep = round % 7 == 0 and -1 or 124
        assert.equal(census(scalar, p, len, sep), census(twin, p, len, sep))
        for _, e2 in ipairs { 13, 10 } do
          assert.equal(index(scalar, p, len, sep, 13, e2, 5), index(twin, p, len, sep, 13, e2, 5))
        end
      end
    end)
  end

  if not twins.neon then
    it("neon agrees with plain C", function() pending "this processor has no NEON" end)
  end
end)
