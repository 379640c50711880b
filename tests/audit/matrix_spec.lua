-- What each role gets of each verb, generated from the table of rights, over the raw control socket.
-- Guards: a request is let in exactly when the table says so, and over no other channel; a role without
-- content never gets any, by no verb, option, filter or format, nor by what scripts and receivers say.
local ffi = require "ffi"
local ln = require "support.ln"
local site = require "support.site"
local net = require "support.net"
local sys = require "support.sys"
local control = require "support.control_fake"
local C = sys.C

if not pcall(ffi.typeof, "struct matrix_un") then
  ffi.cdef "struct matrix_un { uint16_t family; char path[108]; };"
end

local ROLES = { "observer", "viewer", "operator", "developer", "admin" }
local level = { none = 0 }
for i, name in ipairs(ROLES) do level[name] = i end
-- Each stands somewhere else: in the message, in a filter's reason, in an error, in a log line of a
-- script, in a kv value, in a receiver's refusal.
local WORD = "QQ%sMARK%s"
local PLACES = { "name", "reason", "error", "log", "kv", "nak", "notes" }

local function script(channel, port, out)
  local function m(place) return WORD:format(place, channel) end
  return ([[return channel { source = mllp.listen { port = %d }, limits = { attempts = 1 },
    filter = function(msg)
      if msg["PID-3"] == "F" then return false, "%s" end
      log.info("%s"); kv.x = "%s"
      return true
    end,
    transform = function(msg) if msg["PID-3"] == "E" then error "%s" end end,
    destinations = { out = mllp.send { host = "127.0.0.1", port = %d, on_reply = { AE = "retry" },
      retry = { first = 3600 } } } }]]):format(port, m "reason", m "log", m "kv", m "error", out)
end

local function message(channel, id, patient)
  return ("MSH|^~\\&|A|B|C|D|20260101||ADT^A01|%s|P|2.5\rPID|1||%s||%s^X\rNTE|1||%s\r"):format(id, patient,
    WORD:format("name", channel), WORD:format("notes", channel))
end

describe("audit/matrix", function()
  local s, e, path
  local tokens = {} -- [role] over a, [role .. "*"] over all

  setup(function()
    local ports = { a = net.free_port(), b = net.free_port() }
    local files = { ["lunate.lua"] = "return { access = { users = {} } }" }
    local receivers = {}
    for name, port in pairs(ports) do
      receivers[name] = net.receiver { answer = function(frame)
        local id = frame:match "ADT^A01|([^|]*)"
        return ("MSH|^~\\&|R|R|A|B|20260101||ACK|1|P|2.5\rMSA|AE|%s|%s\r"):format(id, WORD:format("nak", name))
      end }
      files["channels/" .. name .. ".lua"] = script(name, port, receivers[name].port)
    end
    s = site.new(files)
    e = s:start()
    path = s.path .. "/data/control.sock"
    for name, port in pairs(ports) do
      local c = net.connect(port)
      for _, patient in ipairs { "F", "E", "P" .. WORD:format("name", name) } do
        assert(net.exchange(c, message(name, name .. patient:sub(1, 1), patient)))
      end
      c:close()
      sys.wait_until(function()
        receivers[name]:step(0.05)
        return e:channel(name).destinations[1].last_error ~= ""
      end, 10, "a refusal")
    end
    for _, role in ipairs(ROLES) do
      local _, one = s:run("token", "new", role, "--role", role, "--channels", "a")
      local _, all = s:run("token", "new", role .. "-all", "--role", role)
      tokens[role], tokens[role .. "*"] = one:sub(1, -2), all:sub(1, -2)
    end
  end)
  teardown(function() e:stop(); site.cleanup() end)

  -- All that comes back.
  local function ask(token, words)
    local a = ffi.new "struct matrix_un"
    a.family = 1
    ffi.copy(a.path, path)
    local fd = C.socket(1, 0x80001, 0)
    assert(C.connect(fd, ffi.cast("void *", a), ffi.sizeof(a)) == 0, sys.errtext())
    local data = control.context { "token", token, "reason", "why" } .. control.request(words)
    C.send(fd, ffi.cast("const char *", data), #data, 0x4000)
    local text, at = "", 1
    while true do -- records, up to the reply
      local size = #text >= at + 4 and text:byte(at) + text:byte(at + 1) * 256 + text:byte(at + 2) * 65536
      if size and #text >= at + 3 + size then
        if text:byte(at + 4) == control.REPLY then break end
        at = at + 4 + size
      else
        if not sys.poll(fd, "in", sys.patience(5)) then break end
        local got = sys.read(fd)
        if not got or got == "" then break end
        text = text .. got
      end
    end
    C.close(fd)
    return text
  end

  local function leaks(text, name)
    for _, place in ipairs(PLACES) do
      if text:find(WORD:format(place, name), 1, true) then return place end
      if text:lower():find(WORD:format(place, name):lower(), 1, true) then return place end
    end
  end

  local words_of = {
    status = {}, metrics = {}, version = {}, start = { "%s" }, stop = { "%s" }, pause = { "%s" },
    resume = { "%s" }, drain = { "%s", "0.01" }, settle = { "%s", "3", "x" }, edit = { "%s", "3", "x", "0" },
    hold = { "%s/out" }, release = { "%s/out" }, step = { "%s/out" }, skip = { "%s/out", "x" },
    head = { "%s/out" }, resend = { "%s", "3", "", "0", "", "" },
    reposition = { "%s/out", "1", "1", "1", "1", "x" }, reload = { "%s" }, rollback = { "%s", "previous", "x" },
    alerts = { "test" }, key = { "rotate" }, view = false,
  }

  local function right_of(verb)
    local r = ln.C.ln_right_of(verb)
    return r.role, r.flags
  end

  it("each request is let in when its right says so, and over no other channel", function()
    local i, n = 0, 0
    local wrong = {}
    while ln.C.ln_control_verb(i) ~= nil do
      local verb = ffi.string(ln.C.ln_control_verb(i))
      i = i + 1
      assert.not_nil(words_of[verb], verb .. ": say which words it has")
      local role, flags = right_of(verb)
      local wants_site = math.floor(flags / 4) % 2 == 1
      local any = verb == "status" or verb == "metrics" or verb == "version"
      for _, channel in ipairs { "a", "b" } do
        for key, token in pairs(words_of[verb] and tokens or {}) do
          local words = { verb }
          for k, w in ipairs(words_of[verb]) do words[k + 1] = w:format(channel) end
          local over_all = key:sub(-1) == "*"
          local may = level[key:gsub("%*", "")] >= role
            and (over_all or not wants_site and (any or channel == "a"))
          local text = ask(token, words)
          local let = not text:find("needs the role", 1, true) and not text:find("no channel", 1, true)
          n = n + 1
          if may ~= let then
            wrong[#wrong + 1] = ("%s as %s over %s: %s"):format(verb, key, channel, text:sub(1, 120))
          end
          local what = leaks(text, "a") or leaks(text, "b")
          if what then wrong[#wrong + 1] = ("%s as %s shows %s"):format(verb, key, what) end
        end
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
    assert.is_true(n >= 400)
  end)

  it("views: content for viewers, of their channels; for observers never", function()
    local n, wrong, got = 0, {}, 0
    local list = {}
    local function add(...) list[#list + 1] = { ... } end
    for _, c in ipairs { "a", "b" } do
      local mark = WORD:format("name", c)
      for _, more in ipairs { {}, { "--json" }, { "--raw" }, { "--script" } } do
        for seq = 1, 3 do add("show", ("%s/%d"):format(c, seq), unpack(more)) end
      end
      for _, more in ipairs { { "--json" }, { "--text", mark:lower() }, { "--patient", "P" .. mark },
        { "--where", "PID-5.1=" .. mark } } do
        add("messages", c, unpack(more))
      end
      add("tail", c, "--json")
      add("trace", c .. "/3")
      add("trace", c .. "P", "--json")
      add("profile", "-c", c, "--json")
      add("replay", "-c", c, "--json")
      add("versions", c, "--json")
      add("resend", c, "--where", "PID-5.1=" .. mark)
      add("settle", c, "--since", "1h")
    end
    for _, words in ipairs { { "audit", "list", "--json" }, { "token", "list" }, { "messages", "--json" }, { "tail" },
      { "messages", "--text", "qqnamemark" } } do
      add(unpack(words))
    end
    for _, words in ipairs(list) do
      for _, key in ipairs { "observer", "observer*", "developer" } do
        local token = tokens[key]
        local request = { "view", "80", "" }
        for k, w in ipairs(words) do request[k + 3] = w end
        local text = ask(token, request)
        -- what was asked for comes back in errors, and is no secret of who asks
        for _, w in ipairs(words) do
          if #w > 5 and w:upper():find "QQ" then
            local at = 1
            while true do
              local from, to = text:find(w, at, true)
              if not from then break end
              text = text:sub(1, from - 1) .. text:sub(to + 1)
            end
          end
        end
        n = n + 1
        local role, over_all = level[key:gsub("%*", "")], key:sub(-1) == "*"
        local in_a, in_b = leaks(text, "a"), leaks(text, "b")
        got = got + (in_a and 1 or 0)
        if in_a and role < level.viewer then
          wrong[#wrong + 1] = ("%s: %s of a: %s"):format(key, in_a, table.concat(words, " ")) end
        if in_b and (role < level.viewer or not over_all) then
          wrong[#wrong + 1] = ("%s: %s of b: %s"):format(key, in_b, table.concat(words, " ")) end
      end
    end
    assert.equal("", table.concat(wrong, "\n"))
    assert.is_true(n > 150 and got > 8, n .. " views, with content " .. got)
  end)
end)
