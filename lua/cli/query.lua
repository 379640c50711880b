-- `lunate query PATH... [FILE...]`: values by path, a line per message, tab between paths.
local hl7 = require "hl7"
local sys = require "lunate.sys"
local json = require "lunate.cli.json"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"

local M = {}

function M.define(parser)
  parser:argument("words", "paths, then files; standard input without a file"):args "+"
  parser:flag("--raw", "bytes as they stand, no unescaping")
  parser:flag("--json", "one object a line")
end

-- A word that reads as a path is a path: SEG-F, SEG[n]-F[r].C.S, with * for n and r.
local function is_path(word)
  local rest = word:match "^%u[%u%d][%u%d]%[[%d*]+%](.*)$" or word:match "^%u[%u%d][%u%d](.*)$"
  if not rest then return false end
  if rest == "" then return true end
  local tail = rest:match "^%-%d+%[[%d*]+%](.*)$" or rest:match "^%-%d+(.*)$"
  return tail == "" or (tail and (tail:match "^%.%d+$" or tail:match "^%.%d+%.%d+$")) ~= nil
end

local function sort_words(words)
  local paths, files = {}, {}
  for _, word in ipairs(words) do
    if #files == 0 and is_path(word) then
      paths[#paths + 1] = word
    else
      files[#files + 1] = word
    end
  end
  if #paths == 0 then fail.usage("\"%s\" is not a path, as in PID-5.1", words[1]) end
  return paths, files
end

local function value(msg, path, raw)
  if path:find("*", 1, true) then
    local list = msg:all(path)
    for i, v in ipairs(list) do list[i] = tostring(v) end
    return list
  end
  if raw then return msg:raw(path) end
  local v = msg[path]
  if v == hl7.null then return '""' end
  return v ~= nil and tostring(v) or nil
end

-- A line stays a line and a column a column.
local function plain(v)
  if type(v) == "table" then v = table.concat(v, ", ") end
  return ((v or ""):gsub("[\t\r\n]", " "))
end

local function print_values(msg, paths, args)
  local cells, members = {}, {}
  for i, path in ipairs(paths) do
    local ok, v = pcall(value, msg, path, args.raw)
    if not ok then fail.fail(1, "%s: %s", path, v) end
    cells[i] = plain(v)
    if type(v) == "table" then v = json.list(v) end
    members[2 * i - 1], members[2 * i] = path, v == nil and json.null or v
  end
  print(args.json and json.encode(json.object(unpack(members))) or table.concat(cells, "\t"))
end

function M.run(args)
  local paths, files = sort_words(args.words)
  if #files == 0 then files[1] = "-" end
  local status = 0
  for _, file in ipairs(files) do
    local text, err
    if file == "-" then
      text = io.read "*a"
    else
      text, err = site.read(file)
      if not text then fail.fail(1, "%s", err) end
    end
    local n = 0
    for _, bytes in ipairs(sys.messages(text)) do
      n = n + 1
      local msg, why = hl7.parse(bytes)
      if msg then
        print_values(msg, paths, args)
      else
        io.stderr:write(("lunate query: %s: message %d: %s\n"):format(file, n, tostring(why)))
        status = 1
      end
    end
    if n == 0 then
      io.stderr:write(("lunate query: %s: no message found\n"):format(file))
      status = 1
    end
  end
  return status
end

return M
