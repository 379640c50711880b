-- Amounts as people write them in alert rules: "10m", "5 GB", "10%". And back into words.
local M = {}

local seconds = { s = 1, sec = 1, m = 60, min = 60, h = 3600, d = 86400, w = 604800 }
local bytes = { B = 1, KB = 1e3, MB = 1e6, GB = 1e9, TB = 1e12 }

--- Seconds of "90s", "10m", "2h", "1d", "1w", or of a number.
function M.seconds(v)
  if type(v) == "number" then return v >= 0 and v < 1e9 and v or nil end
  local n, unit = tostring(v):match "^(%d+%.?%d*)%s*(%a*)$"
  if not n or (unit ~= "" and not seconds[unit]) then return nil end
  return n * (seconds[unit] or 1)
end

--- The same as a setting's check: seconds as text, or nil and why not.
function M.check(v)
  local n = M.seconds(v)
  if not n then return nil, 'must be a time, as in "30s", "10m", "2h" or "1d"' end
  return ("%.14g"):format(n)
end

--- Bytes of "500MB", "5 GB".
function M.bytes(v)
  local n, unit = tostring(v):match "^(%d+%.?%d*)%s*(%a+)$"
  return n and bytes[unit:upper()] and n * bytes[unit:upper()] or nil
end

--- 0 to 100 of "10%".
function M.percent(v)
  local n = tonumber((tostring(v):match "^(%d+%.?%d*)%s*%%$"))
  return n and n <= 100 and n or nil
end

--- A span in words: 8 s, 12 min, 3 h, 2 d.
function M.span(s)
  if s < 120 then return ("%d s"):format(s) end
  if s < 7200 then return ("%d min"):format(s / 60) end
  if s < 172800 then
    local h, m = math.floor(s / 3600), math.floor(s % 3600 / 60)
    return h < 10 and m > 0 and ("%d h %d min"):format(h, m) or ("%d h"):format(h)
  end
  return ("%d d"):format(s / 86400)
end

function M.size(n)
  for _, unit in ipairs { "TB", "GB", "MB", "KB" } do
    if n >= bytes[unit] then return ("%.3g %s"):format(n / bytes[unit], unit) end
  end
  return ("%d B"):format(n)
end

return M
