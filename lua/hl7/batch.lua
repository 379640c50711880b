-- hl7.batch: texts of several messages, in the envelope of the batch protocol (chapter 2.10.3: FHS
-- BHS MSH.. BTS FTS, each of them optional) or one after another. Nothing is dropped: what is no
-- message and no envelope is told of, as are counts that are wrong.
local core = require "lunate.hl7.core"
local hl7 = require "hl7"

local type, ipairs, pairs, tostring, tonumber = type, ipairs, pairs, tostring, tonumber
local error, pcall, getmetatable = error, pcall, getmetatable
local concat, format = table.concat, string.format

local M = {}

local envelope = { FHS = true, BHS = true, BTS = true, FTS = true }

local function problem(result, where, fmt, ...)
  local list = result.problems
  list[#list + 1] = { where = where, text = format(fmt, ...) }
end

local function new_batch(result, header)
  local batch = { header = header, messages = {} }
  result.batches[#result.batches + 1] = batch
  result.open = batch
  return batch
end

-- The first field of a trailer, which has no delimiters of its own: those of what it ends.
local function count_of(line, opened)
  local sep = opened and opened:delimiters().field or line:sub(4, 4)
  if sep == "" or line:sub(4, 4) ~= sep then return nil end
  local stop = line:find(sep, 5, true)
  return line:sub(5, stop and stop - 1)
end

local function check_count(result, name, line, opened, have, what)
  local said = count_of(line, opened)
  if not said or said == "" then return end
  if tonumber(said) ~= have then
    problem(result, name .. "-1", "%s-1 says %s, there are %d %s", name,
      said:match "^%d+$" and said or "something that is no number", have, what)
  end
end

local function on_header(result, name, line, options)
  local header, err = hl7.parse(line .. "\r", options)
  if not header then return problem(result, name, "%s cannot be read: %s", name, err) end
  if name == "BHS" then
    if result.open and result.open.header then
      problem(result, "BTS", "BHS without BTS before it")
    end
    return new_batch(result, header)
  end
  if result.file then problem(result, "FHS", "more than one FHS") end
  result.file = result.file or header
end

local function on_trailer(result, name, line)
  if name == "BTS" then
    local batch = result.open
    if not batch then
      batch = new_batch(result)
      problem(result, "BHS", "BTS without BHS")
    end
    batch.trailer = line
    check_count(result, name, line, batch.header or batch.messages[1], #batch.messages, "messages")
    result.open = nil
  else
    if not result.file then problem(result, "FHS", "FTS without FHS") end
    result.trailer = line
    check_count(result, name, line, result.file, #result.batches, "batches")
  end
end

-- What stands between messages, line by line.
local function between(result, text, options)
  for line in text:gmatch "[^\r\n]+" do
    local name = line:match "^%u%u%u"
    if name and envelope[name] then
      if name == "FHS" or name == "BHS" then
        on_header(result, name, line, options)
      else
        on_trailer(result, name, line)
      end
    elseif line:gsub("^\239\187\191", ""):find "%S" then
      problem(result, "", "a line of %d bytes that belongs to no message", #line)
    end
  end
end

local function add(result, text, options)
  local m, err = hl7.parse(text, options)
  local n = #result.messages + 1
  if not m then return problem(result, "", "message %d cannot be read: %s", n, err) end
  local batch = result.open or new_batch(result)
  batch.messages[#batch.messages + 1] = m
  result.messages[n] = m
end

--- split(text [, options of hl7.parse]) -> { messages = all in order, batches = { { header,
-- messages, trailer } }, file = FHS or nil, trailer = FTS or nil, problems = { { where, text } } }.
function M.split(text, options)
  if type(text) ~= "string" then error("hl7.batch.split takes a string", 2) end
  text = core.narrow(text) or text
  local result = { messages = {}, batches = {}, problems = {} }
  local pos, done = 0, 1
  while true do
    local from, to, nxt = core.next_message(text, pos)
    if not from then break end
    between(result, text:sub(done, from - 1), options)
    add(result, text:sub(from, to), options)
    pos, done = nxt, to + 1
  end
  between(result, text:sub(done), options)
  if result.open and result.open.header then
    problem(result, "BTS", "BHS without BTS behind it")
  end
  if result.file and not result.trailer then problem(result, "FTS", "FHS without FTS behind it") end
  result.open = nil
  return result
end

-- The parties of the first message, as they stand there, behind a header's name and delimiters.
local function header_line(name, first)
  if not first then return name .. "|^~\\&\r" end
  local sep = first:raw "MSH-1"
  local out = { name .. sep .. first:raw("MSH-2"):match "^[^\r\n]*" }
  for n = 3, 6 do out[#out + 1] = (first:raw("MSH-" .. n) or ""):gsub("[\r\n]+", " ") end
  return concat(out, sep):gsub(sep:gsub("%p", "%%%0") .. "+$", "") .. "\r"
end

local function set(header, path, value) header[path] = value end

-- Now; without its zone where a sign separates.
local function time_for(header, now)
  for _, c in pairs(header:delimiters()) do
    if c == "+" or c == "-" then return now:sub(1, 14) end
  end
  return now
end

-- A header segment in the delimiters and the character set of the first message, with its parties.
local function header_of(name, first, fields)
  local charset = first and { charset = { force = first:charset() } }
  local header = assert(hl7.parse(header_line(name, first), charset))
  local fresh = hl7.new { type = "ACK" }
  -- Odd delimiters may have no room for ours; the parties' fields stand all the same.
  pcall(set, header, name .. "-7", time_for(header, fresh["MSH-7"]))
  pcall(set, header, name .. "-11", fresh["MSH-10"])
  for path, value in pairs(type(fields) == "table" and fields or {}) do
    if type(path) ~= "string" or path:sub(1, 4) ~= name .. "-" then
      error(format("hl7.batch.build: %s is no path of %s", tostring(path), name), 3)
    end
    local ok, why = pcall(set, header, path, value)
    if not ok then
      error(format("hl7.batch.build: %s: %s", path, (why:gsub("^.-%.lua:%d+: ", ""))), 3)
    end
  end
  return header, header:raw(name .. "-1")
end

local function text_of(m, n)
  if getmetatable(m) == "message" then return tostring(m) end
  if type(m) ~= "string" then
    error(format("hl7.batch.build: message %d is a %s: messages and strings are known", n, type(m)),
      3)
  end
  local parsed, err = hl7.parse(m)
  if not parsed then error(format("hl7.batch.build: message %d: %s", n, err), 3) end
  return tostring(parsed)
end

--- build { messages = { messages or strings }, batch = true or { ["BHS-3"] = .. }, file = true or
-- { ["FHS-3"] = .. } } -> text. batch is on unless it is false; file is off.
function M.build(o)
  if type(o) ~= "table" or type(o.messages) ~= "table" then
    error("hl7.batch.build takes a table with messages", 2)
  end
  for key in pairs(o) do
    if key ~= "messages" and key ~= "batch" and key ~= "file" then
      error(format("hl7.batch.build knows no '%s': messages, batch and file are known",
        tostring(key)), 2)
    end
  end
  local out, first = {}, o.messages[1]
  if type(first) == "string" then first = hl7.parse(first) end
  for n, m in ipairs(o.messages) do out[n] = text_of(m, n) end
  local count = #out
  if o.batch ~= false then
    local header, sep = header_of("BHS", first, o.batch)
    table.insert(out, 1, tostring(header))
    out[#out + 1] = "BTS" .. sep .. count .. "\r"
  end
  if o.file then
    local header, sep = header_of("FHS", first, o.file)
    table.insert(out, 1, tostring(header))
    out[#out + 1] = "FTS" .. sep .. (o.batch ~= false and 1 or 0) .. "\r"
  end
  return concat(out)
end

return M
