-- `.save NAME`: the message at hand as samples/NAME.hl7, without what identifies the patient.
local sys = require "lunate.sys"
local hl7 = require "hl7"
local deid = require "lunate.deid"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"

local M = {}

--- A key that nobody keeps: the same patient has the same pseudonym as long as the session lasts.
function M.key(session)
  if not session.deid_key then
    local f = assert(io.open("/dev/urandom", "rb"))
    session.deid_key = f:read(32)
    f:close()
  end
  return session.deid_key
end

-- The site's own rules, when it has a deid.lua.
local function rules()
  local path = site.file "deid.lua"
  if not sys.kind(path) then return {} end
  local ok, result = pcall(require("lunate.cli.deid_rules").load, path)
  if ok then return result end
  return nil, fail.is(result) and result.text or tostring(result)
end

-- "PID-3, PID-5 and 4 more"
local function changed(run)
  local names, seen = {}, {}
  for _, r in ipairs(run:report()) do
    if not seen[r.path] then names[#names + 1] = r.path end
    seen[r.path] = true
  end
  if #names == 0 then return "nothing was changed" end
  return "changed: " .. table.concat(names, ", ")
end

--- The message as a sample has it (LF at line ends) with pseudonyms, and what was changed; nil,
-- why.
function M.strip(key, bytes)
  local o, why = rules()
  if not o then return nil, why end
  local msg, wrong = hl7.parse(bytes)
  if not msg then return nil, wrong end
  local run = deid.new(key, o)
  local wire = run:message(msg)
  return (wire:gsub("\n", "\\X0A\\"):gsub("\r", "\n")), changed(run)
end

--- Writes it: its path and what was changed, or nil and why not. Never over a file.
function M.save(session, name, bytes)
  name = name:gsub("%.hl7$", "")
  if not name:find "^[%w_-]+$" then return nil, "a name of letters, digits, _ and - is needed" end
  local text, what = M.strip(M.key(session), bytes)
  if not text then return nil, what end
  local path = "samples/" .. name .. ".hl7"
  if sys.kind(site.file(path)) then return nil, path .. " is there already: another name?" end
  sys.mkdir(site.file "samples")
  local ok, err = sys.create(site.file(path), text)
  if not ok then return nil, ("%s: %s"):format(path, err) end
  return path, what
end

return M
