-- The lessons of `lunate tutor`: a title, what to read, what to do, and the check. A check is Lua
-- that the child runs behind each line typed, with `line` (what was typed), `values` (what it
-- gave) and the names at the prompt; it gives true when the lesson is done, or
-- false and what to say. `answer` solves it: the tests type it.
local sample = table.concat({
  "MSH|^~\\&|EHR|GENERAL|LAB|CITY LAB|20260105083000||ORU^R01^ORU_R01|T0001|P|2.5.1",
  "PID|1||100001^^^GENERAL^MR~555-1^^^SSA^SS||Sample^Patient^A||19800101|F|||\"\"",
  "OBR|1||A77|GLU^Glucose^L",
  "OBX|1|NM|GLU^Glucose^L||182|mg/dL|70-105|H|||F",
  "OBX|2|NM|NA^Sodium^L||140|mmol/L|135-148|N|||F", "" }, "\r")

return {
  sample = sample,
  {
    title = "A field",
    text = "A result from a laboratory is at hand, as `msg`. Type msg to see it: a segment a " ..
      "line, fields between |. A path names a place: PID-5.1 is segment PID, field 5, " ..
      "component 1.",
    task = "Read the patient's family name: msg[\"PID-5.1\"]",
    hint = 'msg["PID-5.1"]',
    answer = { "msg", 'msg["PID-5.1"]' },
    wrong = { 'msg["PID-5.2"]', 'msg["PID-8"]', '"sample"' },
    check = 'return values[1] == "Sample"',
  },
  {
    title = "By name",
    text = "The dictionary knows the names of all fields. Type msg.PID. and press Tab: what " ..
      "is there is listed with its values. ?PID-8 explains a field. A part is a place; its " ..
      "text is .value, or tostring(part).",
    task = "Read the patient's given name by name, ending in .value: msg.PID.patient_name. ...",
    hint = "msg.PID.patient_name.given_name.value",
    answer = { "?PID-5", "msg.PID.patient_name.given_name.value" },
    wrong = { 'msg["PID-5.1"]', "msg.PID.patient_name.family_name.value" },
    check = 'return values[1] == "Patient" and line:find("given_name", 1, true) ~= nil',
  },
  {
    title = "Repetitions",
    text = "PID-3 holds two identifiers, with ~ between them. PID-3[2] is the second one, and " ..
      "a path without [n] means the first.",
    task = "Read the assigning authority (component 4) of the second identifier.",
    hint = 'msg["PID-3[2].4"]',
    answer = { 'msg["PID-3"]', 'msg["PID-3[2].4"]' },
    wrong = { 'msg["PID-3.4"]', 'msg["PID-3[2].1"]' },
    check = 'return values[1] == "SSA"',
  },
  {
    title = "Nothing, and null",
    text = "What is absent or empty reads as nil: leave what you have. The two quotes in " ..
      "PID-11 are HL7's explicit null: delete what you have. It reads as hl7.null.",
    task = "Ask whether the address PID-11 is null: compare msg[\"PID-11\"] with hl7.null.",
    hint = 'msg["PID-11"] == hl7.null',
    answer = { 'msg["PID-30"]', 'msg["PID-11"] == hl7.null' },
    wrong = { 'msg["PID-11"] == nil', 'msg["PID-30"] == nil', "true" },
    check = 'return values[1] == true and line:find("hl7.null", 1, true) ~= nil and ' ..
      'line:find("11", 1, true) ~= nil',
  },
  {
    title = "Writing",
    text = "Assigning sets text, escapes what needs it, and creates what is missing. nil " ..
      "clears. Writing PID-5 replaces the whole field, PID-5.1 only the component.",
    task = "Make the family name upper case, \"SAMPLE\", and leave the given name as it is.",
    hint = 'msg["PID-5.1"] = msg["PID-5.1"]:upper()',
    answer = { 'msg["PID-5.1"] = "SAMPLE"' },
    wrong = { 'msg["PID-5.1"] = "sample"', 'msg["PID-5"] = "SAMPLE"' },
    restore = true,
    check = [[
      if msg["PID-5.1"] == "Sample" or msg["PID-5.2"] == "Patient" then
        return msg["PID-5.1"] == "SAMPLE"
      end
      return false, "The given name is gone: that wrote the whole field. .lesson 5 begins again."]],
  },
  {
    title = "Segments in a loop",
    text = "msg:each \"OBX\" gives each OBX in turn; obx[\"5\"] is its field 5. A chunk that " ..
      "is not complete asks for more lines.",
    task = "Add up OBX-5 of all OBX in the variable sum. Begin with: sum = 0",
    hint = 'sum = 0 for obx in msg:each "OBX" do sum = sum + obx["5"] end',
    answer = { "sum = 0", 'for obx in msg:each "OBX" do', '  sum = sum + obx["5"]', "end" },
    wrong = { "sum = 0", "sum = 182" },
    check = 'return sum == 322 and line:find("each", 1, true) ~= nil',
  },
  {
    title = "A new segment",
    text = "msg:add(\"NTE\", after) makes a segment behind another one and gives it back; " ..
      "without `after` it stands at the end. msg[\"OBX[2]\"] is the second OBX.",
    task = "Add an NTE at the end with the text checked in field 3.",
    hint = 'nte = msg:add "NTE"   and then   nte[3] = "checked"',
    answer = { 'nte = msg:add "NTE"', 'nte[3] = "checked"' },
    wrong = { 'nte = msg:add "NTE"', 'nte[2] = "checked"' },
    check = 'return msg["NTE-3"] == "checked"',
  },
  {
    title = "A filter",
    text = "A channel script has a function `filter`. It decides what goes on: true, or false " ..
      "and the reason, which is kept with the message. (In the script it stands as filter = " ..
      "function(msg) ... end.)",
    task = "Write filter(msg): ORU goes on, everything else is filtered as \"not a result\".",
    hint = 'function filter(msg) return msg.type == "ORU", "not a result" end',
    answer = { 'function filter(msg) return msg.type == "ORU", "not a result" end' },
    wrong = { "function filter(msg) return true end",
      'function filter(msg) return msg.type == "ADT", "not a result" end' },
    check = [[
      if type(rawget(_G, "filter")) ~= "function" then return false end
      local ok = filter(msg)
      local other = msg:copy()
      other.type = "ADT"
      local no, why = filter(other)
      return ok and not no and why == "not a result"]],
  },
  {
    title = "A transform",
    text = "`transform` edits the message in place (or returns a message, or a list of them).",
    task = "Write transform(msg): the sex PID-8 becomes \"female\" for F and \"male\" for M; " ..
      "anything else stays.",
    hint = 'names = { F = "female", M = "male" }   and   function transform(msg) ' ..
      'msg["PID-8"] = names[msg["PID-8"]] or msg["PID-8"] end',
    answer = { 'names = { F = "female", M = "male" }', "function transform(msg)",
      '  msg["PID-8"] = names[msg["PID-8"]] or msg["PID-8"]', "end" },
    wrong = { 'function transform(msg) msg["PID-8"] = "female" end',
      'function transform(msg) msg["PID-8"] = ({ F = "female", M = "male" })[msg["PID-8"]] end' },
    check = [[
      if type(rawget(_G, "transform")) ~= "function" then return false end
      for from, to in pairs { F = "female", M = "male", U = "U" } do
        local m = msg:copy()
        m["PID-8"] = from
        transform(m)
        if m["PID-8"] ~= to then return false end
      end
      return true]],
  },
  {
    title = "Run",
    text = "With a channel's script at hand (lunate repl -c NAME) .run shows what would go " ..
      "out: each field that changes, to which destination, and why not. Nothing is sent. Here " ..
      "there is a channel `lesson` that upper-cases the family name; after .run the result is " ..
      "`out`.",
    task = "Type .run, then read the family name of out.",
    hint = '.run   and then   out["PID-5.1"]',
    channel = true,
    answer = { ".run", 'out["PID-5.1"]' },
    wrong = { 'msg["PID-5.1"]', '"SAMPLE"' },
    check = 'return out ~= nil and values[1] == "SAMPLE" and line:find("out", 1, true) ~= nil',
  },
  {
    title = "A spec",
    text = "A spec keeps that true: `lunate test` runs spec/*_spec.lua. " ..
      "assert.equal(expected, value) is the heart of it. In a site, .spec NAME writes one " ..
      "from the last .run.",
    task = "Assert here that out goes to SAMPLE: assert.equal(\"SAMPLE\", out[\"PID-5.1\"]). " ..
      "Do .run first if out is nil.",
    hint = '.run   and then   assert.equal("SAMPLE", out["PID-5.1"])',
    channel = true,
    answer = { ".run", 'assert.equal("SAMPLE", out["PID-5.1"])' },
    wrong = { 'assert.equal("Sample", out["PID-5.1"])', 'assert.equal("SAMPLE", "SAMPLE")' },
    check = 'return asserted == "SAMPLE" and line:find("out", 1, true) ~= nil',
  },
  {
    title = "An acknowledgement",
    text = "Every message is answered. Lunate does that by itself; msg:ack makes one by hand, " ..
      "in the sender's delimiters and version. AA: accepted. AE: an error. AR: rejected.",
    task = "Make an acknowledgement with code AE and the text unknown patient, in the " ..
      "variable a.",
    hint = 'a = msg:ack { code = "AE", text = "unknown patient" }',
    answer = { 'a = msg:ack { code = "AE", text = "unknown patient" }', "a" },
    wrong = { "a = msg:ack {}", 'a = msg:ack { code = "AE" }' },
    check = [[
      return a ~= nil and a["MSA-1"] == "AE" and a["MSA-2"] == msg.control_id and
        tostring(a):find("unknown patient", 1, true) ~= nil]],
  },
}
