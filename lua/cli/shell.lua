-- Words for a shell.
local M = {}

--- A word as a shell takes it whole, whatever stands in it.
function M.quote(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- The editor that the environment names, as a command; vi when it names none.
function M.editor()
  for _, name in ipairs { "VISUAL", "EDITOR" } do
    local program = os.getenv(name)
    if program and program:find "%S" then return program end
  end
  return "vi"
end

--- The exit status out of what os.execute gave, which has a signal's number below it.
function M.status(status)
  return status >= 256 and math.floor(status / 256) or status
end

return M
