-- `lunate help [VERB]`, `lunate version`. Examples first; then what can be given. `text` holds the
-- pages; the options of verbs written in Lua come from their own parsers.
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local fail = require "lunate.cli.fail"
local verbs = require "lunate.cli.verbs"
local pages = require "lunate.cli.pages"

local M = {}

function M.define(parser, verb)
  if verb ~= "help" then return end
  parser:argument("verb", "the verb"):args "?"
  parser:flag("--man", "as a man page")
  parser:flag("--names", "the verbs' names alone")
end

--- The folder that holds README.md and docs/: where this was built, or where it was installed; nil
-- when neither is there.
function M.documents()
  local folder = (sys.realpath "/proc/self/exe" or ""):match "^(.*)/[^/]*$"
  if not folder then return nil end
  for _, place in ipairs { "/..", "/../..", "/../share/doc/lunate" } do
    if sys.kind(folder .. place .. "/README.md") == "file"
      and sys.kind(folder .. place .. "/docs/tutorial.md") == "file" then
      return sys.realpath(folder .. place)
    end
  end
end

--- All verbs, a line each.
function M.overview(out)
  local function line(text) out:write(text, "\n") end
  line "lunate: receives HL7 v2 messages, runs a Lua script on each, sends them on. Loses none."
  line "\nUsage: lunate [-C SITE] VERB ...   SITE is the site's folder; default the current one"
  line "Files that a verb is given are paths from the current folder, not from SITE."
  for _, v in ipairs(verbs) do
    if v.group then
      line("\n" .. v.group)
    else
      line(("  %-10s %s"):format(v[1], v[2]))
    end
  end
  line "\n`lunate help VERB` shows examples and options. Begin with:"
  line "  lunate new site mysite && lunate -C mysite run"
  local documents = M.documents()
  if documents then
    line(("\nTo read: %s/README.md, docs/tutorial.md there, `lunate tutor`, man lunate.")
      :format(documents))
  end
end

-- Options and arguments from the verb's parser.
local function arguments(entry)
  local parser = require "argparse" ("lunate " .. entry[1]):add_help(false)
  require(entry.lua).define(parser, entry[1])
  require("lunate.cli.why").define(parser, entry[1])
  return parser:get_help():gsub("^Usage: ", "", 1)
end

--- Help on one verb, on stdout.
function M.verb(name)
  local entry
  for _, v in ipairs(verbs) do
    if v[1] == name then entry = v end
  end
  if not entry then fail.fail(2, "there is no verb \"%s\" (`lunate help` lists them)", name) end
  local page = pages[name] or {}
  print(("lunate %s: %s"):format(name, entry[2]))
  print("\n" .. term.paint("bold", "Examples"))
  for _, example in ipairs(page.examples or { "lunate " .. name }) do print("  " .. example) end
  if page.about then print("\n" .. page.about) end
  print("\n" .. term.paint("bold", "Usage"))
  print("  " .. (page.usage or arguments(entry)):gsub("\n", "\n  "):gsub("%s+$", ""))
  return 0
end

-- For `make install` and completion.
local function machine(args)
  local list, man = require("lunate.cli.catalogue").list(), require "lunate.cli.man"
  local found
  for _, v in ipairs(list) do
    if args.names then print(v.name) end
    if v.name == args.verb then found = v end
  end
  if args.names then return 0 end
  if args.verb and not found then
    fail.fail(2, "there is no verb \"%s\" (`lunate help` lists them)", args.verb)
  end
  io.write(found and man.verb(found) or man.overview(list))
  return 0
end

function M.run(args, verb)
  if verb == "version" then
    print("lunate " .. sys.version())
    return 0
  end
  if args.man or args.names then return machine(args) end
  if args.verb then return M.verb(args.verb) end
  M.overview(io.stdout)
  return 0
end

return M
