-- The commands of the REPL, those that begin with a dot.
local lazy = require "lunate.lazy"
local person = require "lunate.person"
local shell = require "lunate.cli.shell"
local site = require "lunate.cli.site"
local text = require "lunate.repl.text"
local messages = require "lunate.repl.messages"
local outcome = lazy "lunate.repl.outcome"
local record = lazy "lunate.repl.record"
local effects = lazy "lunate.repl.effects"
local worker = lazy "lunate.cli.worker"
local save = lazy "lunate.repl.save"

local M = {}

--- name, what it takes, what it does, function(session, rest).
local list = {
  { "load", "FILE", "takes the messages of a file; the first one is msg", function(s, rest)
    if rest == "" then return s:wrong "which file? .load samples/adt_in.hl7" end
    local source, why = messages.load(rest)
    if not source then return s:wrong(why) end
    s:take(source)
  end },

  { "next", "[N]", "the next message of the file (or the Nth)", function(s, rest)
    local source = s.source
    if not source then return s:wrong "no file is loaded: .load FILE" end
    local n = rest == "" and source.at + 1 or tonumber(rest)
    if not n or n < 1 or n > #source.list or n % 1 ~= 0 then
      return s:wrong("%s has %d message%s, this is number %d", source.label, #source.list,
        #source.list == 1 and "" or "s", source.at)
    end
    source.at = n
    s:take(source)
  end },

  { "recent", "[CHANNEL]", "the newest messages that the engine received", function(s, rest)
    local channel = rest ~= "" and rest or s.channel
    if not channel then return s:wrong "which channel? .recent CHANNEL" end
    local shown, why = messages.recent(channel, 20)
    if not shown then return s:wrong(why) end
    s.recent = channel
    s:say(shown)
  end },

  { "get", "CHANNEL/SEQ", "takes a message that the engine received", function(s, rest)
    local channel, seq = rest:match "^([%w_-]+)/(%d+)$"
    if not channel then channel, seq = s.recent or s.channel, rest:match "^(%d+)$" end
    if not channel or not seq then return s:wrong "which? .get CHANNEL/SEQ (see .recent)" end
    local source, why = messages.get(channel, tonumber(seq))
    if not source then return s:wrong(why) end
    s:take(source)
  end },

  { "channel", "[NAME]", "works with that channel's script; without a name: lists them",
    function(s, rest)
      if rest == "" then
        local names = site.channels()
        for i, name in ipairs(names) do names[i] = (name == s.channel and "* " or "  ") .. name end
        return s:say(#names > 0 and table.concat(names, "\n") or "there are no channels here")
      end
      local before, there = s.channel, false
      for _, name in ipairs(site.channels()) do there = there or name == rest end
      if not there then return s:wrong(site.no_channel(rest)) end
      s.channel = rest
      if not s:reload("channel " .. rest) then s.channel = before end
    end },

  { "run", "", "filter, transform, destinations: what would go out?", function(s)
    if not s:has_script() then
      return s:wrong "no channel is at hand: .channel NAME, or lunate repl -c NAME"
    end
    local bytes = s:message_bytes()
    if not bytes then return end
    local empty = s:ask "kv_empty"
    local r = empty and s.child:run(bytes)
    if not r then return end
    if r.state == "ended" then return s:revive(r.reason) end
    s.last_run = { input = bytes, result = r, source = s.source, kv = empty[1] == "no" }
    if r.state == "error" or r.state == "limit" then
      local answer = s:ask("fault", r.reason, r.where, r.trace)
      return answer and s:wrong(answer[1])
    end
    local words = {}
    for _, o in ipairs(r.outputs) do
      if o.raw then
        words[#words + 1] = o.dest
        words[#words + 1] = o.raw
      end
      if o.kind == "error" then s.status = 1 end
    end
    s:ask("outputs", unpack(words))
    local settings = s.site.by_name[s.channel].settings
    s:say(outcome.text(r, bytes, { filter = settings.filter == "true" }))
    for _, line in ipairs(worker.kv_text(r)) do s:say("%s", text.printable(line)) end
    effects.settle(s, r)
  end },

  { "spec", "NAME", "writes spec/NAME_spec.lua: what .run made of this sample",
    function(s, rest)
      if rest == "" then return s:wrong "which name? .spec NAME" end
      local path, why = record.spec(s, rest)
      if not path then return s:wrong(why) end
      s:say("%s written; run it with: lunate test %s", path, path)
    end },

  { "save", "NAME", "writes samples/NAME.hl7: msg, the patient made unknown",
    function(s, rest)
      if rest == "" then return s:wrong "which name? .save NAME" end
      if not site.is_site() then return s:wrong "there is no site here: lunate new site NAME" end
      local bytes = s:message_bytes()
      if not bytes then return end
      local path, what = save.save(s, rest, bytes)
      if not path then return s:wrong(what) end
      s:look()
      s:say("%s", text.fold(("%s written; %s"):format(path, what)))
      s:say(text.paint("dim", "look through it before others get it"))
      local source, why = messages.load(path)
      if source then s:take(source) else s:wrong(why) end
    end },

  { "edit", "", "opens the channel's script in $EDITOR, then reloads it", function(s)
    local c = s.channel and s.site and s.site.by_name[s.channel]
    if not c then return s:wrong "no channel is at hand: .channel NAME" end
    local program = shell.editor()
    io.stdout:flush()
    local status = os.execute(("%s %s"):format(program, shell.quote(site.file(c.script))))
    person.interrupted()
    if status ~= 0 then
      return s:wrong("%s ended with status %d (VISUAL or EDITOR names the editor)", program,
        shell.status(status))
    end
    s:reload(c.script)
  end },

  { "reload", "", "takes the scripts as they are (by itself after each save)",
    function(s) s:reload(s.channel or "the site") end },

  { "time", "EXPRESSION", "how long it takes", function(s, rest)
    if rest == "" then return s:wrong "what? .time msg[\"PID-5.1\"]" end
    local answer = s:ask("time", rest)
    if not answer then return end
    if answer[1] == "error" then s:wrong(answer[2]) else s:say(answer[2]) end
  end },

  { "help", "", "this", function(s) s:say(M.help()) end },
  { "quit", "", "ends (so does Ctrl-D)", function(s) s.quit = true end },
}

local by_name = {}
for _, c in ipairs(list) do by_name[c[1]] = c end

--- Names and one-line descriptions, for completion.
function M.names()
  local names = {}
  for i, c in ipairs(list) do names[i] = { "." .. c[1], c[3] } end
  return names
end

--- What `.help` shows.
function M.help()
  local rows = {
    { "LUA", "runs it; an expression prints its value, as =EXPRESSION does" },
    { "a message", "pasted: becomes msg" },
    { "?PID-3", "explains a field, segment, type (?CX), table (?0001), call (?msg:each)" },
  }
  for _, c in ipairs(list) do
    rows[#rows + 1] = { "." .. c[1] .. (c[2] ~= "" and " " .. c[2] or ""), c[3] }
  end
  local keys = "Tab completes, with the values that are there. Ctrl-C stops a script, Ctrl-D ends."
  if text.width < 60 then
    local out = {}
    for _, row in ipairs(rows) do
      out[#out + 1] = text.paint("cyan", row[1])
      out[#out + 1] = text.wrap(row[2], "  ")
    end
    return table.concat(out, "\n") .. "\n" .. text.wrap(keys)
  end
  return text.rows(rows, { "cyan" }) .. "\n" .. text.wrap(keys)
end

--- Runs the command of that name. A beginning that fits only one will do.
function M.run(s, name, rest)
  local own = s.commands and s.commands[name]
  if own then return own(s, rest) end
  local c = by_name[name]
  if not c then
    local found
    for _, other in ipairs(list) do
      if other[1]:sub(1, #name) == name then
        if found then found = nil break end
        found = other
      end
    end
    c = found
  end
  if c then return c[4](s, rest) end
  local near = require "lunate.nearest"(name, by_name)
  s:wrong("there is no command .%s%s (.help lists them)", name,
    near and (", did you mean .%s?"):format(near) or "")
end

return M
