-- What a view showed stands in the log whole, however many channels and however long their names;
-- verify names what is missing once.
local st = require "support.store"
local lunate = os.getenv "LUNATE" or "build/lunate"

describe("audit/shown", function()
  after_each(st.clean)

  local function new_site()
    local dir = st.folder()
    st.sh(("mkdir -p %s/data %s/channels; echo 'return {}' > %s/lunate.lua"):format(dir, dir, dir))
    return dir, assert(st.open(dir .. "/data"))
  end

  local function run(dir, words) return st.sh(("LD_PRELOAD= %s -C %s %s"):format(lunate, dir, words)) end

  it("all messages of a list that names 150 channels", function()
    local dir, store = new_site()
    local want = {}
    for i = 1, 150 do
      local name = ("c%03d_"):format(i) .. ("x"):rep(55)
      local c = store:channel(name)
      for k = 1, 3 do
        assert(store:append(c, { raw = "MSH|^~\\&|A", control_id = "I" .. k }))
        want[name .. "/" .. k] = true
      end
    end
    assert.is_true(store:wait())
    store:close()
    local status, out = run(dir, "messages --json --limit 1000")
    assert.equal(0, status, out)
    assert.equal(450, select(2, out:gsub('"control_id"', "")))
    for shown in st.content(dir .. "/data/audit/000000000001.jsonl"):gmatch '"shown":"([^"]*)"' do
      assert.is_true(#shown < 8000)
      for name, list in shown:gmatch "(%S+)/(%S+)" do
        for range in list:gmatch "[^,]+" do
          local from, to = range:match "^(%d+)%-?(%d*)$"
          for k = tonumber(from), tonumber(to) or tonumber(from) do want[name .. "/" .. k] = nil end
        end
      end
    end
    assert.is_nil((next(want)))
  end)

  it("verify says once which entry is missing", function()
    local dir, store = new_site()
    store:close()
    for _ = 1, 5 do run(dir, "messages") end
    st.sh(("sed -i '/^{\"seq\":3,/d' %s/data/audit/000000000001.jsonl"):format(dir))
    local status, out = run(dir, "audit verify")
    assert.equal(1, status)
    assert.matches("000000000001.jsonl:3: entry 3 is missing before entry 4", out, 1, true)
    assert.is_nil(out:find("entry 3: entry 3", 1, true))
  end)
end)
