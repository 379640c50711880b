-- What must hold of batches (batch_fuzz.c). The input is a text of messages.
-- - nothing is lost: every line is in a message, an envelope, or told of;
-- - messages are what stands in the text, in order;
-- - what is built of them splits into the same messages again, with nothing to tell.
local hl7 = require "hl7"
local core = require "lunate.hl7.core"
local batch = hl7.batch

local function squeeze(text) return (text:gsub("[\r\n]+", "\r")) end

local function check_in_order(text, list)
  local all, at = squeeze(text), 1
  for _, m in ipairs(list) do
    local wire = squeeze(tostring(m)):gsub("\r$", "")
    local from, to = all:find(wire, at, true)
    assert(from, "a message that does not stand in the text")
    at = to + 1
  end
end

local function count(result)
  local n = 0
  for _, b in ipairs(result.batches) do n = n + #b.messages end
  return n
end

-- Bytes that something speaks for: all but blanks and line ends.
local function check_bytes(text, result)
  local n = 0
  for _, m in ipairs(result.messages) do n = n + #tostring(m):gsub("%s", "") end
  for _, b in ipairs(result.batches) do
    n = n + (b.header and #tostring(b.header):gsub("%s", "") or 0)
      + (b.trailer and #b.trailer:gsub("%s", "") or 0)
  end
  n = n + (result.file and #tostring(result.file):gsub("%s", "") or 0)
    + (result.trailer and #result.trailer:gsub("%s", "") or 0)
  local all = #text:gsub("%s", ""):gsub("^\239\187\191", "")
  assert(n <= all or #result.problems > 0, "bytes from nowhere")
  assert(n >= all or #result.problems > 0 or text:find "[%z\1-\8\14-\31]"
    or text:find("\239\187\191", 1, true), "bytes that nobody tells of")
end

local function check_build(result)
  local list = {}
  for i, m in ipairs(result.messages) do
    -- A message that a batch's own lines may cut (an envelope's name in its text) is left out.
    local wire = tostring(m)
    local alone = batch.split(wire)
    if m:delimiters().field:find "%p" and #alone.messages == 1 and #alone.problems == 0 then
      list[#list + 1] = i % 2 == 0 and m or wire
    end
  end
  for _, file in ipairs { false, true } do
    local ok, text = pcall(batch.build, { messages = list, file = file })
    if not ok then
      assert(type(text) == "string" and not text:find "^lunate/", text)
      return
    end
    local again = batch.split(text)
    assert(#again.messages == #list, "built " .. #list .. ", split " .. #again.messages)
    for i, m in ipairs(again.messages) do
      assert(tostring(m) == tostring(type(list[i]) == "string" and hl7.parse(list[i]) or list[i]))
    end
    assert(#again.problems == 0, again.problems[1] and again.problems[1].text)
    assert((again.file ~= nil) == file)
  end
end

return function(data)
  local result = batch.split(data)
  assert(count(result) == #result.messages)
  for _, p in ipairs(result.problems) do
    assert(type(p.text) == "string" and type(p.where) == "string")
  end
  local text = core.narrow(data) or data
  check_in_order(text, result.messages)
  check_bytes(text, result)
  if #result.messages > 0 then check_build(result) end
end
