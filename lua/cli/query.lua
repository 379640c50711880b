-- `lunate query PATH... [FILE...]`: values by path, a line per message, tab between paths.
local hl7 = require "hl7"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"
local input = require "lunate.cli.input"

local M = {}

function M.define(parser)
  parser:argument("words", "paths, then files; standard input without a file"):args "+"
  parser:flag("--raw", "bytes as they stand, no unescaping")
  parser:flag("--rows", "a line per value of the paths with *, instead of one per message")
  parser:option("--where", "only messages where PATH=VALUE, PATH!=VALUE or PATH~PATTERN")
    :count "*"
  parser:flag("--header", "first a line with the paths")
  parser:flag("--no-file", "no column with the file's name")
  parser:flag("--json", "one object a line")
end

-- A word that reads as a path: { name, segment, field, repetition, rest }, * for all.
local function read_path(word)
  local name, rest = word:match "^(%u[%u%d][%u%d])(.*)$"
  if not name then return nil end
  local path = { text = word, name = name }
  local n, after = rest:match "^%[([%d*]+)%](.*)$"
  if n then path.segment, rest = n, after end
  if rest ~= "" then
    path.field, rest = rest:match "^%-(%d+)(.*)$"
    if not path.field then return nil end
    n, after = rest:match "^%[([%d*]+)%](.*)$"
    if n then path.repetition, rest = n, after end
    if not (rest == "" or rest:find "^%.%d+$" or rest:find "^%.%d+%.%d+$") then return nil end
    path.rest = rest
  end
  path.many = path.segment == "*" or path.repetition == "*"
  return path
end

local probe

-- The path of a word, or nothing when it is none; a path with a mistake in it ends the verb.
local function to_path(word)
  local path = read_path(word)
  if not path then return nil end
  probe = probe or hl7.parse "MSH|^~\\&\r"
  local ok, err = pcall(probe.all, probe, word)
  if not ok then fail.usage("%s", err) end
  return path
end

local function sort_words(words)
  local paths, files = {}, {}
  for _, word in ipairs(words) do
    local path = #files == 0 and to_path(word)
    if path then paths[#paths + 1] = path else files[#files + 1] = word end
  end
  if #paths == 0 then fail.usage("\"%s\" is not a path, as in PID-5.1", words[1]) end
  return paths, files
end

local function one(msg, path, raw)
  if raw then return msg:raw(path) end
  local v = msg[path]
  return v ~= nil and tostring(v) or nil
end

-- Values of a path with *: list (with holes where nothing stands) and its length.
local function several(msg, path, raw)
  local list, n = {}, 0
  local function take(prefix)
    n = n + 1
    list[n] = one(msg, prefix .. (path.rest or ""), raw)
  end
  local function fields(segment, prefix)
    if not path.field then return take(prefix) end
    prefix = prefix .. "-" .. path.field
    if path.repetition ~= "*" then
      return take(path.repetition and ("%s[%s]"):format(prefix, path.repetition) or prefix)
    end
    for r = 1, #segment[tonumber(path.field)] do take(("%s[%d]"):format(prefix, r)) end
  end
  if path.segment == "*" then
    local i = 0
    for segment in msg:each(path.name) do
      i = i + 1
      fields(segment, ("%s[%d]"):format(path.name, i))
    end
  else
    local prefix = path.segment and ("%s[%s]"):format(path.name, path.segment) or path.name
    local segment = msg[prefix]
    if segment then fields(segment, prefix) end
  end
  return list, n
end

-- ---- --where ------------------------------------------------------------------------------------

local tests = {
  ["="] = function(v, want) return v == want end,
  ["~"] = function(v, want) return v:find(want) ~= nil end,
}

local function conditions(words)
  local list = {}
  for i, word in ipairs(words) do
    local left, no, op, want = word:match "^([^=!~]+)(!?)([=~])(.*)$"
    local path = left and to_path(left)
    if not path then fail.usage("\"%s\" is not PATH=VALUE, as in --where PID-3=4711", word) end
    if op == "~" and not pcall(string.find, "", want) then
      fail.usage("\"%s\" is no Lua pattern", want)
    end
    list[i] = { path = path, no = no == "!", test = tests[op], want = want }
  end
  return list
end

-- True when one value of the path passes; with !, when none does.
local function holds(msg, c, raw)
  local list, n
  if c.path.many then
    list, n = several(msg, c.path, raw)
  else
    list, n = { one(msg, c.path.text, raw) }, 1
  end
  for i = 1, n do
    if c.test(list[i] or "", c.want) then return not c.no end
  end
  return c.no
end

-- ---- output -------------------------------------------------------------------------------------

-- A line stays a line and a column a column.
local function plain(v)
  if v == nil then return "" end
  return (v:gsub("[\t\r\n]", " "))
end

local function joined(list, n)
  local out = {}
  for i = 1, n do
    if list[i] then out[#out + 1] = plain(list[i]) end
  end
  return table.concat(out, ", ")
end

local function printer(paths, args, named)
  local function put(file, cells, values)
    if not args.json then
      io.write(named and file .. "\t" or "", table.concat(cells, "\t"), "\n")
      return
    end
    local members = { "file", named and file or nil }
    for i, path in ipairs(paths) do
      members[2 * i + 1] = path.text
      members[2 * i + 2] = values[i] == nil and json.null or values[i]
    end
    io.write(json.encode(json.object(unpack(members, 1, 2 * #paths + 2))), "\n")
  end

  local function line(piece, values, counts)
    local cells = {}
    for i = 1, #paths do
      local v = values[i]
      if not counts[i] then
        cells[i] = plain(v)
      else
        cells[i] = joined(v, counts[i])
        if args.json then
          for k = 1, counts[i] do v[k] = v[k] == nil and json.null or v[k] end
          values[i] = json.list(v)
        end
      end
    end
    put(piece.name, cells, values)
  end

  local function rows(piece, values, counts)
    local n = 0
    for i = 1, #paths do n = math.max(n, counts[i] or 0) end
    if next(counts) == nil then n = 1 end
    for k = 1, n do
      local row, cells = {}, {}
      for i = 1, #paths do
        row[i] = values[i]
        if counts[i] then row[i] = values[i][k] end
        cells[i] = plain(row[i])
      end
      put(piece.name, cells, row)
    end
  end

  return args.rows and rows or line
end

function M.run(args)
  local paths, files = sort_words(args.words)
  local where = conditions(args.where)
  local named = #files > 1 and not args.no_file
  local print_values = printer(paths, args, named)
  io.stdout:setvbuf "full"
  if args.header and not args.json then
    local cells = {}
    for i, path in ipairs(paths) do cells[i] = path.text end
    io.write(named and "file\t" or "", table.concat(cells, "\t"), "\n")
  end
  return input.each("query", files, function(piece)
    local msg = piece.msg
    for _, c in ipairs(where) do
      if not holds(msg, c, args.raw) then return end
    end
    local values, counts = {}, {}
    for i, path in ipairs(paths) do
      if path.many then
        values[i], counts[i] = several(msg, path, args.raw)
      else
        values[i] = one(msg, path.text, args.raw)
      end
    end
    print_values(piece, values, counts)
  end)
end

return M
