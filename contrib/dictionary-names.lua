-- dictionary-names.lua DIR: writes the names of fields and components, versions 2.1 to 2.8.2, as
-- lua/dictionary/names.lua, from the facts in DIR/segments.csv and DIR/datatypes.csv.
--   luajit contrib/dictionary-names.lua DIR > lua/dictionary/names.lua
local dir = assert(arg[1], "usage: luajit contrib/dictionary-names.lua DIR")
local versions = { "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1",
  "2.8", "2.8.1", "2.8.2" }
local number_of = {}
for i, v in ipairs(versions) do number_of[v] = i end

--- The fields of one CSV line; quotes may enclose commas.
local function split(line)
  local out, at = {}, 1
  while at <= #line + 1 do
    if line:sub(at, at) == '"' then
      local text, stop = "", at + 1
      while true do
        local q = assert(line:find('"', stop, true))
        text = text .. line:sub(stop, q - 1)
        stop = q + 1
        if line:sub(stop, stop) ~= '"' then break end
        text, stop = text .. '"', stop + 1
      end
      out[#out + 1], at = text, stop + 1
    else
      local comma = line:find(",", at, true) or #line + 1
      out[#out + 1], at = line:sub(at, comma - 1), comma + 1
    end
  end
  return out
end

--- "Mother's Maiden Name (e.g., X)" -> "mothers_maiden_name"
local function snake(name)
  name = name:gsub("\226\128\153", "'"):gsub("%s*%(e%.?g%.?[^)]*%)", ""):lower()
  name = name:gsub("'s%f[^%w]", "s"):gsub("'", ""):gsub("[^a-z0-9]+", "_")
  name = name:gsub("^_+", ""):gsub("_+$", ""):gsub("(%a)_s_", "%1s_")
  return (name:gsub("^(%d)", "n%1"))
end

--- Adds the rows of a file to owners: owner -> list of { number, name, type, versions = {} }.
local function read(file, prefix, owners)
  local f = assert(io.open(dir .. "/" .. file))
  f:read()
  local index = {}
  for line in f:lines() do
    local version, owner, seq, name, type = unpack(split((line:gsub("\r$", ""))))
    seq = tonumber(seq)
    name = snake(name)
    if seq > 0 and name ~= "" then
      owner = prefix .. owner
      local key = table.concat({ owner, seq, name, type }, ":")
      if not index[key] then
        owners[owner] = owners[owner] or {}
        index[key] = { number = seq, name = name, type = type, versions = {} }
        table.insert(owners[owner], index[key])
      end
      index[key].versions[assert(number_of[version])] = true
    end
  end
  f:close()
end

--- { [3] = true, [4] = true, [7] = true } -> "3-4,7", numbers as hexadecimal digits; all: "".
local function ranges(set)
  local out, i = {}, 1
  while i <= #versions do
    if set[i] then
      local from = i
      while set[i + 1] do i = i + 1 end
      out[#out + 1] = from == i and ("%x"):format(i) or ("%x-%x"):format(from, i)
    end
    i = i + 1
  end
  local text = table.concat(out, ",")
  return text == ("1-%x"):format(#versions) and "" or text
end

local owners = {}
read("segments.csv", "=", owners)
read("datatypes.csv", ":", owners)
local names = {}
for owner in pairs(owners) do names[#names + 1] = owner end
table.sort(names)

print "-- luacheck: no max line length"
print "-- Written by contrib/dictionary-names.lua. A line per segment (=PID) and per data type"
print "-- (:XPN); then number:name:type[:versions], versions counted in hexadecimal:"
print("-- 1 = " .. table.concat(versions, ", ") .. (" = %x"):format(#versions) .. ".")
print "return [=["
for _, owner in ipairs(names) do
  local list = owners[owner]
  table.sort(list, function(a, b)
    if a.number ~= b.number then return a.number < b.number end
    return ranges(a.versions) < ranges(b.versions)
  end)
  local out = { owner }
  for _, e in ipairs(list) do
    local r = ranges(e.versions)
    out[#out + 1] = ("%d:%s:%s%s"):format(e.number, e.name, e.type, r == "" and "" or ":" .. r)
  end
  print(table.concat(out, " "))
end
print "]=]"
