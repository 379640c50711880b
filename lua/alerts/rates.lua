-- How many messages of a channel failed in a window of time: from counts that only grow, sampled
-- every half minute. Memory alone: after a start the window fills again.
local M = {}
local Rates = {}
Rates.__index = Rates

local STEP = 30

function M.new()
  return setmetatable({ samples = {} }, Rates)
end

local function number(v) return type(v) == "number" and v or 0 end

--- Takes the counts of a status document; most: seconds that are asked for.
function Rates:take(doc, now, most)
  local list = self.samples
  local counts = { at = now }
  for _, c in ipairs(doc.channels) do
    local rejected = number(c.rejected)
    counts[c.name] = { number(c.received) + rejected, number(c.errors) + rejected }
  end
  self.last = counts
  if #list == 0 or now - list[#list].at >= STEP then list[#list + 1] = counts end
  while #list > 2 and list[2].at <= now - most do table.remove(list, 1) end
end

--- received, bad within the last `window` seconds; nil when nothing is known.
function Rates:of(name, window, now)
  local list, last = self.samples, self.last and self.last[name]
  local from
  for _, s in ipairs(list) do
    if s[name] and (not from or s.at <= now - window) then from = s[name] end
  end
  if not from or not last or last[1] < from[1] then return nil end
  return last[1] - from[1], last[2] - from[2]
end

return M
