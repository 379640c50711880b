-- The part of demo.sh that needs logic; run by `lunate lua`.
--   settled STATUS        exit status 0 when nothing waits in a queue
--   ids MESSAGES          CHANNEL/SEQ of each message, a line each
--   parked MESSAGES       CHANNEL/SEQ of the one that is parked
--   newest ID MESSAGES    CHANNEL/SEQ of the newest one with that control id
--   first | second        compares (see `expected`), from: show FILE... lab FILE... ehr FILE...
local expected = {
  { id = "ADT0001", stage = "first", from = "adt_to_lab", to = "lab",
    changed = { ["MSH-4"] = "HA01", ["PID-5"] = "TESTPERSON^ANNA^B", ["PID-13"] = "+12025550123",
      ["PID-14"] = "+12025550187X45" },
    added = "ZPD|1|ADMITTED|NORTH|Hospital A North|+12025550110" },
  { id = "ADT0002", stage = "first", from = "adt_to_lab", to = "lab",
    changed = { ["MSH-4"] = "HA10", ["PID-13"] = "+12025550142" },
    added = "ZPD|1|DISCHARGED|CLINIC|Hospital A Day Clinic|+12025550130" },
  { id = "ADT0003", stage = "first", from = "adt_to_lab", to = "lab",
    changed = { ["MSH-4"] = "HA02",
      ["PID-5"] = "VON MUSTERMANN&VON&MUSTERMANN^JÜRGEN^^^Dr~BEISPIEL^JÜRGEN^^^^^A",
      ["PID-14"] = "+4930901820^WPN^PH" },
    added = "ZPD|1|UPDATED|SOUTH|Hospital A South, Building 2|+12025550120" },
  { id = "ADT0004", stage = "first", from = "adt_to_lab", state = "filtered",
    reason = "the laboratory does not take A40" },
  { id = "ADT0005", stage = "first", from = "adt_to_lab", state = "parked",
    reason = "facility 'HARBOUR' is not in tables/facilities.csv" },
  { id = "LAB0001", stage = "first", from = "oru_to_ehr", to = "ehr", changed = {} },
  { id = "LAB0002", stage = "first", from = "oru_to_ehr", state = "filtered", dest = "ehr",
    reason = "result status (OBR-25) is P" },
  { id = "LAB0003", stage = "first", from = "oru_to_ehr", to = "ehr", changed = {} },
  { id = "LAB0001", stage = "first", from = "archive", state = "done" },
  { id = "LAB0002", stage = "first", from = "archive", state = "done" },
  { id = "LAB0003", stage = "first", from = "archive", state = "done" },
  { id = "ADT0005", stage = "second", from = "adt_to_lab", to = "lab",
    changed = { ["MSH-4"] = "HA11", ["PID-5"] = "PLACEHOLDER^PAULA", ["PID-13"] = "+12025550199" },
    added = "ZPD|1|REGISTERED|HARBOUR|Hospital A Harbour|+12025550140" },
}

local colour = os.getenv "DEMO_COLOUR" == "1"
local codes = { bold = 1, dim = 2, red = 31, green = 32, yellow = 33 }
local function paint(name, text)
  return colour and ("\27[%dm%s\27[0m"):format(codes[name], text) or text
end
local function say(fmt, ...) io.write(fmt:format(...), "\n") end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read "*a"
  f:close()
  return text
end

-- One JSON document a line.
local function documents(path)
  local list = {}
  for line in read(path):gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
  return list
end

local function id_of(doc) return ("%s/%.0f"):format(doc.channel, doc.seq) end

local function segments(raw)
  local list = {}
  for s in raw:gmatch "[^\r]+" do list[#list + 1] = s end
  return list
end

-- The fields of a segment by their numbers.
local function fields(segment)
  local list, n = {}, segment:sub(1, 3) == "MSH" and 1 or 0
  for f in (segment:sub(5) .. "|"):gmatch "(.-)|" do
    n = n + 1
    list[n] = f
  end
  return list, n
end

local function compare_fields(before, after, line)
  local name, a, n = before:sub(1, 3), fields(before)
  local b, m = fields(after)
  for i = 1, math.max(n, m) do
    if a[i] ~= b[i] then
      line { kind = "changed", path = name .. "-" .. i, before = a[i] or "", after = b[i] or "" }
    end
  end
end

-- { kind = "same" | "changed" | "added" | "removed", ... } in the order of the segments.
local function compare(before, after)
  local a, b, lines = segments(before), segments(after), {}
  local function line(l) lines[#lines + 1] = l end
  local j = 1
  for _, s in ipairs(a) do
    local t = b[j]
    if t == s then
      line { kind = "same", name = s:sub(1, 3) }
      j = j + 1
    elseif t and t:sub(1, 3) == s:sub(1, 3) then
      compare_fields(s, t, line)
      j = j + 1
    else
      line { kind = "removed", segment = s }
    end
  end
  for i = j, #b do line { kind = "added", segment = b[i] } end
  return lines
end

local function show(lines)
  local same = {}
  local function flush()
    if #same > 0 then say("    %s", paint("dim", table.concat(same, " ") .. "  as received")) end
    same = {}
  end
  for _, l in ipairs(lines) do
    if l.kind == "same" then
      same[#same + 1] = l.name
    else
      flush()
      if l.kind == "changed" then
        local fold = #l.before + #l.after > 84 and "\n         " or ""
        say("  ~ %-7s %s%s -> %s", l.path, l.before, fold, paint("green", l.after))
      else
        local mark, name = "+", "green"
        if l.kind == "removed" then mark, name = "-", "red" end
        say("  %s %s", mark, paint(name, l.segment))
      end
    end
  end
  flush()
end

local problems = 0
local function wrong(fmt, ...)
  problems = problems + 1
  say("  %s", paint("red", "NOT AS EXPECTED: " .. fmt:format(...)))
end

-- What came out must be what went in, with the expected changes and nothing else.
local function judge(e, lines)
  local changed, added = {}, nil
  for _, l in ipairs(lines) do
    if l.kind == "changed" then
      changed[l.path] = l.after
      if e.changed[l.path] ~= l.after then wrong("%s is %s", l.path, l.after) end
    elseif l.kind == "added" then
      added = (added and added .. "\r" or "") .. l.segment
    elseif l.kind == "removed" then
      wrong("%s is missing", l.segment:sub(1, 3))
    end
  end
  for path, value in pairs(e.changed) do
    if changed[path] == nil then wrong("%s should be %s", path, value) end
  end
  if added ~= e.added then wrong("added: %s", tostring(added)) end
end

local function delivered(e, doc, got)
  say("%s  %s  %s -> %s", paint("bold", e.id), doc.type, e.from, e.to)
  if not got[1] then return wrong("nothing came out (state %s)", doc.state) end
  if #got > 1 then wrong("it came out %d times", #got) end
  if got[1] == doc.raw then
    say("    %s", paint("dim", "byte for byte as received"))
    return judge(e, {})
  end
  local lines = compare(doc.raw, got[1])
  show(lines)
  judge(e, lines)
end

local function kept_back(e, doc)
  local result, output = doc.result, nil
  for _, o in ipairs(doc.outputs) do
    if o.destination == e.dest then output = o end
  end
  local state, reason = doc.state, type(result) == "table" and result.reason or ""
  if e.dest then state, reason = output and output.kind, output and output.reason end
  local where = not e.dest and type(result) == "table" and result.where or ""
  if e.state == "done" then
    say("%s  %s  kept in %s", paint("bold", e.id), doc.type, id_of(doc))
  else
    say("%s  %s  %s", paint("bold", e.id), doc.type, paint("yellow", ("%s%s%s: %s"):format(
      tostring(state), e.dest and " for " .. e.dest or "", where ~= "" and " at " .. where or "",
      tostring(reason))))
  end
  if state ~= e.state then wrong("its state should be %s, it is %s", e.state, tostring(state)) end
  if e.reason and reason ~= e.reason then wrong("the reason should be: %s", e.reason) end
end

-- Words "show", "lab" and "ehr" each start a list of files.
local function collect(from)
  local files, name = { show = {}, lab = {}, ehr = {} }, nil
  for i = from, #arg do
    if files[arg[i]] then
      name = arg[i]
    elseif not arg[i]:find("*", 1, true) then -- a pattern that no file matched
      table.insert(files[name], arg[i])
    end
  end
  return files
end

local function control_id(raw) return fields(segments(raw)[1])[10] end

-- What a receiver got, by control id; and the ids in order.
local function received(files)
  local by_id, order = {}, {}
  for _, path in ipairs(files) do
    local raw = read(path)
    local id = control_id(raw)
    by_id[id] = by_id[id] or {}
    table.insert(by_id[id], raw)
    order[#order + 1] = id
  end
  return by_id, table.concat(order, " ")
end

-- The newest entry of a message in a channel: it may have been processed again.
local function newest(docs, e)
  local best
  for _, d in ipairs(docs) do
    local same = d.channel == e.from and d.control_id == e.id
    if same and (not best or d.seq > best.seq) then best = d end
  end
  return best
end

local function report(stage)
  local files, docs, got, order = collect(2), {}, {}, {}
  for i, path in ipairs(files.show) do docs[i] = json.decode(read(path)) end
  for _, to in ipairs { "lab", "ehr" } do got[to], order[to] = received(files[to]) end
  local due = { lab = {}, ehr = {} }
  for _, e in ipairs(expected) do
    if e.to and (stage == "second" or e.stage == "first") then table.insert(due[e.to], e.id) end
    local doc = e.stage == stage and newest(docs, e)
    if doc == nil then
      wrong("%s is not in %s", e.id, e.from)
    elseif doc and e.to then
      delivered(e, doc, got[e.to][e.id] or {})
    elseif doc then
      kept_back(e, doc)
    end
  end
  for to, ids in pairs(due) do
    local want = table.concat(ids, " ")
    if order[to] ~= want then
      wrong("%s should have got %s; it got %s", to, want, order[to])
    end
  end
  os.exit(problems == 0 and 0 or 1)
end

local function settled(path)
  for _, c in ipairs(documents(path)[1].channels) do
    local waiting = c.pending
    for _, d in ipairs(c.destinations) do waiting = waiting + d.queued end
    if waiting > 0 then os.exit(1) end
  end
end

local what = arg[1]
if what == "first" or what == "second" then
  report(what)
elseif what == "settled" then
  settled(arg[2])
elseif what == "ids" then
  for _, m in ipairs(documents(arg[2])) do say("%s", id_of(m)) end
elseif what == "newest" then
  for _, m in ipairs(documents(arg[3])) do -- newest first
    if m.control_id == arg[2] then
      say("%s", id_of(m))
      break
    end
  end
elseif what == "parked" then
  for _, m in ipairs(documents(arg[2])) do
    if m.state == "parked" then say("%s", id_of(m)) end
  end
else
  error "demo.lua: see its first lines"
end
