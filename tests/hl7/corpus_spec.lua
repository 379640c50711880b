-- The sample corpus beside the project, when it is there: values on which independent parsers
-- agree, and byte-exact round trips.
local json = require "support.json"
local tmp = require "support.tmp"
local hl7 = require "support.hl7"

local dir = "../shared/corpus/"
local probe = io.open(dir .. "expected.jsonl")
if probe then probe:close() end

local cache = {}
local function bytes_of(file)
  if not cache[file] then
    local f = assert(io.open(dir .. file, "rb"))
    cache[file] = f:read "*a"
    f:close()
  end
  return cache[file]
end

local function cr(bytes)
  return (bytes:gsub("\r\n", "\r"):gsub("\n", "\r"))
end

-- Files that are no messages, or that independent splitters cut otherwise than we mean to (a bare
-- LF within a message whose segments end in CR stays data).
local not_ours = {
  ["messages/openelis__stago-start4-coagulation.hl7"] = "comments and messages in turn",
  ["messages/oie__hl7.hl7"] = "header in the middle of a line",
  ["messages/lenaten__epic-oru-r01.hl7"] = "bare LF in text",
  ["messages/ruby-hl7__realm-lead-laboratory-result.hl7"] = "bare LF in text",
  ["messages/nhapi__id_000092_sig_02_src_001582_001861_op_splice_rep_16.hl7"] = "bare LF",
  ["messages/nhapi__id_000109_sig_02_src_001098_002192_op_splice_rep_4.hl7"] = "bare LF",
}

describe("hl7/corpus", function()
  if not probe then
    pending "no ../shared/corpus: the sample corpus is not here"
    return
  end

  it("reads the values that independent parsers agree on", function()
    local wrong, n, messages = {}, 0, {}
    for _, e in ipairs(json.lines(tmp.read(dir .. "expected.jsonl"))) do
      local m = messages[e.file]
      if m == nil then
        m = hl7.parse(bytes_of(e.file)) or false
        messages[e.file] = m
      end
      if m and not not_ours[e.file] then
        n = n + 1
        local path = e.path:gsub("%((%d+)%)", "[%1]")
        local raw, value = m:raw(path) or "", m[path] or ""
        local ok = e.raw == raw or e.raw == json.null and #raw == (e.raw_len or #raw)
        if type(e.value) == "string" and e.exists ~= false then ok = ok and value == e.value end
        if e.hl7_null then ok = ok and value == hl7.null end
        if e.exists == false then ok = ok and value == "" end
        if not ok then wrong[#wrong + 1] = e.file .. " " .. path .. " " .. e.kind end
      end
    end
    assert.same({}, wrong)
    assert.is_true(n > 1000)
  end)

  it("gives back every file's bytes, with CR for other line ends", function()
    local wrong, n = {}, 0
    for _, e in ipairs(json.lines(tmp.read(dir .. "roundtrip.jsonl"))) do
      local bytes = bytes_of(e.file)
      local m = hl7.parse(bytes)
      if m and not not_ours[e.file] then
        n = n + 1
        local start = bytes:find("[MBF][SH][HS]%p")
        local expected = cr(bytes:sub(start)):gsub("\r+$", "") .. "\r"
        if tostring(m) ~= expected then wrong[#wrong + 1] = e.file end
      elseif not m and e.wellformed then
        wrong[#wrong + 1] = e.file .. " (refused)"
      end
    end
    assert.same({}, wrong)
    assert.is_true(n > 400)
  end)

  it("keeps the rest when one field of every segment is rewritten", function()
    for _, e in ipairs(json.lines(tmp.read(dir .. "roundtrip.jsonl"))) do
      local m = hl7.parse(bytes_of(e.file))
      if m then
        local before = tostring(m)
        for seg in m:each() do
          for f = 1, #seg do
            if f > 2 or not seg.segment_name:find "^[MBF][SH][HS]$" then
              local raw = seg[f]:raw()
              seg[f]:set_raw "x"
              seg[f]:set_raw(raw)
            end
          end
        end
        assert.equal(before, tostring(m), e.file)
      end
    end
  end)
end)
