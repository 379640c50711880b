-- One way of writing names and phone numbers. Functions of text alone, so that a spec can call them
-- without a message; each() brings them to all repetitions of a field.
local normalize = {}

local country = "+1" -- for phone numbers without one

-- string.upper knows the letters of ASCII. These are the Latin ones after them, in UTF-8 two bytes
-- each: U+00E0..U+00FE, without U+00F7 which is the division sign.
local function upper_latin(lead, letter)
  if letter == "\183" then return nil end
  return lead .. string.char(letter:byte() - 32)
end

--- "  van  der berg " -> "VAN DER BERG". Letters beyond Latin-1 stay as they are.
function normalize.name(text)
  text = text:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  return (text:upper():gsub("(\195)([\160-\190])", upper_latin))
end

--- "(202) 555-0123" -> "+12025550123". What follows the number, like an extension "X45", is kept.
-- What is not surely a number is given back as it is: a wrong number is worse than an odd style.
function normalize.phone(text)
  local number, rest = text:match "^%s*(%+?[%d%s%(%)%./-]+)(.*)$"
  if not number then return text end
  local digits = number:gsub("%D", "")
  if number:find("^%+") then
    return "+" .. digits .. rest
  elseif #digits == 10 then
    return country .. digits .. rest
  elseif #digits == 11 and digits:sub(1, 1) == "1" then
    return "+" .. digits .. rest
  end
  return text
end

--- Replaces component `c` by f(text) in every repetition of a field: each(msg.PID[5], 1, f). Its
-- subcomponents are done one by one (a family name may have a prefix), so that none is lost.
-- Absent values stay absent, and HL7's explicit null stays null: it tells the receiver to delete.
function normalize.each(field, c, f)
  for r = 1, #field do
    local component = field:rep(r)[c]
    for s = 1, #component do
      local text = component[s].value
      if text and text ~= hl7.null then component[s] = f(text) end
    end
  end
end

return normalize
