-- A progress bar on stderr, when that is a terminal that wants one.
local sys = require "lunate.sys"
local term = require "lunate.cli.term"

local M = {}
local Bar = {}
Bar.__index = Bar

--- start(total, word): word names what is counted ("messages").
function M.start(total, word)
  local now = sys.now()
  return setmetatable({ total = total, word = word, began = now, drawn = now, n = 0,
    on = sys.isatty(2) and os.getenv "TERM" ~= "dumb" }, Bar)
end

local function draw(self, now)
  local took = now - self.began
  local rate = took > 0 and self.n / took or 0
  local tail = (" %s of %s %s, %s/s"):format(term.number(self.n), term.number(self.total),
    self.word, term.number(rate))
  local left = rate > 0 and (self.total - self.n) / rate or 0
  if left >= 2 then tail = tail .. (", %s left"):format(term.age(left)) end
  local room = math.min(30, sys.width() - #tail - 4)
  local bar = ""
  if room >= 5 then
    local full = math.floor(room * math.min(1, self.n / math.max(1, self.total)))
    bar = "[" .. ("#"):rep(full) .. ("."):rep(room - full) .. "]"
  end
  io.stderr:write("\r\27[K", (bar .. tail):sub(1, sys.width() - 1))
  self.drawn, self.shown = now, true
end

--- n of them are done. Draws at most ten times a second.
function Bar:at(n)
  self.n = n
  if not self.on or n % 16 ~= 0 then return end
  local now = sys.now()
  if now - self.drawn >= 0.1 then draw(self, now) end
end

--- Takes the bar off the screen: seconds since the start.
function Bar:done()
  if self.shown then io.stderr:write "\r\27[K" end
  return sys.now() - self.began
end

--- For work that says itself how far it is: step(done, of), and finish() for its end.
function M.follow(word)
  local bar
  local function step(done, of)
    bar = bar or M.start(of, word)
    bar:at(math.min(done, of))
  end
  return step, function()
    if bar then bar:done() end
  end
end

return M
