-- The completion script for zsh.
local catalogue = require "lunate.cli.catalogue"

local head = [==[
#compdef lunate
# zsh completion for lunate; made by `lunate completion zsh`.
_lunate_channels() {
  local -a names
  names=(${site:-.}/channels/*.lua(N:t:r) ${site:-.}/channels/*/init.lua(N:h:t))
  compadd -a names
}

_lunate_targets() {
  local -a names
  local f name
  for f in ${site:-.}/channels/*.lua(N) ${site:-.}/channels/*/init.lua(N); do
    name=${${f#${site:-.}/channels/}%/init.lua}
    name=${name%.lua}
    names+=(${(f)"$(@SED@ $f)"})
  done
  compadd -a names
}

_lunate_specs() {
  local -a names
  names=(${${(@f)$(print -l ${site:-.}/spec/*_spec.lua(N:t))}%_spec.lua})
  compadd -a names
}

_lunate() {
  local -a verbs
  local site=. verb i context state line
  typeset -A opt_args
  verbs=(
@VERBS@  )
  for ((i = 2; i < CURRENT; i++)); do
    case $words[i] in
    -C) ((i++)); site=$words[i] ;;
    -*) ;;
    *) verb=$words[i]; break ;;
    esac
  done
  if [[ -z $verb ]]; then
    if [[ $words[CURRENT-1] == -C ]]; then _files -/; else _describe verb verbs; compadd -- -C; fi
    return
  fi
  words=(lunate "${(@)words[i+1,-1]}")
  ((CURRENT -= i - 1))
  case $verb in
]==]

local tail = [==[
  esac
}
_lunate "$@"
]==]

local actions = { channel = "_lunate_channels", verb = "_lunate_verbs", folder = "_files -/",
  file = "_files", target = "_lunate_targets", spec = "_lunate_specs" }

-- Text within '...[...]' and between colons.
local function quoted(text)
  return (text:gsub("'", "'\\''"):gsub("[%[%]:]", "\\%0"))
end

local function action(name, choices)
  if choices then return "(" .. table.concat(choices, " ") .. ")" end
  return actions[catalogue.kind(name) or ""] or " "
end

local function option(o)
  local specs = {}
  for _, name in ipairs(o.names) do
    local value = o.value and (":%s:%s"):format(quoted(o.value:lower()), action(name, o.choices))
      or ""
    specs[#specs + 1] = (" \\\n      '%s[%s]%s'"):format(name, quoted(o.about), value)
  end
  return table.concat(specs)
end

return function(list)
  local names, out = {}, {}
  for _, v in ipairs(list) do
    names[#names + 1] = ("    '%s:%s'\n"):format(v.name, quoted(v.about))
    out[#out + 1] = ("  %s)\n    _arguments"):format(v.name)
    for _, o in ipairs(v.options) do out[#out + 1] = option(o) end
    for _, a in ipairs(v.arguments) do
      out[#out + 1] = (" \\\n      '%s:%s:%s'"):format(a.many and "*" or "", quoted(a.name),
        catalogue.kind(a.name) == "verb" and "{_describe verb verbs}" or action(a.name, a.choices))
    end
    out[#out + 1] = " \\\n      '--help[examples and options]'\n    ;;\n"
  end
  local fill = { VERBS = table.concat(names), SED = catalogue.targets }
  return (head:gsub("@(%u+)@", fill)) .. table.concat(out) .. tail
end
