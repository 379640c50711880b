-- The binary as it is shipped: what makes a memory error hard to use, and the same bytes from the same
-- source wherever it is built.

local release = (os.getenv "MODE" or "release") == "release"

local function output(command)
  local p = assert(io.popen(command .. " 2>&1"))
  local text = p:read "*a"
  p:close()
  return text
end

describe("base/hardening", function()
  if not release then
    pending "sanitizer builds are not shipped"
    return
  end
  local binary = assert(os.getenv "LUNATE")
  local headers, dynamic = output("readelf -lW " .. binary), output("readelf -dW " .. binary)

  it("is position independent, its tables read-only, its stack not executable", function()
    assert.truthy(output("readelf -hW " .. binary):find("Type:%s+DYN"))
    assert.truthy(headers:find "GNU_RELRO")
    assert.truthy(dynamic:find "BIND_NOW" and dynamic:find "PIE")
    assert.truthy(headers:find "GNU_STACK%s+%S+ %S+ %S+ %S+ %S+ RW%s+0x")
    assert.falsy(headers:find "RWE")
    assert.falsy(dynamic:find "RPATH" or dynamic:find "RUNPATH")
    assert.falsy(dynamic:find "TEXTREL")
  end)

  it("checks its stack and its buffers", function()
    local symbols = output("readelf -W --dyn-syms " .. binary)
    assert.truthy(symbols:find "__stack_chk_fail")
    assert.truthy(symbols:find "__memcpy_chk" or symbols:find "__snprintf_chk")
  end)

  it("marks where jumps may land", function()
    local notes = output("readelf -nW " .. binary)
    if output "uname -m":find "x86_64" then
      assert.truthy(notes:find "IBT" and notes:find "SHSTK", notes)
    else
      assert.truthy(notes:find "BTI", notes)
    end
  end)

  it("says nothing of the folder it was built in", function()
    local cwd = output("pwd"):gsub("%s+$", "")
    local f = assert(io.open(binary, "rb"))
    local bytes = f:read "*a"
    f:close()
    assert.is_nil(bytes:find(cwd, 1, true))
  end)
end)
