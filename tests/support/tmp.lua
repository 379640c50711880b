-- Temporary folders and files. tmp.cleanup() (in after_each) removes what this module made.
local ffi = require "ffi"
local sys = require "support.sys"

local M = {}
local made = {}

--- Shell-quotes one word.
function M.quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- A new empty folder; its absolute path. `base`: where (default TMPDIR or /tmp).
function M.dir(base)
  local template = (base or os.getenv "TMPDIR" or "/tmp") .. "/lunate-test-XXXXXX"
  local buf = ffi.new("char[?]", #template + 1, template)
  local path = sys.C.mkdtemp(buf)
  if path == nil then error("mkdtemp " .. template .. ": " .. sys.errtext(), 2) end
  path = ffi.string(path)
  made[#made + 1] = path
  return path
end

--- Writes a file, making the folders above it. Returns the path.
function M.write(path, text)
  local f = io.open(path, "wb")
  if not f then
    local folder = path:match "^(.*)/[^/]*$"
    if folder then os.execute("mkdir -p " .. M.quote(folder)) end
    f = assert(io.open(path, "wb"))
  end
  f:write(text)
  assert(f:close())
  return path
end

--- The content of a file, or nil and why.
function M.read(path)
  local f, err = io.open(path, "rb")
  if not f then return nil, err end
  local text = f:read "*a"
  f:close()
  return text
end

--- A new temporary file with that content; its path.
function M.file(text, name)
  return M.write(M.dir() .. "/" .. (name or "file"), text)
end

--- True when the path exists.
function M.exists(path)
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

--- Removes a folder of dir() at once, with the files that are named, if they are there.
function M.drop(path, ...)
  for _, name in ipairs { ... } do os.remove(path .. "/" .. name) end
  if os.remove(path) then
    for i = #made, 1, -1 do
      if made[i] == path then return table.remove(made, i) end
    end
  end
end

--- Removes all folders made since the last call.
function M.cleanup()
  if #made == 0 then return end
  local list = {}
  for i, path in ipairs(made) do list[i] = M.quote(path) end
  made = {}
  local all = table.concat(list, " ")
  os.execute(("rm -rf %s 2>/dev/null || { chmod -R u+rwx %s; rm -rf %s; }"):format(all, all, all))
end

return M
