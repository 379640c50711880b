-- `lunate resend`, `lunate settle`: one message, or all of a channel that filters find. Several are
-- only counted until --yes is given.
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"
local json = require "lunate.cli.json"
local search = require "lunate.cli.search"
local history = require "lunate.cli.history"
local audit = require "lunate.cli.audit"
local progress = require "lunate.cli.progress"

local M = {}

function M.define(parser, verb)
  parser:argument("message", "CHANNEL/SEQ; or CHANNEL, with filters")
  if verb == "resend" then
    parser:option("--dest", "to this destination alone")
    parser:flag("--all", "to all destinations, also where it is not parked")
    parser:flag("--reprocess", "through the script again, instead of the same outputs again")
    parser:flag("--edit", "in $EDITOR first, then through the script")
  else
    parser:option("--reason", "why, kept with the message"):count(1)
  end
  search.define(parser)
  parser:flag("--yes", "do it, when filters are given")
  parser:flag("--json", "print the engine's answer")
end

-- `parked`: only if it still is; somebody else may be at it. What another has sent again since
-- args.began_us, when this verb began, is not sent once more.
local function request(verb, args, channel, seq, dest, parked)
  local number = ("%.0f"):format(seq)
  local bound = { seconds = 90 }
  if verb == "settle" then
    return site.request({ "settle", channel, number, args.reason }, bound)
  end
  return site.request({ "resend", channel, number, dest or args.dest or "",
    args.reprocess and "1" or "0", parked and "parked" or "", args.began_us }, bound)
end

local function say_one(verb, args, text, dest)
  if args.json then return print(text) end
  if verb == "settle" then return print(args.message .. ": settled") end
  local channel = site.split_message(args.message)
  local seq = text:match '"seq"%s*:%s*"?(%d+)'
  print(("%s again%s%s"):format(args.message, seq and (" as %s/%s"):format(channel, seq) or "",
    dest and dest ~= "" and " to " .. dest or ""))
end

-- ---- several ------------------------------------------------------------------------------------

-- To which destinations one found message goes again: a list; nil and why when to none. What is
-- parked goes only there where it is parked: others have had it.
local function targets(args, state, result)
  if args.reprocess or args.all or state ~= "parked" then return { args.dest or "" } end
  local list = {}
  for _, item in ipairs(result.items) do
    if item.state == "parked" and item.outcome and (not args.dest or args.dest == item.destination)
    then
      list[#list + 1] = item.destination
    end
  end
  if #list > 0 then return list end
  return nil, args.dest and "is not parked at " .. args.dest
    or "has no output: its script failed, --reprocess runs it again"
end

-- Who cannot read the store has the engine look; what is found comes as lines of JSON.
local function find_elsewhere()
  local text = {}
  local status = site.view(site.context.given, function(number, part)
    if number == 1 then text[#text + 1] = part else io.stderr:write(part) end
  end)
  if status ~= 0 then fail.fail(status) end
  local t = require("json").decode(table.concat(text))
  return t.found, t.other
end

-- Without those that were made from another of them, and would bring nothing but the same again.
-- One that was edited, or that another script made something else of, stays.
local function without_copies(h, c, args, found)
  local there, list = {}, {}
  for _, f in ipairs(found) do there[f.seq] = true end
  local function same(f)
    if f.kind ~= "reprocess" or not args.reprocess then return f.kind == "resent" end
    local one, other = h:receipt(c, f.seq, 0, true), h:receipt(c, f.origin, 0, true)
    return one and other and one.raw == other.raw
  end
  for _, f in ipairs(found) do
    if not (there[f.origin] and same(f)) then list[#list + 1] = f end
  end
  if #list < #found then
    io.stderr:write(("%s made by resend from others of these: left out\n"):format(
      term.count(#found - #list, "message")))
  end
  return list
end

local function find(verb, args)
  local in_view = package.loaded["lunate.cli.viewer"]
  if not in_view and site.is_foreign() then return find_elsewhere() end
  local h = history.open()
  local found, other = {}, {}
  args.channel = args.message
  audit.put { action = verb .. ".find", object = args.channel, query = audit.query(args),
    reason = args.reason }
  search.search(h, args, function(c, receipt, state, result)
    local dests, why = { "" }, nil
    if verb == "resend" then dests, why = targets(args, state, result) end
    if dests then
      found[#found + 1] = { seq = receipt.seq, dests = dests, parked = state == "parked",
        kind = receipt.kind, origin = receipt.origin_chan == c.id and receipt.origin_seq }
    else
      other[#other + 1] = ("%s/%.0f %s"):format(c.name, receipt.seq, why)
    end
  end)
  if verb == "resend" then found = without_copies(h, h:channel(args.channel), args, found) end
  return found, other
end

-- In a view: what the client is to ask for.
local function tell(found, other)
  local list = {}
  for i, f in ipairs(found) do
    list[i] = json.object("seq", f.seq, "dests", json.list(f.dests), "parked", f.parked)
  end
  print(json.encode(json.object("found", json.list(list), "other", json.list(other))))
  return 0
end

local function print_some(list, all)
  for i = 1, math.min(all and #list or 5, #list) do io.stderr:write("  ", list[i], "\n") end
  if not all and #list > 5 then io.stderr:write(("  and %d more\n"):format(#list - 5)) end
end

-- Asks for each, oldest first; ends between two on Ctrl-C.
local function do_all(verb, args, found)
  local done, refused, bar = 0, {}, progress.start(#found, "messages")
  for i = #found, 1, -1 do
    for _, dest in ipairs(found[i].dests) do
      local ok, err = pcall(request, verb, args, args.message, found[i].seq, dest ~= "" and dest,
        found[i].parked)
      if ok then
        done = done + 1
      elseif fail.is(err) and err.status ~= 3 then
        refused[#refused + 1] = err.text
      else
        bar:done()
        error(err, 0)
      end
    end
    bar:at(#found - i + 1)
    if sys.interrupted() then break end
  end
  bar:done()
  return done, refused
end

local function several(verb, args)
  if not (args.state or args.since or args["until"] or args.type or args.text or args.patient
    or args.control_id or #args.conditions > 0) then
    fail.usage("\"%s\" is not CHANNEL/SEQ; for several messages give filters, as in "
      .. "lunate %s %s --state parked --since 2h", args.message, verb, args.message)
  end
  if verb == "settle" then args.state = "parked" end
  local found, other = find(verb, args)
  if package.loaded["lunate.cli.viewer"] then return tell(found, other) end
  if #found == 0 then
    io.stderr:write("no message to ", verb, "\n")
    print_some(other)
    return 1
  end
  if not args.yes then
    print(("%s of %s to %s, from %s/%.0f to %s/%.0f; nothing is done without --yes"):format(
      term.count(#found, "message"), args.message, verb, args.message, found[#found].seq,
      args.message, found[1].seq))
    print_some(other)
    return 1
  end
  local done, refused = do_all(verb, args, found)
  if args.json then
    print(json.encode(json.object("ok", #refused == 0, "done", done, "refused", #refused)))
  else
    print(("%s %s"):format(term.count(done, verb == "resend" and "output" or "message"),
      verb == "resend" and "on the way again" or "settled"))
  end
  for _, text in ipairs(refused) do other[#other + 1] = text end
  print_some(other)
  return #other > 0 and 1 or 0
end

-- One message: what is parked at a destination goes there, and to no other, unless told otherwise.
-- What is wrong with the message is for the engine to say.
local function where_to(args, channel, seq)
  if args.dest or args.all or args.reprocess then return { args.dest or "" } end
  if not sys.kind(site.data() .. "/data.mdb") then return { "" } end -- no engine: that is said
  local h = history.open()
  local c = h.by_name[channel]
  if not c or not h:one(c, seq) then return { "" } end
  local state, result = h:state(c, seq)
  local list = targets(args, state, result)
  return list or { "" }, list and state == "parked"
end

--- The engine only looks for them: each is asked for from here.
function M.is_view() return false end

function M.run(args, verb)
  if verb == "settle" and not args.reason:find "%S" then
    fail.usage("--reason is empty: say how the message was dealt with")
  end
  if args.all and args.dest then fail.usage "--all and --dest: one or the other" end
  search.check(args)
  args.began_us = ("%.0f"):format(sys.now() * 1e6)
  if not args.message:find("/", 1, true) then
    if args.edit then fail.usage("--edit is for one message: CHANNEL/SEQ") end
    return several(verb, args)
  end
  local channel, seq = site.split_message(args.message)
  if args.edit then return require("lunate.cli.edit").run(args, channel, seq) end
  local dests, parked = { "" }, false
  if verb == "resend" then dests, parked = where_to(args, channel, seq) end
  for _, dest in ipairs(dests) do
    say_one(verb, args, request(verb, args, channel, seq, dest ~= "" and dest, parked), dest)
  end
  return 0
end

return M
