-- The loader over real site folders: what it hands over, and that it refuses with file:line.
local peer = require "support.peer"
local tmp = require "support.tmp"

local function load(files, o)
  local dir = tmp.dir()
  for path, text in pairs(files) do tmp.write(dir .. "/" .. path, text) end
  return peer.load(dir, o)
end

local good = [[
return channel {
  source = mllp.listen { port = %d },
  destinations = { lab = mllp.send { host = "127.0.0.1", port = 6662 } },
}
]]

-- The errors of one script as channels/x.lua.
local function errors(script)
  return table.concat(load { ["channels/x.lua"] = script }.errors, "\n")
end

describe("role/loader", function()
  after_each(peer.cleanup)

  it("gives every setting, defaults filled in", function()
    local s = load { ["channels/a.lua"] = good:format(6661) }
    assert.same({}, s.errors)
    assert.same({
      script = "channels/a.lua", ack = "commit", on_error = "park", jit = "false", filter = "false",
      transform = "false", destinations = "lab",
      ["limits.seconds"] = "5", ["limits.memory_mb"] = "128", ["limits.attempts"] = "3",
      ["retention.days"] = "0", ["retention.mb"] = "0", archive = "", ["allow.read"] = "", ["allow.net"] = "",
      ["source.kind"] = "mllp", ["source.port"] = "6661", ["source.host"] = "127.0.0.1",
      ["source.idle_timeout"] = "0", ["source.max_message"] = "52428800",
      ["source.max_connections"] = "1000", ["source.ack_mode"] = "original", ["source.allow"] = "",
      ["source.max_connections_per_address"] = "0", ["source.frame_timeout"] = "60",
      ["source.tls"] = "false", ["dest.lab.tls"] = "false",
      ["source.charset"] = "trust", ["dest.lab.charset"] = "",
      ["dest.lab.kind"] = "mllp", ["dest.lab.host"] = "127.0.0.1", ["dest.lab.port"] = "6662",
      ["dest.lab.timeout"] = "10", ["dest.lab.ack_mode"] = "original",
      ["dest.lab.filter"] = "false", ["dest.lab.transform"] = "false",
      ["dest.lab.retry.first"] = "1", ["dest.lab.retry.factor"] = "2",
      ["source.duplicates"] = "process", ["source.duplicate_window"] = "86400",
      ["dest.lab.retry.max"] = "60", ["dest.lab.retry.on.connect"] = "", ["dest.lab.retry.on.tls"] = "",
      ["dest.lab.retry.on.timeout"] = "", ["dest.lab.retry.on.closed"] = "", ["dest.lab.retry.on.AE"] = "",
      ["dest.lab.retry.on.AR"] = "", ["dest.lab.retry.on.CE"] = "", ["dest.lab.retry.on.CR"] = "",
      ["dest.lab.retry.attempts"] = "0", ["dest.lab.stop_after_parks"] = "0", ["dest.lab.on_reply.AE"] = "park",
      ["dest.lab.on_reply.AR"] = "retry", ["dest.lab.on_reply.CE"] = "park",
      ["dest.lab.on_reply.CR"] = "retry",
    }, s.channels.a.settings)
    assert.same({ data = "data", ["log.level"] = "info", reload_tests = "false", watch = "false",
      ["limits.seconds"] = "5", ["limits.memory_mb"] = "128", ["limits.attempts"] = "3", ["retention.days"] = "0",
      ["retention.mb"] = "0", archive = "" }, s.site)
    assert.equal(0, s.status)
  end)

  it("takes what is set: the site's defaults, the environment, links between channels", function()
    local s = load({
      ["lunate.lua"] = [[return { data = "store", log = { level = "warn" },
        limits = { seconds = 2 }, retention = { days = 30 } }]],
      ["channels/a.lua"] = [[
        return channel {
          source = mllp.listen { port = env "LN_PORT", host = "::1",
            allow = { "10.0.0.0/8", "::1" } },
          limits = { attempts = 5 }, ack = "transform", jit = true,
          destinations = {
            z = channel.to("b", { transform = function() end }),
            m = mllp.send { host = "lab.example", port = 1, timeout = 2.5, retry = { attempts = 9 },
              on_reply = { AE = "retry" } } },
        }]],
      ["channels/b/init.lua"] = [[require "part" return channel { source = channel.from "a" }]],
      ["channels/b/part.lua"] = "return {}",
      ["channels/.hidden.lua"] = "nonsense(",
      ["channels/notes.txt"] = "nonsense",
      ["lib/x/y.lua"] = "return 1", ["tables/t.csv"] = "a,1\n",
    }, { env = { LN_PORT = "7001" } })
    assert.same({}, s.errors)
    assert.same({ "a", "b" }, s.order)
    local a = s.channels.a.settings
    for key, want in pairs { ["source.port"] = "7001", ["source.allow"] = "10.0.0.0/8\n::1",
      ["limits.seconds"] = "2", ["limits.attempts"] = "5", ["retention.days"] = "30", jit = "true",
      destinations = "m\nz", ["dest.z.kind"] = "channel", ["dest.z.to"] = "b",
      ["dest.z.transform"] = "true", ["dest.m.timeout"] = "2.5", ["dest.m.retry.attempts"] = "9",
      ["dest.m.on_reply.AE"] = "retry", ["dest.m.on_reply.CE"] = "retry", ack = "transform" } do
      assert.equal(want, a[key], key)
    end
    assert.equal("a", s.channels.b.settings["source.from"])
    assert.same({
      ["channels/b/init.lua"] = [[require "part" return channel { source = channel.from "a" }]],
      ["channels/b/part.lua"] = "return {}" }, s.channels.b.files)
    assert.same({ ["lib/x/y.lua"] = "return 1", ["tables/t.csv"] = "a,1\n" }, s.shared)
    assert.equal("store warn", s.site.data .. " " .. s.site["log.level"])
  end)

  it("names the line of an unknown key, and the nearest known one", function()
    local script = [[
-- destinations = { lab = { retry = { frist } } } in a comment
local text = "timout ="
return channel {
  source = mllp.listen { port = 1,
    host = "h" },
  destinations = {
    other = mllp.send { host = "h", port = 1, timeout = 1 },
    lab = mllp.send {
      host = "h", port = 2,
      timout = 5,
      retry = {
        frist = 1,
      },
    },
  },
  lables = {},
  on_eror = "park",
}]]
    local text = errors(script)
    for _, want in ipairs {
      "channels/x.lua:10: unknown key 'timout' in mllp.send (did you mean 'timeout'?)",
      "channels/x.lua:12: unknown key 'frist' in retry (did you mean 'first'?)",
      "channels/x.lua:16: unknown key 'lables' in channel",
      "channels/x.lua:17: unknown key 'on_eror' in channel (did you mean 'on_error'?)",
    } do
      assert.truthy((text .. "\n"):find(want .. "\n", 1, true), want .. " not in:\n" .. text)
    end
  end)

  it("checks types and ranges", function()
    for part, want in pairs {
      ["ack = 'comit'"] = 'ack must be one of "commit", "transform", "delivery", "none" '
        .. '(did you mean "commit"?)',
      ["limits = { seconds = 0 }"] = "seconds must be from 0.1 to 3600",
      ["limits = 5"] = "limits must be a table, not a number",
      ["limits = { attempts = 1.5 }"] = "attempts must be a whole number",
      ["filter = 'x'"] = "filter must be a function, not a string",
      ["jit = 1"] = "jit must be true or false",
      ["destinations = { ['a b'] = mllp.send { host = 'h', port = 1 } }"] = "a destination's name",
      ["destinations = { mllp.send { host = 'h', port = 1 } }"] = "a destination's name",
      ["destinations = { a = {} }"] = "destination 'a' must be mllp.send",
      ["destinations = { a = mllp.send { port = 1 } }"] = "mllp.send needs a host",
      ["destinations = { a = mllp.send { host = '', port = 1 } }"] = "host is not a host name",
      ["destinations = { a = mllp.send { host = 'h', port = 1, on_reply = { AA = 'retry' } } }"] =
        "unknown key 'AA' in on_reply",
      ["destinations = { a = mllp.send { host = 'h', port = 1, tls = 5 } }"] =
        "tls must be true or a table",
      ["destinations = { a = channel.to 'x y' }"] = "to is not a name",
      ["x = function() end, 5"] = "channel takes names, not list items",
    } do
      local text = errors("return channel { source = mllp.listen { port = 1 },\n" .. part .. " }")
      assert.truthy(text:find(want, 1, true), part .. " -> " .. text)
      assert.truthy(text:find "^channels/x%.lua:[12]: ", text)
    end
    assert.truthy(errors([[return channel { ack = "delivery",
      source = mllp.listen { port = 1, duplicates = "ack" } }]]):find(
      'channels/x.lua:2: duplicates = "ack" does not go with ack = "delivery"', 1, true))
    for source, want in pairs {
      ["mllp.listen { port = 70000 }"] = "port must be from 1 to 65535",
      ["mllp.listen { port = 'x' }"] = "port must be a number",
      ["mllp.listen {}"] = "mllp.listen needs a port",
      ["mllp.listen { port = 1, tls = true }"] = "tls must be a table with cert and key",
      ["mllp.listen { port = 1, charset = 'x' }"] = "charset is wrong: no character set 'x' is known",
      ["mllp.listen { port = 1, charset = { force = 'UTF-16' } }"] = "cannot travel in messages",
      ["mllp.listen { port = 1, charset = { as = '8859/1' } }"] = "takes default or force",
      ["mllp.listen { port = 1, allow = { '10.0.0.0/33' } }"] = "allow item 1 must be an address",
      ["mllp.send { host = 'h', port = 1 }"] = "source must be mllp.listen",
      ["nil"] = "channel needs a source",
      ["mllp.listen(5)"] = "mllp.listen takes a table",
      ["channel.from {}"] = "from must not be empty",
      ["channel.from(5)"] = "from must be a list",
    } do
      local text = errors("return channel { source = " .. source .. " }")
      assert.truthy(text:find(want, 1, true), source .. " -> " .. text)
    end
  end)

  it("tells of syntax, of errors, of endless scripts, and goes on with the others", function()
    local s = load {
      ["channels/a.lua"] = "return channel {\n  source = = 1\n}",
      ["channels/b.lua"] = "local x = nil\nlocal y = x.y",
      ["channels/c.lua"] = "return 5",
      ["channels/d.lua"] = good:format(1),
      ["channels/e.lua"] = "require 'nope'",
      ["channels/f.lua"] = "return channel(1)",
      ["lib/names.lua"] = "return {}",
    }
    assert.same({ "channels/a.lua:2: unexpected symbol near '='",
      "channels/b.lua:2: attempt to index local 'x' (a nil value)",
      "channels/c.lua:1: the script must end with: return channel { ... }",
      "channels/e.lua:1: module 'nope' not found (no lib/nope.lua, no lib/nope/init.lua); "
        .. "lib/ has: names",
      "channels/f.lua: channel takes a table: channel { ... }" }, s.errors)
    assert.same({ "a", "b", "c", "e", "f" }, s.blame)
    assert.truthy(s.channels.d.settings)
  end)

  it("ends a script that does not end", function()
    local s = load { ["channels/a.lua"] = "\nwhile true do end",
      ["channels/b.lua"] = good:format(1) }
    assert.same({ "channels/a.lua:2: ran longer than 5 s while it was loaded, the most that loading may" }, s.errors)
    assert.truthy(s.channels.b.settings)
  end)

  it("checks the site as a whole", function()
    local function to(name, port)
      return ("return channel {\n source = mllp.listen { port = %d },\n destinations = {\n"
        .. "  out = channel.to '%s' } }"):format(port, name)
    end
    local function between(from, name)
      return ("return channel { source = channel.from '%s',\n"
        .. " destinations = { out = channel.to '%s' } }"):format(from, name)
    end
    local s = load { ["channels/a.lua"] = to("nope", 1), ["channels/b.lua"] = to("a", 1),
      ["channels/c.lua"] = "return channel { source = channel.from 'b' }",
      ["channels/r1.lua"] = between("r2", "r2"), ["channels/r2.lua"] = between("r1", "r1") }
    local text = table.concat(s.errors, "\n")
    for _, want in ipairs {
      "channels/b.lua:2: port 1 on 127.0.0.1 is taken by channel a",
      "channels/a.lua:4: no channel 'nope'",
      "channels/b.lua:4: channel 'a' does not take messages from here",
      "channels/c.lua:1: channel 'b' hands nothing to here",
      "channels/r2.lua:2: channels in a circle: r1 -> r2 -> r1",
    } do
      assert.truthy(text:find(want, 1, true), want .. " not in:\n" .. text)
    end
  end)

  it("takes what allow.read names, links resolved, and refuses what is not a script's to have", function()
    local out, dir = tmp.dir(), tmp.dir()
    for _, path in ipairs { "/codes/a.csv", "/store/data.mdb", "/top/keys/hub.key", "/top/arch/x" } do
      tmp.write(out .. path, "x")
    end
    tmp.write(dir .. "/secrets/token", "s")
    assert(os.execute(("ln -s codes %s/link; mkfifo %s/fifo"):format(out, out)) == 0)
    local function load_with(paths, more)
      for i, path in ipairs(paths) do paths[i] = ("%q,"):format(path) end
      tmp.write(dir .. "/lunate.lua", ("return { archive = %q }"):format(out .. "/top/arch"))
      tmp.write(dir .. "/channels/a.lua", ("return channel {\n  source = mllp.listen { port = 1, %s },\n"
        .. "  allow = {\n    read = { %s }\n  },\n}"):format(more or "", table.concat(paths, "\n      ")))
      return peer.load(dir)
    end
    local s = load_with { out .. "/link", out .. "/codes/a.csv" }
    assert.same({}, s.errors)
    assert.equal(out .. "/codes\n" .. out .. "/codes/a.csv", s.channels.a.settings["allow.read"])
    local id = s.channels.a.settings["allow.files"]
    assert.truthy(id:find "^%d+:%d+$", id)
    tmp.write(out .. "/codes/b", "y")
    assert(os.rename(out .. "/codes/b", out .. "/codes/a.csv"))
    s = load_with { out .. "/codes/a.csv" }
    assert.is_true(id ~= s.channels.a.settings["allow.files"]) -- so a reload is no "unchanged"
    for path, want in pairs {
      ["codes/a.csv"] = 'item 1 "codes/a.csv" must be an absolute path',
      [out .. "/none"] = "No such file", [out .. "/fifo"] = "is neither a file nor a folder",
      ["/proc/self"] = "/proc cannot be granted", [out .. "/store"] = "is a store",
      [dir] = "is the site folder", [dir .. "/secrets"] = "lies in the site folder",
      ["/"] = "holds the site folder", [out .. "/top"] = "holds an archive",
      [out .. "/top/arch/x"] = "lies in an archive",
    } do
      local text = table.concat(load_with({ path }).errors, "\n")
      assert.truthy(text:find("channels/a.lua:4: ", 1, true) and text:find(want, 1, true),
        want .. " not in:\n" .. text)
    end
    local tls = ("tls = { cert = %q, key = %q }"):format(out .. "/none.pem", out .. "/top/keys/hub.key")
    local text = table.concat(load_with({ out .. "/top/keys" }, tls).errors, "\n")
    assert.truthy(text:find("holds a private key", 1, true), text)
    text = errors "return channel { source = mllp.listen { port = 1 },\n allow = { reed = { '/x' } } }"
    assert.equal("channels/x.lua:2: unknown key 'reed' in allow (did you mean 'read'?)", text)
  end)

  it("refuses names, folders, tables and site files that are wrong", function()
    local s = load {
      ["lunate.lua"] = "return {\n  dta = 'x',\n  admin = 'here',\n}",
      ["channels/a b.lua"] = "", ["channels/empty/x.txt"] = "",
      ["channels/two.lua"] = good:format(1), ["channels/two/init.lua"] = good:format(2),
      ["tables/t.csv"] = "a,1\na,2\n",
    }
    local text = table.concat(s.errors, "\n")
    for _, want in ipairs {
      "lunate.lua:2: unknown key 'dta' in lunate.lua (did you mean 'data'?)",
      "lunate.lua:3: admin must be \"HOST:PORT\"",
      "channels/a b.lua: a channel's name", "channels/empty: a channel's folder needs an init.lua",
      "there is also channels/two", "tables/t.csv:2: key already stands on line 1",
    } do
      assert.truthy(text:find(want, 1, true), want .. " not in:\n" .. text)
    end
    assert.truthy(load({}).errors[1]:find "^channels: there is no such folder")
    assert.truthy(load({ ["lunate.lua"] = "os.execute 'x'", ["channels/a.lua"] = good:format(1) })
      .errors[1]:find "^lunate.lua:1: attempt to call field 'execute'")
  end)
end)
