-- The command line: finds the verb's module, parses its arguments, runs it, turns errors into one
-- line and an exit status. A verb's module has, per verb: define(parser, verb), run(args, verb).
local fail = require "lunate.cli.fail"
local verbs = require "lunate.cli.verbs"

local function find(name)
  for _, v in ipairs(verbs) do
    if v[1] == name then return v end
  end
end

-- Edits between two words: insert, delete, change, swap two neighbours.
local function distance(a, b)
  local before, row = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local last = row
    row = { [0] = i }
    for j = 1, #b do
      local cost = a:byte(i) == b:byte(j) and 0 or 1
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost)
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before = last
  end
  return row[#b]
end

local function nearest(name)
  local best, best_distance
  for _, v in ipairs(verbs) do
    local d = v[1] and distance(name, v[1])
    if d and d <= math.max(1, math.floor(#name / 2)) and d < (best_distance or math.huge) then
      best, best_distance = v[1], d
    end
  end
  return best
end

local function parse(module, verb, words)
  local argparse = require "argparse"
  local parser = argparse("lunate " .. verb):add_help(false)
  function parser:error(text) -- luacheck: no unused args
    local option = text:match "^unknown option '([^']*)'"
    if option == "-C" then
      fail.usage("-C SITE stands before the verb: lunate -C SITE %s ...", verb)
    end
    for i, word in ipairs(words) do
      local before = words[i - 1] or ""
      if word == option and word:find "^%-%d" and before:find "^%-%-" then
        fail.usage("%s takes no number below 0 (%s)", before, word)
      end
    end
    if option then
      local near = text:match "Did you mean '([^']+)'%?"
        or text:match "Did you mean one of these: '([^']+)'"
      fail.usage("unknown option %s%s", option, near and (", did you mean %s?"):format(near) or "")
    end
    fail.usage("%s", text)
  end
  module.define(parser, verb)
  require("lunate.cli.why").define(parser, verb)
  return parser:parse(words)
end

local function run(words)
  local verb = table.remove(words, 1)
  if verb == nil then
    require("lunate.cli.help").overview(io.stderr)
    return 2
  end
  if verb == "--help" or verb == "-h" then verb = "help" end
  if verb == "--version" or verb == "-V" then verb = "version" end
  local entry = find(verb)
  if not entry and verb:find "^%-" then
    fail.fail(2, "unknown option %s before the verb: only -C SITE stands there (see `lunate help`)",
      verb)
  end
  if not entry or not entry.lua then
    local near = nearest(verb)
    fail.fail(2, "there is no verb \"%s\"%s (`lunate help` lists them)", verb,
      near and (", did you mean \"%s\"?"):format(near) or "")
  end
  for _, word in ipairs(words) do
    if word == "--" then break end
    if word == "-h" or word == "--help" then
      return require("lunate.cli.help").verb(verb)
    end
  end
  local module = require(entry.lua)
  local given = { verb, unpack(words) }
  local args = parse(module, verb, words)
  local site = require "lunate.cli.site"
  site.context.break_glass = args.break_glass
  if not require("lunate.cli.why").own[verb] then site.context.reason = args.reason end
  site.context.given = given
  if not package.loaded["lunate.cli.viewer"] and require("lunate.audit_core").is_view(verb)
    and (not module.is_view or module.is_view(args)) and site.is_foreign() then
    return site.view(given)
  end
  return module.run(args, verb) or 0
end

local function one_line(text)
  return (tostring(text):gsub("[%c]+", " "))
end

return function(words)
  local verb = words[1]
  local prefix = verb and find(verb) and "lunate " .. verb or "lunate"
  local ok, result = xpcall(function() return run(words) end, function(e)
    if fail.is(e) then return e end
    return debug.traceback(e, 2)
  end)
  io.stdout:flush()
  if package.loaded["lunate.cli.audit"] then pcall(package.loaded["lunate.cli.audit"].done) end
  if ok then return result end
  local unread = not fail.is(result) and tostring(result):match "the store cannot be read: [^\n]*"
  if unread then
    io.stderr:write(prefix, ": ", unread, " (lunate verify says what is wrong with it)\n")
    return 1
  end
  if not fail.is(result) then
    io.stderr:write(prefix, ": internal error, please report it: ", tostring(result), "\n")
    return 1
  end
  if result.text then
    io.stderr:write(prefix, ": ", one_line(result.text),
      result.usage and (" (see `lunate help %s`)"):format(verb) or "", "\n")
  end
  return result.status
end
