-- Golden files: what a script is known to give, kept under spec/golden, a segment a line. A failure
-- says which fields differ.
local sys = require "lunate.sys"
local site = require "lunate.cli.site"
local diff = require "lunate.hl7.diff"

local M = { update = false, written = 0 }

local function path_of(name)
  if type(name) ~= "string" or not name:match "^[%w_.-]+$" then
    error("golden takes a name of letters, digits, _ . and -", 3)
  end
  return site.file("spec/golden/" .. name .. ".hl7")
end

local function write(path, text)
  local folder = path:match "^(.*)/"
  if not sys.kind(folder) then assert(sys.mkdir(folder)) end
  local f = assert(io.open(path, "wb"))
  f:write((text:gsub("\r\n?", "\n")))
  f:close()
  M.written = M.written + 1
end

-- What a golden file may hold otherwise than the message: line ends.
local function segments(text)
  return (text:gsub("\r\n", "\r"):gsub("\n", "\r"))
end

local function differences(expected, got)
  local ok, list = pcall(diff.diff, expected, got)
  if not ok or #list == 0 then return table.concat(diff.lines(expected, got), "\n  ") end
  return (tostring(list):gsub("\n", "\n  "))
end

-- A failure of the test, not an error in it.
local function fail(level, text, ...)
  require "busted".fail(text:format(...), level + 1)
end

local function check(name, output, level)
  local path, text = path_of(name), tostring(output)
  local kept = site.read(path)
  if M.update and (not kept or segments(kept) ~= segments(text)) then return write(path, text) end
  if not kept then
    fail(level + 1, "golden %s: there is no %s\n  `lunate test --update` writes it", name, path)
  end
  if segments(kept) == segments(text) then return end
  fail(level + 1, "golden %s: not what %s holds\n  %s\n  (is it right now? lunate test --update)",
    name, path, differences(segments(kept), segments(text)))
end

--- golden(name, output): output (a message, its bytes, or what Channel:run gave) is what
-- spec/golden/NAME.hl7 holds; of what Channel:run gave, each output has NAME.DESTINATION.hl7.
-- `lunate test --update` writes them.
function M.golden(name, output)
  if output == nil then fail(2, "golden %s: there is no output", tostring(name)) end
  if type(output) ~= "table" or not output.outputs then
    check(name, output, 2)
    return
  end
  if #output.outputs == 0 then
    fail(2, "golden %s: there is no output: %s: %s", name, output.state, output.reason or "")
  end
  local count = {}
  for _, o in ipairs(output.outputs) do
    count[o.dest] = (count[o.dest] or 0) + 1
    local n = count[o.dest] > 1 and "." .. count[o.dest] or ""
    check(name .. "." .. o.dest .. n, o.raw or o.kind .. ": " .. (o.reason or ""), 2)
  end
end

return M
