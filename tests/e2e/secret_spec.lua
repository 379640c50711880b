-- secret "NAME": where it comes from, who gets it, and where its value never shows.
local site = require "support.site"
local net = require "support.net"
local tmp = require "support.tmp"
local traffic = require "support.traffic"

local VALUE = "pa55-ZQSECRETZQ"

local function channel(port, body)
  return ('local token = secret "lab_token"\nreturn channel {\n  source = mllp.listen { port = %d },\n'
    .. '  ack = "transform",\n  transform = function(msg)\n%s\n  end,\n'
    .. '  destinations = { d = mllp.send { host = "127.0.0.1", port = 9 } },\n}\n'):format(port, body)
end

describe("e2e/secret", function()
  after_each(site.cleanup)

  it("is given to the channel that names it, and renewed by a reload", function()
    local port, other = net.free_port(), net.free_port()
    local s = site.new {
      ["secrets/lab_token"] = VALUE .. "\n", ["secrets/unasked"] = "not for everybody",
      ["channels/a.lua"] = channel(port, '    kv.seen = token'),
      ["channels/b.lua"] = traffic.channel(other, nil, { top = 'transform = function(msg)\n'
        .. 'local name = "lab_" .. "token"\nreturn secret(name) end, ack = "transform",' }),
    }
    local e = s:start()
    assert.equal("AA", (traffic.exchange(net.connect(port), "M1")))
    assert.equal("AE", (traffic.exchange(net.connect(other), "M2")))
    local _, out = s:run("show", "b/1")
    assert.matches('secret: "lab_token" was not handed over', out, 1, true)
    local before = e:channel("a").script
    s:write("secrets/lab_token", "renewed")
    _, out = s:run("reload", "--plan")
    assert.matches("a: changes.-\n    secrets: other ones, or with other values\n", out)
    assert.equal(0, (s:run "reload"))
    assert.equal(before, e:channel("a").script) -- a version is of scripts
    s:write("channels/a.lua", channel(port, '    if token ~= "renewed" then error "old" end'))
    assert.equal(0, (s:run "reload"))
    assert.equal("AA", (traffic.exchange(net.connect(port), "M3")))
    assert.equal(0, e:stop())
  end)

  it("is in no log, error, status or show", function()
    local port = net.free_port()
    local s = site.new { ["secrets/lab_token"] = VALUE,
      ["channels/a.lua"] = channel(port, [[
        log.info("token %s", token)
        print(token)
        if msg.control_id == "E1" then error("cannot log in with " .. token .. " or " .. token) end
        if msg.control_id == "E2" then error(setmetatable({}, { __tostring = function() return token end })) end
        local f = function() local x = token .. nil end
        f()]]) }
    local e = s:start()
    for i = 1, 3 do
      local code, reply = traffic.exchange(net.connect(port), "E" .. i)
      assert.equal("AE", code)
      assert.is_nil(reply:find("ZQSECRET", 1, true))
    end
    local all = {}
    for _, verb in ipairs { { "show", "a/1" }, { "show", "a/1", "--json" }, { "show", "a/2" }, { "show", "a/3" },
      { "messages", "--json" }, { "status", "--json" }, { "metrics" }, { "check" } } do
      local _, out, err = s:run(unpack(verb))
      all[#all + 1] = out .. err
    end
    s:write("channels/a.lua", 'error("no: " .. secret "lab_token")')
    local status, out, err = s:run "reload"
    assert.equal(1, status)
    all[#all + 1] = out .. err
    assert.equal(0, e:stop())
    all[#all + 1] = e:log()
    local text = table.concat(all, "\n")
    local at = text:find("ZQSECRET", 1, true)
    assert.is_nil(at and text:sub(at - 100, at + 50))
    assert.matches("cannot log in with (secret lab_token) or (secret lab_token)", text, 1, true)
  end)

  it("is masked in each destination's reason, whatever the others say", function()
    local port = net.free_port()
    local dest = '%s = mllp.send { host = "127.0.0.1", port = 9, filter = function() return false, '
      .. '"%s " .. token .. (" %s"):rep(%d) end },\n'
    local s = site.new { ["secrets/lab_token"] = VALUE, ["channels/a.lua"] =
      ('local token = secret "lab_token"\nreturn channel { source = mllp.listen { port = %d },\n'
        .. 'ack = "transform", destinations = {\n%s%s} }\n'):format(port,
        dest:format("d1", "first", "one", 20), dest:format("d2", "second", "two", 3000)) }
    local e = s:start()
    assert.equal("AA", (traffic.exchange(net.connect(port), "M1")))
    local _, out = s:run("show", "a/1", "--json")
    assert.equal(0, e:stop())
    assert.matches("first (secret lab_token) one one", out, 1, true)
    assert.matches("second (secret lab_token) two two", out, 1, true)
    assert.is_nil(out:find("ZQSECRET", 1, true))
  end)

  it("comes from systemd's credentials first; eval and the site file have it, too", function()
    local dir = tmp.dir()
    tmp.write(dir .. "/lab_token", "from systemd")
    local s = site.new { ["secrets/lab_token"] = "from the site",
      ["lunate.lua"] = 'return { data = secret "lab_token" == "from systemd" and "there" or "here" }',
      ["channels/a.lua"] = channel(net.free_port(), '    msg["PID-5"] = token'),
      ["m.hl7"] = traffic.adt "M1" }
    local _, out = s:run("eval", "-c", "a", s.path .. "/m.hl7", { env = { CREDENTIALS_DIRECTORY = dir } })
    assert.matches("|from systemd|", out, 1, true)
    _, out = s:run("eval", "-c", "a", s.path .. "/m.hl7")
    assert.matches("|from the site|", out, 1, true)
  end)

  it("missing, empty, badly named: refused at the line; no script reads the folder", function()
    local port = net.free_port()
    local s = site.new { ["secrets/empty"] = "\n", ["tls/hub.key"] = "KEY",
      ["channels/a.lua"] = '-- secret "in_a_comment"\nlocal x, a = "--", secret "lost"\nlocal b = secret("empty")\n'
        .. "local c = secret '../etc/passwd'\nreturn channel { source = mllp.listen { port = 1 } }\n" }
    local status, out, err = s:run "check"
    out = out .. err
    assert.equal(1, status)
    assert.matches('channels/a.lua:2: secret "lost": there is no file secrets/lost', out, 1, true)
    assert.matches('channels/a.lua:3: secret "empty": secrets/empty is empty', out, 1, true)
    assert.matches("channels/a.lua:4: secret", out, 1, true)
    assert.is_nil(out:find("in_a_comment", 1, true))
    s:write("channels/a.lua", traffic.channel(port, nil, { top = [[
      transform = function(msg)
        local _, secret_why = io.open("secrets/empty")
        local _, key_why = io.open("tls/hub.key")
        return secret_why .. " / " .. key_why
      end,]] }))
    s:write("m.hl7", traffic.adt "M1")
    s:write("channels/a.lua", s:read("channels/a.lua"):gsub("destinations = {",
      'destinations = { d = mllp.send { host = "h", port = 1 },'))
    local _
    _, out = s:run("eval", "-c", "a", s.path .. "/m.hl7")
    assert.matches('secret "NAME"', out, 1, true)
    assert.matches("a private key is not for scripts", out, 1, true)
  end)
end)
