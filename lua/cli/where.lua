-- Conditions on values of a message: "OBX-3.1 = 718-7". A path without a number means any of its
-- segments and any of its repetitions, as a person who searches means it.
local hl7 = require "hl7"
local fail = require "lunate.cli.fail"

local M = {}

local tests = {
  ["="] = function(v, want) return v == want end,
  ["~"] = function(v, want) return v:lower():find(want:lower(), 1, true) ~= nil end,
}

-- The path with [*] where no number stands; nil when it is none.
local function any(path)
  local name, n, field, r, rest =
    path:match "^(%u[%u%d][%u%d])(%[?[%d*]*%]?)%-(%d+)(%[?[%d*]*%]?)([%d.]*)$"
  if not name then return nil end
  local multiple = name ~= "MSH" and "[*]" or ""
  return name .. (n ~= "" and n or multiple) .. "-" .. field
    .. (r ~= "" and r or name ~= "MSH" and "[*]" or "") .. rest
end

--- Conditions of the words; ends the verb when one is none.
function M.compile(words)
  local list = {}
  local probe = #words > 0 and hl7.parse "MSH|^~\\&\r"
  for i, word in ipairs(words) do
    local left, no, op, want = word:match "^%s*([^=!~%s]+)%s*(!?)([=~])%s*(.-)%s*$"
    if not left then left = word:match "^%s*(%S+)%s*$" end
    local path = left and any(left)
    if not path or not pcall(probe.all, probe, path) then
      fail.usage("\"%s\" is no condition, as in --where 'OBX-3.1 = 718-7' or 'PV1-2 != I'", word)
    end
    list[i] = { path = path, no = no == "!", test = op and tests[op], want = want }
  end
  return list
end

local function holds(msg, c)
  for _, v in ipairs(msg:all(c.path)) do
    local text = v ~= nil and tostring(v) or ""
    if c.test and c.test(text, c.want) or not c.test and text ~= "" then return not c.no end
  end
  return c.no
end

--- True when all conditions hold for a message's bytes. What is no HL7 fits no condition.
function M.hold(conditions, raw)
  if #conditions == 0 then return true end
  local ok, msg = pcall(hl7.parse, raw)
  if not ok or not msg then return false end
  for _, c in ipairs(conditions) do
    if not holds(msg, c) then return false end
  end
  return true
end

return M
