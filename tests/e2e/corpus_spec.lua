-- The sample corpus, which is no part of the project, through the engine: what no script touched
-- leaves as it came, byte for byte and in order, and every message is acknowledged.
local hl7 = require "support.hl7"
local net = require "support.net"
local proc = require "support.proc"
local site = require "support.site"
local sys = require "support.sys"
local tmp = require "support.tmp"
local traffic = require "support.traffic"

local corpus = "../shared/corpus"

-- The messages that ask for an answer as in original mode, each in a file of its own.
local function messages()
  local dir, files, texts = tmp.dir(), {}, {}
  local list = io.popen(("ls %s/messages/*.hl7 %s/charset/*.hl7"):format(corpus, corpus))
  for path in list:lines() do
    for _, m in ipairs(hl7.batch.split(assert(tmp.read(path))).messages) do
      local text = tostring(m)
      if not (m["MSH-15"] or m["MSH-16"] or text:find "[\11\28]") then
        texts[#texts + 1] = text
        files[#files + 1] = tmp.write(("%s/%05d.hl7"):format(dir, #texts), text)
      end
    end
  end
  list:close()
  return files, texts
end

describe("e2e/corpus", function()
  if not tmp.exists(corpus .. "/README.md") then
    pending(corpus .. " is absent")
    return
  end

  after_each(site.cleanup)

  it("carries every message byte for byte, in order", function()
    local files, texts = messages()
    assert.is_true(#texts > 300, #texts)
    local out_port, port, out = net.free_port(), net.free_port(), tmp.dir()
    local receiver = proc.spawn { site.binary(), "listen", tostring(out_port), "--out", out, "--quiet" }
    local s = site.new { ["channels/in.lua"] = traffic.channel(port, out_port) }
    s:start()
    local status, _, err = s:run("send", "127.0.0.1:" .. port, unpack(files))
    assert.equal(0, status, err)
    local function name(n) return ("%s/%06d.hl7"):format(out, n) end
    sys.wait_until(function() return tmp.exists(name(#texts)) end, 60, "the last message")
    for n, text in ipairs(texts) do assert.equal(text, tmp.read(name(n)), files[n]) end
    receiver:kill()
  end)
end)
