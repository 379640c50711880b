-- What a worker that is watched tells of its script's lines (LN_P_TRACE), read into tables:
-- { [file] = { [line] = { hits = n, runs = { { { kind, name, value } ... } ... } } } }. runs: the
-- first three times and, when there were more, the last one.
local wire = require "lunate.wire"

local M = {}

local kinds = { [("r"):byte()] = "read", [("w"):byte()] = "write", [("n"):byte()] = "next",
  [("t"):byte()] = "return" }

local function run(text)
  local list, at = {}, 1
  while at and at <= #text do
    local after, kind, name, value = wire.unpack("1bb", text, at)
    if after then list[#list + 1] = { kind = kinds[kind], name = name, value = value } end
    at = after
  end
  return list
end

--- decode(payload [, lines_only])
function M.decode(payload, lines_only)
  local files, at = {}, 1
  while at and at <= #payload do
    local path, n
    at, path, n = wire.unpack("b4", payload, at)
    local lines = {}
    for _ = 1, at and n or 0 do
      local number, hits, runs
      at, number, hits, runs = wire.unpack("441", payload, at)
      local line = { hits = hits, runs = {} }
      for i = 1, at and runs or 0 do
        local text
        at, text = wire.unpack("b", payload, at)
        if not lines_only then line.runs[i] = run(text) end
      end
      if not at then break end
      lines[number] = line
    end
    if path then files[path] = lines end
  end
  return files
end

--- Adds the hits of one trace to counts { [file] = { [line] = hits } }.
function M.count(counts, files)
  for path, lines in pairs(files) do
    local c = counts[path] or {}
    counts[path] = c
    for number, line in pairs(lines) do c[number] = (c[number] or 0) + line.hits end
  end
  return counts
end

--- The site's own files that a channel's script may run: { [path] = text }.
function M.sources(s, channel)
  local texts = {}
  for _, list in ipairs { s.shared, channel.files } do
    for _, file in ipairs(list) do
      if file[1]:match "%.lua$" then texts[file[1]] = file[2] end
    end
  end
  return texts
end

return M
