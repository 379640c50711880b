-- Pseudonyms from a key: HMAC-SHA256 of a purpose and a value. The same key and value give the same
-- answer, on every machine and in every run; without the key nothing leads back.
local hmac = require "lunate.tools".hmac
local byte, char, sub, find = string.byte, string.char, string.sub, string.find

local M = {}
local Keyed = {}
Keyed.__index = Keyed

local KEPT = 50000 -- answers that are remembered

--- new(key): key is a string of bytes.
function M.new(key)
  return setmetatable({ key = key, kept = {}, count = 0 }, Keyed)
end

--- The 32 bytes for a value under a purpose.
function Keyed:bytes(purpose, value)
  return hmac(self.key, purpose .. "\0" .. value)
end

--- A whole number from 0 to below n (n under 2^32; the bias is below n / 2^48).
function Keyed:number(purpose, value, n)
  local a, b, c, d, e, f = byte(self:bytes(purpose, value), 1, 6)
  return (((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f) % n
end

--- One of a list, but not the value itself.
function Keyed:pick(purpose, value, list)
  local n = self:number(purpose, value, #list) + 1
  if list[n]:lower() == value then n = n % #list + 1 end
  return list[n]
end

-- ---- ids ----------------------------------------------------------------------------------------

local function base(c)
  if c >= 48 and c <= 57 then return 48, 10 end
  if c >= 65 and c <= 90 then return 65, 26 end
  if c >= 97 and c <= 122 then return 97, 26 end
end

-- Adds a keyed stream that hangs on `other` to the digits and letters from first to last.
local function add(self, round, digits, radix, first, last, other)
  local stream, at, block = "", 33, 0
  for i = first, last do
    if at > #stream - 1 then
      stream = self:bytes("id" .. round .. ":" .. block, other)
      block, at = block + 1, 1
    end
    local a, b = byte(stream, at, at + 1)
    digits[i] = (digits[i] + a * 256 + b) % radix[i]
    at = at + 2
  end
end

local function text_of(digits, from, to)
  local out = {}
  for i = from, to do out[#out + 1] = char(digits[i]) end
  return table.concat(out)
end

local ROUNDS = 8

-- A Feistel network over the digits and letters: of all texts of one shape each goes to another
-- one, so two ids never become the same.
local function permute(self, text, tweak)
  local digits, radix, places, shape = {}, {}, {}, {}
  for i = 1, #text do
    local from, n = base(byte(text, i))
    if from then
      places[#places + 1] = i
      digits[#places], radix[#places] = byte(text, i) - from, n
    end
    shape[i] = n and char(n + from) or sub(text, i, i)
  end
  local n, form = #places, table.concat(shape) .. tweak
  local half = math.floor(n / 2)
  if n == 1 then
    local by = self:number("id", form, radix[1] - 1) + 1
    digits[1] = (digits[1] + by) % radix[1]
  else
    for round = 1, ROUNDS, 2 do
      add(self, round, digits, radix, 1, half, form .. "\0" .. text_of(digits, half + 1, n))
      add(self, round + 1, digits, radix, half + 1, n, form .. "\0" .. text_of(digits, 1, half))
    end
  end
  local out = {}
  for i = 1, #text do out[i] = sub(text, i, i) end
  for k, i in ipairs(places) do out[i] = char(base(byte(text, i)) + digits[k]) end
  return table.concat(out)
end

--- Another id of the same shape: digits for digits, letters for letters of their case, the rest as
--- it is; what is not ASCII becomes X. One to one, but for the one id in all of a shape that would
--- stay what it is.
function Keyed:id(text)
  local known = self.kept[text]
  if known then return known end
  local plain = text
  if find(text, "[\128-\255]") then
    plain = text:gsub("[\192-\255][\128-\191]*", "X"):gsub("[\128-\255]", "X")
  end
  local answer = permute(self, plain, "")
  if answer == text then answer = permute(self, plain, "again") end -- one in all of its shape
  if self.count >= KEPT then self.kept, self.count = {}, 0 end
  self.kept[text], self.count = answer, self.count + 1
  return answer
end

return M
