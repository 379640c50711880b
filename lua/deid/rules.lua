-- Which rule is for which place, by data type and by field. What is in none of these tables goes by
-- its data type; what the dictionary does not know is taken out.
local M = {}

local function each(first, last, rule)
  local t = {}
  for i = first, last do t[i] = rule end
  return t
end

-- Components of data types. A rule, or the name of a type for the level below ("FN").
M.types = {
  FN = { "family", "remove", "family", "remove", "family" },
  XPN = { "FN", "given", "given", "title", "title", "title", "code", "code", "keep",
    [14] = "title" },
  XCN = { "ref", "FN", "given", "given", "title", "title", "title", "code", "HD", "code", "remove",
    "code", "code", "HD", [21] = "title" },
  CNN = { "ref", "family", "given", "given", "title", "title", "title", "code", "as_is", "as_is",
    "as_is" },
  NDL = { "CNN", "date", "date", "keep", "keep", "keep", "HD", "keep", "keep", "keep", "keep" },
  CX = { "id", "remove", "code", "HD", "code", "HD", "date", "date", "keep", "keep" },
  EI = { "ref", "as_is", "as_is", "as_is" },
  DLN = { "id", "code", "date" },
  SAD = { "street", "remove", "remove" },
  XAD = { "SAD", "remove", "city", "region", "zip", "region", "code", "remove", "remove", "remove",
    "code" },
  XTN = { "phone", "code", "code", "email", "digits", "digits", "digits", "digits", "remove",
    "remove", "remove", "phone" },
  XON = { "org", "code", "ref", "remove", "code", "HD", "code", "HD", "code", "ref" },
  HD = { "as_is", "as_is", "as_is" },
  PL = { "keep", "keep", "keep", "HD", "keep", "keep", "keep", "keep", "remove", "remove", "keep" },
  TS = { "date", "code" },
  ED = { "keep", "code", "code", "code", "data" },
  RP = { "remove", "HD", "code", "code" },
  CE = each(1, 6, "keep"),
  CWE = { "keep", "keep", "keep", "keep", "keep", "keep", "keep", "keep", "blank" },
  CNE = { "keep", "keep", "keep", "keep", "keep", "keep", "keep", "keep", "blank" },
  CF = each(1, 6, "keep"),
  MSG = each(1, 3, "as_is"), VID = each(1, 3, "as_is"), PT = each(1, 2, "as_is"),
  CM_MSG = each(1, 3, "as_is"), CQ = { "number", "keep" },
  SN = { "keep", "number", "keep", "number" },
  AUI = { "ref", "date", "org" }, ERL = each(1, 6, "code"), QIP = {},
}
for alias, name in pairs { PN = "XPN", CN = "XCN", PPN = "XCN", CK = "CX", AD = "XAD", TN = "XTN",
  CM_PAT_ID = "CX", CM_NDL = "NDL" } do M.types[alias] = M.types[name] end

-- Types with people in them: with providers = "keep" these stay as they are.
M.providers = { XCN = true, CN = true, PPN = true, NDL = true, CNN = true, CM_NDL = true }

-- Data types without components.
M.primitives = { ST = "blank", TX = "blank", FT = "blank", NM = "number", SI = "number",
  ID = "code", IS = "code", DT = "date", DTM = "date", TM = "time", TN = "phone" }

-- Fields, whatever data type their version gives them: a type or a rule.
M.fields = {
  MSH = { "as_is", "as_is", "HD", "HD", "HD", "HD", "TS", "remove", "MSG", "ref", "as_is", "as_is",
    "number", "remove", "as_is", "as_is", "as_is", "as_is", "CE", "as_is", "as_is", "HD", "HD",
    "HD", "HD" },
  PID = { [2] = "CX", [3] = "CX", [4] = "CX", [5] = "XPN", [6] = "XPN", [7] = "TS", [9] = "XPN",
    [11] = "XAD", [12] = "remove", [13] = "XTN", [14] = "XTN", [18] = "CX", [19] = "ssn",
    [20] = "DLN", [21] = "CX", [23] = "remove" },
  NK1 = { [2] = "XPN", [4] = "XAD", [5] = "XTN", [6] = "XTN", [10] = "remove", [12] = "CX",
    [13] = "XON", [30] = "XPN", [31] = "XTN", [32] = "XAD", [33] = "CX", [37] = "ssn",
    [38] = "remove" },
  GT1 = { [2] = "CX", [3] = "XPN", [4] = "XPN", [5] = "XAD", [6] = "XTN", [7] = "XTN", [12] = "ssn",
    [49] = "remove", [56] = "remove" },
  IN1 = { [8] = "id", [16] = "XPN", [19] = "XAD", [28] = "id", [36] = "id", [49] = "CX",
    [52] = "remove" },
  IN2 = { [1] = "CX", [2] = "ssn", [3] = "person", [6] = "id", [7] = "XPN", [8] = "id", [9] = "XPN",
    [10] = "id", [12] = "remove", [13] = "remove", [23] = "remove", [46] = "remove", [61] = "CX" },
  MRG = { "CX", "CX", "CX", "CX", "CX", "CX", "XPN" },
  PV1 = { [5] = "CX", [19] = "CX", [50] = "CX" },
  OBX = { [4] = "code", [7] = "keep" },
  NTE = { [3] = "text" }, AL1 = { [5] = "text" }, DG1 = { [4] = "text" }, OBR = { [13] = "text" },
  MSA = { [2] = "ref" },
  QRD = { [4] = "ref", [8] = "person" },
  QAK = { "ref" }, QPD = { "CE", "ref" }, TXA = { [16] = "remove" }, DSC = { "remove" },
  BHS = { "as_is", "as_is", "HD", "HD", "HD", "HD", "TS", "remove", "remove", "remove", "ref",
    "ref" },
  BTS = { "number" }, FTS = { "number" },
}
M.fields.FHS = M.fields.BHS

-- Whose values are sought in all the rest of the message.
M.identifying = { family = true, given = true, id = true, ssn = true, phone = true, email = true,
  street = true, digits = true }

--- Names that a file of rules may use, beside data types.
M.words = { name = "XPN", person = "person", address = "XAD" }
for word in ([[keep as_is remove text blank result id ref ssn date time phone email street city zip
  region org number code family given title digits]]):gmatch "%S+" do M.words[word] = word end

return M
