-- The completion script for bash (4.4 or later; bash-completion is not needed).
local catalogue = require "lunate.cli.catalogue"

local head = [==[
# bash completion for lunate; made by `lunate completion bash`.
_lunate_channels() { # of the site $1
  local f name
  for f in "$1"/channels/*.lua "$1"/channels/*/init.lua; do
    [ -e "$f" ] || continue
    name=${f#"$1"/channels/}
    name=${name%/init.lua}
    printf '%s\n' "${name%.lua}"
  done
}

_lunate_targets() { # of the site $1: CHANNEL/DEST
  local name
  for name in $(_lunate_channels "$1"); do
    @SED@ "$1/channels/$name.lua" \
      "$1/channels/$name/init.lua" 2>/dev/null
  done
}

_lunate_specs() { # of the site $1
  local f
  for f in "$1"/spec/*_spec.lua; do
    [ -e "$f" ] || continue
    f=${f##*/}
    printf '%s\n' "${f%_spec.lua}"
  done
}

_lunate_words() { # words to choose from: $1
  local IFS=$' \t\n'
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$cur")
}

_lunate_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "-$1" -- "$cur")
}

_lunate_kind() { # what may stand here: $1
  case $1 in
  channel) _lunate_words "$(_lunate_channels "$site")" ;;
  target) _lunate_words "$(_lunate_targets "$site")" ;;
  spec) _lunate_words "$(_lunate_specs "$site")" ;;
  verb) _lunate_words "$verbs" ;;
  folder) _lunate_files d ;;
  file) _lunate_files f ;;
  esac
}

_lunate() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} site=. verb= i options= kind=
  local verbs="@VERBS@"
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
    -C) i=$((i + 1)); site=${COMP_WORDS[i]} ;;
    -*) ;;
    *) verb=${COMP_WORDS[i]}; break ;;
    esac
  done
  if [ -z "$verb" ]; then
    if [ "$prev" = -C ]; then _lunate_files d; else _lunate_words "$verbs -C"; fi
    return
  fi
  case $verb in
]==]

local tail = [==[
  esac
  case $cur in
  -*) _lunate_words "$options --help" ;;
  *) _lunate_kind "$kind" ;;
  esac
}
complete -F _lunate lunate
]==]

local function add_option(out, o, words)
  for _, name in ipairs(o.names) do words[#words + 1] = name end
  if not o.value then return end
  local names = table.concat(o.names, "|")
  local kind = catalogue.kind(o.names[#o.names]) or catalogue.kind(o.value)
  if o.choices then
    out[#out + 1] = ('    %s) _lunate_words "%s"; return ;;\n'):format(names,
      table.concat(o.choices, " "))
  else
    out[#out + 1] = ("    %s) _lunate_kind %s; return ;;\n"):format(names, kind or "none")
  end
end

-- The first argument's choices, then what the others are.
local function argument_lines(v)
  local first, kind = v.arguments[1], "none"
  for _, a in ipairs(v.arguments) do
    local k = catalogue.kind(a.name)
    if k then kind = k end
  end
  local out = ("    kind=%s\n"):format(kind)
  if first and first.choices then
    out = out .. ('    if [[ $prev = %s && $cur != -* ]]; then _lunate_words "%s"; return; fi\n')
      :format(v.name, table.concat(first.choices, " "))
  end
  return out
end

return function(list)
  local names, out = {}, {}
  for _, v in ipairs(list) do
    names[#names + 1] = v.name
    local cases, words = {}, {}
    for _, o in ipairs(v.options) do add_option(cases, o, words) end
    out[#out + 1] = ("  %s)\n    options=\"%s\"\n"):format(v.name, table.concat(words, " "))
    if #cases > 0 then
      out[#out + 1] = "    case $prev in\n" .. table.concat(cases) .. "    esac\n"
    end
    out[#out + 1] = argument_lines(v) .. "    ;;\n"
  end
  local fill = { VERBS = table.concat(names, " "), SED = catalogue.targets }
  return (head:gsub("@(%u+)@", fill)) .. table.concat(out) .. tail
end
