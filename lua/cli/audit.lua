-- What verbs that show messages say to the audit log, before they show anything: who looked for
-- what, and which messages it was. When that cannot be written, nothing is shown.
local core = require "lunate.audit_core"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"
local sys = require "lunate.sys"

local M = {}

local SHOWN_MAX = 400 -- ids in one entry
local SHOWN_BYTES = 7000 -- of their text: the log cuts texts at 8 KB (core/audit/audit.h)

local opened

local function open()
  if opened then return end
  local ok, err = core.open(site.data())
  if not ok then fail.fail(1, "nothing is shown that cannot be recorded: %s", err) end
  opened = true
end

--- Writes an entry: { action, object, query, shown, reason, outcome, text }, all but the action may
-- be left out. Ends the verb (1) when it cannot be written.
function M.put(entry)
  open()
  local ok, err = core.put(entry)
  if not ok then fail.fail(1, "nothing is shown that cannot be recorded: %s", err) end
end

--- At the end of a verb: the head goes to syslog.
function M.done()
  if opened then core.done(sys.realpath(site.path()) or site.path()) end
  opened = nil
end

--- What stands for an identifier of a patient in the log.
function M.hash(id)
  open()
  return core.hash(id)
end

-- "1-20,25" of a list of numbers.
local function ranges(list)
  table.sort(list)
  local out, i = {}, 1
  while i <= #list do
    local j = i
    while list[j + 1] and list[j + 1] - list[j] <= 1 do j = j + 1 end
    out[#out + 1] = list[j] == list[i] and ("%.0f"):format(list[i])
      or ("%.0f-%.0f"):format(list[i], list[j])
    i = j + 1
  end
  return table.concat(out, ",")
end

--- The messages of a list of { channel, seq } as text: "adt_in/1-20,25 lab/3".
function M.ids(list)
  local by, names, out = {}, {}, {}
  for _, m in ipairs(list) do
    if not by[m[1]] then
      by[m[1]] = {}
      names[#names + 1] = m[1]
    end
    table.insert(by[m[1]], m[2])
  end
  table.sort(names)
  for i, name in ipairs(names) do out[i] = name .. "/" .. ranges(by[name]) end
  return table.concat(out, " ")
end

local named = { "state", "type", "since", "until", "limit", "last", "dest" } -- tell of no patient

--- What was looked for: options as text. Values that may tell of a patient are hashed: an auditor
-- who knows the value can find it (`audit list --patient`).
function M.query(args)
  local out = {}
  local function add(name, value) out[#out + 1] = name .. "=" .. tostring(value) end
  for _, name in ipairs(named) do
    if args[name] ~= nil then add(name, args[name]) end
  end
  if args.control_id then add("control_id", args.control_id) end
  if args.patient then add("patient", M.hash(args.patient)) end
  if args.text then add("text", M.hash(args.text)) end
  for _, word in ipairs(args.where or {}) do
    local path, op, value = word:match "^%s*([^=!~%s]+)%s*(!?[=~])%s*(.-)%s*$"
    add("where", path and path .. op .. M.hash(value) or (word:gsub("[^%w%-%[%]%.%*]", "")))
  end
  return table.concat(out, " ")
end

--- Gathers lines of a list and shows them when their entry is written: list:add(channel, seq, show)
-- and, at the end, list:flush(). entry: as for put.
local List = {}
List.__index = List

function M.list(entry)
  return setmetatable({ entry = entry, ids = {}, shows = {}, named = {}, size = 0 }, List)
end

function List:add(channel, seq, show)
  local size = #("%.0f"):format(seq) + 1 + (self.named[channel] and 0 or #channel + 2)
  if #self.ids >= SHOWN_MAX or self.size + size > SHOWN_BYTES then
    self:flush()
    size = size + #channel + 2
  end
  self.ids[#self.ids + 1] = { channel, seq }
  self.shows[#self.shows + 1] = show
  self.named[channel], self.size = true, self.size + size
end

--- Writes the entry when something is to be shown, or when none was written yet; then shows.
function List:flush()
  if #self.ids > 0 or not self.written then
    self.entry.shown = M.ids(self.ids)
    M.put(self.entry)
    self.written = true
  end
  local shows = self.shows
  self.ids, self.shows, self.named, self.size = {}, {}, {}, 0
  for _, show in ipairs(shows) do show() end
end

return M
