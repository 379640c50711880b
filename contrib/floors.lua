-- luajit contrib/floors.lua: checks who includes whom in core/. A file includes headers of its own
-- folder and of folders on lower floors; folders on one floor don't know each other. The floors
-- stand in docs/architecture.md ("base 0, hl7 1, ..."). Few folders know each library.
local libraries = {
  ["lmdb.h"] = "store",
  ["lua.h"] = "script role", ["lauxlib.h"] = "script role", ["lualib.h"] = "script role",
  ["luajit.h"] = "script role",
  ["event2/"] = "net hub role",
  ["openssl/"] = "crypt net audit hub",
  ["readline/"] = "repl",
  ["curl/"] = "role",
}

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

local function floors()
  local text = read "docs/architecture.md":match "`(base 0,[^`]*)`"
  assert(text, "docs/architecture.md: no line `base 0, ...`")
  local list = {}
  for name, n in text:gmatch "(%w+) (%d+)" do list[name] = tonumber(n) end
  return list
end

-- The folders that may include <name>, or nil when that is up to everybody.
local function allowed(name)
  for prefix, folders in pairs(libraries) do
    if name:sub(1, #prefix) == prefix then return " " .. folders .. " " end
  end
end

local floor, wrong, seen = floors(), 0, 0
local function complain(path, line, fmt, ...)
  wrong = wrong + 1
  io.stderr:write(("%s:%d: "):format(path, line), fmt:format(...), "\n")
end

local function check(path, folder)
  if not floor[folder] then return complain(path, 1, "core/%s stands on no floor", folder) end
  local n = 0
  for line in (read(path) .. "\n"):gmatch "(.-)\n" do
    n = n + 1
    local own = line:match '^%s*#%s*include%s+"([^"]+)"'
    local library = line:match "^%s*#%s*include%s+<([^>]+)>"
    local other = own and own:match "^([^/]+)/"
    local folders = library and allowed(library)
    if own and not other then
      complain(path, n, '"%s": write the folder, as in "base/buf.h"', own)
    elseif other and not floor[other] then
      complain(path, n, '"%s": core/%s stands on no floor', own, other)
    elseif other and other ~= folder and floor[other] >= floor[folder] then
      complain(path, n, '"%s": %s (floor %d) may not know %s (floor %d)', own, folder,
        floor[folder], other, floor[other])
    elseif folders and not folders:find(" " .. folder .. " ", 1, true) then
      complain(path, n, "<%s>: only for%s", library, folders)
    end
  end
end

local list = assert(io.popen "find core -name '*.[ch]' | sort")
for path in list:lines() do
  seen = seen + 1
  check(path, path:match "^core/([^/]+)/" or path:match "^core/([^/]+)%.c$")
end
list:close()
if seen == 0 then error "no C files found: run this in the source's folder" end
os.exit(wrong == 0 and 0 or 1)
