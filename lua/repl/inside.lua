-- The REPL's child, within the sandboxed state (core/role/repl.c): keeps the message at hand and
-- what was typed, and answers questions. A question is a list of words, an answer a list of texts.
--
-- What is typed runs in an environment of its own; a name is looked for there, then among the
-- variables where a script failed last, then among the channel's own functions and globals.
return function(core)
  local text = require "lunate.repl.text"
  local show = require "lunate.repl.show"
  local fault = require "lunate.repl.fault"
  local inspect = core.inspect
  local call = inspect.call
  show.open(core)

  local base = core.prompt
  local env, frame, owned, script = {}, {}, {}, {}
  local session = { env = env, owned = owned, script = script, core = core,
    frame = frame, base = base }

  -- ---- names -----------------------------------------------------------------------------------

  local function note_owned(f, seen)
    if type(f) ~= "function" or seen[f] or not inspect.where(f) then return end
    seen[f] = true
    local globals, list = inspect.owned(f)
    if type(globals) == "table" and not seen[globals] then
      seen[globals] = true
      for k, v in next, globals do
        if type(k) == "string" and k ~= "_G" and base[k] ~= v and k ~= "require" and k ~= "load"
          and k ~= "loadstring" then
          owned[k] = v
        end
      end
    end
    for _, pair in ipairs(list) do
      local name, value = pair[1], pair[2]
      if owned[name] == nil and name ~= "_ENV" then owned[name] = value end
      note_owned(value, seen)
    end
  end

  do
    local seen = {}
    for name, f in pairs(core.functions) do
      if type(f) == "table" then
        note_owned(f.filter, seen)
        note_owned(f.transform, seen)
      else
        note_owned(f, seen)
      end
      script[name] = f
    end
  end
  if next(script) then env.script = script end

  local function lookup(_, name)
    local v = frame[name]
    if v ~= nil then return v end
    v = owned[name]
    if v ~= nil then return v end
    return base[name]
  end
  setmetatable(env, { __index = lookup, __metatable = false })
  env._G = env
  function env.print(...)
    local list = {}
    for i = 1, select("#", ...) do list[i] = tostring((select(i, ...))) end
    local line = table.concat(list, "\t")
    if not text.plain then line = text.printable(line:gsub("\r\n?", "\n"), true) end
    core.print(line .. "\n")
  end
  local function load_here(chunk, name)
    return core.load(chunk, tostring(name or "=(load)"), env)
  end
  env.load, env.loadstring = load_here, load_here

  -- Remembers the variables of the fault just now; those of the innermost function come first.
  local function take_frame()
    local list = inspect.frame()
    if not list or #list == 0 then return nil end
    for k in pairs(frame) do frame[k] = nil end
    env.there = frame
    for _, v in ipairs(list) do
      if frame[v[1]] == nil then frame[v[1]] = v[2] end
    end
    return list
  end

  -- Names as the failed function saw them, for what the error tells.
  local there = setmetatable({}, { __index = function(_, name)
    local v = frame[name]
    if v ~= nil then return v end
    return env[name]
  end })

  local function evaluate(code)
    local f = core.load("return " .. code, "=prompt", there)
    if not f then return false end
    return pcall(f)
  end

  local function fault_text(f, typed)
    return fault.text(f, { typed = typed, source = core.file, frame = take_frame(),
      evaluate = evaluate })
  end

  -- ---- what is typed ---------------------------------------------------------------------------

  -- A local of the prompt would be gone in the next line.
  local function keep_locals(typed)
    local kept, n = typed:gsub("^%s*local%s+function%s+([%a_])", "function %1", 1)
    if n == 1 then return kept end
    kept, n = typed:gsub("^%s*local%s+([%a_][%w_,%s]*=)", "%1", 1)
    return n == 1 and kept or typed
  end

  local function unfinished(why)
    return why:find("near '<eof>'", 1, true) and not why:find("unfinished string", 1, true)
  end

  -- The function of what was typed; or nil, and "more" or "error", why.
  local function compile(typed)
    local expression = typed:match "^%s*=(.*)$"
    if expression then
      local f, why = core.load("return " .. expression, "=prompt", env)
      if f then return f end
      return nil, unfinished(why) and "more" or "error", why
    end
    local f, why = core.load("return " .. typed, "=prompt", env)
    if f then return f end
    local more = unfinished(why)
    f, why = core.load(keep_locals(typed), "=prompt", env)
    if f then return f end
    if unfinished(why) or (more and not typed:find "[=\n]") then return nil, "more" end
    return nil, "error", why
  end

  local function results(n, ...)
    local list = {}
    for i = 1, n do list[i] = show.value((select(i, ...)), env.msg) end
    return table.concat(list, text.plain and "\t" or "\n")
  end

  local last -- the values of the line before

  local function finish(typed, ok, ...)
    if not ok then
      local kind, reason, where, trace = ...
      return "error", fault_text({ kind = kind, reason = reason, where = where, trace = trace },
        typed)
    end
    local n = select("#", ...)
    last = { n = n, ... }
    if n == 0 then return "done", "" end
    return "value", results(n, ...)
  end

  local asked = {}

  --- eval(typed) -> "done" | "value" | "more" | "error", text
  function asked.eval(typed)
    local f, state, why = compile(typed)
    if not f then
      if state == "more" then return "more", "" end
      return "error", fault_text({ kind = "syntax", reason = why, where = "", trace = "" }, typed)
    end
    return finish(typed, call(f))
  end

  -- Runs f for a fifth of a second: the time in f, how often it ran, whether it edits. It gets
  -- copies of msg; one that edits gets a new one for each run.
  local function timed(f)
    local msg, began, took, n = env.msg, os.clock(), 0, 0
    local before, edits = show.is_message(msg) and tostring(msg), false
    repeat
      if before and (n == 0 or edits) then env.msg = msg:copy() end
      local from = os.clock()
      repeat
        f()
        n = n + 1
      until edits or n == 1 or os.clock() - began > 0.2
      took = took + os.clock() - from
      if n == 1 and before then edits = tostring(env.msg) ~= before end
    until os.clock() - began > 0.2
    return took, n, edits
  end

  --- time(typed): how long it takes, from one run or the mean of many.
  function asked.time(typed)
    local f, state, why = compile(typed)
    if not f then
      return "error", fault_text({ kind = "syntax", trace = "", where = "",
        reason = why or (state == "more" and "unfinished expression") or "" }, typed)
    end
    local msg = env.msg
    local ok, took, n, where, trace = call(timed, f)
    if not ok then
      local state_text, said = finish(typed, false, took, n, where, trace)
      env.msg = msg
      return state_text, said
    end
    env.msg = msg
    local us, edits = took / n * 1e6, where
    return "value", ("%s%s"):format(us < 1000 and ("%.2f us"):format(us) or
      ("%.1f ms"):format(us / 1000), n > 1 and (" (mean of %d runs%s)"):format(n,
        edits and ", each on a copy of msg" or "") or "")
  end

  -- ---- the message at hand ---------------------------------------------------------------------

  --- message(bytes [, "default" or "force", charset]): it becomes msg. -> "value", one line on it;
  -- "error", why.
  function asked.message(bytes, how, charset)
    local msg, why = core.hl7.parse(bytes, how and { charset = { [how] = charset } })
    if not msg then return "error", "not an HL7 message: " .. why end
    env.msg, env.out, env.outs = msg, nil, nil
    return "value", show.summary(msg)
  end

  --- wire(): the bytes of msg, or nothing when there is none.
  function asked.wire()
    if not show.is_message(env.msg) then return end
    return tostring(env.msg)
  end

  --- kv_empty(): "yes" when kv holds nothing.
  function asked.kv_empty()
    return #base.kv.keys() == 0 and "yes" or "no"
  end

  --- outputs(destination, bytes, ...): what `.run` gave, as out and outs.
  function asked.outputs(...)
    env.out, env.outs = nil, {}
    for i = 1, select("#", ...), 2 do
      local dest, bytes = select(i, ...)
      local m = core.hl7.parse(bytes) or bytes
      env.out = env.out or m
      if env.outs[dest] == nil then env.outs[dest] = m end
    end
  end

  --- fault(reason, where, trace) of `.run` -> its text.
  function asked.fault(reason, where, trace)
    return fault_text { kind = "error", reason = reason, where = where, trace = trace }
  end

  --- check(code, typed): "yes" when the code (of a lesson) says so, else "no" and what it says. It
  -- sees the names at the prompt, `values` of the last line and `line`, that line.
  function asked.check(code, typed)
    local values = last or { n = 0 }
    last = nil
    for i = 1, values.n do
      local _, kind = show.path(values[i])
      if kind and kind ~= "segment" then values[i] = values[i].value end
    end
    local names = { line = typed, values = values, _G = env }
    local f = core.load(code, "=check", setmetatable(names, { __index = env }))
    if not f then error("a check does not load: " .. code) end
    local ok, done, note = call(f)
    if ok and not done and note then return "no", note end
    return ok and done and "yes" or "no"
  end

  function asked.explain(topic)
    return require "lunate.repl.explain" (session, topic)
  end

  function asked.complete(line)
    return require "lunate.repl.complete" (session, line)
  end

  return function(colour, plain, width, lines, what, ...)
    text.colour, text.plain, text.width = colour == "1", plain == "1", tonumber(width)
    session.lines = math.max(tonumber(lines) - 3, 3)
    return asked[what](...)
  end
end
