-- Runs every example of docs/message.md: what is printed must be what stands behind `-->`.
local hl7 = require "support.hl7"

local function read(path)
  local f = assert(io.open(path))
  local text = f:read "*a"
  f:close()
  return text
end

local text = read "docs/message.md"
local sample = text:match "```hl7\n(.-)```"

--- Runs a block, gives what it printed and what it should have.
local function run(block, line)
  local printed, wanted = {}, {}
  for want in block:gmatch "%-%->[ ]?([^\n]*)" do wanted[#wanted + 1] = want end
  local env = setmetatable({ hl7 = hl7, msg = assert(hl7.parse(sample)), print = function(...)
    local t = {}
    for i = 1, select("#", ...) do t[i] = tostring((select(i, ...))) end
    printed[#printed + 1] = table.concat(t, "\t")
  end }, { __index = _G })
  local chunk = assert(loadstring(("\n"):rep(line) .. block, "@docs/message.md"))
  setfenv(chunk, env)()
  return printed, wanted
end

describe("docs/message", function()
  local heading, at, count = "", 1, 0
  for from, block, to in text:gmatch "()```lua\n(.-)```()" do
    local before = text:sub(at, from)
    for h in before:gmatch "\n##+ ([^\n]+)" do heading = h end
    local _, line = text:sub(1, from):gsub("\n", "\n")
    at, count = to, count + 1
    it(heading .. " (line " .. line .. ")", function()
      local printed, wanted = run(block, line + 1)
      assert.same(wanted, printed)
    end)
  end

  it("has examples", function() assert.is_true(count > 15) end)
end)
