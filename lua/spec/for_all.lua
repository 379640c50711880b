-- for_all(messages { type = "ADT" }, function(msg) ... end): a property over many messages made at
-- random. When it fails, the message is made smaller as long as it still fails; what is left is
-- shown with the seed that brings it back.
local hl7 = require "hl7"
local generate = require "lunate.spec.generate"

-- quietly(f, ...): calls f where coverage does not look.
local M = { seed = nil, runs = 100, quietly = function(f, ...) return f(...) end }

local TRIES = 1000 -- while making it smaller

local function attempt(property, list)
  local msg, err = hl7.parse(generate.bytes(list))
  if not msg then return nil, "the generator made what does not parse: " .. err end
  local ok, why = pcall(property, msg)
  return ok, why
end

local function copy(list)
  local out = {}
  for i, fields in ipairs(list) do out[i] = { unpack(fields) } end
  return out
end

-- Smaller forms of one raw field.
local function smaller(field)
  local list = { "" }
  local rep = field:match "^([^~]*)~"
  local component = field:match "^([^%^]*)%^"
  if rep then list[#list + 1] = rep end
  if component then list[#list + 1] = component end
  if #field > 1 then
    list[#list + 1] = field:sub(1, math.floor(#field / 2))
    list[#list + 1] = "A"
  end
  return list
end

local Shrinker = {}
Shrinker.__index = Shrinker

local function text_of(why)
  if type(why) == "table" and why.message then why = why.message end
  return tostring(why)
end

-- Where it failed: a smaller message that fails elsewhere is another story.
local function place_of(why)
  return text_of(why):match "^[^\n]-:%d+:" or ""
end

-- "attempt to index field 'OBX' (a nil value)": a slip of the property, not what it asserts.
local function slip_of(why)
  return text_of(why):match "attempt to [^\n]*"
end

-- Keeps the candidate when the property fails on it at the same place, and not for another reason:
-- because what it takes for granted is gone.
function Shrinker:try(candidate)
  if self.tries >= TRIES then return false end
  self.tries = self.tries + 1
  local ok, why = attempt(self.property, candidate)
  if ok or place_of(why) ~= self.place or slip_of(why) ~= self.slip then return false end
  self.list, self.why = candidate, why
  return true
end

function Shrinker:segments()
  local any = false
  for i = #self.list, 2, -1 do
    local name, left = self.list[i][1], 0
    for _, fields in ipairs(self.list) do left = left + (fields[1] == name and 1 or 0) end
    if left > 1 or not self.kept[name] then
      local c = copy(self.list)
      table.remove(c, i)
      any = self:try(c) or any
    end
  end
  return any
end

function Shrinker:fields()
  local any = false
  for i = #self.list, 1, -1 do
    local from = i == 1 and 13 or 2 -- the header stays readable
    for k = #self.list[i], from, -1 do
      local field = self.list[i][k]
      for _, text in ipairs(field ~= "" and smaller(field) or {}) do
        local c = copy(self.list)
        c[i][k] = text
        if text ~= field and self:try(c) then
          any = true
          break
        end
      end
    end
    local c = copy(self.list) -- empty fields at the end
    while #c[i] >= from and c[i][#c[i]] == "" do c[i][#c[i]] = nil end
    if #c[i] < #self.list[i] then any = self:try(c) or any end
  end
  return any
end

-- with: names of segments of which one is always there.
local function shrink(property, list, why, with)
  local s = setmetatable({ property = property, list = list, why = why, kept = {},
    place = place_of(why), slip = slip_of(why), tries = 0 }, Shrinker)
  for _, name in ipairs(with or {}) do s.kept[name] = true end
  while s:segments() or s:fields() do end
  return s.list, s.why
end

local function report(list, why, n, seed)
  local lines = {}
  for _, fields in ipairs(list) do lines[#lines + 1] = "  " .. table.concat(fields, "|") end
  return ("%s\nThe smallest message that fails (message %d; again with --seed %.0f):\n%s"):format(
    text_of(why), n, seed, table.concat(lines, "\n"))
end

--- for_all(generator, property [, { runs = 100, seed = n }]): calls property(msg) with messages;
-- what it raises (a failing assert) is a counterexample.
function M.for_all(generator, property, o)
  o = o or {}
  if type(generator) ~= "function" or type(property) ~= "function" then
    error("for_all takes a generator and a function: for_all(messages {}, function(msg) end)", 2)
  end
  local seed = o.seed or M.seed
  local random = generate.random(seed)
  for n = 1, o.runs or M.runs do
    local list, with = M.quietly(generator, random, n)
    local ok, why = attempt(property, list)
    if not ok then
      list, why = shrink(property, list, why, with)
      local placed = place_of(why) ~= "" -- what failed says where itself
      require "busted".fail(report(list, why, n, seed), placed and 0 or 2)
    end
  end
end

return M
