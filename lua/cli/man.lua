-- Man pages (section 1) from the same texts as `lunate help`: one for lunate, one for each verb.
local sys = require "lunate.sys"

local M = {}

local function escape(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-")
  return (text:gsub("^([.'])", "\\&%1"):gsub("\n([.'])", "\n\\&%1"))
end

local function head(name, about)
  return ('.TH %s 1 "" "lunate %s" "Lunate"\n.SH NAME\n%s \\- %s\n'):format(
    name:upper(), sys.version(), name:gsub("%-", "\\-"), escape(about))
end

local function literal(text)
  return ".PP\n.nf\n" .. escape(text):gsub("%s+$", "") .. "\n.fi\n"
end

local function option(o)
  local names = {}
  for i, name in ipairs(o.names) do names[i] = "\\fB" .. escape(name) .. "\\fR" end
  local value = o.choices and table.concat(o.choices, "|") or o.value
  return (".TP\n%s%s\n%s\n"):format(table.concat(names, ", "),
    value and " \\fI" .. escape(value) .. "\\fR" or "", escape(o.about ~= "" and o.about or "\\&"))
end

local function synopsis(v)
  local parts = { "lunate", "[-C SITE]", v.name }
  if #v.options > 0 then parts[#parts + 1] = "[OPTION...]" end
  for _, a in ipairs(v.arguments) do
    local name = a.choices and table.concat(a.choices, "|") or a.name:upper()
    parts[#parts + 1] = a.many and name .. "..." or name
  end
  return table.concat(parts, " ")
end

--- verb(v): the page of one verb of lunate.cli.catalogue.
function M.verb(v)
  local out = { head("lunate-" .. v.name, v.about), ".SH SYNOPSIS\n", escape(synopsis(v)), "\n" }
  if v.page.about then out[#out + 1] = ".SH DESCRIPTION\n" .. escape(v.page.about) .. "\n" end
  if #v.options > 0 then out[#out + 1] = ".SH OPTIONS\n" end
  for _, o in ipairs(v.options) do out[#out + 1] = option(o) end
  if v.page.examples then
    out[#out + 1] = ".SH EXAMPLES\n" .. literal(table.concat(v.page.examples, "\n"))
  end
  out[#out + 1] = ".SH EXIT STATUS\n0 done, 1 what was asked about is wrong, 2 wrong usage, "
    .. "3 no engine running, or nobody to connect to.\n.SH SEE ALSO\n.BR lunate (1)\n"
  return table.concat(out)
end

--- overview(list): lunate(1).
function M.overview(list)
  local about = "receives HL7 v2 messages, runs a Lua script on each, sends them on"
  local out = { head("lunate", about),
    ".SH SYNOPSIS\nlunate [\\-C SITE] VERB ...\n",
    ".SH DESCRIPTION\nSITE is the site's folder; the current one when left out. ",
    "Each verb has a page of its own: lunate\\-VERB(1), and `lunate help VERB`.\n" }
  local group
  for _, v in ipairs(list) do
    if v.group ~= group then
      group = v.group
      out[#out + 1] = ".SH " .. escape(group:upper()) .. "\n"
    end
    out[#out + 1] = (".TP\n\\fB%s\\fR\n%s\n"):format(v.name, escape(v.about))
  end
  return table.concat(out)
end

return M
