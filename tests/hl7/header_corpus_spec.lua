-- Headers, batches and acknowledgements over the sample messages that are no part of the project.
local ln = require "support.ln"
local tmp = require "support.tmp"
local json = require "support.json"
local net = require "support.net"
local C, ffi = ln.C, ln.ffi

local corpus = "../shared/corpus"

local function each_file(fn)
  local p = assert(io.popen("ls " .. corpus .. "/messages/*.hl7"))
  for path in p:lines() do fn(path, assert(tmp.read(path))) end
  p:close()
end

local function messages(text)
  local pos, m, list = ffi.new "size_t[1]", ffi.new "struct ln_span", {}
  while C.ln_batch_next(ln.span(text), pos, m) do list[#list + 1] = ln.str(m) end
  return list
end

describe("hl7 over the sample corpus", function()
  if not tmp.exists(corpus .. "/README.md") then
    pending(corpus .. " is absent")
    return
  end

  it("reads every header that is at the start of its file, and acknowledges it", function()
    local h, reply = ffi.new "struct ln_header", ffi.new "struct ln_reply"
    local n = 0
    each_file(function(path, text)
      local front = text:gsub("^\239\187\191", ""):gsub("^[%s\11%z]+", "")
      if not front:find "^[MBF][SH][HS]%p%p" then return end
      assert.equal(0, C.ln_header_read(ln.span(text), h, nil), path)
      local b = ffi.gc(ffi.new "struct ln_buf", C.ln_buf_fini)
      local ack = ffi.new("struct ln_ack", { C.LN_ACK_AE })
      ack.control_id = ln.span "OWN"
      assert.equal(0, C.ln_ack_write(b, h, ack), path)
      assert.equal(0, C.ln_reply_read(ffi.new("struct ln_span", { b.data, b.len }), reply, nil))
      local id = h.kind == C.LN_HEADER_MSH and h.field[10] or h.field[11]
      assert.equal(ln.str(id), ln.str(reply.control_id), path)
      n = n + 1
    end)
    assert.is_true(n > 400)
  end)

  it("splits every file of several messages as its makers meant", function()
    for _, b in ipairs(json.lines(assert(tmp.read(corpus .. "/batches.jsonl")))) do
      local list = messages(assert(tmp.read(corpus .. "/" .. b.file)))
      local ids = {}
      for i, m in ipairs(list) do ids[i] = net.field(m, "MSH", 10) end
      assert.equal(b.messages, #list, b.file)
      for i, id in ipairs(b.control_ids) do assert.equal(id, ids[i], b.file) end
    end
  end)
end)
