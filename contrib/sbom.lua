-- sbom.lua VERSION BINARY [EDITOR]: what Lunate is made of, as a CycloneDX 1.5 document on stdout:
-- the packages whose libraries the binaries load, and what is compiled into them. Debian is asked,
-- nothing is guessed; the same build gives the same text.
local version, binary, editor = arg[1], arg[2], arg[3]
if not binary then
  io.stderr:write "sbom.lua VERSION BINARY [EDITOR]\n"
  os.exit(2)
end

local function lines(command)
  local list, pipe = {}, assert(io.popen(command))
  for line in pipe:lines() do list[#list + 1] = line end
  pipe:close()
  return list
end
local function quote(path) return "'" .. path:gsub("'", "'\\''") .. "'" end
local function sha256(path)
  local line = lines("sha256sum " .. quote(path))[1]
  return { { alg = "SHA-256", content = assert(line, path):match "^%x+" } }
end

-- A package as Debian's data base has it.
local function package(name, what)
  local form = "'${Package}\\t${Version}\\t${Architecture}\\t${source:Package}\\n' "
  local line = lines("dpkg-query -W -f " .. form .. quote(name))[1]
  if not line then error(name .. " is no package that is installed", 0) end
  local short, v, arch, source = line:match "^(.-)\t(.-)\t(.-)\t(.*)$"
  what.name, what.version, what.type = short, v, "library"
  v = v:gsub("%+", "%%2B"):gsub(":", "%%3A")
  what.purl = ("pkg:deb/debian/%s@%s?arch=%s"):format(short, v, arch)
  what["bom-ref"] = what.purl
  what.properties = { { name = "debian:source", value = source } }
  return what
end

-- The package that a file belongs to. With a merged /usr both spellings of its path are asked for.
local function owner(path)
  local real = lines("readlink -f " .. quote(path))[1]
  for _, p in ipairs { path, real, (real:gsub("^/usr", "")), "/usr" .. real } do
    local line = lines("dpkg-query -S " .. quote(p) .. " 2>/dev/null")[1]
    if line then return line:match "^(%S+): ", real end
  end
  error(path .. " belongs to no package", 0)
end

local components, seen = {}, {}
local function add(c)
  if seen[c["bom-ref"]] then return end
  seen[c["bom-ref"]] = true
  components[#components + 1] = c
end
local function loaded(program, scope)
  for _, line in ipairs(lines("ldd " .. quote(program))) do
    local path = line:match "=> (/%S+)" or line:match "^%s*(/%S+)"
    if path then
      local name, real = owner(path)
      add(package(name, { scope = scope, hashes = sha256(real) }))
    end
  end
end

loaded(binary, "required")
if editor then loaded(editor, "optional") end
add(package("lua-argparse", { scope = "required", description = "its Lua text is in the binary" }))
local llhttp = {}
for _, line in ipairs(lines "cat build/llhttp/llhttp.h") do
  local part, n = line:match "^#define LLHTTP_VERSION_(%u+) (%d+)"
  if part then llhttp[part] = n end
end
add { type = "library", name = "llhttp", scope = "required", ["bom-ref"] = "llhttp",
  version = ("%s.%s.%s"):format(llhttp.MAJOR, llhttp.MINOR, llhttp.PATCH),
  description = "compiled in, from the source in Debian's package node-llhttp",
  hashes = sha256 "build/llhttp/llhttp.c" }
table.sort(components, function(a, b) return a.name < b.name end)

-- Keys in order, so that the text is stable.
local function write(v, indent)
  if type(v) ~= "table" then
    return type(v) == "string" and '"' .. v:gsub('[%c"\\]', function(c)
      return ("\\u%04x"):format(c:byte())
    end) .. '"' or tostring(v)
  end
  local inner, list = indent .. "  ", {}
  if #v > 0 then
    for i, item in ipairs(v) do list[i] = inner .. write(item, inner) end
    return "[\n" .. table.concat(list, ",\n") .. "\n" .. indent .. "]"
  end
  for key in pairs(v) do list[#list + 1] = key end
  table.sort(list)
  for i, key in ipairs(list) do
    list[i] = ('%s"%s": %s'):format(inner, key, write(v[key], inner))
  end
  return "{\n" .. table.concat(list, ",\n") .. "\n" .. indent .. "}"
end

local function compiler()
  local comment = "readelf -p .comment " .. quote(binary)
  return lines(comment .. " | grep -o 'GCC:.*\\|.*clang.*'")[1] or "unknown"
end

local ref = "pkg:generic/lunate@" .. version
local needs = {}
for i, c in ipairs(components) do needs[i] = c["bom-ref"] end
print(write({
  bomFormat = "CycloneDX", specVersion = "1.5", version = 1,
  metadata = {
    component = { type = "application", name = "lunate", version = version, ["bom-ref"] = ref,
      hashes = sha256(binary) },
    tools = { components = { { type = "application", name = "cc", version = compiler() } } },
  },
  components = components,
  dependencies = { { ref = ref, dependsOn = needs } },
}, ""))
