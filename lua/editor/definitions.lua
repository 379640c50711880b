-- The definitions of Lunate's globals for lua-language-server: names and types from
-- lunate.editor.api, what each call does from the texts that the REPL shows (lunate.repl.topics),
-- keys of channels, sources and destinations from what `check` takes (lunate.channel).
local sys = require "lunate.sys"
local topics = require "lunate.repl.topics"

local M = {}

-- Which topics are about the functions of a class.
local prefixes = { Message = "msg:", Segment = "msg:", Part = "field:", hl7 = "hl7." }

local function topic_of(line)
  local class, name = line:match "^function (%w+)[%.:]([%w_]+)%("
  if class then return prefixes[class] and topics[prefixes[class] .. name] or nil end
  return topics[line:match "^function ([%w_]+)%(" or ""]
end

-- Lines of text as comments.
local function comment(text, out)
  local line = ""
  for word in text:gmatch "%S+" do
    if #line + #word > 90 then
      out[#out + 1], line = "---" .. line, ""
    end
    line = line == "" and word or line .. " " .. word
  end
  out[#out + 1] = "---" .. line
end

-- A function's description and example, before what its block says of parameters.
local function describe(text)
  local out, block = {}, {}
  for line in text:gmatch "([^\n]*)\n" do
    if line:find "^%-%-%-" and not line:find "^%-%-%-@meta" then
      block[#block + 1] = line
    else
      local topic = topic_of(line)
      if topic then
        comment(topic[2], out)
        if topic[3] then out[#out + 1] = "---```lua\n---" .. topic[3] .. "\n---```" end
      end
      for _, l in ipairs(block) do
        if not topic or l:find "^%-%-%-@" then out[#out + 1] = l end
      end
      block = {}
      out[#out + 1] = line
    end
  end
  return table.concat(out, "\n") .. "\n"
end

-- Keys that `check` knows and lunate.editor.api does not.
local function add_keys(text, class, keys)
  local first, last = text:find("%-%-%-@class [^\n]*lunate%." .. class .. "\n.-\n\n")
  local block, more = text:sub(first, last - 1), {}
  for key in pairs(keys) do
    if not block:find("@field " .. key .. "%?? ") then
      more[#more + 1] = ("---@field %s? any\n"):format(key)
    end
  end
  table.sort(more)
  return text:sub(1, first - 1) .. block .. table.concat(more) .. text:sub(last)
end

--- The text of lunate.lua in a site's .lunate/types.
function M.text()
  local text = require("lunate.editor.api"):gsub("@VERSION@", sys.version())
  for class, keys in pairs(require("lunate.channel").known_keys()) do
    text = add_keys(text, class, keys)
  end
  return describe(text)
end

return M
