-- Loads a profile of the site for `lunate validate --profile NAME`: lib/NAME.lua, or a file. It is
-- the user's own code on the user's own command, so it runs here, with hl7, json, lookup, env, log
-- and now as in a script, and lib/ on its path.
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local nearest = require "lunate.nearest"
local lookup = require "lunate.lookup"

local M = {}

local function files(folder, pattern)
  local list = {}
  for _, name in ipairs(sys.list(site.file(folder)) or {}) do
    if name:find(pattern) then list[#list + 1] = folder .. "/" .. name end
  end
  return list
end

local function set_globals()
  local g = _G -- what a module of lib/ sees
  g.hl7, g.json = require "hl7", require "json"
  g.lookup = lookup.new(function(path) return site.read(site.file(path)) end,
    function() return files("tables", "%.csv$") end)
  g.env = function(name, default)
    local value = os.getenv(name)
    if value == nil then return default end
    return value
  end
  g.now = function() return os.date "%Y%m%d%H%M%S%z" end
  g.log = setmetatable({}, { __index = function(_, level)
    return function(format, ...)
      io.stderr:write(level, ": ", select("#", ...) > 0 and format:format(...) or tostring(format),
        "\n")
    end
  end })
  package.path = site.file "lib/?.lua" .. ";" .. site.file "lib/?/init.lua" .. ";" .. package.path
  require("lunate.hl7.core").source = site.read
end

local function find(name)
  if name:find "/" or name:find "%.lua$" then
    local path = sys.kind(name) and name or site.file(name)
    if not sys.kind(path) then fail.fail(1, "%s: no such file", name) end
    return path
  end
  local rel = name:gsub("%.", "/")
  for _, path in ipairs { site.file("lib/" .. rel .. ".lua"), site.file("lib/" .. rel
    .. "/init.lua") } do
    if sys.kind(path) == "file" then return path end
  end
  local names = {}
  for i, path in ipairs(files("lib", "%.lua$")) do names[i] = path:match "([^/]+)%.lua$" end
  local near = nearest(name, names)
  fail.fail(1, "there is no %s%s; lib/ has: %s", site.file("lib/" .. rel .. ".lua"),
    near and (", did you mean \"%s\"?"):format(near) or "",
    #names > 0 and table.concat(names, ", ") or "nothing")
end

-- What the module returns, and its path. Ends the verb when it is wrong.
local function run(name)
  local path = find(name)
  local text, err = site.read(path)
  if not text then fail.fail(1, "%s", err) end
  set_globals()
  local chunk, wrong = loadstring(text, "@" .. path)
  if not chunk then fail.fail(1, "%s", wrong) end
  local ok, value = pcall(chunk, name)
  if not ok then fail.fail(1, "%s", tostring(value)) end
  return value, path
end

--- Runs lib/NAME.lua, or a file, for what it adds to the dictionary. Ends the verb when it is
--- wrong.
function M.run(name)
  run(name)
end

--- The profile (or list of profiles) that lib/NAME.lua returns. Ends the verb when it is wrong.
function M.load(name)
  local value, path = run(name)
  local profile = require "lunate.hl7.profile"
  if not profile.is(value) and not profile.is_list(value) then
    fail.fail(1, "%s: it must return what hl7.profile { ... } gives, or a list of such", path)
  end
  return value
end

return M
