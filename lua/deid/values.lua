-- What becomes of single values (unescaped text), by rule. Each function takes (x, text) and gives
-- the new text; x: the run (key, options) with the patient in whose record the value stands.
local names = require "lunate.deid.names"
local dates = require "lunate.deid.dates"
local find, sub = string.find, string.sub

local M = { marker = "[removed]" }

-- In capitals, when the original was.
local function like(original, text)
  if find(original, "%u") and not find(original, "%l") then return text:upper() end
  if find(original, "%l") and not find(original, "%u") then return text:lower() end
  return text
end

function M.family(x, text)
  return like(text, x.keyed:pick("family", text:lower(), names.family))
end

function M.given(x, text)
  local sex = x.sex
  local list = sex == "F" and names.female or sex == "M" and names.male or names.any
  local name = x.keyed:pick("given", text:lower(), list)
  if #text == 1 or find(text, "^%a%.$") then return like(text, sub(name, 1, 1)) .. sub(text, 2) end
  return like(text, name)
end

--- JR, DR, MD: kept when known, else taken out.
function M.title(_, text)
  local plain = text:upper():gsub("[^%a ]", "")
  for word in plain:gmatch "%S+" do
    if not names.titles[word] then return "" end
  end
  return plain == "" and "" or text
end

--- Social security numbers: 9xx, which was never given out.
function M.ssn(x, text)
  return (x.keyed:id(text):gsub("%d", "9", 1))
end

--- An id; a name or number of it elsewhere in the message goes, too.
function M.id(x, text)
  if find(text, "^%d%d%d%-%d%d%-%d%d%d%d$") then return M.ssn(x, text) end
  return x.keyed:id(text)
end

--- The same for ids of messages, orders, people who are no patients: they are not sought elsewhere.
M.ref = M.id

function M.date(x, text)
  return dates.shift(text, x)
end

--- The time of day, no date.
function M.time(_, text)
  return find(text, "^%d%d%d?%d?%d?%d?[%d.]*[+-]?%d*$") and #text <= 16 and text or ""
end

local function digits(x, purpose, text)
  local stream, at = x.keyed:bytes(purpose, text), 0
  return (text:gsub("%d", function()
    at = at % 32 + 1
    return tostring(stream:byte(at) % 10)
  end))
end

function M.email(x, text)
  local n = x.keyed:number("email", text:lower(), 10000000)
  return ("user%d@example.org"):format(n)
end

--- A number of the same form, 555 in front of the last four digits.
function M.phone(x, text)
  if find(text, "@", 1, true) then return M.email(x, text) end
  local words = text:lower():gsub("ext", ""):gsub("x", ""):gsub("tel", "")
  if find(words, "[%a\128-\255]") then return "" end
  local new = digits(x, "phone", text)
  local n = select(2, new:gsub("%d", ""))
  if n < 7 then return new end
  local k = 0
  return (new:gsub("%d", function(d)
    k = k + 1
    return k > n - 7 and k <= n - 4 and "5" or d
  end))
end

function M.digits(x, text)
  return find(text, "[%a\128-\255]") and "" or digits(x, "digits", text)
end

function M.street(x, text)
  local n = x.keyed:number("house", text:lower(), 998) + 1
  return like(text, ("%d %s St"):format(n, x.keyed:pick("street", text:lower(), names.street)))
end

function M.city(x, text)
  return like(text, x.keyed:pick("city", text:lower(), names.city))
end

--- A state or country in letters or a short code; anything longer goes.
function M.region(_, text)
  return find(text, "^%a%a%a?$") and text or ""
end

-- Areas of three digits with 20,000 people or fewer (HIPAA Safe Harbor; census of 2000 and 2010).
local small = {}
for zip in ("036 059 063 102 203 205 369 556 692 753 772 790 821 823 830 831 878 879 884 890 893")
  :gmatch "%d+" do small[zip] = true end

function M.zip(_, text)
  local three = text:match "^(%d%d%d)%d%d$" or text:match "^(%d%d%d)%d%d%-?%d%d%d%d$"
  if not three then return "" end
  return small[three] and "000" or three
end

function M.org(x, text)
  return ("Organization %04d"):format(x.keyed:number("org", text:lower(), 10000))
end

--- Numbers stay numbers; what is none goes.
function M.number(x, text)
  return find(text, "^%s*[+-]?%d*%.?%d*%s*$") and x:scrub(text) == text and text or ""
end

--- Codes: those that their table has; others when short, in capitals and digits.
function M.code(x, text, entry)
  if x:known_code(entry, text) then return text end
  local many = select(2, text:gsub("%d", ""))
  local short = #text <= 12 and many <= 4 and find(text, "^[%u%d_%.%-/+*]+$")
  return short and x:scrub(text) == text and text or ""
end

--- Text: taken out (a marker says so); with text = "scrub" without what is known to identify.
function M.text(x, text)
  if x.o.text == "scrub" then return x:scrub(text, true) end
  if text == M.marker then return text end
  return M.marker
end

--- Text of any other field: taken out, whatever `text` says.
function M.blank()
  return M.marker
end

local plain = {}
for word in ([[positive negative normal abnormal reactive nonreactive detected not none trace rare
  few moderate many present absent clear cloudy yellow amber straw red brown pending final see note
  yes no high low unknown indeterminate equivocal growth no seen isolated susceptible resistant
  intermediate female male]]):gmatch "%a+" do plain[word] = true end

--- Results as text: usual words and short numbers stay.
function M.result(x, text)
  if #text > 60 then return M.text(x, text) end
  for word in text:gmatch "[^%s,;/]+" do
    local number = find(word, "^[<>=+-]*%d?%d?%d?%d?%.?%d?%d?%d?%%?[+-]?$")
    local titer = find(word, "^1:%d+$") and #word <= 6
    local blood = find(word, "^[ABO]?[ABO]?[+-]$") or find(word, "^%d?%+*$")
    if not (plain[word:lower()] or number or titer or blood) then return M.text(x, text) end
  end
  return text
end

function M.remove()
  return ""
end

--- Kept, but for what is known to identify the patient.
function M.keep(x, text)
  return x:scrub(text)
end

--- Kept: delimiters, names of systems, message types.
function M.as_is(_, text)
  return text
end

function M.data()
  return "cmVtb3ZlZA==" -- "removed" in base64
end

return M
