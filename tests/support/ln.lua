-- Lunate's C functions through FFI, from the same headers that C reads.
local ffi = require "ffi"
local f = assert(io.open(assert(os.getenv "LUNATE_CDEF", "run tests with `make test`")))
local cdef = f:read "*a"
f:close()
-- One cdef for the whole run: busted reloads modules between files, declarations stay.
if not pcall(ffi.typeof, "struct ln_buf") then
  ffi.cdef(cdef)
  ffi.cdef "void free(void *); char *strerror(int);"
end
local C = ffi.load(os.getenv "LUNATE_LIB")
local M = { C = C, ffi = ffi }

--- A struct ln_span over a Lua string; keep the string alive as long as the span is used.
function M.span(s)
  return ffi.new("struct ln_span", { ptr = s, len = #s })
end

--- The bytes of a struct ln_span as a Lua string.
function M.str(span)
  return span.ptr == nil and "" or ffi.string(span.ptr, span.len)
end

return M
