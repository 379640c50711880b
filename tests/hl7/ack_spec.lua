local ln = require "support.ln"
local C, ffi = ln.C, ln.ffi

local codes = { AA = 0, AE = 1, AR = 2 }

local alive = {} -- the texts that spans point to
local function header(text)
  alive[#alive + 1] = text
  local h = ffi.new "struct ln_header"
  return h, C.ln_header_read(ln.span(text), h, nil)
end

local function buffer()
  return ffi.gc(ffi.new "struct ln_buf", C.ln_buf_fini)
end

local keep -- the strings an ack points to
local function new_ack(o)
  keep = { o.text or "", o.error_code or "", o.location or "", o.id or "OWN1" }
  return ffi.new("struct ln_ack", { codes[o.code or "AA"], ln.span(keep[1]), ln.span(keep[2]),
    ln.span(keep[3]), ln.span(keep[4]), 1767225600000000LL })
end

-- The acknowledgement of a message, its time taken out; nil and the code when refused.
local function ack(message, o)
  local h = header(message)
  local b = buffer()
  local code = C.ln_ack_write(b, h, new_ack(o or {}))
  if code ~= 0 then return nil, code end
  local text = ffi.string(b.data, b.len)
  local sep = text:sub(4, 4):gsub("%p", "%%%0")
  return (text:gsub(sep .. "20%d%d%d%d%d%d%d%d%d%d%d%d[+-]%d%d%d%d", sep .. "TIME", 1))
end

local function msh(o)
  o = o or {}
  return ("MSH|%s|%s|%s|%s|%s|20260101||%s|%s|%s|%s%s\rPID|1\r"):format(o.enc or "^~\\&",
    o[3] or "APP", o[4] or "FAC", o[5] or "RAPP", o[6] or "RFAC", o[9] or "ADT^A01^ADT_A01",
    o[10] or "ID1", o[11] or "P", o[12] or "2.5.1", o.rest or "")
end

local function reply(text)
  local r, err = ffi.new "struct ln_reply", ffi.new "struct ln_err"
  local code = C.ln_reply_read(ln.span(text), r, err)
  return { code = ffi.string(r.code), id = ln.str(r.control_id), text = ln.str(r.text) }, code,
    ffi.string(err.text)
end

local HEAD = "MSH|^~\\&|RAPP|RFAC|APP|FAC|TIME||ACK^A01^ACK|OWN1|P|2.5.1\r"

describe("hl7/ack", function()
  it("swaps the names, copies processing id, version and control id", function()
    assert.equal(HEAD .. "MSA|AA|ID1\r", ack(msh()))
  end)

  it("stamps the time of the acknowledgement", function()
    local b = buffer()
    assert.equal(0, C.ln_ack_write(b, header(msh()), new_ack {}))
    assert.truthy(ffi.string(b.data, b.len):find "|202[56]%d%d%d%d%d%d%d%d%d%d[+-]%d%d%d%d|")
  end)

  it("writes MSH-9 as the version wants it", function()
    for version, want in pairs { ["2.1"] = "ACK^A01", ["2.2"] = "ACK^A01", ["2.3"] = "ACK^A01",
      ["2.3.1"] = "ACK^A01^ACK", ["2.4"] = "ACK^A01^ACK", ["2.8.2"] = "ACK^A01^ACK",
      ["2.5^FRA^2.5"] = "ACK^A01^ACK", ["2.999"] = "ACK^A01^ACK", ["3.0"] = "ACK^A01^ACK",
      ["v2.4"] = "ACK^A01^ACK", ["x"] = "ACK^A01" } do
      assert.equal(HEAD:gsub("ACK%^A01%^ACK", want):gsub("2%.5%.1", (version:gsub("%^", "%%^"))) ..
        "MSA|AA|ID1\r", (ack(msh { [12] = version })), version)
    end
    assert.truthy(ack(msh { [9] = "ADT" }):find "||ACK|OWN1|")
    assert.truthy(ack(msh { [9] = "ADT^^ADT_A01" }):find "||ACK|OWN1|")
  end)

  it("fills in what the standard requires when the sender left it out", function()
    assert.equal("MSH|^~\\&|RAPP|RFAC|APP|FAC|TIME||ACK^A01|OWN1|P|2.3\rMSA|AA|ID1\r",
      (ack(msh { [11] = "", [12] = "" })))
    assert.equal("MSH|^~\\&|||A||TIME||ACK|OWN1|P|2.3\rMSA|AA|\r", (ack "MSH|^~\\&|A\r"))
    assert.equal("MSH|^~\\&|||||TIME||ACK|OWN1|P|2.3\rMSA|AA|\r", (ack "MSH|^~\\&"))
  end)

  it("is not hindered by fields made only of delimiters", function()
    assert.equal("MSH|^~\\&|||APP|FAC|TIME||ACK|OWN1|P|2.3\rMSA|AA|^\r",
      (ack(msh { [5] = "~", [6] = "^^", [9] = "^", [10] = "^", [11] = "&", [12] = "^" })))
  end)

  it("echoes the control id byte for byte", function()
    for _, id in ipairs { "", "a^b&c~d\\e", " x ", "\\F\\", ("9"):rep(300), "\195\169", "\"\"" } do
      local text = ack(msh { [10] = id })
      assert.equal("MSA|AA|" .. id .. "\r", text:sub(-#id - 8))
      assert.equal(id, reply(text).id)
    end
  end)

  it("never ends a frame early, whatever is echoed", function()
    local text = ack(msh { [10] = "ID\28", [4] = "F\28\11", [12] = "2.5.1\28" })
    assert.is_nil(text:find("\28\r", 1, true))
    assert.equal("ID\28", reply(text).id)
  end)

  it("answers in the sender's delimiters and charset", function()
    assert.equal("MSH^~|\\&^RAPP^RFAC^APP^FAC^TIME^^ACK~A01~ACK^OWN1^P^2.4\rMSA^AA^ID1\r",
      (ack "MSH^~|\\&^APP^FAC^RAPP^RFAC^20260101^^ADT~A01^ID1^P^2.4\r"))
    for _, enc in ipairs { "^~\\&#", "^~\\", "^~", "^", "^~&" } do
      assert.equal("MSH|" .. enc .. "|", ack(msh { enc = enc }):sub(1, #enc + 5))
    end
    assert.truthy(ack(msh { rest = "||||||8859/1~X" }):find("|P|2.5.1||||||8859/1~X\r", 1, true))
  end)

  it("answers LF and CRLF messages with CR", function()
    for _, ending in ipairs { "\n", "\r\n" } do
      assert.equal(HEAD .. "MSA|AA|ID1\r", ack((msh():gsub("\r", ending))))
    end
  end)

  it("says an error as the version says it", function()
    local o = { code = "AE", text = "no such ward", error_code = "103", location = "PV1-3.1" }
    local function err(version, more)
      local text = ack(msh { [12] = version, enc = more and more.enc }, more or o)
      return text:match "\r(MSA.*)$"
    end
    for _, v in ipairs { "2.1", "2.2", "2.3", "2.3.1", "2.4", "" } do
      assert.equal("MSA|AE|ID1|no such ward\rERR|PV1^1^3^103&Table value not found&HL70357\r",
        err(v))
    end
    for _, v in ipairs { "2.5", "2.5.1", "2.6" } do
      assert.equal("MSA|AE|ID1|no such ward\r" ..
        "ERR||PV1^1^3^1^1|103^Table value not found^HL70357|E||||no such ward\r", err(v))
    end
    for _, v in ipairs { "2.7", "2.7.1", "2.8", "2.9" } do
      assert.equal("MSA|AE|ID1\rERR||PV1^1^3^1^1|103^Table value not found^HL70357|E" ..
        "||||no such ward\r", err(v))
    end
    assert.equal("MSA|AR|ID1\rERR|||207^Application internal error^HL70357|E\r",
      err("2.5", { code = "AR" }))
    assert.equal("MSA|AR|ID1\rERR|^^^207&Application internal error&HL70357\r",
      err("2.3", { code = "AR" }))
    assert.equal("MSA|AE|ID1\rERR|^^^207\r", err("2.3", { code = "AE", enc = "^~\\" }))
    assert.equal("MSA|AE|ID1\rERR|||x9^^HL70357|E\r",
      err("2.5", { code = "AE", error_code = "x9" }))
  end)

  it("reads errors from lines of text, as far as they are some", function()
    local function read(text)
      local out, list = ffi.new "struct ln_ack_error[100]", {}
      for i = 0, tonumber(C.ln_ack_errors_read(ln.span(text), out)) - 1 do
        local e = out[i]
        list[i + 1] = table.concat({ string.char(e.severity), ln.str(e.code), ln.str(e.location),
          ln.str(e.text) }, "/")
      end
      return list
    end
    assert.same({ "E/102/PID-7/no such month", "W/207//a: b" },
      read "E 102 PID-7: no such month\nW 207 : a: b\n")
    assert.same({ "I/103/OBX[2]-5[3].1.2/" }, read "I 103 OBX[2]-5[3].1.2: ")
    for _, text in ipairs { "", "\n", "E", "E 102", "E 102 PID-7", "E 102 PID-7:", "X 102 P: t",
      "E 1x2 P: t", "lib/a.lua:3: in function 'f'", "E102 P: t" } do
      assert.same({}, read(text), text)
    end
    assert.equal(1, #read "E 102 P: t\nlib/a.lua:3: in main chunk")
    assert.equal(100, #read(("E 102 P: t\n"):rep(150)))
  end)

  it("says a location as far as it goes", function()
    for path, want in pairs { PID = "PID^1", ["OBX[3]-5"] = "OBX^3^5", ["PID-3[2]"] = "PID^1^3^2",
      ["PID-3[2].4.1"] = "PID^1^3^2^4^1", ["OBX[12]"] = "OBX^12", ["PID-"] = "PID^1",
      [""] = "" } do
      local text = ack(msh(), { code = "AE", location = path })
      assert.equal(want, text:match "ERR||([^|]*)|", path)
    end
  end)

  it("escapes its own text in the sender's way", function()
    local text = ack(msh(), { code = "AE", text = "a|b^c&d~e\\f\r\n\11\28g" })
    assert.equal("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f    g", text:match "MSA|AE|ID1|([^\r]*)\r")
    text = ack(msh { enc = "^~" }, { code = "AE", text = "a|b^c&d~e\\f" })
    assert.equal("a b c&d e\\f", text:match "MSA|AE|ID1|([^\r]*)\r")
  end)

  it("never says AA to what could not be read", function()
    local NONE = "MSH|^~\\&|||||TIME||ACK|OWN1|P|2.5\rMSA|%s|%s\r" ..
      "ERR|||100^Segment sequence error^HL70357|E%s\r"
    for _, garbage in ipairs { "", "hello world", "MSH", "MSH|SENDER|FAC", "PID|1" } do
      assert.same({ nil, C.LN_EINVAL }, { ack(garbage) })
      assert.equal(NONE:format("AR", "", ""), (ack(garbage, { code = "AR" })))
      assert.equal(NONE:format("AE", "|why", "||||why"),
        (ack(garbage, { code = "AE", text = "why" })))
    end
    assert.same({ nil, C.LN_EINVAL }, { ack "MSH||A|B|C|D|||ADT|ID9|P|2.3\r" })
    -- What could be read of a header without encoding characters is used to refuse it.
    assert.equal("MSH|^~\\&|C|D|A|B|TIME||ACK|OWN1|P|2.3\rMSA|AR|ID9\rERR|^^^101&Required field " ..
      "missing&HL70357\r", (ack("MSH||A|B|C|D|||ADT|ID9|P|2.3\r", { code = "AR",
      error_code = "101" })))
    assert.equal("MSH^|~\\&^", ack("MSH^^A^B", { code = "AR" }):sub(1, 9))
  end)

  it("answers a batch as a whole and message by message", function()
    local function batch(text, file)
      local h, b = header(text), buffer()
      assert.equal(0, C.ln_ack_batch_begin(b, h, new_ack {}, file))
      assert.equal(0, C.ln_ack_batch_end(b, h, 2, file))
      return (ffi.string(b.data, b.len):gsub("|20%d+[+-]%d%d%d%d", "|TIME"))
    end
    local bhs = "BHS|^~\\&|A|B|C|D|2026||||B7\r"
    assert.equal("BHS|^~\\&|C|D|A|B|TIME||||OWN1|B7\rBTS|2\r", batch(bhs, false))
    assert.equal("FHS|^~\\&|C|D|A|B|TIME||||OWN1|F1\rBHS|^~\\&|C|D|A|B|TIME||||OWN1\r" ..
      "BTS|2\rFTS|1\r", batch("FHS|^~\\&|A|B|C|D|2026||||F1\r" .. bhs, true))
    assert.equal("MSH|^~\\&|C|D|A|B|TIME||ACK|OWN1|P|2.5\rMSA|AR|B7\r" ..
      "ERR|||207^Application internal error^HL70357|E\r", (ack(bhs, { code = "AR" })))
    local b = buffer()
    assert.equal(C.LN_EINVAL, C.ln_ack_batch_begin(b, header "x", new_ack {}, false))
    assert.equal(C.LN_EINVAL, C.ln_ack_batch_end(b, header "x", 1, false))
    assert.equal(0, tonumber(b.len))
  end)
end)

describe("hl7/reply", function()
  it("reads acknowledgements of any version, line end and order", function()
    local want = { code = "AA", id = "ID1", text = "" }
    for _, text in ipairs {
      "MSH|^~\\&|A\rMSA|AA|ID1\r", "MSH|^~\\&|A\nMSA|AA|ID1\n", "MSH|^~\\&|A\r\nMSA|AA|ID1",
      "MSH|^~\\&\rSFT|x\rUAC|y\rNTE|1||MSA\\F\\AE\rMSA|AA|ID1||1|\rQAK|MSA|AE\r",
      "\r\nMSH|^|\rMSA|aa|ID1",
      "MSH^~|\\&^\rMSA^AA^ID1\r", "MSH||\rMSA| AA |ID1\r", "MSH|^~\\&|\rMSA|??|\rMSA|AA|ID1\r",
      "BHS|^~\\&|\rMSH|^~\\&|\rMSA|AA|ID1\rBTS|1\r",
    } do
      local r, code = reply(text)
      assert.equal(0, code, text)
      assert.same(want, r, text)
    end
    for _, code in ipairs { "AA", "AE", "AR", "CA", "CE", "CR" } do
      assert.equal(code, reply("MSH|^~\\&|\rMSA|" .. code .. "|1").code)
    end
  end)

  -- Guards: the byte of a separator within a double-byte character cut the id short; the reply then
  -- matched no message, and the queue stood.
  it("takes a control id with a separator's byte inside a character whole", function()
    local r = reply("MSH|^~\\&|||||||ACK|1|P|2.5||||||GB 18030-2000\rMSA|AA|A\x81|B|text\r")
    assert.same({ code = "AA", id = "A\x81|B", text = "text" }, r)
    assert.equal("A\x81", reply("MSH|^~\\&|\rMSA|AA|A\x81|B\r").id)
  end)

  it("gives the text of MSA-3, or ERR-8", function()
    assert.equal("full", reply("MSH|^~\\&|\rMSA|AR|1|full\rERR||||||||user\r").text)
    assert.equal("user", reply("MSH|^~\\&|\rMSA|AR|1\rERR||PID|1|E||||user|help\r").text)
    assert.equal("", reply("MSH|^~\\&|\rMSA|AR|1\rERR||PID|1|E\r").text)
  end)

  it("says what is wrong with a reply that says nothing", function()
    for text, why in pairs {
      [""] = "empty reply",
      ["\6"] = "reply is a bare ACK byte 06 (MLLP release 2): it names no message",
      ["\21"] = "reply is a bare NAK byte 15 (MLLP release 2): it names no message",
      ["OK"] = "reply of 2 bytes does not start with MSH",
      ["MSA|AA|1\r"] = "reply of 9 bytes does not start with MSH",
      ["MSH|^~\\&|A|B\r"] = "reply without an MSA segment",
      ["MSH|^~\\&|\rMSA"] = "reply without an MSA segment",
      ["MSH|^~\\&|\rMSA|"] = "reply without a known code in MSA-1",
      ["MSH|^~\\&|\rMSA|AX|1"] = "reply without a known code in MSA-1",
      ["MSH|^~\\&|\rMSA|A^|1"] = "reply without a known code in MSA-1",
    } do
      local r, code, err = reply(text)
      assert.equal(C.LN_EPARSE, code, text)
      assert.equal("", r.code, text)
      assert.equal(why, err, text)
    end
  end)
end)
