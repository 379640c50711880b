-- The site's archives for verbs: `messages --archive`, `show --archive`, `verify --archive`.
local fail = require "lunate.cli.fail"
local json = require "lunate.cli.json"
local ledger = require "lunate.archive.ledger"
local loader = require "lunate.cli.loader"
local search = require "lunate.archive.search"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local verify = require "lunate.archive.verify"

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

--- True when there is an archive of this channel (nil: of any), as far as this process may see.
function M.is_there(channel)
  local ok, list = pcall(archives, channel, true)
  return ok and #list > 0
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

local function verify_document(v)
  local problems, begins = {}, {}
  for i, p in ipairs(v.problems) do problems[i] = json.object("path", p.path, "what", p.what) end
  for i, b in ipairs(v.begins) do
    begins[i] = json.object("channel", b.channel, "block", b.block, "day", b.day)
  end
  return json.object("ok", #problems == 0, "files", v.files, "messages", v.messages, "bytes",
    v.bytes, "again", v.again, "begins", json.list(begins), "unsure", #v.unsure, "problems",
    json.list(problems))
end

local function tell_rest(v)
  for _, b in ipairs(v.begins) do
    print(("%s begins with block %.0f, of %s: the %s before it %s not here (moved away?)"):format(
      b.channel, b.block, b.day, term.count(b.block - 1, "block"), b.block == 2 and "is" or "are"))
  end
  for _, u in ipairs(v.unsure) do
    print(("%s: block %.0f was written while there was no ledger: what was cut off before it "
      .. "could not be told"):format(u.path, u.block))
  end
  if v.again > 0 then
    print(("%s numbers that were there before: the store was restored in between"):format(
      v.again == 1 and "1 block has" or v.again .. " blocks have"))
  end
end

--- verify --archive: the exit status. from: a day since which all must be there.
function M.verify(as_json, from)
  if from and not from:find "^%d%d%d%d%-%d%d%-%d%d$" then
    fail.usage('--from "%s": a day, as in 2026-11-26', from)
  end
  local ok, why = site.unlock(true)
  if not ok then io.stderr:write(why, "\n") end -- and what cannot be opened is named
  local kept, err = ledger.read(site.data()) -- before the files, which go on meanwhile
  local v = verify.verify(archives(), kept, from)
  if v.no_ledger or err then
    table.insert(v.problems, 1, { path = "the ledger", what = err or site.data()
      .. "/archive.ledger is not there: nobody can say whether the archives' ends are" })
  end
  if as_json then
    print(json.encode(verify_document(v)))
    return #v.problems == 0 and 0 or 1
  end
  for _, p in ipairs(v.problems) do print(p.path .. ": " .. p.what) end
  print(("archive: %s in %s, %s: %s"):format(term.count(v.messages, "message"),
    term.count(v.files, "file"), term.bytes(v.bytes),
    #v.problems == 0 and "all in order" or term.count(#v.problems, "thing") .. " wrong"))
  tell_rest(v)
  return #v.problems == 0 and 0 or 1
end

--- Which keys the archives need: see search.keys; none without an archive.
function M.keys()
  local out = search.keys(archives(nil, true))
  local key = ledger.key(site.data())
  if key then out.keys[key] = (out.keys[key] or 0) + 1 end
  return out
end

--- key encrypt: all archives under the present key: messages; nil, why.
function M.seal(step)
  local list = ledger.read(site.data())
  local n, why = search.seal(archives(nil, true), step)
  if n and list then
    local ok, err = ledger.write(site.data(), list, true)
    if not ok then return nil, err end
  end
  return n, why
end

return M
