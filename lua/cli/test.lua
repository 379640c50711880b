-- `lunate test [SPEC...]`: runs the site's busted specs in this state, with the globals hl7, json
-- and lunate (lunate.cli.spec) there for them, and lib/ on the path.
local sys = require "lunate.sys"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"

local M = {}

function M.define(parser)
  parser:argument("specs", "spec files; all of spec/*_spec.lua when left out"):args "*"
end

local function specs(args)
  local list = args.specs
  for _, file in ipairs(list) do
    if not sys.kind(file) then fail.fail(1, "there is no spec %s", file) end
  end
  if #list > 0 then return list end
  for _, name in ipairs(sys.list(site.file "spec") or {}) do
    if name:match "_spec%.lua$" then list[#list + 1] = site.file("spec/" .. name) end
  end
  if #list == 0 then
    fail.fail(1, "%s has no specs: write spec/NAME_spec.lua (`lunate new channel` makes one)",
      site.path())
  end
  return list
end

function M.run(args)
  local list = specs(args)
  local found, runner = pcall(require, "busted.runner")
  if not found then
    fail.fail(1, "busted is not installed: apt-get install lua-busted, or luarocks install busted")
  end
  package.path = site.file "lib/?.lua" .. ";" .. site.file "lib/?/init.lua" .. ";" .. package.path
  _G.hl7, _G.json, _G.lunate = require "hl7", require "json", require "lunate.cli.spec"
  -- a .busted file of the folder may name another Lua; these specs need this one
  local words = { [0] = "lunate test", "--ignore-lua", "--" }
  for _, file in ipairs(list) do words[#words + 1] = file end
  _G.arg = words
  -- busted ends with error() when a test failed, and returns otherwise
  local ok, err = pcall(runner, { standalone = false })
  if not ok and err ~= nil then fail.fail(1, "%s", tostring(err)) end
  return ok and 0 or 1
end

return M
