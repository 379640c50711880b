-- The scripts of a REPL session: the site as it was loaded, the child process that has a channel's
-- script in it, what is done when a file was saved or the process ended.
local sys = require "lunate.sys"
local person = require "lunate.person"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"
local loader = require "lunate.cli.loader"
local text = require "lunate.repl.text"
local child = require "lunate.repl.child"
local watch = require "lunate.repl.watch"

--- Adds these methods to a session's class.
return function(Session)
  -- ---- the child -------------------------------------------------------------------------------

  --- How wide the terminal is now, and what it can show.
  function Session:look()
    local lines
    text.width, lines = person.size()
    text.colour, text.plain = self.colour, not self.person
    return text.colour, text.plain, text.width, lines
  end

  -- What kv holds: nothing, or in a live session a copy of what the store has.
  local function stored_kv(self)
    if not self.live or not self.channel then return nil end
    local ok, result = pcall(function()
      local h = require("lunate.cli.history").open()
      return require("lunate.cli.recorded").kv(h, h:channel(self.channel))
    end)
    return ok and result or nil -- no store yet: nothing is in it
  end

  local function child_options(self)
    local c = self.channel and self.site and self.site.by_name[self.channel]
    local settings = c and c.settings or {}
    return {
      site = self.site and not self.no_site and assert(sys.realpath(site.path())) or "",
      name = self.channel,
      script = c and c.script or "", files = c and c.files, shared = self.site and self.site.shared,
      kv = stored_kv(self), settings = settings,
      seconds = tonumber(settings["limits.seconds"]), jit = settings.jit == "true",
      memory_mb = math.max(tonumber(settings["limits.memory_mb"]) or 0, 256),
      view = function() return self:look() end,
      write = function(s) self:put(io.stdout, s) end,
      log = function(level, where, line)
        io.stdout:flush()
        self:put(io.stderr, ("%s %s: %s\n"):format(level, where, text.printable(line)))
      end,
    }
  end

  --- Starts a child for the channel at hand in place of the one there is, and gives it the message.
  -- nil, why when the script does not load: the old child stays.
  function Session:start()
    local o = child_options(self)
    o.stream, self.spare = self.spare, nil
    local new, why = child.start(o)
    if not new then return nil, why end
    if self.child then self.child:close() end
    self.child = new
    if self.bytes then new:ask("message", self.bytes, self:charset()) end
    return true
  end

  -- The process ended: says so and starts another.
  function Session:revive(why)
    self:wrong(why)
    local ok, broken = self:start()
    if not ok then self:wrong(broken) end
    self:say(text.paint("dim", "what was set at the prompt is gone; msg is as it was loaded"))
  end

  -- What the channel's source says of character sets: "default" or "force", and the set.
  function Session:charset()
    local c = self.channel and self.site and self.site.by_name[self.channel]
    return (c and c.settings["source.charset"] or ""):match "^(%a+) ([^\t]+)"
  end

  --- Asks the child: a list of texts; nil when that failed, which has been said.
  function Session:ask(...)
    local state, answer = self.child:ask(...)
    if state == "answer" then return answer end
    if state == "ended" then self:revive(answer) else self:wrong(answer) end
  end

  -- ---- site and channel ------------------------------------------------------------------------

  --- Reads the site anew and starts the script at hand. True, or nil and why not.
  function Session:load_site()
    if not site.is_site() then return self:start() end
    local ok, result = pcall(loader.load, self.loading)
    self.spent, self.loading = self.loading, nil
    if not ok then
      return nil, fail.is(result) and result.text or tostring(result)
    end
    local before = self.site
    self.site = result
    self.stamps = watch.stamps(self)
    local function back(why)
      self.site = before or result
      return nil, why
    end
    if self.channel then
      if not result.by_name[self.channel] then
        return back(site.no_channel(self.channel))
      end
      for _, e in ipairs(result.errors) do
        if e.channel == self.channel then return back(watch.with_excerpt(e.text)) end
      end
    end
    local started, why = self:start()
    if not started then return back(watch.with_excerpt(why)) end
    for _, e in ipairs(self.person and result.errors or {}) do
      if (e.channel or "") == "" then self:wrong(watch.with_excerpt(e.text)) end
    end
    return true
  end

  --- Takes what was saved meanwhile. The message stays as it is at the prompt.
  function Session:reload(said)
    local state, answer = self.child:ask "wire"
    if state == "answer" and answer[1] then self.bytes = answer[1] end
    local ok, why = self:load_site()
    if ok then
      self:say(text.paint("dim", said .. ": reloaded (what was set at the prompt is gone)"))
    else
      self:wrong(why)
      self:say(text.paint("dim", "the script as it was before stays in use"))
    end
    return ok
  end

  --- Takes what was saved since the last line.
  function Session:follow()
    local path = self.stamps and watch.changed(self)
    if path then self:reload(watch.said(path)) end
  end

  --- Called while a line is read: takes what was saved since, once a file stays as it is (editors
  -- write in several steps). What there is to tell, or nil.
  function Session:idle()
    if self.spent then self.spent:close() end
    self.spent = nil
    local path, stamp = watch.changed(self)
    local settled = path and self.seen == path .. stamp
    self.seen = path and path .. stamp
    if not settled then return nil end
    self.news = {}
    local ok, why = pcall(self.reload, self, watch.said(path))
    local news = table.concat(self.news)
    self.news, self.seen = nil, nil
    if not ok then error(why, 0) end
    return news
  end

  --- True when the child runs a channel's script.
  function Session:has_script()
    return self.channel ~= nil and self.site ~= nil and self.site.by_name[self.channel] ~= nil and
      not self.site.by_name[self.channel].failed
  end
end
