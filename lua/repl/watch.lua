-- The site's files as the REPL sees them: which files a channel is made of
-- and whether one was saved meanwhile, the lines around a mistake.
local person = require "lunate.person"
local site = require "lunate.cli.site"
local text = require "lunate.repl.text"

local M = {}

--- A mistake "file:line: what" with the lines around it.
function M.with_excerpt(mistake)
  local file, line = mistake:match "^([%w_/%.%-]+%.lua):(%d+):"
  local source = file and site.read(site.file(file))
  if not source then return mistake end
  local out, n = { mistake }, 0
  for s in (source .. "\n"):gmatch "(.-)\n" do
    n = n + 1
    if math.abs(n - line) <= 2 then
      s = ("%s %4d  %s"):format(n == tonumber(line) and ">" or " ", n, text.printable(s, true))
      out[#out + 1] = text.plain and s or text.cut(s, text.width - 1)
    end
  end
  return table.concat(out, "\n")
end

--- What must not change unnoticed: the files the script of a session is made of, and the folders
-- they are in.
function M.stamps(s)
  local list = {}
  local function add(path) list[path] = person.stamp(site.file(path)) or "" end
  for _, path in ipairs { "lunate.lua", "lib", "tables", "channels" } do add(path) end
  for _, c in ipairs(s.site.channels) do
    if c.name == s.channel then
      add(c.script)
      for _, file in ipairs(c.files) do add(file[1]) end
    end
  end
  for _, file in ipairs(s.site.shared) do add(file[1]) end
  return list
end

--- The path of a file that changed since then and its stamp now, or nil. A folder only when no file
-- did: most editors save by putting a new file in the place of the old one.
function M.changed(s)
  local folder, at
  for path, stamp in pairs(s.stamps or {}) do
    local now = person.stamp(site.file(path)) or ""
    if now ~= stamp and path:find "%.%w+$" then return path, now end
    if now ~= stamp then folder, at = path, now end
  end
  return folder, at
end

--- What is said of it.
function M.said(path)
  return path:find "%.%w+$" and path .. " was saved" or "a file came or went in " .. path .. "/"
end

return M
