-- `lunate test [SPEC...]`: runs the site's busted specs in this state, with the globals hl7, json,
-- lunate (lunate.cli.spec), messages and for_all there for them, and lib/ on the path.
local sys = require "lunate.sys"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"

local M = {}

-- What busted calls them.
local outputs = { plain = "plainTerminal", terminal = "utfTerminal", tap = "TAP", junit = "junit",
  json = "json" }

function M.define(parser)
  parser:argument("specs", "spec files, or NAME for spec/NAME_spec.lua; all when left out")
    :args "*"
  parser:option("--filter", "only tests whose name has this pattern"):argname "PATTERN"
  parser:option("--output", "terminal (default), plain, tap, junit, json")
    :choices { "terminal", "plain", "tap", "junit", "json" }
  parser:flag("--update", "write golden files anew (spec/golden)")
  parser:option("--seed", "for for_all: the same messages again"):argname "N"
  parser:flag("--coverage", "show which lines of the site's Lua ran")
  parser:option("--lcov", "write the coverage to FILE, for genhtml and editors"):argname "FILE"
  parser:flag("--watch", "run again whenever a file of the site changes")
end

local function all_specs()
  local list = {}
  for _, name in ipairs(sys.list(site.file "spec") or {}) do
    if name:match "_spec%.lua$" then list[#list + 1] = name end
  end
  return list
end

-- A spec as people name it: a path, as given or below the site; adt for spec/adt_spec.lua.
local function find(word)
  for _, path in ipairs { word, site.file(word), site.file("spec/" .. word),
    site.file("spec/" .. word .. "_spec.lua"), site.file("spec/" .. word .. ".lua") } do
    if sys.kind(path) then return path end
  end
  local names = all_specs()
  for i, name in ipairs(names) do names[i] = name:gsub("_spec%.lua$", "") end
  fail.fail(1, "there is no spec %s%s", word, #names > 0 and " (spec/ has: " ..
    table.concat(names, ", ") .. ")" or "")
end

local function specs(args)
  local list = {}
  for i, word in ipairs(args.specs) do list[i] = find(word) end
  if #list > 0 then return list end
  for i, name in ipairs(all_specs()) do list[i] = site.file("spec/" .. name) end
  if #list == 0 then
    fail.fail(1, "%s has no specs: write spec/NAME_spec.lua (`lunate new channel` makes one)",
      site.path())
  end
  return list
end

local function seed(args)
  if not args.seed then return math.floor(sys.now() * 1000) % 1000000 + 1 end
  local n = args.seed:match "^%d+$" and tonumber(args.seed)
  if not n or n < 1 then fail.usage "--seed is a number above 0" end
  return n
end

-- Counts lines of lib/ that specs call in this state, not in a worker. Returns what calls a
-- function of Lunate's own without looking, which would be slow.
local function watch_here(counts)
  local folder = site.path() == "." and "" or site.file ""
  local function look(_, line)
    local source = debug.getinfo(2, "S").source
    local path = source:sub(1, 1) == "@" and source:sub(2, #folder + 1) == folder
      and source:sub(#folder + 2):gsub("^/+", "")
    if path and path:match "^lib/" then
      counts[path] = counts[path] or {}
      counts[path][line] = (counts[path][line] or 0) + 1
    end
  end
  debug.sethook(look, "l")
  local function back(...)
    debug.sethook(look, "l")
    return ...
  end
  return function(f, ...)
    debug.sethook()
    return back(f(...))
  end
end

local function texts()
  local list = {}
  local function add(folder)
    for _, name in ipairs(sys.list(site.file(folder)) or {}) do
      local path = folder .. "/" .. name
      if sys.kind(site.file(path)) == "folder" then
        add(path)
      elseif name:match "%.lua$" then
        list[path] = site.read(site.file(path))
      end
    end
  end
  add "channels"
  add "lib"
  return list
end

local function tell_coverage(args, spec)
  debug.sethook()
  local coverage = require "lunate.cli.coverage"
  local list = coverage.summary(spec.collect(), texts())
  if args.lcov then coverage.lcov(list, args.lcov, sys.realpath(site.path())) end
  if args.coverage then
    coverage.print(list, (args.output or "terminal") == "terminal" and io.stdout or io.stderr)
  end
end

local function set_up(args)
  package.path = site.file "lib/?.lua" .. ";" .. site.file "lib/?/init.lua" .. ";" .. package.path
  local spec, property = require "lunate.cli.spec", require "lunate.spec.for_all"
  _G.hl7, _G.json, _G.lunate = require "hl7", require "json", spec
  _G.messages, _G.for_all = require("lunate.spec.generate").messages, property.for_all
  property.seed = seed(args)
  require("lunate.spec.golden").update = args.update
  require("lunate.spec.asserts").register(require "luassert")
  if args.coverage or args.lcov then
    spec.watch = "lines"
    property.quietly = watch_here(spec.counts)
    spec.quietly = property.quietly
  end
  return spec
end

local function busted_words(args, list)
  -- a .busted file of the folder may name another Lua; these specs need this one
  local words = { [0] = "lunate test", "--ignore-lua" }
  local function add(...)
    for i = 1, select("#", ...) do words[#words + 1] = (select(i, ...)) end
  end
  if args.output then add("--output", outputs[args.output]) end
  if args.filter then add("--filter", args.filter) end
  add "--"
  add(unpack(list))
  return words
end

-- The words of this call again, for a child, without --watch.
local function again(args)
  local words = { "-C", site.path(), "test" }
  local function add(name, value)
    if value then words[#words + 1] = name end
    if type(value) == "string" then words[#words + 1] = value end
  end
  for _, name in ipairs { "filter", "output", "seed", "lcov", "coverage", "update" } do
    add("--" .. name, args[name])
  end
  for _, file in ipairs(args.specs) do words[#words + 1] = file end
  return words
end

-- busted ends with error() when a test failed, and returns otherwise: but only when a Lua file
-- calls it, else it ends the process.
local call = loadstring("local runner, o = ... runner(o)", "@lunate-test")

-- Counts the tests that run. The runner makes its own core of busted: it is watched being made.
local function counter()
  local make, n = require "busted.core", 0
  package.loaded["busted.core"] = function(...)
    local core = make(...)
    core.subscribe({ "test", "end" }, function()
      n = n + 1
      return nil, true
    end)
    return core
  end
  return function() return n end
end

function M.run(args)
  if args.watch then
    seed(args)
    return require("lunate.cli.watch").loop(again(args))
  end
  local list = specs(args)
  local found, runner = pcall(require, "busted.runner")
  if not found then
    fail.fail(1, "busted is not installed: apt-get install lua-busted, or luarocks install busted")
  end
  local spec = set_up(args)
  _G.arg = busted_words(args, list)
  local ran = counter()
  local ok, err = pcall(call, runner, { standalone = false })
  if not ok and err ~= nil then fail.fail(1, "%s", tostring(err)) end
  if spec.watch then tell_coverage(args, spec) end
  if args.filter and ran() == 0 then
    fail.fail(1, "no test has a name with the pattern \"%s\": nothing was tested", args.filter)
  end
  return ok and 0 or 1
end

return M
