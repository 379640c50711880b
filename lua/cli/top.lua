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

local function rate_line(name, word, t, width)
  local rates = t and t.rates or {}
  local now = rates[#rates] or 0
  local room = math.max(10, math.min(KEPT, width - 44))
  return ("%s %s %s %s"):format(term.fit_name(name, 26), term.fit(
    (now < 10 and now > 0 and "%.1f" or "%.0f"):format(now), 7, true), term.fit(word, 6),
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

-- The lines that fit on the screen, over what stood there.
local function show(lines)
  local height = sys.height()
  if #lines > height - 1 then
    lines[height - 1] = ("... %d lines more"):format(#lines - height + 2)
    for i = #lines, height, -1 do lines[i] = nil end
  end
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

local function loop(args, screen)
  local track, n, before = {}, 0, sys.now()
  local interval, count = tonumber(args.interval), tonumber(args.count)
  local lines
  repeat
    local doc, why = ask(screen)
    local now = sys.now()
    if doc then
      take(track, doc, math.max(0.001, now - before))
      before = now
    end
    lines = doc and draw(doc, track, sys.width()) or term.wrap(why, sys.width())
    if screen then show(lines) else print(table.concat(lines, "\n")) end
    n = n + 1
    if count and n >= count then break end
    sys.sleep(math.max(0.05, interval - (sys.now() - now)))
  until sys.interrupted()
  return lines
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
  local ok, err = pcall(loop, args, screen)
  if screen then io.stdout:write "\27[?25h\27[?1049l" end
  if ok and screen and count then print(table.concat(err, "\n")) end -- the last view stays
  io.stdout:flush()
  if not ok then error(err, 0) end
  return 0
end

return M
