-- Runs the ```lua examples of a document: what they print must be what stands behind `-->`, with two
-- blanks for a tab. Each starts with the document's ```hl7 sample as `msg`. A block that begins with
-- `-- lib/NAME.lua` is kept: later blocks `require "NAME"` it.
local assert = require "luassert"
local hl7 = require "support.hl7"

local M = {}

local function read(path)
  local f = assert(io.open(path))
  local text = f:read "*a"
  f:close()
  return text
end

local function environment(sample, modules, printed)
  local env = { hl7 = hl7, msg = sample and assert(hl7.parse(sample)) }
  function env.print(...)
    local t = {}
    for i = 1, select("#", ...) do t[i] = tostring((select(i, ...))) end
    for line in (table.concat(t, "  ") .. "\n"):gmatch "(.-)\n" do printed[#printed + 1] = line end
  end
  function env.require(name)
    local m = modules[name]
    if not m then return require(name) end
    if m.value == nil then m.value = setfenv(assert(loadstring(m.text, "@" .. m.path)), env)(name) end
    return m.value
  end
  return setmetatable(env, { __index = _G })
end

--- Defines a test per example of the document with busted's `it`; returns how many there are.
-- before(env): called with the environment of each.
function M.define(path, it, before)
  local text = read(path)
  local sample = text:match "```hl7\n(.-)```"
  local heading, at, count, modules = "", 1, 0, {}
  for from, block, to in text:gmatch "()```lua\n(.-)```()" do
    for h in text:sub(at, from):gmatch "\n##+ ([^\n]+)" do heading = h end
    local _, line = text:sub(1, from):gsub("\n", "\n")
    at, count = to, count + 1
    local name = block:match "^%-%- lib/(%w+)%.lua\n"
    if name then modules[name] = { text = ("\n"):rep(line + 1) .. block, path = path } end
    it(heading .. " (line " .. line .. ")", function()
      local printed, wanted = {}, {}
      for want in block:gmatch "%-%->[ ]?([^\n]*)" do wanted[#wanted + 1] = want end
      local env = environment(sample, modules, printed)
      if before then before(env) end
      if name then
        assert.is_not_nil(env.require(name))
      else
        setfenv(assert(loadstring(("\n"):rep(line + 1) .. block, "@" .. path)), env)()
      end
      assert.same(wanted, printed)
    end)
  end
  return count
end

return M
