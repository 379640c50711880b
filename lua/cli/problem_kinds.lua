-- Kinds of problems over many messages: what is wrong at a path, whichever segment and repetition
-- it is. Memory is bounded: so many kinds, then a count of the rest.
local json = require "lunate.cli.json"

local M = {}
local Kinds = {}
Kinds.__index = Kinds

local MOST = 5000
local rank = { info = 1, warning = 2, error = 3 }

--- new(): counts of messages and problems, and kinds.
function M.new()
  return setmetatable({ by_key = {}, n = 0, messages = 0, wrong = 0, errors = 0, warnings = 0,
    infos = 0, more = 0 }, Kinds)
end

--- Adds the list of one message; first: where it is, for the first of a kind.
function Kinds:add(list, first)
  self.messages = self.messages + 1
  if not list.valid then self.wrong = self.wrong + 1 end
  for _, key in ipairs { "errors", "warnings", "infos" } do self[key] = self[key] + list[key] end
  for _, p in ipairs(list) do
    local path = p.path:gsub("%[%d+%]", "")
    local key = p.severity .. path .. p.rule .. p.text:gsub("%d+ ", "")
    local kind = self.by_key[key]
    if not kind and self.n < MOST then
      self.n = self.n + 1
      kind = { problem = p, path = path, count = 0, messages = 0, first = first, key = key }
      self.by_key[key] = kind
    end
    if kind then
      kind.count = kind.count + 1
      if kind.last ~= self.messages then
        kind.last, kind.messages = self.messages, kind.messages + 1
      end
    else
      self.more = self.more + 1
    end
  end
end

--- The kinds, worst and most frequent first.
function Kinds:sorted()
  local list = {}
  for _, kind in pairs(self.by_key) do list[#list + 1] = kind end
  table.sort(list, function(a, b)
    local ra, rb = rank[a.problem.severity], rank[b.problem.severity]
    if ra ~= rb then return ra > rb end
    if a.messages ~= b.messages then return a.messages > b.messages end
    return a.key < b.key
  end)
  return list
end

--- The kinds as a JSON list.
function Kinds:json()
  local kinds = {}
  for i, k in ipairs(self:sorted()) do
    local p = k.problem
    kinds[i] = json.object("severity", p.severity, "path", k.path, "rule", p.rule, "text", p.text,
      "title", p.title, "messages", k.messages, "count", k.count, "first", k.first)
  end
  return json.list(kinds)
end

return M
