-- Tab, in the process that has the files: commands and what they take; the rest is asked of the
-- child. A candidate is { text, description }. Gives what of the line is kept (bytes), the text
-- that takes the place of the rest, and the list to be shown.
local sys = require "lunate.sys"
local person = require "lunate.person"
local site = require "lunate.cli.site"
local text = require "lunate.repl.text"
local commands = require "lunate.repl.commands"

local function listing(list)
  local _, lines = person.size()
  return text.rows(list, { "cyan", nil, "dim" }, { most = math.max(lines - 3, 3) }) .. "\n"
end

-- Files and folders that begin with a path; folders of the site, too.
local function files(prefix)
  local folder, name = prefix:match "^(.*/)([^/]*)$"
  if not folder then folder, name = "", prefix end
  local list, seen = {}, {}
  local function add(place)
    for _, entry in ipairs(sys.list(place) or {}) do
      if entry:sub(1, #name) == name and not seen[entry] then
        seen[entry] = true
        local kind = sys.kind(place .. "/" .. entry)
        list[#list + 1] = { folder .. entry .. (kind == "folder" and "/" or ""), "" }
      end
    end
  end
  add(folder ~= "" and folder or ".")
  if folder:sub(1, 1) ~= "/" then add(site.file(folder ~= "" and folder or ".")) end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

local function channels(prefix, after)
  local list = {}
  for _, name in ipairs(site.channels()) do
    if name:sub(1, #prefix) == prefix then list[#list + 1] = { name .. (after or ""), "" } end
  end
  return list
end

local arguments = {
  load = files,
  channel = channels,
  recent = channels,
  get = function(prefix) return channels(prefix, "/") end,
}

return function(session, line)
  local command, prefix = line:match "^%s*%.(%a+)%s+(%S*)$"
  local list
  if session.chunk then command, prefix = nil, nil end
  if command and arguments[command] then
    list = arguments[command](prefix)
  elseif not session.chunk and line:find "^%s*%.%a*$" then
    prefix, list = line:match "%.%a*$", {}
    for _, c in ipairs(commands.names()) do
      if c[1]:sub(1, #prefix) == prefix then list[#list + 1] = c end
    end
  else
    local state, answer = session.child:ask("complete", line)
    if state ~= "answer" or not answer[1] then return #line, "", "" end
    return tonumber(answer[1]), answer[2], answer[3]
  end
  if #list == 0 then return #line, "", "" end
  local keep = #line - #prefix
  if #list == 1 then
    local done = list[1][1]
    return keep, done .. (done:find "[/]$" and "" or " "), ""
  end
  local shared = text.common(list)
  if #shared > #prefix then return keep, shared, "" end
  return keep, prefix, listing(list)
end
