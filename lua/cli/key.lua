-- `lunate key new|status|rotate|encrypt`: the key that the store is encrypted with.
local term = require "lunate.cli.term"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local store = require "lunate.store"
local audit = require "lunate.cli.audit"
local archived = require "lunate.cli.archived"
local progress = require "lunate.cli.progress"

local M = {}

function M.define(parser)
  parser:argument("what", "new, status, rotate or encrypt")
  parser:argument("file", "new: the key file to make"):args "?"
  parser:flag("--add", "new: put the new key before those in the file, which stay")
  parser:option("--reason", "why, kept in the audit log")
  parser:flag("--json", "one JSON document")
end

-- The file as lunate.lua is to name it: relative names there are the site's.
local function name_of(path)
  local full, here = sys.realpath(path) or path, sys.realpath(site.path())
  if not here or not site.is_site() then return full end
  if full:sub(1, #here + 1) == here .. "/" then return full:sub(#here + 2) end
  local folder, name = full:match "^(.*)/([^/]*)$"
  return folder == here:match "^(.*)/[^/]*$" and "../" .. name or full
end

-- Recorded where there is an audit log: of what store a key is made elsewhere, nobody knows.
local function record(args, entry)
  if sys.kind(site.data() .. "/audit") ~= "folder" then return end
  entry.reason = args.reason
  audit.put(entry)
end

local function make(args)
  if not args.file then
    fail.usage "key new FILE: name the file, as in key new /etc/lunate/store.key"
  end
  local id, err = store.new_key(args.file, args.add or false)
  if not id then fail.fail(1, "%s", err) end
  if site.is_site() then
    record(args, { action = "key.new", object = sys.realpath(args.file), text = "key " .. id
      .. (args.add and ", before those in the file" or "") })
  end
  if args.json then
    print(json.encode(json.object("file", args.file, "key", id)))
  elseif args.add then
    print(("key %s is now the first in %s; lunate key rotate takes it into use"):format(id,
      args.file))
  else
    print(("made key %s in %s (mode 0600)"):format(id, args.file))
    print(('for lunate.lua: encryption = { key_file = "%s" }'):format(name_of(args.file)))
    print "keep a copy where the store's backups are not: without it nothing in them can be read"
  end
  return 0
end

-- Ids of the site's keys, the present one first; none without a key. Ends the verb when they cannot
-- be read.
local function keys()
  local file, command = site.key_source()
  if not file and not command then return {} end
  local list, err = store.key_ids(site.path(), file, command)
  if not list then fail.fail(1, "%s", err) end
  return list
end

-- What archives need of the key source beside the present key.
local function tell_archives(a, list)
  local known, ids = {}, {}
  for i, id in ipairs(list) do known[id] = i end
  for id in pairs(a.keys) do ids[#ids + 1] = id end
  table.sort(ids)
  for _, id in ipairs(ids) do
    local blocks = term.count(a.keys[id], "block")
    if not known[id] then
      print(("archive: %s cannot be read: key %s is not in the key source"):format(blocks, id))
    elseif known[id] > 1 then
      print(("archive: %s still encrypted with former key %s: keep it, or stop the engine and: "
        .. "lunate key encrypt"):format(a.keys[id] == 1 and "1 block is" or blocks .. " are", id))
    end
  end
  if a.clear > 0 and list[1] then
    print(("archive: %s in clear, from before: stop the engine and: lunate key encrypt"):format(
      a.clear == 1 and "1 file is" or term.count(a.clear, "file") .. " are"))
  end
end

local function blocks_of(a)
  local out = {}
  for id, n in pairs(a.keys) do out[#out + 1] = json.object("key", id, "blocks", n) end
  return out
end

local function tell(s, list)
  local present = list[1]
  if not s.sealed then
    print(present
      and "the store is not encrypted yet: it will be from the engine's next start, or lunate key "
      .. "rotate"
      or 'the store is not encrypted: lunate.lua names no key (encryption = { key_file = "..." })')
  else
    print(("encrypted: AES-256-GCM, %s, wrapped with key %s"):format(
      term.count(s.generations, "data key"), s.key))
  end
  if present and s.sealed and s.key ~= present then
    print(("the site's key is %s: lunate key rotate, or the next start, takes it into use")
      :format(present))
  elseif s.sealed and s.other > 0 then
    print(("%s still wrapped with another key: lunate key rotate"):format(
      s.other == 1 and "1 data key is" or term.number(s.other) .. " data keys are"))
  elseif s.sealed and #list > 1 then
    print(("%s in the key source: this store no longer needs them, backups made before may")
      :format(#list == 2 and "1 former key" or term.number(#list - 1) .. " former keys"))
  end
  if s.clear > 0 then
    print(("%s of %s, from before, stand in clear: retention trims them, or stop the engine and: "
      .. "lunate key encrypt"):format(term.number(s.clear), term.count(s.messages, "message")))
  end
end

local function status(args)
  local data = site.own_store()
  local list = keys()
  local reader, err = site.open_store(data)
  if not reader then fail.fail(1, "%s", err) end
  local s = reader:keys()
  reader:close()
  site.unlock(true)
  local a = archived.keys()
  if not s.sealed then s.clear = s.messages end
  if args.json then
    print(json.encode(json.object("encrypted", s.sealed, "key", s.sealed and s.key or nil,
      "site_key", list[1], "data_keys", s.generations, "data_keys_wrapped_otherwise", s.other,
      "messages", s.messages, "messages_in_clear", s.clear,
      "archive_keys", json.list(blocks_of(a)), "archive_files_in_clear", a.clear)))
  else
    tell(s, list)
    tell_archives(a, list)
  end
  return 0
end

local function rotate(args)
  local answer = require("json").decode(site.request({ "key", "rotate" }, { seconds = 90 }))
  if args.json then
    print(json.encode(json.object("key", answer.key)))
  else
    print(("key %s is in use: all data keys are wrapped with it, new messages have a new data key")
      :format(answer.key))
  end
  return 0
end

local function encrypt(args)
  local data = site.data()
  if not site.key_source() then
    fail.fail(1, 'lunate.lua names no key: it needs encryption = { key_file = "..." } '
      .. "(lunate key new FILE makes one)")
  end
  site.unlock()
  record(args, { action = "key.encrypt", text = "store and archive" })
  local step, finish = progress.follow "messages"
  local n, err = store.encrypt(data, step)
  finish()
  if not n then
    record(args, { action = "key.encrypt", outcome = "failed", text = err })
    fail.fail(1, "%s", err)
  end
  local kept, why = archived.seal()
  if not kept then
    record(args, { action = "key.encrypt", outcome = "failed", text = why })
  end
  if not kept then fail.fail(1, "the store is encrypted, not all of the archive is: %s", why) end
  if args.json then
    print(json.encode(json.object("messages", n, "archived", kept)))
  else
    print(("%s rewritten and encrypted, checked, and put in the old store's place"):format(
      term.count(n, "message")))
    if kept > 0 then
      print(("%s of the archive encrypted with the present key"):format(
        kept == 1 and "1 message" or term.count(kept, "message")))
    end
    print "what stood in clear may still lie on freed blocks of the disk, and in older backups"
  end
  return 0
end

function M.run(args)
  local verb = ({ new = make, status = status, rotate = rotate, encrypt = encrypt })[args.what]
  if not verb then fail.usage("key %s: it is new, status, rotate or encrypt", args.what) end
  if args.file and verb ~= make then fail.usage("key %s takes no file", args.what) end
  return verb(args)
end

return M
