-- `lunate messages`: finds messages in the store, newest first; `lunate tail`: the newest as they
-- come.
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local json = require "lunate.cli.json"
local search = require "lunate.cli.search"
local history = require "lunate.cli.history"
local audit = require "lunate.cli.audit"

local M = {}

function M.define(parser, verb)
  parser:argument("channel", "only this channel"):args "?"
  search.define(parser)
  if verb == "messages" then
    parser:flag("--archive", "in the archive of what was trimmed, instead of the store")
  end
  if verb == "tail" then
    parser:flag("-f --follow", "go on with what comes, until Ctrl-C")
  end
  parser:option("--limit", "at most so many, newest first"):default(verb == "tail" and "10" or "20")
  parser:flag("--json", "one object a line")
end

-- Why a message is parked: one text, where several destinations refused it all of them.
local function reason_of(state, result)
  if state ~= "parked" or not result then return nil end
  if result.state == "parked" then
    return (result.where ~= "" and result.where .. ": " or "") .. result.reason
  end
  local list = {}
  for _, item in ipairs(result.items) do
    if item.state == "parked" then
      local o = item.outcome
      list[#list + 1] = ("%s: %s%s"):format(item.destination, o and o.reason or item.reason or "",
        o and o.tries > 1 and (" (%d tries)"):format(o.tries) or "")
    end
  end
  return table.concat(list, "; ")
end

--- One message of a list as JSON.
function M.json(c, receipt, state, result)
  return json.object("channel", c.name, "seq", receipt.seq, "time", time.iso(receipt.time_us),
    "control_id", receipt.control_id, "type", receipt.type,
    "patient_ids", json.list(receipt.patients), "state", state, "length", receipt.length,
    "peer", receipt.peer, "kind", receipt.kind, "reason", reason_of(state, result))
end

local colours = { parked = "red", rejected = "red", queued = "yellow", pending = "yellow",
  sent = "green", done = "green" }

local function row(c, receipt, state, result)
  print(("%s  %s  %s  %s  %s"):format(time.text(receipt.time_us):sub(1, 19),
    term.paint(colours[state], term.fit(state, 8)), term.fit(term.printable(receipt.type), 7),
    term.fit(("%s/%.0f"):format(c.name, receipt.seq), 20), term.printable(receipt.control_id)))
  local reason = reason_of(state, result)
  if reason and reason ~= "" then
    for _, line in ipairs(term.wrap(term.printable(reason), math.max(30, sys.width() - 21))) do
      print(term.paint("dim", (" "):rep(21) .. line))
    end
  end
end

-- The last few, oldest first; then, with -f, what comes.
local function tail(h, args, show, shown)
  local list = {}
  local _, stopped = search.search(h, args, function(...) list[#list + 1] = { ... } end)
  for i = #list, 1, -1 do show(list[i][1], list[i][2], list[i][3], list[i][4]) end
  shown:flush()
  local seen = {}
  for _, c in ipairs(h.list) do seen[c.id] = c.next_seq end
  while args.follow and not stopped do
    io.stdout:flush()
    sys.sleep(0.2)
    stopped = sys.interrupted()
    h:refresh()
    for _, c in ipairs(h.list) do
      local seq = seen[c.id] or 0
      while (not args.channel or c.name == args.channel) and seq < c.next_seq do
        local receipt = h:receipt(c, seq, 1)
        if not receipt or receipt.seq >= c.next_seq then break end
        if search.matches(h, args, c, receipt) then
          local state, result = h:state(c, receipt.seq)
          if not args.state or args.state == state then show(c, receipt, state, result) end
        end
        seq = receipt.seq + 1
      end
      seen[c.id] = c.next_seq
    end
    shown:flush()
  end
  return 0
end

function M.run(args, verb)
  search.check(args)
  local h = not args.archive and history.open()
  local print_one = args.json and function(...) print(json.encode(M.json(...))) end or row
  local shown = audit.list { action = verb, object = args.channel, query = audit.query(args),
    reason = args.reason }
  local function show(c, receipt, state, result)
    shown:add(c.name, receipt.seq, function() print_one(c, receipt, state, result) end)
  end
  if verb == "tail" then return tail(h, args, show, shown) end
  local n, stopped
  if args.archive then
    n = require("lunate.cli.archived").messages(args, shown)
  else
    n, stopped = search.search(h, args, show)
  end
  shown:flush()
  if n == 0 and not args.json and not stopped then io.stderr:write "no message found\n" end
  return stopped and 1 or 0
end

return M
