-- Words for a shell.
local M = {}

--- A word as a shell takes it whole, whatever stands in it.
function M.quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

return M
