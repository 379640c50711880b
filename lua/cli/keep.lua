-- `lunate verify`, `backup`, `restore`: the store as a whole.
local term = require "lunate.cli.term"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local store = require "lunate.store"
local sys = require "lunate.sys"
local audit = require "lunate.cli.audit"
local progress = require "lunate.cli.progress"
local ledger = require "lunate.archive.ledger"

local M = {}

function M.define(parser, verb)
  if verb == "verify" then
    parser:flag("--archive", "the archive of what was trimmed, instead of the store")
    parser:option("--from", "with --archive: a day (2026-11-26) since which all must be there")
    parser:argument("folder", "a backup's folder; the site's own store when left out"):args "?"
  elseif verb == "backup" then
    parser:argument("folder", "where the copy goes: made when it is not there, else empty")
  else
    parser:argument("folder", "a backup's folder")
    parser:flag("--force", "also where there is a store: that is moved aside and kept")
  end
  parser:flag("--json", "one JSON document")
end

local function size(folder)
  local f = io.open(folder .. "/data.mdb", "rb")
  local n = f and f:seek "end" or 0
  if f then f:close() end
  return n
end

-- Where a problem is, in words.
local function place(p)
  if p.seq > 0 then return ("%s/%.0f: "):format(p.channel, p.seq) end
  return p.channel ~= "" and p.channel .. ": " or ""
end

local function document(folder, v)
  local list = {}
  for i, p in ipairs(v.problems) do
    list[i] = json.object("channel", p.channel ~= "" and p.channel or nil, "seq",
      p.seq > 0 and p.seq or nil, "what", p.what)
  end
  return json.object("folder", folder, "ok", #list == 0, "channels", v.channels, "messages",
    v.messages, "records", v.records, "bytes", v.bytes, "found", math.max(v.found or 0, #list),
    "channels_not_compared", v.unchecked, "encrypted", v.sealed, "authenticated",
    v.sealed and v.sealed > 0 and v.blind == 0 or nil, "problems", json.list(list))
end

local function tell(folder, v)
  for _, p in ipairs(v.problems) do
    print((v.channels and "" or folder .. ": ") .. place(p) .. p.what)
  end
  local found = math.max(v.found or 0, #v.problems)
  if found > #v.problems then
    print(("and %s more"):format(term.number(found - #v.problems)))
  end
  if not v.channels then return end -- it broke off
  print(("%s: %s in %s, %s, %s"):format(folder, term.count(v.messages, "message"),
    term.count(v.channels, "channel"), term.bytes(v.bytes),
    found == 0 and "all in order" or term.count(found, "thing") .. " wrong"))
  if v.blind > 0 then
    print("encrypted, and no key at hand: damage was looked for, not whether somebody changed what "
      .. "is sealed")
  elseif v.sealed > 0 and v.sealed < v.messages then
    print(("%s of them, from before the store was encrypted, stand in clear")
      :format(term.number(v.messages - v.sealed)))
  end
  if v.unchecked > 0 then
    print(("counts of %s were not compared: an engine was writing meanwhile")
      :format(term.count(v.unchecked, "channel")))
  end
end

local function verify(args)
  if args.archive then return require("lunate.cli.archived").verify(args.json, args.from) end
  local folder = args.folder or site.own_store()
  local ok, why = site.unlock(true)
  if not ok then io.stderr:write("lunate verify: ", why, "\n") end
  local step, finish = progress.follow "messages"
  local v, err = store.verify(folder, step)
  finish()
  if not v then fail.fail(1, "%s", err) end
  if args.json then
    print(json.encode(document(folder, v)))
  else
    tell(folder, v)
  end
  return #v.problems == 0 and 0 or 1
end

-- Where the archives end goes along. It is read first: an archive may be ahead of its ledger, never
-- behind, and the store of a copy must not be behind it, either.
local function copy(from, to)
  local ends, err = ledger.bytes(from)
  if err then return nil, err end
  local ok
  ok, err = store.backup(from, to)
  if ok and ends then ok, err = ledger.put(to, ends) end
  return ok, err
end

local function backup(args)
  local from = site.own_store()
  audit.put { action = "backup", object = args.folder, reason = args.reason }
  local ok, err = copy(from, args.folder)
  if not ok then
    audit.put { action = "backup", object = args.folder, outcome = "failed", text = err }
    fail.fail(1, "%s", err)
  end
  local bytes = size(args.folder)
  if args.json then
    print(json.encode(json.object("from", from, "to", args.folder, "bytes", bytes)))
  else
    print(("copied %s to %s (%s); to look through the copy: lunate verify %s"):format(from,
      args.folder, term.bytes(bytes), args.folder))
  end
  return 0
end

-- The copy's ledger, where there is none. One that is there belongs to the archives as they are
-- now, and knows more of them than an older one does.
local function restore_ledger(from, data)
  local ends, err = ledger.bytes(from)
  if ends and not ledger.bytes(data) then err = select(2, ledger.put(data, ends)) end
  if err then fail.fail(1, "the store is restored, but not where its archives end: %s", err) end
end

-- How many outputs wait in the queues of a store, which go out when its engine runs.
local function queued(folder)
  local n, reader = 0, site.open_store(folder)
  if not reader then return 0 end
  for _, c in ipairs(reader:channels()) do
    for _, d in ipairs(c.destinations) do n = n + d.queued end
  end
  reader:close()
  return n
end

local function restore(args)
  if not sys.kind(site.path()) then fail.fail(1, "there is no folder %s", site.path()) end
  local data = site.data()
  site.unlock()
  local aside, err = store.restore(args.folder, data, args.force or false)
  if not aside then fail.fail(1, "%s", err) end
  audit.put { action = "restore", object = args.folder, reason = args.reason }
  restore_ledger(args.folder, data)
  local n = queued(data)
  if args.json then
    print(json.encode(json.object("from", args.folder, "to", data, "kept_as",
      aside ~= "" and aside or nil, "queued", n)))
    return 0
  end
  print(("restored %s from %s"):format(data, args.folder))
  if aside ~= "" then print(("the store that was there is kept as %s"):format(aside)) end
  if n > 0 then
    print(("%s queued when it was copied: sent (again) when the engine runs; to keep them back,"
      .. " start it and hold the destinations, or let receivers tell doubles by MSH-10")
      :format(n == 1 and "1 output was" or term.number(n) .. " outputs were"))
  end
  return 0
end

function M.run(args, verb)
  return ({ verify = verify, backup = backup, restore = restore })[verb](args)
end

return M
