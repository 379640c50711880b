-- `lunate key`: a key is made, named, taken into use, changed; what it says can be done as it stands.
local site = require "support.site"
local net = require "support.net"
local proc = require "support.proc"
local traffic = require "support.traffic"
local must, has = site.must, site.has

describe("lunate key", function()
  after_each(site.cleanup)

  local function new_site()
    local port = net.free_port()
    return site.new { ["channels/in.lua"] = traffic.channel(port, net.free_port()) }, port
  end

  it("new: the line for lunate.lua finds the file, from whatever folder it was made", function()
    local s = new_site()
    local pipe = io.popen("realpath " .. site.binary())
    local binary = pipe:read "*l"
    pipe:close()
    for _, case in ipairs { { s.path .. "/store.key", "/", "store.key" }, { "other.key", s.path, "other.key" },
      { "../up.key", s.path .. "/channels", "up.key" } } do
      local _, out, err = proc.run { binary, "-C", s.path, "key", "new", case[1], cwd = case[2] }
      has(out, ('encryption = { key_file = "%s" }'):format(case[3]))
      assert.equal("", err)
    end
    assert.equal(1, (s:run("key", "new", s.path .. "/store.key"))) -- never over one that is there
  end)

  it("encrypt, status, verify; a new key is taken into use by rotate", function()
    local s, port = new_site()
    local e = s:start()
    assert.equal("AA", (traffic.exchange(net.connect(port), "M1")))
    has(must(s, "key", "status"), "the store is not encrypted")
    assert.equal(0, e:stop())
    assert.equal(1, (s:run("key", "encrypt"))) -- without a key
    must(s, "key", "new", s.path .. "/store.key", "--reason", "INC-17")
    s:write("lunate.lua", 'return { encryption = { key_file = "store.key" } }')
    assert.equal(1, s:json("key", "status").messages_in_clear)
    has(must(s, "key", "encrypt"), "1 message rewritten and encrypted")
    local before = s:json("key", "status")
    assert.same({ true, 0, before.site_key }, { before.encrypted, before.messages_in_clear, before.key })
    has(must(s, "verify"), "all in order")
    assert.is_nil(s:read("data/data.mdb"):find("M1^^^HOSP", 1, true))
    e = s:start()
    must(s, "key", "new", "--add", s.path .. "/store.key")
    has(must(s, "key", "status"), "lunate key rotate")
    must(s, "key", "rotate")
    local after = s:json("key", "status")
    assert.is_true(after.key ~= before.key)
    assert.same({ after.site_key, 0 }, { after.key, after.data_keys_wrapped_otherwise })
    has(must(s, "show", "in/1"), "M1")
    assert.equal(0, e:stop())
    local found = {}
    for _, entry in ipairs(s:json_lines("audit", "list")) do
      if entry.action:find "^key" then
        found[#found + 1] = entry.action .. " " .. (entry.object or "")
        assert.is_nil((entry.text or ""):find "%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x") -- ids, no keys
      end
    end
    local file = s.path .. "/store.key"
    assert.same({ "key.new " .. file, "key.encrypt ", "key.new " .. file, "key rotate" }, found)
  end)
end)
