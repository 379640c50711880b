-- An audit record repository for the tests: openssl s_server, which shows what came; its frames
-- (RFC 5425) are taken apart here.
local proc = require "support.proc"
local sys = require "support.sys"
local net = require "support.net"

local M = {}
local Arr = {}
Arr.__index = Arr

--- Starts one. cert: path of its certificate without .pem, key beside it; more options of s_server.
function M.start(port, cert, ...)
  local p = proc.spawn { "openssl", "s_server", "-accept", "127.0.0.1:" .. port, "-quiet", "-cert", cert .. ".pem",
    "-key", cert .. ".key", stdin = "pipe", ... }
  sys.wait_until(function()
    local c = net.connect(port)
    return c and (c:close() or true)
  end, 10, "s_server")
  return setmetatable({ proc = p }, Arr)
end

function Arr:kill()
  self.proc:kill(proc.KILL)
  self.proc:wait(10)
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function unbase64(text)
  local out, bits, n = {}, 0, 0
  for c in text:gmatch "[%w+/]" do
    bits, n = bits * 64 + alphabet:find(c, 1, true) - 1, n + 6
    if n >= 8 then
      n = n - 8
      out[#out + 1] = string.char(math.floor(bits / 2 ^ n) % 256)
      bits = bits % 2 ^ n
    end
  end
  return table.concat(out)
end

--- A detail of an ATNA message, decoded.
function M.detail(body, name)
  local value = body:match('<ParticipantObjectDetail type="' .. name .. '" value="([^"]*)"/>')
  return value and unbase64(value)
end

--- What came so far, in order: whole messages { header, id (MSGID), body, seq }; what a cut connection left
-- half is passed over.
function M.parse(text)
  local list, at = {}, 1
  while true do
    local _, to, len = text:find("(%d+) <85>1 ", at)
    if not to then return list end
    local start = to - 5 -- of the message, whose head was found
    local after = start + tonumber(len)
    local m = text:sub(start, after - 1)
    local header, id, body = m:match "^(<85>1 %S+ %S+ lunate %S+ (%S+) %-) \239\187\191(.*)$"
    local rest = text:sub(after, after + 10)
    if header and #m == tonumber(len) and not body:find "%d+ <85>1 " and (rest == "" or rest:find "^%d") then
      list[#list + 1] = { header = header, id = id, body = body, seq = tonumber(M.detail(body, "entry")) }
      at = after
    else
      at = to
    end
  end
end

function Arr:messages()
  return M.parse(self.proc:out())
end

--- Numbers of entries in the order in which each came first; how many came again.
function M.numbers(list)
  local seen, out, again = {}, {}, 0
  for _, m in ipairs(list) do
    if m.id == "IHE+RFC-3881" and m.seq then
      if seen[m.seq] then
        again = again + 1
      else
        seen[m.seq] = true
        out[#out + 1] = m.seq
      end
    end
  end
  return out, again
end

return M
