-- `?msg:each` and the like: how each call is written, what it does, an example. docs/message.md and
-- docs/scripting.md say more; tests/repl holds this list against what there is.
local M = {
  ["msg[]"] = { 'msg["PID-5.1"], msg["PID-5.1"] = v', "The text at a path SEG[n]-F[r].C.S, " ..
    "unescaped; nil when absent or empty, hl7.null for \"\". Assigning replaces the whole of " ..
    "that level and creates what is missing; nil clears.", 'msg["PID-3[2].1"]' },
  ["msg:raw"] = { "msg:raw(path)", "The bytes as they stand, without unescaping; PID-3 is the " ..
    "whole field with its repetitions, PID the segment.", 'msg:raw "PID-3"' },
  ["msg:set_raw"] = { "msg:set_raw(path, bytes)", "Sets bytes as they are, without escaping.",
    'msg:set_raw("PID-3", "1^^^A~2^^^B")' },
  ["msg:all"] = { "msg:all(path)", "A list of the values of a path with * or, without a field, " ..
    "of the segments.", 'msg:all "OBX[*]-5"' },
  ["msg:each"] = { "msg:each(name), seg:each(name)", "For loops: the segments in order, all of " ..
    "them without a name; of a segment, those behind it up to the next of its own name.",
    'for obx in msg:each "OBX" do print(obx["3.1"], obx["5"]) end' },
  ["msg:add"] = { "msg:add(name, after), msg:add(segment, after)", "A new empty segment behind " ..
    "`after` or at the end, or a copy of a segment; gives it back.",
    'local nte = msg:add("NTE", msg.PID)' },
  ["msg:remove"] = { "msg:remove(segment)", "Takes it (or a group) out.", "msg:remove(msg.PV1)" },
  ["msg:move"] = { "msg:move(segment, after)", "Puts a segment behind another one.",
    "msg:move(msg.PV1, msg.PID)" },
  ["msg:copy"] = { "msg:copy()", "A copy that stands on its own.", "local c = msg:copy()" },
  ["msg:ack"] = { 'msg:ack { code = "AA" }', "An acknowledgement in the sender's delimiters and " ..
    "version. Keys: code, text, error_code, location, control_id.",
    'msg:ack { code = "AE", text = "unknown patient" }' },
  ["msg:delimiters"] = { "msg:delimiters()", "A table: field, component, repetition, escape, " ..
    "subcomponent, truncation." },
  ["msg:groups"] = { "msg:groups(name)", "The groups of the message's structure by name, in order.",
    'for order in msg:groups "ORDER" do ... end' },
  ["msg:tree"] = { "msg:tree()", "The message's segments as a tree, by its structure." },
  ["msg:validate"] = { "msg:validate()", "Holds the message against the dictionary." },
  ["msg:charset"] = { "msg:charset()", "The name of the message's character set, and what is " ..
    "wrong with it or nil." },
  ["msg:convert"] = { 'msg:convert(name [, { substitute = "?" }])', "Writes the whole message " ..
    "in another character set, MSH-18 with it.", 'msg:convert "UNICODE UTF-8"' },
  ["msg.type"] = { "msg.type, msg.event, msg.version, msg.control_id", "MSH-9.1, MSH-9.2, " ..
    "MSH-12, MSH-10. They can be set, too.", 'msg.type == "ADT"' },
  ["msg.PID"] = { "msg.PID, msg.PID[5], msg.PID[5][1], msg.PID.patient_name.family_name",
    "Parts by number or by the dictionary's name. They are places: a place exists where nothing " ..
    "stands. Compare .value or tostring(part), not the part.", "msg.PID.patient_name.value" },
  ["field:rep"] = { "field:rep(n), field:each()", "One repetition; all of them in turn.",
    "msg.PID[3]:rep(2)[4].value" },
  ["field:each"] = { "field:each()", "The repetitions in turn.",
    "for id in msg.PID[3]:each() do print(id[1]) end" },
  ["field.value"] = { "part.value, tostring(part), #part", "The text or nil; can be set. " ..
    "tostring gives \"\" instead of nil; # counts what is right below." },
  ["seg.segment_name"] = { "seg.segment_name", "The segment's name as it stands." },
  ["hl7.parse"] = { "hl7.parse(bytes)", "A message, or nil and why not with the byte offset.",
    'hl7.parse "MSH|^~\\\\&|A\\r"' },
  ["hl7.new"] = { "hl7.new { type =, event =, version = }", "A message with nothing but its " ..
    "header.", 'hl7.new { type = "ADT", event = "A08" }' },
  ["hl7.null"] = { "hl7.null", "The explicit null, two quote characters: delete what you have. " ..
    "Not the same as empty (nil): leave what you have.", 'msg["PID-8"] = hl7.null' },
  ["hl7.escape"] = { "hl7.escape(text [, msg])", "Text with delimiters written as escapes.",
    'hl7.escape "a & b"' },
  ["hl7.unescape"] = { "hl7.unescape(raw [, msg])", "The other way round." },
  ["hl7.dictionary"] = { "hl7.dictionary", "What the standard says: segment, field, type, " ..
    "table, structure, event, names.", 'hl7.dictionary.field("PID-3").title' },
  ["hl7.text"] = { "hl7.text(value [, msg])", "Formatted text (FT, TX) as plain lines.",
    'hl7.text "one\\\\.br\\\\two"' },
  ["hl7.batch"] = { "hl7.batch.split(text), hl7.batch.build { messages = }", "The messages of a " ..
    "batch with what is wrong about it; a batch out of messages.",
    "hl7.batch.build { messages = { msg } }" },
  ["hl7.time"] = { "hl7.time", "Timestamps with their precision and zone." },
  ["hl7.diff"] = { "hl7.diff(a, b [, { ignore = }])", "How two messages differ: a list of { " ..
    "kind, path, from, to }; tostring of it is text.", "hl7.diff(msg, out)" },
  ["hl7.profile"] = { "hl7.profile { ... }", "What a site expects of its messages, for validate." },
  ["hl7.to_json"] = { "hl7.to_json(msg), hl7.from_json(text)", "A message as JSON and back." },
  ["hl7.from_json"] = { "hl7.from_json(text)", "A message from its JSON." },
  ["log"] = { "log.debug, log.info, log.warn, log.error(format, ...)", "A line kept with the " ..
    "message.", 'log.warn("no ward for %s", code)' },
  ["now"] = { "now(), now(format)", "Local time as HL7 writes it, or as strftime has it.",
    "now()" },
  ["env"] = { "env(name [, default])", "Environment of the engine; nil when unset.",
    'env "LAB_HOST"' },
  ["secret"] = { "secret \"name\"", "The text of secrets/name in the site, or of the file " ..
    "of that name that systemd gives the service.", 'secret "lab_token"' },
  ["kv"] = { "kv.get, kv.set, kv.delete, kv.keys", "State of the channel that survives " ..
    "restarts, committed with the message. Here it lasts as long as the session and begins empty.",
    'kv.set("last", msg.control_id)' },
  ["http"] = { "http.get(url [, o]), http.post(url, body [, o]), http.request { url = }",
    "{ status, headers, body }, or nil and why. o: headers, timeout, max_body; for request, " ..
    "method and body, too. The channel names whom it may ask: allow = { net = " ..
    "{ \"host:port\" } }. Held back here.", 'http.get("https://api.example.org/wards/7")' },
  ["lookup"] = { 'lookup("table", key [, default])', "The second column of the row of " ..
    "tables/table.csv whose first column is key; lookup.row gives the row.",
    'lookup("facilities", "GEN")' },
  ["json"] = { "json.encode(value), json.decode(text)", "JSON; decode gives nil and why for " ..
    "what is none.", 'json.encode { a = 1 }' },
  ["channel"] = { "return channel { source =, filter =, transform =, destinations = }", "What a " ..
    "channel script ends with." },
  ["mllp"] = { "mllp.listen { port = }, mllp.send { host =, port = }", "A channel's source; a " ..
    "destination. docs/scripting.md lists what else they take." },
  ["print"] = { "print(...)", "Shows values; in a script it is log.info.", "print(msg)" },
  ["script"] = { "script.filter, script.transform, script.NAME.filter", "The functions of the " ..
    "channel at hand; its own functions and globals are there by their names.",
    "script.transform(msg)" },
}

local keys = {}
for key in pairs(M) do keys[#keys + 1] = key end
table.sort(keys)

-- Other ways to ask.
M["mllp.listen"], M["mllp.send"] = M["mllp"], M["mllp"]
for _, level in ipairs { "debug", "info", "warn", "error" } do M["log." .. level] = M["log"] end
for _, name in ipairs { "get", "set", "delete", "keys" } do M["kv." .. name] = M["kv"] end
M["lookup.row"], M["json.encode"], M["json.decode"] = M["lookup"], M["json"], M["json"]
M["hl7.batch.split"], M["hl7.batch.build"] = M["hl7.batch"], M["hl7.batch"]
M["assert.field"] = { "assert.field(message, path, value), assert.sends(r, dest), " ..
  "assert.filtered(r), assert.fails(r)", "For specs, which `lunate test` runs: docs/testing.md." }
M["lunate.channel"], M["for_all"] = M["assert.field"], M["assert.field"]
for _, name in ipairs { "sends", "filtered", "fails" } do
  M["assert." .. name] = M["assert.field"]
end
M["msg"] = M["msg[]"]
M["hl7"] = M["hl7.parse"]
M["null"] = M["hl7.null"]
for _, name in ipairs { "raw", "set_raw", "each" } do
  M["seg:" .. name] = M["seg:" .. name] or M["msg:" .. name]
  M["field:" .. name] = M["field:" .. name] or M["msg:" .. name]
end
for _, key in ipairs { "filter", "transform" } do
  M[key] = { key .. " = function(msg) ... end", key == "filter" and "Truthy: go on. Falsy: " ..
    "filtered, the second value is the reason." or "Edit msg in place, or return a message, a " ..
    "string, or a list of them. An empty list sends nothing." }
end

return setmetatable(M, { __index = { keys = keys,
  some = { "hl7.new", "kv", "lookup", "log", "now", "json" } } })
