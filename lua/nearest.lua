-- The known word that somebody probably meant.
local min, abs = math.min, math.abs

-- Letters added, left out, changed, or two neighbours swapped.
local function distance(a, b)
  local before, row = nil, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local up = row
    row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = min(up[j] + 1, row[j - 1] + 1, up[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        best = min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before = up
  end
  return row[#b]
end

--- nearest(word, known) -> the closest word of the list (or of the keys of a set), or nil when none
--- is close: at most a third of its letters wrong (but one always may be).
local function nearest(word, known)
  local best, best_d = nil, nil
  local list = known
  if #known == 0 then
    list = {}
    for k in pairs(known) do list[#list + 1] = k end
  end
  table.sort(list)
  word = word:lower()
  for _, k in ipairs(list) do
    local limit = math.max(1, math.floor(#k / 3))
    if abs(#k - #word) <= limit then
      local d = distance(word, k:lower())
      if d <= limit and (not best_d or d < best_d) then best, best_d = k, d end
    end
  end
  return best
end

return nearest
