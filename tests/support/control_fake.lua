-- A control socket that plays the engine: takes one request per connection, gives the records it
-- was told to give. For specs of the command line alone.
local ffi = require "ffi"
local bit = require "bit"
local ln = require "support.ln"
local sys = require "support.sys"
local C = sys.C

if not pcall(ffi.typeof, "struct fake_un") then
  ffi.cdef "struct fake_un { uint16_t family; char path[108]; }; int chdir(const char *);"
end

local M = { REQUEST = ln.C.LN_P_REQUEST, PART = ln.C.LN_P_PART, REPLY = ln.C.LN_P_REPLY }
M.__index = M

local function u32(n)
  return string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256,
    math.floor(n / 16777216) % 256)
end
M.u32 = u32

local function bytes(s)
  return u32(#s) .. s
end

local function record(kind, payload)
  return u32(#payload + 1) .. string.char(kind) .. payload
end

--- LN_P_REPLY with an exit status and a text; LN_P_PART.
function M.reply(status, text)
  return record(M.REPLY, string.char(status) .. bytes(text))
end

function M.part(text)
  return record(M.PART, bytes(text))
end

--- LN_P_REQUEST with its words.
function M.request(words)
  local list = { u32(#words) }
  for _, word in ipairs(words) do list[#list + 1] = bytes(word) end
  return record(M.REQUEST, table.concat(list))
end

--- LN_P_CONTEXT with its pairs, in a row.
function M.context(pairs_)
  local list = {}
  for i, text in ipairs(pairs_) do list[i] = bytes(text) end
  return record(ln.C.LN_P_CONTEXT, table.concat(list))
end

--- Listens at folder/control.sock (the folder may be deep).
function M.listen(folder)
  local here = io.popen "pwd" -- a deep folder's path is too long for a socket's address
  local cwd = here:read "*l"
  here:close()
  local a = ffi.new "struct fake_un"
  a.family = 1
  ffi.copy(a.path, "control.sock")
  local fd = C.socket(1, bit.bor(1, 0x80000), 0)
  assert(C.chdir(folder) == 0 and C.bind(fd, a, ffi.sizeof(a)) == 0 and C.listen(fd, 5) == 0)
  assert(C.chdir(cwd) == 0)
  return setmetatable({ fd = fd }, M)
end

local function number(s, at)
  local a, b, c, d = s:byte(at, at + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

--- Takes the next request, answers it; its words.
function M:serve(answer)
  assert(sys.poll(self.fd, "in", sys.patience(5)), "nobody connects")
  local fd = C.accept4(self.fd, nil, nil, 0x80000)
  local data = ""
  while #data < 4 or #data < number(data, 1) + 4 do
    assert(sys.poll(fd, "in", sys.patience(5)), "no whole request")
    data = data .. sys.read(fd)
  end
  assert(data:byte(5) == M.REQUEST, "not a request")
  local words, at = {}, 10
  for i = 1, number(data, 6) do
    local n = number(data, at)
    words[i] = data:sub(at + 4, at + 3 + n)
    at = at + 4 + n
  end
  C.send(fd, answer, #answer, 0x4000)
  C.close(fd)
  return words
end

function M:close()
  C.close(self.fd)
end

return M
