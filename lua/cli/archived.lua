-- The site's archives for verbs: `messages --archive`, `show --archive`, `verify --archive`.
local fail = require "lunate.cli.fail"
local json = require "lunate.cli.json"
local loader = require "lunate.cli.loader"
local search = require "lunate.archive.search"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"

local M = {}

-- { channel, folder } of the channels that have an archive (or one alone), and folders that are
-- there though their channel is gone from the site.
local function archives(channel, lenient)
  local list, roots, seen = {}, {}, {}
  local s = loader.load()
  local function add_root(path)
    if path and path ~= "" then roots[site.file(path)] = true end
  end
  add_root(s.settings.archive)
  for _, c in ipairs(s.channels) do add_root(c.settings.archive) end
  for root in pairs(roots) do
    for _, name in ipairs(sys.list(root) or {}) do
      if (not channel or name == channel) and not seen[name] then
        seen[name] = true
        list[#list + 1] = { channel = name, folder = root }
      end
    end
  end
  if not next(roots) then
    if lenient then return list end
    fail.fail(1, "no channel has an archive: archive = \"FOLDER\" in lunate.lua or in a channel")
  end
  table.sort(list, function(a, b) return a.channel < b.channel end)
  return list
end

local function trouble(path, why)
  io.stderr:write(("%s: %s: lunate verify --archive\n"):format(path, why))
end

local function row(doc)
  print(("%s  %s  %s  %s  %s"):format(time.text(time.parse(doc.time)):sub(1, 19),
    term.fit(doc.state, 8), term.fit(term.printable(doc.type), 7),
    term.fit(("%s/%.0f"):format(doc.channel, doc.seq), 20), term.printable(doc.control_id)))
end

--- messages --archive: args as search.check left them; shown: of lunate.cli.audit. How many.
function M.messages(args, shown)
  local n = 0
  site.unlock()
  search.search(archives(args.channel), args, function(doc, text)
    n = n + 1
    shown:add(doc.channel, doc.seq, function()
      if args.json then print(text) else row(doc) end
    end)
    return n < (args.limit or math.huge)
  end, trouble)
  return n
end

--- show --archive CHANNEL/SEQ: the documents (more than one when the store was restored), as JSON
-- texts with what they decode to; newest first.
function M.find(channel, seq)
  local list = {}
  site.unlock()
  search.search(archives(channel), { seq = seq }, function(doc, text)
    list[#list + 1] = { doc = doc, text = text }
  end, trouble)
  return list
end

--- verify --archive: the exit status.
function M.verify(as_json)
  local ok, why = site.unlock(true)
  if not ok then io.stderr:write(why, "\n") end -- and what cannot be opened is named
  local v = search.verify(archives())
  if as_json then
    local list = {}
    for i, p in ipairs(v.problems) do list[i] = json.object("path", p.path, "what", p.what) end
    print(json.encode(json.object("ok", #list == 0, "files", v.files, "messages", v.messages,
      "bytes", v.bytes, "again", v.again, "problems", json.list(list))))
    return #list == 0 and 0 or 1
  end
  for _, p in ipairs(v.problems) do print(p.path .. ": " .. p.what) end
  print(("archive: %s in %s, %s: %s"):format(term.count(v.messages, "message"),
    term.count(v.files, "file"), term.bytes(v.bytes),
    #v.problems == 0 and "all in order" or term.count(#v.problems, "thing") .. " wrong"))
  if v.again > 0 then
    print(("%s numbers that were there before: the store was restored in between"):format(
      v.again == 1 and "1 block has" or v.again .. " blocks have"))
  end
  return #v.problems == 0 and 0 or 1
end

--- Which keys the archives need: see search.keys; none without an archive.
function M.keys()
  return search.keys(archives(nil, true))
end

--- key encrypt: all archives under the present key: messages; nil, why.
function M.seal(step)
  return search.seal(archives(nil, true), step)
end

return M
