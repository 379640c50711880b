-- `allow` of a channel: what its script may reach beside the site. allow.read names files and
-- folders by absolute paths; the kernel opens exactly these to the channel's worker
-- (core/role/confine.h). Here they are checked: each is there, and none is, holds or lies in what
-- belongs to the engine or to all channels: the site, the store, archives, keys.
local lexer = require "lunate.lexer"
local schema = require "lunate.schema"
local format = string.format

local M = { is_address = function() return true end }

local function path(v)
  local text, err = schema.text(v)
  if not text then return nil, err end
  if text:sub(1, 1) ~= "/" then
    return nil, format('"%s" must be an absolute path: what stands in the site may be read anyway',
      text)
  end
  return text
end

-- "HOST:PORT" with a name, an address or a net, as core/net/grant.h reads it.
local function reach(v)
  if type(v) ~= "string" then return nil, 'must be text like "api.example.org:443"' end
  local host, port = v:match "^%[([^%[%]]+)%]:(%d+)$"
  local name
  if not host then
    name, port = v:match "^([^:%[%]]+):(%d+)$"
    host = name
  end
  port = tonumber(port)
  if not host or port < 1 or port > 65535 then
    return nil, format('"%s" must be "HOST:PORT": "api.example.org:443", "10.1.2.3:8080", '
      .. '"10.1.0.0/16:443", "[2001:db8::7]:443"', v)
  end
  local address = not name and M.is_address(host) and host:find ":"
    or name and name:find "^[%d./]+$" and M.is_address(name)
  if not address and not (name and #name <= 253 and name:find "^[%w_-][%w_.-]*$"
    and not name:find "^[%d.]+$") then
    return nil, format('"%s": %s is no name, address or net', v, host)
  end
  return v:lower()
end

--- The keys of `allow`.
function M.keys()
  return {
    read = { check = schema.list(path), default = "" },
    net = { check = schema.list(reach), default = "" },
    ca = { check = schema.text },
  }
end

-- The line where the text stands in the script, or that of the key.
local function line_of(c, key, text)
  local line
  for _, t in ipairs(lexer.tokens(c.text)) do
    if t.kind == "string" and t.text == text then return format("%s:%d", c.path, t.line) end
    if t.kind == "name" and t.text == key and not line then line = t.line end
  end
  return format("%s:%d", c.path, line or 1)
end

local function lines(text)
  local list = {}
  for line in (text or ""):gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

-- a is b, or lies in it.
local function within(a, b)
  return b == "/" or a == b or a:sub(1, #b + 1) == b .. "/"
end

-- What the kernel shows of processes and devices is no look-up table.
local function is_system(real)
  for _, folder in ipairs { "/proc", "/sys", "/dev" } do
    if within(real, folder) then return folder end
  end
end

local function refuse(core, real)
  local kind = core.kind(real)
  if kind ~= "file" and kind ~= "folder" then return "is neither a file nor a folder" end
  local system = is_system(real)
  if system then return format("%s cannot be granted", system) end
  if kind == "folder" and core.kind(real .. "/data.mdb") then return "is a store" end
end

--- resolve(core, c, settings, fail): puts paths without links in the place of those of allow.read,
--- and what tells the files from others that may take their place, so that a reload sees it.
function M.resolve(core, c, settings, fail)
  for i = 1, #settings, 2 do
    if settings[i] == "allow.read" then
      local found, ids = {}, {}
      c.granted = {} -- the path without links -> the line where it was named
      for _, word in ipairs(lines(settings[i + 1])) do
        local real, id = core.real(word)
        local why = real and refuse(core, real) or not real and id
        if why then
          fail(c.name, "%s: allow.read: %s: %s", line_of(c, "read", word), word, why)
        else
          found[#found + 1] = real
          c.granted[real] = line_of(c, "read", word)
          if core.kind(real) == "file" then ids[#ids + 1] = id end
        end
      end
      settings[i + 1] = table.concat(found, "\n")
      if #ids > 0 then
        settings[#settings + 1] = "allow.files"
        settings[#settings + 1] = table.concat(ids, " ")
      end
      return
    end
  end
end

--- Tables beside the site that a script names where it looks up, and that allow.read does not.
function M.warn_of_lookups(core, c, files)
  for file, text in pairs(files) do
    local calls = file:match "%.lua$" and lexer.calls(text, "lookup", "row") or {}
    for _, call in ipairs(calls) do
      if call.name:sub(1, 1) == "/" then
        local real, why = core.real(call.name)
        local ok = false
        for granted in pairs(c.granted or {}) do ok = ok or real and within(real, granted) end
        if not ok then
          core.emit_warning(c.name, format("%s:%d: lookup: %s: %s", file, call.line, call.name,
            real and 'not granted: allow = { read = { "' .. call.name .. '" } }' or why), "true")
        end
      end
    end
  end
end

--- take_ca(core, c, fail): hands over whom the channel trusts over HTTPS.
function M.take_ca(core, c, fail)
  local file = c.settings["allow.ca"]
  if not file then return end
  local where = line_of(c, "ca", file)
  if c.settings["allow.net"] == "" then
    return fail(c.name, "%s: allow.ca goes with allow.net", where)
  end
  local text, why = core.read(file)
  if not text then return fail(c.name, "%s: allow.ca: %s: %s", where, file, why) end
  local ok, err = core.check_tls { ca = text, ca_path = file }
  if not ok then return fail(c.name, "%s: allow.ca: %s", where, err) end
  core.emit_tls(c.name, "allow.ca", file, text)
end

-- { what, path without links } of all that no script may be granted.
local function protected(core, site, channels)
  local list = {}
  local function add(what, word)
    if word and word ~= "" then list[#list + 1] = { what, core.real(word) or word } end
  end
  add("the site folder", ".")
  add("the store", site.data)
  add("the store's key", site["encryption.key_file"])
  add("the credentials of the service", core.env "CREDENTIALS_DIRECTORY")
  local function add_all(settings)
    add("an archive", settings.archive)
    for key, value in pairs(settings) do
      if key:find "%.tls%.key$" then add("a private key", value) end
      if key:find "%.password_file$" then add("a password", value) end
    end
  end
  add_all(site)
  for _, c in ipairs(channels) do add_all(c.settings or {}) end
  return list
end

--- check(core, site, channels, fail): no channel is granted what belongs to the engine or to all.
function M.check(core, site, channels, fail)
  local list
  for _, c in ipairs(channels) do
    for real, where in pairs(c.settings and c.granted or {}) do
      list = list or protected(core, site, channels)
      for _, p in ipairs(list) do
        if within(real, p[2]) or within(p[2], real) then
          fail(c.name, "%s: allow.read: %s %s %s: name a file or folder apart from it", where, real,
            real == p[2] and "is" or within(real, p[2]) and "lies in" or "holds", p[1])
          break
        end
      end
    end
  end
end

return M
