-- Two messages compared segment by segment.
local M = {}

--- The segments of a message, whatever ends them.
function M.segments(raw)
  local list = {}
  for segment in raw:gmatch "[^\r\n]+" do list[#list + 1] = segment end
  return list
end

-- Lengths of the longest common run of segments of a[i..] and b[j..].
local function common(a, b)
  local t = {}
  for i = #a + 1, 1, -1 do
    t[i] = {}
    for j = #b + 1, 1, -1 do
      if i > #a or j > #b then
        t[i][j] = 0
      elseif a[i] == b[j] then
        t[i][j] = t[i + 1][j + 1] + 1
      else
        t[i][j] = math.max(t[i + 1][j], t[i][j + 1])
      end
    end
  end
  return t
end

--- Lines "  SEG" (the same), "- SEG" (before), "+ SEG" (after). Messages of more than 1,000
-- segments are compared in order only.
function M.lines(before, after)
  local a, b, out = M.segments(before), M.segments(after), {}
  local i, j = 1, 1
  local t = #a <= 1000 and #b <= 1000 and common(a, b)
  while i <= #a or j <= #b do
    if i <= #a and j <= #b and a[i] == b[j] then
      out[#out + 1] = "  " .. a[i]
      i, j = i + 1, j + 1
    elseif i <= #a and (j > #b or not t or t[i + 1][j] >= t[i][j + 1]) then
      out[#out + 1] = "- " .. a[i]
      i = i + 1
      if not t and j <= #b then
        out[#out + 1] = "+ " .. b[j]
        j = j + 1
      end
    else
      out[#out + 1] = "+ " .. b[j]
      j = j + 1
    end
  end
  return out
end

return M
