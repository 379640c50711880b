-- The known word that somebody probably meant.
local min, abs = math.min, math.abs

local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      local best = min(row[j] + 1, row[j - 1] + 1, diagonal + cost)
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

--- nearest(word, known) -> the closest word of the list (or of the keys of a set), or nil when none is
--- close: at most a third of its letters differ, and at least one may.
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
