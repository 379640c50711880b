-- `lunate trace ID`: one message through every channel and destination, as a tree with times. ID is
-- CHANNEL/SEQ, or a control id.
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local history = require "lunate.cli.history"
local audit = require "lunate.cli.audit"

local M = {}

local DEPTH_MAX = 32 -- channels cannot form a circle; resends of resends can be many

function M.define(parser)
  parser:argument("id", "CHANNEL/SEQ, or a control id (MSH-10)")
  parser:flag("--json", "one JSON document per tree")
end

-- The first of a chain of copies and hand-overs: where the message came in.
local function root_of(h, c, receipt)
  for _ = 1, DEPTH_MAX do
    local from = receipt.origin_chan and h.by_id[receipt.origin_chan]
    local origin = from and h:receipt(from, receipt.origin_seq, 0)
    if not origin then break end
    c, receipt = from, origin
  end
  return c, receipt
end

-- Where trees begin: { c, receipt }, oldest first.
local function roots(h, id)
  local list, seen = {}, {}
  local function add(c, receipt)
    c, receipt = root_of(h, c, receipt)
    local key = c.id .. "/" .. receipt.seq
    if not seen[key] then list[#list + 1] = { c, receipt } end
    seen[key] = true
  end
  if id:find "^[%w_-]+/%d+$" then
    local name, seq = site.split_message(id)
    local c = h:channel(name)
    local receipt = h:one(c, seq)
    if receipt then add(c, receipt) end
  else
    for _, f in ipairs(h.reader:find("control_id", id, 0)) do
      local c = h.by_id[f.channel]
      local receipt = c and h:receipt(c, f.seq, 0)
      if receipt then add(c, receipt) end
    end
  end
  table.sort(list, function(a, b) return a[2].time_us < b[2].time_us end)
  return list
end

local node

-- Copies that operators made of a message, as its events name them.
local function copies(h, c, seq, depth, list)
  for _, e in ipairs(h.reader:events(c.id, seq)) do
    local what, name, n = e.text:match "^([%a ]+) as ([%w_-]+)/(%d+)$"
    local to = e.kind == "operator" and name and h.by_name[name]
    local receipt = to and h:receipt(to, tonumber(n), 0)
    if receipt then
      list[#list + 1] = { text = what, us = e.time_us, node = node(h, to, receipt, depth + 1) }
    end
  end
end

local function output(h, item, result, depth)
  local o = item.outcome
  local leaf = { destination = item.destination, state = item.state, us = o and o.time_us
    or result.time_us, tries = o and o.tries }
  if item.kind == "forwarded" then
    local to = h.by_id[item.to_chan]
    local receipt = to and h:receipt(to, item.to_seq, 0)
    leaf.text = "handed over"
    leaf.node = receipt and node(h, to, receipt, depth + 1)
  else
    local why = o and o.reason or item.reason or ""
    leaf.text = ("%s%s%s"):format(item.state,
      o and o.tries > 1 and (" after %d tries"):format(o.tries) or "",
      why ~= "" and ": " .. why or "")
  end
  return leaf
end

-- A message with its branches: { c, receipt, state, branches = { text, us, destination, node } }.
function node(h, c, receipt, depth)
  local state, result = h:state(c, receipt.seq)
  local n = { c = c, receipt = receipt, state = state, branches = {} }
  if depth > DEPTH_MAX then return n end
  if result then
    local why = result.reason ~= "" and ": " .. result.reason or ""
    if result.state ~= "done" then
      n.branches[1] = { text = result.state .. why, us = result.time_us, state = result.state }
    elseif receipt.kind == "resent" then
      n.branches[1] = { text = "its origin's outputs go out again", us = result.time_us }
    elseif result.script ~= "" then
      n.branches[1] = { text = ("script %s, %.1f ms"):format(result.script:sub(1, 6),
        result.duration_us / 1000), us = result.time_us }
    end
    for _, item in ipairs(result.items) do
      item.destination = item.destination or c.dest_names[item.dest] or "#" .. item.dest
      n.branches[#n.branches + 1] = output(h, item, result, depth)
    end
  end
  copies(h, c, receipt.seq, depth, n.branches)
  return n
end

-- ---- for people ---------------------------------------------------------------------------------

local colours = { parked = "red", rejected = "red", queued = "yellow", pending = "yellow",
  sent = "green" }

local function since(us, start)
  local s = (us - start) / 1e6
  if s < 0.0005 then return "" end
  return s < 1 and ("  +%.0f ms"):format(s * 1000) or s < 90 and ("  +%.1f s"):format(s)
    or "  +" .. term.age(s)
end

local function print_node(n, indent, start)
  for i, b in ipairs(n.branches) do
    local last = i == #n.branches
    local to = b.node
    local label = to and ("%s/%.0f (%s)"):format(to.c.name, to.receipt.seq, to.state)
    local text = (b.destination and b.destination .. ": " or "") .. b.text
      .. (label and ", " .. label or "")
    print(("%s%s%s  %s%s"):format(indent, last and "└─ " or "├─ ",
      term.paint(colours[b.state or b.node and b.node.state], term.printable(text)),
      time.clock(b.us), since(b.us, start)))
    if b.node then print_node(b.node, indent .. (last and "   " or "│  "), start) end
  end
end

local function print_tree(n)
  local r = n.receipt
  print(("%s  %s  control id %s  %s%s"):format(
    term.paint("bold", ("%s/%.0f"):format(n.c.name, r.seq)), term.printable(r.type),
    r.control_id ~= "" and term.printable(r.control_id) or "(none)", time.text(r.time_us),
    r.peer ~= "" and "  from " .. r.peer or ""))
  if #n.branches == 0 then print("└─ " .. n.state) end
  print_node(n, "", r.time_us)
end

local function node_json(n)
  local list = {}
  for i, b in ipairs(n.branches) do
    list[i] = json.object("destination", b.destination, "text", b.text, "time", time.iso(b.us),
      "state", b.state, "tries", b.tries, "message", b.node and node_json(b.node) or nil)
  end
  return json.object("channel", n.c.name, "seq", n.receipt.seq, "control_id", n.receipt.control_id,
    "type", n.receipt.type, "kind", n.receipt.kind, "time", time.iso(n.receipt.time_us),
    "state", n.state, "branches", json.list(list))
end

-- All messages of a tree, as { channel, seq }.
local function ids(n, list)
  list[#list + 1] = { n.c.name, n.receipt.seq }
  for _, b in ipairs(n.branches) do
    if b.node then ids(b.node, list) end
  end
  return list
end

local function not_found(h, id)
  local name, seq = id:match "^([^/]+)/(%d+)$"
  local c = name and #seq <= 15 and h.by_name[name]
  if c then h:missing(c, tonumber(seq)) end
  fail.fail(1, "no message has the id %s%s", id, require("lunate.cli.archived").is_there()
    and "; what was trimmed is in the archive: lunate messages --archive --control-id ID" or "")
end

function M.run(args)
  local h = history.open()
  local list, shown = roots(h, args.id), {}
  for i, root in ipairs(list) do
    list[i] = node(h, root[1], root[2], 1)
    ids(list[i], shown)
  end
  audit.put { action = "trace", object = args.id, shown = audit.ids(shown), reason = args.reason,
    outcome = #list > 0 and "ok" or "failed", text = #list == 0 and "no such message" or nil }
  h:tell_damaged()
  if #list == 0 then not_found(h, args.id) end
  for i, tree in ipairs(list) do
    if args.json then
      print(json.encode(node_json(tree)))
    else
      if i > 1 then print "" end
      print_tree(tree)
    end
  end
  return 0
end

return M
