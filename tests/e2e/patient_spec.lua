-- No patient data where people look who need not see it: everything that can go wrong goes wrong
-- with marked messages, then log, metrics, status and process list are searched for the mark.
local site = require "support.site"
local net = require "support.net"

local MARK = "ZQPATIENTZQ"

-- What a script may do wrong with a value of the message, by control id.
local script = [[
local cases = {}
function cases.ERROR(v) error(v) end
function cases.ERRORTABLE(v) error { v } end
function cases.ASSERT(v) assert(false, v) end
function cases.MATH(v) return v + 1 end
function cases.INDEX(v) return ({})[v].x end
function cases.CALL(v) return ({})[v]() end
function cases.CONCAT(v) return v .. {} end
function cases.FORMAT(v) return ("%%d"):format(v) end
function cases.PATTERN(v) return ("x"):find("[" .. v) end
function cases.PATH(v, msg) msg[v] = "x" end
function cases.READPATH(v, msg) return msg[v] end
function cases.NAME(v, msg) return msg.PID[v] end
function cases.SEGMENT(v, msg) msg:add(v) end
function cases.EACH(v, msg) for _ in msg:each(v) do end end
function cases.PARSE(v) return hl7.parse(v) end
function cases.NEW(v) return hl7.new { type = v } end
function cases.ACK(v, msg) return msg:ack { code = v } end
function cases.TIME(v) return assert(hl7.time(v)) end
function cases.JSON(v) return json.decode("[" .. v) end
function cases.REQUIRE(v) return require(v) end
function cases.LOOKUP(v) return lookup(v, v) end
function cases.LOAD(v) return assert(load("x = " .. v .. " y")) end
function cases.KV(v) kv[v] = function() end end
function cases.ENV(v) return env(v):len() end
function cases.PLACE(v) error(v .. ".lua:7: is no place", 0) end
function cases.CHUNK(v) return load("log.info 'x' error 'x'", "@" .. v)() end
function cases.OPEN(v) return assert(io.open(v)) end
function cases.LOG(v) log.info(v) log.error("%%s", v) print(v) error "logged" end
function cases.OUTPUT(v) return { v } end
function cases.DEEP(v)
  local function f(n) return n == 0 and error(v) or 1 + f(n - 1) end
  return f(50)
end
function cases.THREAD(v) return coroutine.wrap(function() error(v) end)() end
function cases.LOOP(v) while true do v = v end end
function cases.HOG(v) local t = {} while true do t[#t + 1] = v:rep(100000) .. #t end end
return channel {
  source = mllp.listen { port = %d },
  ack = "transform",
  limits = { seconds = 0.3, memory_mb = 32, attempts = 1 },
  filter = function(msg)
    if msg.control_id == "FILTERED" then return false, msg["PID-5.1"] end
    return true
  end,
  transform = function(msg)
    local case = cases[msg.control_id]
    if not case then return end
    return case(msg["PID-5.1"], msg)
  end,
  destinations = {
    out = mllp.send { host = "127.0.0.1", port = %d, timeout = 1,
      retry = { first = 0.05, max = 0.1, attempts = 2 } },
  },
}
]]

local function message(id, o)
  o = o or {}
  return ("MSH|^~\\&|EHR|HOSP|LAB|CITY|20261123||%s|%s|%s|%s|||||%s\r"):format(
    o.type or "ADT^A01^ADT_A01", id, o.processing or "P", o.version or "2.5.1", o.charset or "") ..
    ("PID|1||%s1^^^HOSP^MR||%s^Anna%s||%s|F|||%s Street^^%s\r"):format(MARK, MARK, o.bytes or "",
      o.birth or MARK, MARK, MARK)
end

local function cases()
  local list = {}
  for name in script:gmatch "function cases%.(%u+)" do list[#list + 1] = name end
  return list
end

-- Broken ways to send: whole frames' contents.
local broken = {
  MARK, "MSH", "MSH|" .. MARK, "MSH|^~\\&|" .. MARK .. "|", "PID|1||" .. MARK .. "\r",
  "MSH||||||||" .. MARK .. "|X|P|2.5\r", "\0" .. MARK .. "\r", "MSH|^~\\&|\rPID|" .. MARK,
  "MSH|^~\\&|||||||" .. MARK .. "^" .. MARK .. "|B1|" .. MARK .. "|" .. MARK .. "\r" ..
    MARK .. "|x\r|||" .. MARK .. "\r",
}

local function nowhere(what, text)
  local at = text:find(MARK, 1, true)
  if at then
    error(("%s shows patient data: ...%s..."):format(what,
      text:sub(math.max(1, at - 200), at + 60)), 2)
  end
end

local function slurp(path)
  local f = io.open(path, "rb")
  if not f then return "" end
  local text = f:read "*a"
  f:close()
  return text or ""
end

describe("e2e/patient data", function()
  after_each(site.cleanup)

  it("is in no log, metric, status or process list, whatever fails", function()
    local port, garbled, admin = net.free_port(), net.free_port(), net.free_port()
    local answers = 0
    local receiver = net.receiver { answer = function(text)
      answers = answers + 1
      local id = net.field(text, "MSH", 10) or ""
      local kinds = {
        MARK, "MSH|" .. MARK, net.ack(text, "AE", MARK), net.ack(text, MARK, MARK),
        net.ack(text, "AA"):gsub(id:gsub("%p", "%%%0"), MARK), net.ack(text, "AR", MARK),
      }
      return kinds[answers % #kinds + 1]
    end }
    local s = site.new {
      ["lunate.lua"] = ('return { admin = "127.0.0.1:%d", log = { level = "debug" } }'):format(admin),
      ["channels/adt.lua"] = script:format(port, receiver.port),
      ["channels/strict.lua"] = ('return channel { source = mllp.listen { port = %d, '
        .. 'charset = "UTF-8", max_message = 2000, duplicates = "flag" }, '
        .. 'filter = function(msg) return msg["PID-5.1"] and error(msg:validate()) end }')
        :format(garbled),
    }
    local e = s:start()
    local conn = assert(net.connect(port))
    for _, id in ipairs(cases()) do
      local reply, why = net.exchange(conn, message(id), 15)
      assert(reply, id .. ": " .. tostring(why))
    end
    for _, o in ipairs { { birth = "1962" .. MARK }, { type = MARK }, { processing = MARK },
      { version = MARK }, { charset = MARK }, { bytes = "\255\254" }, { charset = "UNICODE UTF-8",
        bytes = "\200" } } do
      assert(net.exchange(conn, message("V" .. tostring(o):match "%w+$", o), 15))
    end
    assert(net.exchange(conn, message "FILTERED", 15))
    for _, to in ipairs { port, garbled } do
      for _, text in ipairs(broken) do
        local c = assert(net.connect(to))
        c:send(net.frame(text), 5)
        c:recv_frame(0.2)
        c:close()
      end
      for _, raw in ipairs { MARK, "\11" .. MARK, "GET /" .. MARK .. " HTTP/1.1\r\n\r\n",
        net.frame(message("BIG", { bytes = MARK:rep(1000) })), "\22\3\1" .. MARK,
        net.frame(message "DUP"), net.frame(message "DUP") } do
        local c = assert(net.connect(to))
        c:send(raw, 5)
        c:recv(0.1)
        c:close()
      end
    end
    local c = net.connect(admin)
    c:send("GET /" .. MARK .. " HTTP/1.1\r\nHost: " .. MARK .. "\r\n\r\n", 5)
    c:recv(1)
    receiver:run_until(function() return answers >= 12 end, 20, "replies of every kind")

    for _, pid in ipairs { e.pid, unpack(e:workers()) } do
      nowhere("cmdline", slurp(("/proc/%d/cmdline"):format(pid)))
      nowhere("environ", slurp(("/proc/%d/environ"):format(pid)))
    end
    for _, verb in ipairs { { "status" }, { "status", "--json" }, { "metrics" }, { "check" },
      { "top", "--count", "1" }, { "reload" }, { "verify" } } do
      local _, out, err = s:run(unpack(verb))
      nowhere("lunate " .. table.concat(verb, " "), out .. err)
    end
    assert.equal(0, e:stop(20))
    nowhere("the log", e:log())
    assert.matches("parked", e:log(), 1, true) -- it did go wrong
  end)

  it("a script's error is kept for those who may see the message", function()
    local port = net.free_port()
    local s = site.new { ["channels/adt.lua"] = script:format(port, net.free_port()) }
    local e = s:start()
    assert(net.exchange(net.connect(port), message "ERROR", 15))
    local _, out = s:run("show", "adt/1")
    assert.matches(MARK, out, 1, true)
    assert.equal(0, e:stop())
    assert.is_nil(e:log():find(MARK, 1, true))
  end)
end)
