-- Every verb with its options and arguments, for completion and man pages: out of the verbs' own
-- parsers, or out of the help page where C reads the options. One source with `lunate help`.
local verbs = require "lunate.cli.verbs"
local pages = require "lunate.cli.pages"

local M = {}

-- Words that options take among others.
local words = {
  ["--state"] = require("lunate.cli.history").states,
  ["new --type"] = { "ADT", "DFT", "MDM", "OML", "ORM", "ORU", "SIU" },
  ["listen --ack"] = { "AA", "AE", "AR", "none" },
  ["token --role"] = { "observer", "viewer", "operator", "developer", "admin" },
}

-- Prints $name/DESTINATION for each destination of a channel's script: for the shells.
M.targets = [==[sed -nE "s#^(.*[^A-Za-z0-9_-])?([A-Za-z_][A-Za-z0-9_-]*) *= ]==] ..
  [==[*(mllp\\.send|channel\\.to)[^a-z].*#$name/\\2#p"]==]

local function known(v, name)
  return words[v.name .. " " .. name] or words[name]
end

local function from_parser(entry, v)
  local parser = require "argparse" ("lunate " .. entry[1]):add_help(false)
  require(entry.lua).define(parser, entry[1])
  require("lunate.cli.why").define(parser, entry[1])
  for _, o in ipairs(parser._options) do
    local takes = not o._maxargs or o._maxargs > 0
    v.options[#v.options + 1] = { names = o._aliases, about = o._description or "",
      value = takes and (type(o._argname) == "string" and o._argname
        or o._name:gsub("^%-+", ""):upper()) or nil,
      choices = o._choices or known(v, o._aliases[#o._aliases]) }
  end
  for _, a in ipairs(parser._arguments) do
    v.arguments[#v.arguments + 1] = { name = a._name, about = a._description or "",
      choices = a._choices, many = a._maxargs > 1 }
  end
end

local function add_option(v, name, rest, about)
  local value = rest ~= "" and rest or nil
  local choices
  if value and value:find "|" then
    choices = {}
    for word in value:gmatch "[^|]+" do choices[#choices + 1] = word end
  end
  v.options[#v.options + 1] = { names = { name }, about = about, value = value,
    choices = choices or known(v, name) }
end

-- One option a line, "  --count N   so many messages", or "[--log text|json]" on the first line.
local function from_usage(usage, v)
  local head = usage:match "^[^\n]*"
  for name, rest in head:gmatch "%[(%-%-[%w-]+) ?([^%]%[]*)%]" do add_option(v, name, rest, "") end
  for line in usage:gmatch "\n([^\n]+)" do
    local name, rest, about = line:match "^%s+(%-%-[%w-]+) ?(%S*)%s%s+(.*)$"
    if name then add_option(v, name, rest, about) end
  end
  for name in head:gsub("%b[]", ""):match "^lunate%s+(.*)":gmatch "%u[%u%.:,]+" do
    v.arguments[#v.arguments + 1] = { name = name:lower():gsub("%W", ""), about = "" }
  end
end

--- list() -> { { name, about, group, page, options = { { names, about, value, choices } },
-- arguments = { { name, about, choices, many } } } ... } in the order of help.
function M.list()
  local out, group = {}, nil
  for _, entry in ipairs(verbs) do
    if entry.group then
      group = entry.group
    else
      local v = { name = entry[1], about = entry[2], group = group, page = pages[entry[1]] or {},
        options = {}, arguments = {} }
      if entry.lua then from_parser(entry, v) else from_usage(v.page.usage or "", v) end
      out[#out + 1] = v
    end
  end
  return out
end

--- What stands for an argument or an option's value, as far as a shell can list it: "channel",
-- "target" (CHANNEL/DEST), "spec", "verb", "folder", "file", or nil.
function M.kind(name)
  name = name:lower():gsub("^%-+", "")
  if name == "c" or name == "channel" then return "channel" end
  if name == "destination" or name == "target" then return "target" end
  if name == "specs" then return "spec" end
  if name == "verb" then return "verb" end
  if name == "dir" or name == "out" then return "folder" end
  if name:find "file" or name == "script" or name == "lcov" or name == "from" or name == "a"
    or name == "b" or name:find "path" or name == "profile" or name:find "cert$"
    or name:find "%-key$" or name:find "ca$" then
    return "file"
  end
end

return M
