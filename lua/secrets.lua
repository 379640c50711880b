-- Secrets that a script asks for by name: secret "lab_token". They stand in no script and no
-- repository, but in a file of that name: in the folder that systemd gives the service
-- ($CREDENTIALS_DIRECTORY), or in the site's secrets/. The name is written out where it is asked
-- for, so a channel is handed what its own text names and nothing else.
local lexer = require "lunate.lexer"
local format, match = string.format, string.match

local M = { folder = "secrets/" }

--- name(text) -> true when it can be a secret's: letters, digits, _, - and . (not in front).
function M.name(text)
  return #text <= 64 and match(text, "^[%w_-][%w_.-]*$") ~= nil
end

-- Where it may be: the path and whether it is the site's.
local function places(core, name)
  local given = core.env "CREDENTIALS_DIRECTORY"
  local list = { M.folder .. name }
  if given and given ~= "" then table.insert(list, 1, given .. "/" .. name) end
  return list
end

local function read(core, name)
  local tried = places(core, name)
  for _, path in ipairs(tried) do
    if core.kind(path) then
      local text, why = core.read(path)
      if not text then return nil, format("%s: %s", path, why) end
      text = text:gsub("\r?\n$", "")
      if text == "" then return nil, path .. " is empty" end
      return text, path
    end
  end
  return nil, "there is no file " .. table.concat(tried, " and no ")
end

--- collect(core, texts, fail, warn) -> { ["secrets/NAME"] = value }: what these texts (path -> Lua
-- text) ask for. What is not there: fail("file:line: why"); what others can read: warn(the same).
function M.collect(core, texts, fail, warn)
  local found, paths = {}, {}
  for path in pairs(texts) do
    if path:match "%.lua$" then paths[#paths + 1] = path end
  end
  table.sort(paths)
  for _, path in ipairs(paths) do
    for _, s in ipairs(lexer.calls(texts[path], "secret")) do
      local key, where = M.folder .. s.name, format("%s:%d: secret %q", path, s.line, s.name)
      if not M.name(s.name) then
        fail(format("%s: a name has up to 64 letters, digits, _, - and .", where))
      elseif not found[key] then
        local value, from = read(core, s.name)
        if not value then
          fail(format("%s: %s", where, from))
        else
          found[key] = value
          local mode = core.mode(from)
          if mode and mode % 64 ~= 0 then -- any bit for group or others
            warn(format("%s: others can read it: chmod 600 %s", where, from))
          end
        end
      end
    end
  end
  return found
end

--- mask(found, text) -> the text without the values that collect found, as core/script/mask.h does
-- for workers: for what a script says while the loader tries it.
function M.mask(found, text)
  for key, value in pairs(found) do
    local from, to = text:find(value, 1, true)
    while #value >= 4 and from do
      local said = format("(secret %s)", key:sub(#M.folder + 1))
      text = text:sub(1, from - 1) .. said .. text:sub(to + 1)
      from, to = text:find(value, from + #said, true)
    end
  end
  return text
end

--- getter(core) -> the function `secret` of scripts.
function M.getter(core)
  return function(name)
    if type(name) ~= "string" then error("secret: a name is expected", 2) end
    local value = core.file(M.folder .. name)
    if value then return value end
    error(format('secret: %q was not handed over: write the name out where it is asked for, as in '
      .. 'secret "lab_token"', name), 2)
  end
end

return M
