-- The completion script for fish.
local catalogue = require "lunate.cli.catalogue"

local head = [==[
# fish completion for lunate; made by `lunate completion fish`.
function __lunate_site
    set -l words (commandline -opc)
    for i in (seq (count $words))
        if test "$words[$i]" = -C; and test (count $words) -gt $i
            echo $words[(math $i + 1)]
            return
        end
    end
    echo .
end
function __lunate_channels
    set -l site (__lunate_site)
    for f in $site/channels/*.lua
        basename $f .lua
    end
    for f in $site/channels/*/init.lua
        basename (dirname $f)
    end
end
function __lunate_targets
    set -l site (__lunate_site)
    for name in (__lunate_channels)
        for f in $site/channels/$name.lua $site/channels/$name/init.lua
            test -e $f; and @SED@ $f
        end
    end
end
function __lunate_specs
    for f in (__lunate_site)/spec/*_spec.lua
        basename $f _spec.lua
    end
end
complete -c lunate -f
complete -c lunate -n __fish_use_subcommand -s C -x -a '(__fish_complete_directories)' -d site
]==]

local actions = { channel = "(__lunate_channels)", target = "(__lunate_targets)",
  spec = "(__lunate_specs)", folder = "(__fish_complete_directories)" }

local function quoted(text)
  return "'" .. text:gsub("\\", "\\\\"):gsub("'", "\\'") .. "'"
end

-- What follows: -a '...' for words, -F for files.
local function values(name, choices, verbs)
  if choices then return " -a " .. quoted(table.concat(choices, " ")) end
  local kind = catalogue.kind(name)
  if kind == "file" then return " -F" end
  if kind == "verb" then return " -a " .. quoted(verbs) end
  return kind and " -a " .. quoted(actions[kind]) or ""
end

local function option(o)
  local out = ""
  for _, name in ipairs(o.names) do
    local short = name:match "^%-(%w)$"
    out = out .. (short and " -s " .. short or " -l " .. name:gsub("^%-+", ""))
  end
  local what = o.value and values(o.names[#o.names], o.choices, "")
  if what then out = out .. (what == " -F" and " -r" or " -x") .. what end
  return out .. " -d " .. quoted(o.about)
end

return function(list)
  local names, out = {}, { (head:gsub("@SED@", function() return catalogue.targets end)) }
  for _, v in ipairs(list) do names[#names + 1] = v.name end
  local verbs = table.concat(names, " ")
  for _, v in ipairs(list) do
    out[#out + 1] = ("complete -c lunate -n __fish_use_subcommand -a %s -d %s\n"):format(v.name,
      quoted(v.about))
    local at = ("complete -c lunate -n '__fish_seen_subcommand_from %s'"):format(v.name)
    for _, o in ipairs(v.options) do out[#out + 1] = at .. option(o) .. "\n" end
    for _, a in ipairs(v.arguments) do
      local what = values(a.name, a.choices, verbs)
      if what ~= "" then out[#out + 1] = at .. what .. "\n" end
    end
  end
  return table.concat(out)
end
