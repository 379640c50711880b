-- `lunate top`: the status, again and again, with rates. On a screen of its own, which is given
-- back on Ctrl-C; in a pipe it prints one status after the other.
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"
local status = require "lunate.cli.status"

local M = {}

local KEPT = 60 -- samples
local blocks = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

function M.define(parser)
  parser:option("--interval", "seconds between two looks"):default "1"
  parser:option("--count", "so many looks, then the end")
end

--- The last n values as blocks, the highest one full.
function M.sparkline(values, n)
  local most, out = 0, {}
  for i = math.max(1, #values - n + 1), #values do most = math.max(most, values[i]) end
  for i = #values - n + 1, #values do
    local v = values[i]
    if not v or v == 0 then
      out[#out + 1] = v and blocks[1] or " "
    else
      out[#out + 1] = blocks[math.max(1, math.ceil(v / most * #blocks))]
    end
  end
  return table.concat(out)
end

local function sample(track, key, value, seconds)
  local t = track[key]
  if not t then
    track[key] = { last = value, rates = {} }
    return
  end
  t.rates[#t.rates + 1] = math.max(0, value - t.last) / seconds
  t.last = value
  if #t.rates > KEPT then table.remove(t.rates, 1) end
end

local function take(track, doc, seconds)
  for _, c in ipairs(doc.channels) do
    sample(track, c.name, c.received or 0, seconds)
    for _, d in ipairs(c.destinations or {}) do
      sample(track, c.name .. "/" .. d.name, d.sent or 0, seconds)
    end
  end
end

local function now_of(t)
  local rates = t and t.rates or {}
  return rates[#rates] or 0, rates
end

local function rate_text(now)
  return term.fit((now < 10 and now > 0 and "%.1f" or "%.0f"):format(now), 7, true)
end

local function rate_line(name, word, t, width)
  local now, rates = now_of(t)
  local room = math.max(10, math.min(KEPT, width - 44))
  local wide = math.max(26, math.min(48, width - 18 - room))
  return ("%s %s %s %s"):format(term.fit_name(name, wide), rate_text(now), term.fit(word, 6),
    M.sparkline(rates, room))
end

local function draw(doc, track, width)
  local lines = status.lines(doc, width)
  lines[#lines + 1] = ""
  lines[#lines + 1] = term.paint("dim", "a second")
  for _, c in ipairs(status.urgent_first(doc)) do
    lines[#lines + 1] = rate_line(c.name, "in/s", track[c.name], width)
    for _, d in ipairs(c.destinations or {}) do
      lines[#lines + 1] = rate_line("  -> " .. d.name, "out/s", track[c.name .. "/" .. d.name],
        width)
    end
  end
  return lines
end

-- ---- a screen that is too small for all of that ------------------------------------------------

-- A line for each channel, with its rates; of destinations those that need a hand or an eye.
local function fold(doc, track, width)
  local lines = {}
  local wide = math.max(16, math.min(40, width - 49))
  local function add(level, name, state, into, out, waiting, parked)
    lines[#lines + 1] = ("%s %s %s %s %s %s"):format(term.fit_name(name, wide),
      term.paint(({ [0] = "green", "yellow", "red" })[level], term.fit(state, 10)),
      into or (" "):rep(7), out, term.fit(waiting > 0 and term.short(waiting) or "", 7, true),
      term.fit(parked > 0 and term.short(parked) or "", 6, true)):gsub(" +$", "")
  end
  for _, c in ipairs(status.urgent_first(doc)) do
    local out, waiting, below = 0, c.pending or 0, {}
    for _, d in ipairs(c.destinations or {}) do
      local now = now_of(track[c.name .. "/" .. d.name])
      out, waiting = out + now, waiting + (d.queued or 0)
      if d.level > 0 then below[#below + 1] = { d, now } end
    end
    add(c.level, c.name, c.state, rate_text((now_of(track[c.name]))), rate_text(out), waiting,
      c.parked or 0)
    for _, one in ipairs(below) do
      local d = one[1]
      add(d.level, "  -> " .. d.name, d.state, nil, rate_text(one[2]), d.queued or 0, d.parked or 0)
    end
  end
  local head = term.paint("dim", ("%s %s %7s %7s %7s %6s"):format(term.fit("channel", wide),
    term.fit("state", 10), "in/s", "out/s", "waiting", "parked"))
  return lines, head
end

-- What is urgent on top, in up to a third of the screen; then as many of the lines as there is room
-- for, from the one that was scrolled to.
local function page(doc, track, width, height, view)
  local rows, head = fold(doc, track, width)
  local lines, most = {}, math.max(2, math.floor(height / 3))
  status.head(doc, width, function(text) lines[#lines + 1] = text end)
  if #lines > most then
    lines[most] = ("  ... %d lines more: lunate status"):format(#lines - most + 1)
    for i = #lines, most + 1, -1 do lines[i] = nil end
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = head
  view.room = math.max(1, height - #lines - 2)
  view.top = math.max(0, math.min(view.top, #rows - view.room))
  for i = view.top + 1, math.min(#rows, view.top + view.room) do lines[#lines + 1] = rows[i] end
  lines[#lines + 1] = term.paint("dim", ("%d to %d of %d%s"):format(view.top + 1,
    math.min(#rows, view.top + view.room), #rows,
    view.keys and ": up, down, page up, page down, home, end; q ends" or ""))
  return lines
end

local moves = { ["\27[A"] = { -1, 0 }, k = { -1, 0 }, ["\27[B"] = { 1, 0 }, j = { 1, 0 },
  ["\27[5~"] = { 0, -1 }, b = { 0, -1 }, ["\27[6~"] = { 0, 1 }, [" "] = { 0, 1 },
  ["\27[H"] = { -1e6, 0 }, ["\27[1~"] = { -1e6, 0 }, g = { -1e6, 0 }, ["\27[F"] = { 1e6, 0 },
  ["\27[4~"] = { 1e6, 0 }, G = { 1e6, 0 } }

-- Waits for the next look; true when a key was pressed that changes the view before it.
local function wait(view, seconds)
  if not view.keys then
    sys.sleep(seconds)
    return false
  end
  local pressed = sys.key(seconds)
  view.keys = pressed ~= nil
  view.ended = pressed == "q"
  local move = moves[(pressed or ""):gsub("^\27O", "\27[")]
  if not move then return view.ended or false end
  view.top = math.max(0, view.top + move[1] + move[2] * math.max(1, view.room - 1))
  return true
end

-- The lines over what stood there.
local function show(lines, height)
  for i = #lines, height, -1 do lines[i] = nil end
  io.stdout:write("\27[H", table.concat(lines, "\27[K\n"), "\27[K\27[J")
  io.stdout:flush()
end

-- An engine that is away for a moment (it starts again) does not end the view.
local function ask(screen)
  local ok, text = pcall(site.request, { "status" }, { seconds = 10, quiet = screen })
  if ok then return require("json").decode(text) end
  if not fail.is(text) or not screen then error(text, 0) end
  return nil, text.text
end

-- Draws what was seen last, again after each key, until the next look is due.
local function until_due(view, due, lines, again)
  repeat
    if view.screen then show(lines, sys.height()) end
    local key = wait(view, math.max(0.05, due - sys.now()))
    if key and not view.ended then lines = again() end
  until view.ended or sys.interrupted() or sys.now() >= due
end

local function loop(args, view)
  local track, n, before = {}, 0, sys.now()
  local interval, count = tonumber(args.interval), tonumber(args.count)
  local full
  repeat
    local doc, why = ask(view.screen)
    local now = sys.now()
    if doc then
      take(track, doc, math.max(0.001, now - before))
      before = now
    end
    local function lines()
      full = doc and draw(doc, track, sys.width()) or term.wrap(why, sys.width())
      local fits = #full < sys.height() or not doc
      return fits and full or page(doc, track, sys.width(), sys.height(), view)
    end
    local first = view.screen and lines()
    if not first then print(table.concat(lines() and full, "\n")) end
    n = n + 1
    if count and n >= count then break end
    until_due(view, now + interval, first, lines)
  until view.ended or sys.interrupted()
  return full
end

function M.run(args)
  if not tonumber(args.interval) or tonumber(args.interval) <= 0 then
    fail.usage("--interval is a number of seconds above 0")
  end
  local count = args.count and (args.count:match "^%d+$" and tonumber(args.count) or 0)
  if count and count < 1 then fail.usage("--count is a number above 0, not %s", args.count) end
  local screen = sys.isatty(1)
  site.request({ "status" }, { seconds = 10 }) -- no engine: said before the screen is taken
  sys.interrupted() -- from now on Ctrl-C is ours
  if screen then io.stdout:write "\27[?1049h\27[?25l\27[2J" end
  local ok, err = pcall(loop, args, { screen = screen, top = 0, room = 1,
    keys = screen and sys.keys(true) })
  sys.keys(false)
  if screen then io.stdout:write "\27[?25h\27[?1049l" end
  if ok and screen and count then print(table.concat(err, "\n")) end -- the last view stays
  io.stdout:flush()
  if not ok then error(err, 0) end
  return 0
end

return M
