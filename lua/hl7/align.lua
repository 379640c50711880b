-- Brings two lists of things into line: which of the second stands for which of the first.
-- Tokens first: those alike and rare are anchors (as in a patience diff), what lies between
-- them is gone into again, with coarser tokens, and small gaps by how similar things are. No step
-- is quadratic in the lists: gaps that are too large for similarity are taken in order.
local floor, min = math.floor, math.min

local M = {}

local CELLS = 2500 -- a gap of up to so many pairs is compared pair by pair
local DEPTH = 8 -- how often one kind of token is gone into again

-- The longest run of anchors { i, j } (ascending in i) that ascends in j, too. From the end, so
-- that of runs of one length the one that begins first is found: the first stays where it is.
local function ascending(anchors)
  local tails, after = {}, {}
  for k = #anchors, 1, -1 do
    local lo, hi = 1, #tails + 1
    while lo < hi do
      local mid = floor((lo + hi) / 2)
      if anchors[tails[mid]][2] > anchors[k][2] then lo = mid + 1 else hi = mid end
    end
    after[k], tails[lo] = tails[lo - 1], k
  end
  local list, k = {}, tails[#tails]
  for n = 1, #tails do list[n], k = anchors[k], after[k] end
  return list
end

-- Where each token stands in a range: token -> list of indices.
local function places(tokens, from, to)
  local at = {}
  for i = from, to do
    local t = tokens[i]
    if t then
      local list = at[t]
      if list then list[#list + 1] = i else at[t] = { i } end
    end
  end
  return at
end

-- Pairs that are beyond doubt: of tokens that both sides have equally often (the last kind of
-- token: as often as both have it).
local function anchors_of(ta, tb, r, last)
  local in_a, in_b, list = places(ta, r[1], r[2]), places(tb, r[3], r[4]), {}
  local nth = {}
  for i = r[1], r[2] do
    local t = ta[i]
    local theirs = t and in_b[t]
    if theirs and (last or #theirs == #in_a[t]) then
      local n = (nth[t] or 0) + 1
      nth[t] = n
      if theirs[n] then list[#list + 1] = { i, theirs[n] } end
    end
  end
  return ascending(list)
end

-- Small gaps: the pairs whose scores add up to most.
local function by_score(a, b, r, score, match)
  local n, m = r[2] - r[1] + 1, r[4] - r[3] + 1
  local best, scores = {}, {}
  for i = n, 1, -1 do
    local row, below = { [m + 1] = 0 }, best[i + 1]
    scores[i] = {}
    for j = m, 1, -1 do
      local s = score(a[r[1] + i - 1], b[r[3] + j - 1])
      local value = row[j + 1]
      local down = below and below[j] or 0
      if down > value then value = down end
      if s then
        local both = s + (below and below[j + 1] or 0)
        if both >= value then value = both else s = nil end
      end
      scores[i][j], row[j] = s, value
    end
    best[i] = row
  end
  local i, j = 1, 1
  while i <= n and j <= m do
    local down = best[i + 1] and best[i + 1][j] or 0
    if scores[i][j] then
      match[r[1] + i - 1] = r[3] + j - 1
      i, j = i + 1, j + 1
    elseif down >= best[i][j + 1] then
      i = i + 1
    else
      j = j + 1
    end
  end
end

-- Tokens are made when a gap is first gone into with them.
local function fill(tokens, things, from, to, of)
  for i = from, to do
    if tokens[i] == nil then tokens[i] = of(things[i]) or false end
  end
end

-- x: { a, b, match, kinds = { { ta, tb }, ... }, score }; r: { from, to in a, from, to in b }.
local function range(x, r, kind, depth)
  local a1, a2, b1, b2 = r[1], r[2], r[3], r[4]
  local tokens = x.kinds[kind]
  if a1 > a2 or b1 > b2 then return end
  -- Whole things alike are sought wherever they may be, coarser tokens only at the edges of a small
  -- gap or in a large one.
  if kind > 2 and (a2 - a1 + 1) * (b2 - b1 + 1) <= CELLS then
    return by_score(x.a, x.b, r, x.score, x.match)
  end
  if tokens then
    local ta, tb = tokens[1], tokens[2]
    fill(ta, x.a, a1, a2, tokens.of)
    fill(tb, x.b, b1, b2, tokens.of)
    while a1 <= a2 and b1 <= b2 and ta[a1] and ta[a1] == tb[b1] do
      x.match[a1], a1, b1 = b1, a1 + 1, b1 + 1
    end
    while a1 <= a2 and b1 <= b2 and ta[a2] and ta[a2] == tb[b2] do
      x.match[a2], a2, b2 = b2, a2 - 1, b2 - 1
    end
  end
  if a1 > a2 or b1 > b2 then return end
  r = { a1, a2, b1, b2 }
  if kind > 1 and (a2 - a1 + 1) * (b2 - b1 + 1) <= CELLS then
    return by_score(x.a, x.b, r, x.score, x.match)
  end
  if not tokens then return end
  local anchors = anchors_of(tokens[1], tokens[2], r, kind == #x.kinds)
  local next_kind, next_depth = kind, depth + 1
  if #anchors == 0 or next_depth > DEPTH then next_kind, next_depth = kind + 1, 1 end
  anchors[#anchors + 1] = { a2 + 1, b2 + 1 }
  for k = 1, #anchors do
    local i, j = anchors[k][1], anchors[k][2]
    if i <= a2 then x.match[i] = j end
    range(x, { a1, i - 1, b1, j - 1 }, next_kind, next_depth)
    a1, b1 = i + 1, j + 1
  end
end

--- match(a, b, o) -> table: index in a -> index in b, ascending. o.tokens: functions of a thing,
--- from the most exact kind to the coarsest; things of equal tokens (nil: none) may be a pair.
--- o.score(x, y): how well two things go together, above 0, or nil when they do not.
function M.match(a, b, o)
  local kinds = {}
  for k, token in ipairs(o.tokens) do kinds[k] = { {}, {}, of = token } end
  local x = { a = a, b = b, match = {}, kinds = kinds, score = o.score }
  range(x, { 1, #a, 1, #b }, 1, 1)
  return x.match
end

--- moves(a, b, match, tokens) -> table: index in a -> index in b, of what `match` left over on both
--- sides and has equal tokens. Kinds of tokens are gone through in order; first come, first served.
function M.moves(a, b, match, tokens)
  local taken, moved = {}, {}
  for _, j in pairs(match) do taken[j] = true end
  for _, token in ipairs(tokens) do
    local free, from = {}, {}
    for j = 1, #b do
      local t = not taken[j] and token(b[j])
      if t then
        free[t] = free[t] or {}
        table.insert(free[t], j)
      end
    end
    for i = 1, #a do
      local t = not match[i] and not moved[i] and token(a[i])
      local list = t and free[t]
      if list then
        local n = (from[t] or 0) + 1
        from[t] = n
        if list[n] then moved[i], taken[list[n]] = list[n], true end
      end
    end
  end
  return moved
end

--- likeness(x, y, first) -> 0 to 1: how many of the pieces (lists of strings, from `first` on) that
--- are not empty are the same.
function M.likeness(x, y, first)
  local same, all = 0, 0
  local nx, ny = #x, #y
  local both = min(nx, ny)
  for i = first or 1, nx > ny and nx or ny do
    local p, q = x[i] or "", y[i] or ""
    if p ~= "" or q ~= "" then
      all = all + 1
      if i <= both and p == q then same = same + 1 end
    end
  end
  return all == 0 and 1 or same / all
end

return M
