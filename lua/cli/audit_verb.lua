-- `lunate audit list|verify|export`: who did what, and whether the log is whole.
local core = require "lunate.audit_core"
local audit = require "lunate.cli.audit"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local decode = require("json").decode

local M = {}

function M.define(parser)
  parser:argument("what", "list, verify, export"):choices { "list", "verify", "export" }
  parser:option("--format", "export: atna (DICOM audit messages) or jsonl (as they are)")
    :choices { "atna", "jsonl" }:default "atna"
  parser:option("--user", "only of this user (a name or a uid)")
  parser:option("--action", "only this action: show, messages, resend, denied, engine.start, ...")
  parser:option("--channel", "only what concerns this channel")
  parser:option("--patient", "only searches for this patient id")
  parser:option("--outcome", "ok, denied or failed")
  parser:option("--since", "10m, 2h, 3d, 2026-11-23, 2026-11-23T10:00:00Z")
  parser:option("--until", "not later than that")
  parser:option("--limit", "at most so many, the newest (all)")
  parser:option("--public-key", "verify: PEM file of the key that heads are signed with")
  parser:option("--from", "verify: the first entry that must be there; older files were moved away")
  parser:option("--syslog", "verify: a log file that holds heads (`audit head`)"):count "*"
  parser:option("--reason", "why you look, kept in the log")
  parser:flag("--json", "list: the entries as they are; verify: one document")
end

-- ---- reading ------------------------------------------------------------------------------------

local function folder()
  local path = site.data() .. "/audit"
  if sys.kind(path) ~= "folder" then
    fail.fail(1, "there is no audit log yet: %s is made with the first entry", path)
  end
  return path
end

--- Calls take(entry, line) for each entry in order. Lines that are none are passed over: verify
-- names them.
function M.each(take)
  local path = folder()
  for _, name in ipairs(sys.list(path) or {}) do
    if name:match "^%d+%.jsonl$" then
      local f, err = io.open(path .. "/" .. name, "rb")
      if not f then fail.fail(1, "%s/%s: %s", path, name, err) end
      for line in f:lines() do
        local ok, entry = pcall(decode, line)
        if ok and type(entry) == "table" and entry.seq then take(entry, line) end
      end
      f:close()
    end
  end
end

local function names_channel(entry, channel)
  for _, field in ipairs { "object", "shown" } do
    for word in (entry[field] or ""):gmatch "%S+" do
      if word == channel or word:sub(1, #channel + 1) == channel .. "/" then return true end
    end
  end
  return false
end

local function point(args, name)
  if not args[name] then return end
  local us = time.parse(args[name])
  if not us then fail.usage("--%s \"%s\" is no time", name, args[name]) end
  return sys.iso(us)
end

--- A test for entries by the filters of args.
function M.filter(args)
  local since, until_ = point(args, "since"), point(args, "until")
  local patient = args.patient and audit.hash(args.patient)
  return function(e)
    return (not args.user or e.user == args.user or tostring(e.uid) == args.user)
      and (not args.action or e.action == args.action)
      and (not args.outcome or e.outcome == args.outcome)
      and (not since or e.time >= since) and (not until_ or e.time <= until_)
      and (not args.channel or names_channel(e, args.channel))
      and (not patient or (e.query or ""):find(patient, 1, true) ~= nil)
  end
end

-- ---- list ---------------------------------------------------------------------------------------

local colours = { denied = "red", failed = "yellow" }

local function who(e)
  local name = e.user or e.uid and "uid " .. e.uid or "?"
  if e.login_uid and e.login_uid ~= e.uid then
    name = ("%s (login %d)"):format(name, e.login_uid)
  end
  return name
end

local function row(e)
  local words = {}
  for _, key in ipairs { "object", "query", "text" } do
    if e[key] then words[#words + 1] = e[key] end
  end
  if e.shown and e.shown ~= e.object then words[#words + 1] = "showed " .. e.shown end
  if e.reason then words[#words + 1] = "reason: " .. e.reason end
  print(("%s  %s  %s  %s  %s"):format(time.text(time.parse(e.time) or 0):sub(1, 19),
    term.fit(term.printable(who(e)), 12), term.fit(e.from or e.via or "", 8),
    term.paint(colours[e.outcome], term.fit(e.action .. (e.outcome ~= "ok" and " " .. e.outcome
    or ""), 16)), term.printable(table.concat(words, "; "))))
end

-- Calls f(entry, line) for each that the filters let through: as they come, or the last --limit.
local function chosen(args, f)
  local limit = args.limit and tonumber(args.limit)
  if args.limit and (not limit or limit < 1) then fail.usage "--limit is a number above 0" end
  local fits, n, kept = M.filter(args), 0, {}
  M.each(function(e, line)
    if not fits(e) then return end
    n = n + 1
    if not limit then return f(e, line) end
    kept[#kept + 1] = { e, line }
    if #kept > limit then table.remove(kept, 1) end
  end)
  for _, one in ipairs(kept) do f(one[1], one[2]) end
  return n
end

local function list(args)
  local n = chosen(args, function(e, line)
    if args.json then print(line) else row(e) end
  end)
  if n == 0 and not args.json then io.stderr:write "no entry found\n" end
  return 0
end

-- ---- verify -------------------------------------------------------------------------------------

-- Heads that a log file names: those of this site alone, when lines say which (syslog's do, since
-- several engines write there; the engine's own log does not).
local function heads(paths)
  local known, here = {}, sys.realpath(site.path()) or site.path()
  for _, path in ipairs(paths or {}) do
    local f, err = io.open(path, "rb")
    if not f then fail.fail(1, "%s: %s", path, err) end
    for line in f:lines() do
      for whose, seq, hash in line:gmatch "audit head (.-)seq=(%d+) hash=(%x+)" do
        local name = whose:match "^site=(.*) $"
        if #hash == 64 and (not name or name == here) then
          known[#known + 1] = { tonumber(seq), hash }
        end
      end
    end
    f:close()
    if #known == 0 then fail.fail(1, "%s names no head of the audit log of %s", path, here) end
  end
  return known
end

local function place(p)
  local where = p.line > 0 and ("%s:%.0f"):format(p.file, p.line) or p.file
  local said = p.what:find "^entr" -- it names them itself
  return p.seq > 0 and not said and ("%s: entry %.0f"):format(where, p.seq) or where
end

local function verify(args)
  local from = args.from and tonumber(args.from)
  if args.from and (not from or from < 1) then fail.usage "--from is the number of an entry" end
  local r, err = core.verify(site.data(), args.public_key, from or 0, heads(args.syslog))
  if not r then fail.fail(1, "%s", err) end
  if args.json then
    local problems = {}
    for i, p in ipairs(r.list) do
      problems[i] = json.object("file", p.file, "line", p.line, "seq", p.seq, "what", p.what)
    end
    print(json.encode(json.object("ok", r.problems == 0, "entries", r.entries, "first", r.first,
      "last", r.last, "files", r.files, "healed", r.healed, "torn", r.torn, "signed_to",
      r.signed_to, "hash", r.hash, "found", r.problems, "problems", json.list(problems))))
    return r.problems == 0 and 0 or 1
  end
  for _, p in ipairs(r.list) do print(place(p) .. ": " .. p.what) end
  if r.problems > #r.list then print(("and %.0f more"):format(r.problems - #r.list)) end
  print(("%s in %s, to entry %.0f, signed to entry %.0f%s: %s"):format(
    r.entries == 1 and "1 entry" or term.number(r.entries) .. " entries",
    term.count(r.files, "file"), r.last,
    r.signed_to, r.healed > 0 and (", %.0f healed"):format(r.healed) or "",
    r.problems == 0 and "whole" or term.count(r.problems, "thing") .. " wrong"))
  if r.torn then print "the last line is not whole: a writer was ended; the next entry says so" end
  return r.problems == 0 and 0 or 1
end

local function export(args)
  local atna = require "lunate.cli.atna"
  local source = (sys.realpath(site.path()) or site.path()):match "[^/]*$"
  chosen(args, function(e, line)
    print(args.format == "jsonl" and line or atna.message(e, source))
  end)
  return 0
end

function M.run(args)
  folder()
  local status = ({ list = list, export = export, verify = verify })[args.what]
  local query = audit.query { since = args.since, ["until"] = args["until"], limit = args.limit,
    patient = args.patient }
  if args.what ~= "verify" then
    audit.put { action = "audit." .. args.what, object = args.channel, query = query,
      reason = args.reason }
    return status(args)
  end
  local result = status(args)
  audit.put { action = "audit.verify", reason = args.reason, outcome = result == 0 and "ok"
    or "failed" }
  return result
end

return M
