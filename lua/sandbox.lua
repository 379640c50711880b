-- The environment of channel scripts: a whitelist. It runs once in a bare state (no package, debug,
-- jit or ffi in it), is given C functions, returns what compiles a file into a fresh environment.
-- Whatever a script may not have is simply never put in: there is nothing to take away.
local globals = require "lunate.globals"
local nearest = require "lunate.nearest"
local type, error, tostring, ipairs, pcall = type, error, tostring, ipairs, pcall
local setmetatable, rawset, collectgarbage = setmetatable, rawset, collectgarbage
local concat, gsub, match = table.concat, string.gsub, string.match

local kept = {
  "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal",
  "rawget", "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "unpack",
  "math", "table", "bit", "coroutine", "string",
}

-- The handler runs after the call has come back: hooks do not fire inside a running handler, so an
-- endless loop in one could not be stopped.
local function finish(handler, ok, ...)
  if ok then return true, ... end
  return false, handler(...)
end
local function safe_xpcall(f, handler, ...)
  return finish(handler, pcall(f, ...))
end

local function safe_collectgarbage(what)
  if what ~= "count" then
    error('collectgarbage: a channel script may only ask for "count"', 2)
  end
  return collectgarbage "count"
end

-- The clock of the process may be fixed (tests, replay): the library must not look past it.
local function fix_clock(core, os)
  local time, date = os.time, os.date
  function os.time(t)
    if t == nil then return core.time() end
    return time(t)
  end
  function os.date(format, t) return date(format or "%c", t or core.time()) end
end

local function read_chunk(chunk)
  if type(chunk) == "string" then return chunk end
  if type(chunk) ~= "function" then error("load: a string or a function is expected", 3) end
  local parts = {}
  while true do
    local part = chunk()
    if part == nil or part == "" then return concat(parts) end
    if type(part) ~= "string" then error("load: the reader must return strings", 3) end
    parts[#parts + 1] = part
  end
end

local function make_load(core, env)
  local load = core.load
  return function(chunk, name, mode, chunk_env)
    local text = read_chunk(chunk)
    if mode ~= nil and not match(tostring(mode), "t") then
      return nil, "load: only text can be loaded"
    end
    if chunk_env ~= nil and type(chunk_env) ~= "table" then
      error("load: the environment must be a table", 2)
    end
    return load(text, name and tostring(name) or "=(load)", chunk_env or env)
  end
end

-- require: lib/ and, for channels/x/init.lua, channels/x/ too. Each file once, in an environment of
-- its own.
local function make_require(core, public, folder, new_env)
  local loaded, loading = {}, {}

  local function candidates(name)
    local rel = gsub(name, "%.", "/")
    local list = { "lib/" .. rel .. ".lua", "lib/" .. rel .. "/init.lua" }
    if folder then table.insert(list, 1, folder .. rel .. ".lua") end
    return list
  end

  local function modules()
    local names = {}
    for _, path in ipairs(core.paths()) do
      local name = match(path, "^lib/(.+)%.lua$")
      if name then names[#names + 1] = gsub(gsub(name, "/init$", ""), "/", ".") end
    end
    table.sort(names)
    return names
  end

  local function missing(name, tried)
    local names = modules()
    local near = nearest(name, names)
    error(("module '%s' not found%s (no %s); lib/ has: %s"):format(name,
      near and (", did you mean '%s'?"):format(near) or "", concat(tried, ", no "),
      #names > 0 and concat(names, ", ") or "nothing"), 3)
  end

  return function(name)
    if type(name) ~= "string" then error("require: a module's name is expected", 2) end
    if public[name] ~= nil then return public[name] end
    if loaded[name] ~= nil then return loaded[name] end
    if loading[name] then error(("require: '%s' requires itself"):format(name), 2) end
    local tried = candidates(name)
    for _, path in ipairs(tried) do
      local text = core.file(path)
      if text then
        local chunk, err = core.load(text, "@" .. path, new_env())
        if not chunk then error(err, 0) end
        loading[name] = true
        local value = chunk(name)
        loading[name] = nil
        if value == nil then value = true end
        loaded[name] = value
        return value
      end
    end
    missing(name, tried)
  end
end

--- sandbox(core, path) -> load(text, chunk): a function in a fresh environment, or nil and why not.
return function(core, path)
  local real, base = _G, {}
  for _, name in ipairs(kept) do base[name] = real[name] end
  for name, value in pairs(globals(core)) do base[name] = value end
  base.string.dump = nil
  fix_clock(core, os)
  base.os = { clock = os.clock, date = os.date, time = os.time, difftime = os.difftime }
  base.io = core.io
  base.xpcall = safe_xpcall
  base.collectgarbage = safe_collectgarbage
  getmetatable("").__metatable = false
  getmetatable(io.stdin).__metatable = false

  local protected = { __index = base, __metatable = false }
  local require
  local function new_env()
    local env = setmetatable({}, protected)
    rawset(env, "_G", env)
    rawset(env, "require", require)
    local load = make_load(core, env)
    rawset(env, "load", load)
    rawset(env, "loadstring", function(text, name) return load(text, name) end)
    return env
  end
  local public = { hl7 = base.hl7, json = base.json }
  require = make_require(core, public, match(path, "^(channels/[^/]+/)init%.lua$"), new_env)

  -- Behind the scripts' backs, too, there is nothing more than they may have.
  for _, name in ipairs { "dofile", "loadfile", "load", "loadstring", "getfenv", "setfenv",
    "newproxy", "module", "gcinfo", "jit" } do
    real[name] = nil
  end
  return function(text, chunk) return core.load(text, chunk, new_env()) end
end
