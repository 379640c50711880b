-- Builds every tests/fuzz/NAME_fuzz.c with the plain runner, ASan and UBSan; replays its corpus.
local proc = require "support.proc"
local tmp = require "support.tmp"
local site = require "support.site"

local function list(command)
  local names, p = {}, assert(io.popen(command))
  for line in p:lines() do names[#names + 1] = line end
  p:close()
  return names
end

-- Under MODE=asan the runner of these tests is preloaded with its own sanitizer.
local env = { LD_PRELOAD = false, ASAN_OPTIONS = "detect_leaks=1", UBSAN_OPTIONS = false,
  MAKEFLAGS = false, MAKELEVEL = false, MFLAGS = false }

describe("fuzz", function()
  after_each(site.cleanup)

  for _, file in ipairs(list "ls tests/fuzz/*_fuzz.c") do
    local name = file:match "([^/]+)_fuzz%.c$"
    it(name .. " holds over its corpus", function()
      local status, out, err = proc.run { "make", "-s", "MODE=asan", "build/asan/fuzz/" .. name,
        env = env, timeout = 300 }
      assert.equal(0, status, out .. err)
      local corpus = "tests/fuzz/corpus/" .. name
      local files = #list("ls " .. corpus)
      assert.is_true(files > 0 and files < 200, corpus .. " holds " .. files .. " files")
      status, out, err = proc.run { "build/asan/fuzz/" .. name, corpus, env = env, timeout = 120 }
      assert.equal(0, status, err:sub(-4000))
      assert.equal(files .. " inputs\n", out)
    end)
  end

  it("fails when a check fails", function()
    local bad = tmp.file([[
      #include "fuzz.h"
      int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
      {
          CHECK(size < 3 || data[size - 1] != 'x');
          return 0;
      }]], "bad_fuzz.c")
    local exe = bad .. ".exe"
    local status, _, err = proc.run { "cc", "-Itests/fuzz", "-o", exe, bad, "tests/fuzz/replay.c",
      env = env }
    assert.equal(0, status, err)
    assert.equal(0, (proc.run { exe, tmp.file "abc", env = env }))
    status, _, err = proc.run { exe, tmp.file "abx", env = env }
    assert.equal("signal 6", status)
    assert.truthy(err:find("check failed", 1, true))
  end)
end)
