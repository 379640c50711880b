-- `lunate show CHANNEL/SEQ`: one message, with everything that happened to it, in order.
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local history = require "lunate.cli.history"
local audit = require "lunate.cli.audit"
local differ = require "lunate.cli.differ"
local versions = require "lunate.cli.versions"

local M = {}

function M.define(parser)
  parser:argument("message", "CHANNEL/SEQ")
  parser:flag("--json", "one JSON document")
  parser:flag("--full", "long fields whole, also on a terminal")
  parser:flag("--archive", "a message that was trimmed, out of the archive: its JSON document")
  parser:flag("--raw", "the message's bytes as received, nothing else")
  parser:flag("--script", "the script that handled it, byte for byte")
  parser:option("--file", "with --script: another file of that version")
end

-- Where a copy comes from, for a receipt that is one.
local function origin(h, receipt)
  local c = h.by_id[receipt.origin_chan]
  return c and ("%s/%.0f"):format(c.name, receipt.origin_seq) or nil
end

local function reception(h, receipt, result)
  local from = origin(h, receipt)
  if receipt.kind == "forwarded" then return "handed over by " .. (from or "a channel") end
  if receipt.kind == "resent" then return "resent, a copy of " .. (from or "?") end
  if receipt.kind == "reprocess" then return "to be processed again, copy of " .. (from or "?") end
  if receipt.kind == "duplicate" then
    return ("received from %s, the same as %s"):format(receipt.peer, from or "?")
  end
  if receipt.kind == "unreadable" and result and result.state == "rejected" then
    return "received from " .. receipt.peer .. ", not HL7"
  end
  return "received from " .. receipt.peer
end

local verdicts = { done = "processed", filtered = "filtered", parked = "parked",
  rejected = "rejected" }

local function add(list, us, what, text, destination)
  list[#list + 1] = { us = us, order = #list, what = what, text = text, destination = destination }
end

local function output_text(item)
  if item.kind == "filtered" then
    return "filtered: " .. (item.reason ~= "" and item.reason or "its filter gave no reason")
  end
  if item.kind == "parked" then return "parked: " .. item.reason end
  if item.kind == "input" then return "to be sent as received" end
  return "to be sent"
end

local function add_outcome(list, item)
  local o = item.outcome
  if not o then return end
  local text = o.state
  if o.reason ~= "" then text = text .. ": " .. o.reason end
  if o.tries > 1 then
    local s = (o.time_us - o.first_us) / 1e6
    text = ("%s after %d tries in %s"):format(text, o.tries,
      s < 10 and ("%.1f s"):format(s) or term.age(s))
  end
  add(list, o.time_us, o.state, text, item.destination)
end

-- What happened, in order of time: { us, what, text, destination }.
local function decisions(h, c, receipt, result)
  local list = {}
  add(list, receipt.time_us, "received", reception(h, receipt, result))
  for _, e in ipairs(h.reader:events(c.id, receipt.seq)) do
    local text = e.text
    if e.kind == "ack" then text = "answered " .. text end
    add(list, e.time_us, e.kind, text, c.dest_names[e.dest])
  end
  if result then
    local text = verdicts[result.state] or result.state
    if receipt.kind == "resent" then
      text = "its origin's outputs go out again"
    elseif result.script ~= "" and result.state ~= "rejected" then
      local v = versions.of(h.reader, c, result)
      local commit = v and versions.commit_of(v)
      text = ("%s by script %s%s in %.1f ms"):format(text, result.script:sub(1, 6),
        commit and " (git " .. commit .. ")" or "", result.duration_us / 1000)
    end
    if result.where ~= "" then text = text .. " at " .. result.where end
    if result.reason ~= "" then text = text .. ": " .. result.reason end
    if result.ack ~= "" then text = text .. ", answered " .. result.ack end
    add(list, result.time_us, result.state, text)
    for _, item in ipairs(result.items) do
      if item.kind == "forwarded" then
        local target = h.by_id[item.to_chan]
        add(list, result.time_us, "forwarded", ("handed to %s/%.0f"):format(
          target and target.name or "#" .. item.to_chan, item.to_seq))
      else
        add(list, result.time_us, "output", output_text(item), item.destination)
      end
      add_outcome(list, item)
    end
  end
  table.sort(list, function(a, b)
    if a.us ~= b.us then return a.us < b.us end
    return a.order < b.order
  end)
  return list
end

-- Outputs that carry bytes, with those bytes.
local function outputs(h, c, receipt, result)
  local list = {}
  for _, item in ipairs(result and result.items or {}) do
    if item.kind == "bytes" or item.kind == "input" or item.kind == "same" then
      item.raw = h.reader:output(c.id, receipt.seq, item.n) or ""
    end
    list[#list + 1] = item
  end
  return list
end

local function raw_members(raw)
  return raw, not json.is_text(raw) and require("lunate.sys").base64(raw) or nil
end

local function output_json(item, receipt)
  local o = item.outcome or {}
  local raw, raw64, changed
  if item.raw then
    raw, raw64 = raw_members(item.raw)
    changed = item.raw ~= receipt.raw
  end
  local reply = o.reply and o.reply ~= "" and o.reply or nil
  return json.object("n", item.n, "destination", item.destination, "kind", item.kind,
    "state", item.state, "changed", changed, "reason", item.reason or o.reason, "tries", o.tries,
    "first_try", o.first_us and time.iso(o.first_us), "time", o.time_us and time.iso(o.time_us),
    "reply", reply, "raw", raw, "raw_base64", raw64)
end

function M.document(h, c, receipt, state, result)
  local events, items = {}, {}
  for i, d in ipairs(decisions(h, c, receipt, result)) do
    events[i] = json.object("time", time.iso(d.us), "what", d.what, "destination", d.destination,
      "text", d.text)
  end
  for i, item in ipairs(outputs(h, c, receipt, result)) do items[i] = output_json(item, receipt) end
  local raw, raw64 = raw_members(receipt.raw)
  local r, v = result or {}, versions.of(h.reader, c, result)
  local verdict = result and json.object("state", r.state, "time", time.iso(r.time_us),
    "duration_us", r.duration_us, "attempts", r.attempts, "script", r.script,
    "git", v and v.git ~= "" and v.git or nil, "git_changed", v and v.git ~= "" and v.dirty or nil,
    "reason", r.reason,
    "where", r.where, "trace", r.trace, "ack", r.ack) or nil
  return json.object("channel", c.name, "seq", receipt.seq, "time", time.iso(receipt.time_us),
    "kind", receipt.kind, "peer", receipt.peer, "origin", origin(h, receipt),
    "control_id", receipt.control_id, "type", receipt.type,
    "patient_ids", json.list(receipt.patients), "state", state, "length", receipt.length,
    "raw", raw, "raw_base64", raw64, "result", verdict, "decisions", json.list(events),
    "outputs", json.list(items))
end

local FIELD_MAX, FIELD_SHOWN = 240, 160
local cut_fields = false

-- A segment (or a line of a difference) for people; on a terminal long fields, which are documents
-- and images, show their beginning.
local function readable(line)
  if cut_fields and #line > FIELD_MAX then
    line = line:gsub("[^|]+", function(field)
      if #field <= FIELD_MAX then return nil end
      return ("%s... (%s bytes more)"):format(field:sub(1, FIELD_SHOWN),
        term.number(#field - FIELD_SHOWN))
    end)
  end
  return term.printable(line)
end

local function print_segments(raw, indent)
  for _, segment in ipairs(differ.segments(raw)) do print((indent or "  ") .. readable(segment)) end
end

local function print_output(item, receipt, shown)
  print(("\n%s %s (%s)"):format(term.paint("bold", "output to"), item.destination, item.state))
  if not item.raw then
    print("  " .. output_text(item))
  elseif item.raw == receipt.raw then
    print "  as received"
  elseif shown[item.raw] then
    print("  the same as to " .. shown[item.raw])
  else
    shown[item.raw] = item.destination
    for _, line in ipairs(differ.lines(receipt.raw, item.raw)) do
      local colour = ({ ["-"] = "red", ["+"] = "green" })[line:sub(1, 1)]
      print("  " .. term.paint(colour, readable(line)))
    end
  end
  if item.outcome and item.outcome.reply ~= "" then
    print "  reply:"
    print_segments(item.outcome.reply, "    ")
  end
end

-- A time in what the engine noted, for people.
local function with_times(text)
  return (text:gsub("^(before: [%a ]+ )(%d%S+Z)", function(head, iso)
    return head .. time.text(time.parse(iso))
  end))
end

local prefixes = { log = "log ", retry = "try failed: ", attempt = "attempt failed: " }

local function print_text(h, c, receipt, state, result)
  print(("%s  %s  control id %s%s"):format(
    term.paint("bold", ("%s/%.0f"):format(c.name, receipt.seq)), term.printable(receipt.type),
    receipt.control_id ~= "" and term.printable(receipt.control_id) or "(none)",
    #receipt.patients > 0 and "  patient " .. term.printable(table.concat(receipt.patients, ", "))
    or ""))
  print(("%s, %s, %s"):format(time.text(receipt.time_us), term.bytes(receipt.length), state))
  print("\n" .. term.paint("bold", "message"))
  print_segments(receipt.raw)
  print("\n" .. term.paint("bold", "what happened"))
  for _, d in ipairs(decisions(h, c, receipt, result)) do
    local what = (prefixes[d.what] or "") .. with_times(d.text)
    print(("  %s  %s%s"):format(time.clock(d.us), d.destination and d.destination .. ": " or "",
      term.printable(what)))
  end
  if result and result.trace ~= "" then
    for line in result.trace:gmatch "[^\n]+" do print("    " .. term.printable(line)) end
  end
  local shown = {}
  for _, item in ipairs(outputs(h, c, receipt, result)) do
    if item.kind ~= "forwarded" then print_output(item, receipt, shown) end
  end
end

-- Out of the archive: the document as it was written, or the bytes as received.
local function show_archived(args, name, seq)
  local list = require("lunate.cli.archived").find(name, seq)
  audit.put { action = "show", object = args.message, reason = args.reason,
    outcome = list[1] and "ok" or "failed", text = not list[1] and "no such message" or nil }
  if not list[1] then fail.fail(1, "there is no message %s in the archive", args.message) end
  for _, found in ipairs(list) do
    local doc = found.doc
    if args.raw then
      io.write(doc.raw_base64 and require("lunate.archive_core").bytes(doc.raw_base64) or doc.raw)
      return 0
    elseif args.json then
      print(found.text)
    else
      print(("%s  %s  control id %s, %s, %s"):format(args.message, term.printable(doc.type),
        term.printable(doc.control_id), time.text(time.parse(doc.time)), doc.state))
      print "\nmessage"
      print_segments(doc.raw)
      print "\nwhat happened"
      for _, d in ipairs(doc.decisions) do
        print(("  %s  %s%s"):format(time.text(time.parse(d.time)),
          d.destination and d.destination .. ": " or "", term.printable(with_times(d.text))))
      end
    end
  end
  return 0
end

function M.run(args)
  local name, seq = site.split_message(args.message)
  if args.archive then return show_archived(args, name, seq) end
  local h = history.open()
  local c = h:channel(name)
  local receipt = h:one(c, seq, true)
  audit.put { action = "show", object = args.message, reason = args.reason,
    outcome = receipt and "ok" or "failed", text = not receipt and "no such message" or nil }
  if not receipt then h:missing(c, seq) end
  if args.raw then
    io.write(receipt.raw)
    return 0
  end
  if args.script or args.file then
    local _, handled = h:state(c, seq)
    return versions.print_script(h, c, handled, args.message, args.file)
  end
  cut_fields = require("lunate.sys").isatty(1) and not args.full
  local state, result = h:state(c, seq)
  if args.json then
    print(json.encode(M.document(h, c, receipt, state, result)))
  else
    print_text(h, c, receipt, state, result)
  end
  return 0
end

return M
