-- Reads the certificates, keys and lists that a channel's settings name (or lunate.lua's, of the
-- admin address and audit log), checks them, hands them over. They go to the engine only: a worker
-- never has them.
local locate = require "lunate.locate"
local format = string.format

local SOON_DAYS = 30
local AUDIT, ADMIN = "audit.syslog.tls", "admin.tls"
local names = { "cert", "key", "ca", "crl" }

-- Of "dest.lab.tls": { "destinations", "lab", "tls" }.
local function keys_of(prefix)
  local dest = prefix:match "^dest%.(.-)%.tls$"
  if dest then return { "destinations", dest, "tls" } end
  if prefix == AUDIT then return { "audit", "syslog", "tls" } end
  if prefix == ADMIN then return { "admin_tls" } end
  return { "source", "tls" }
end

local function line_of(c, prefix, key)
  local keys = keys_of(prefix)
  keys[#keys + 1] = key
  local find = locate(c.text)
  return format("%s:%d", c.path, find(keys, 1) or find(keys_of(prefix), 1) or 1)
end

local function warn_of_end(core, c, prefix, path, ends)
  local days = (ends - os.time()) / 86400
  local date = os.date("!%Y-%m-%d", ends)
  local where = line_of(c, prefix, "cert")
  if days < 0 then
    core.emit_warning(c.name, format("%s: %s: the certificate expired on %s", where, path, date),
      "true")
  elseif days < SOON_DAYS then
    core.emit_warning(c.name, format("%s: %s: the certificate expires on %s, in %d day%s", where,
      path, date, math.floor(days), days >= 1 and days < 2 and "" or "s"), "soon")
  end
end

local function warn_of_mode(core, c, prefix, path)
  local mode = core.mode(path)
  if mode and mode % 64 ~= 0 then -- any bit for group or others
    core.emit_warning(c.name, format("%s: %s: others can read the key (mode %04o): chmod 600 %s",
      line_of(c, prefix, "key"), path, mode, path), "false")
  end
end

local function read_all(core, c, prefix, fail)
  local files, ok = { server = prefix == "source.tls" or prefix == ADMIN }, true
  for _, name in ipairs(names) do
    local path = c.settings[prefix .. "." .. name]
    if path then
      local text, err = core.read(path)
      if not text then
        fail(c.name, "%s: %s: %s", line_of(c, prefix, name), path, err)
        ok = false
      end
      files[name], files[name .. "_path"] = text, path
    end
  end
  return ok and files
end

local function take(core, c, prefix, fail)
  local files = read_all(core, c, prefix, fail)
  if not files then return end
  local ends, err = core.check_tls(files)
  if not ends then
    local name = "cert"
    for _, n in ipairs(names) do -- the file that it is about
      local path = files[n .. "_path"]
      if path and err:sub(1, #path) == path then name = n end
    end
    return fail(c.name, "%s: %s", line_of(c, prefix, name), err)
  end
  if files.cert then warn_of_end(core, c, prefix, files.cert_path, ends) end
  if files.key then warn_of_mode(core, c, prefix, files.key_path) end
  for _, name in ipairs(names) do
    if files[name] then
      core.emit_tls(c.name, prefix .. "." .. name, files[name .. "_path"], files[name])
    end
  end
end

--- tls_files(core, c, fail): c has name, path, text, settings.
return function(core, c, fail)
  if c.settings[ADMIN] == "true" then take(core, c, ADMIN, fail) end
  if c.settings[AUDIT] == "true" then take(core, c, AUDIT, fail) end
  if c.settings["source.tls"] == "true" then take(core, c, "source.tls", fail) end
  for dest in (c.settings.destinations or ""):gmatch "[^\n]+" do
    local prefix = "dest." .. dest .. ".tls"
    if c.settings[prefix] == "true" then take(core, c, prefix, fail) end
  end
end
