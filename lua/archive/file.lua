-- Archive files: FOLDER/CHANNEL/YYYY-MM-DD[_N].zst, the day (UTC) of receipt, N from 2 when a file
-- grew over 256 MB. Plain zstd: `zstdcat FILE` gives a JSON document a line, one per message, as
-- `lunate show --json` prints it. A file is a row of blocks, each a skippable frame with what a
-- search needs, then a frame (with a checksum) of up to 1 MiB of documents:
--
--   "LNARCH1\n", u32 length, JSON { channel, from, to, first_us, last_us, n, bytes, size }, then
--   u32 hashes (CRC-32C) of control ids and patient ids, then u32 CRC-32C of all that
--
-- A block that a crash cut off is found by its header and taken off before more is written.
local core = require "lunate.archive_core"
local sys = require "lunate.sys"
local json = require "lunate.cli.json"
local decode = require("json").decode

local M = { block = 1024 * 1024, file = 256 * 1024 * 1024 }

local SKIPPABLE, MAGIC = 0x184D2A50, "LNARCH1\n"

local function u32(n)
  return string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256,
    math.floor(n / 16777216) % 256)
end

local function get32(s, at)
  local a, b, c, d = s:byte(at, at + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

--- Bytes of a block. docs: JSON texts; about: { channel, from, to, first_us, last_us }; ids: texts
-- that a search may ask for.
function M.encode(docs, about, ids)
  local text = table.concat(docs, "\n") .. "\n"
  local frame, err = core.compress(text)
  if not frame then return nil, err end
  local head = json.encode(json.object("channel", about.channel, "from", about.from, "to", about.to,
    "first_us", ("%.0f"):format(about.first_us), "last_us", ("%.0f"):format(about.last_us), "n",
    #docs, "bytes", #text, "size", #frame))
  local parts = { MAGIC, u32(#head), head }
  for _, id in ipairs(ids) do parts[#parts + 1] = u32(core.crc(id)) end
  local payload = table.concat(parts)
  payload = payload .. u32(core.crc(payload))
  return u32(SKIPPABLE) .. u32(#payload) .. payload .. frame
end

-- The header of the block at offset `at`, or nil and why: "end", "torn", "damaged".
local function header(path, at, size)
  if at == size then return nil, "end" end
  local head = core.read(path, at, 8)
  if not head or #head < 8 then return nil, "torn" end
  local len = get32(head, 5)
  if get32(head, 1) ~= SKIPPABLE or len < #MAGIC + 8 or len > 64 * 1024 * 1024 then
    return nil, "damaged"
  end
  if at + 8 + len > size then return nil, "torn" end
  local payload = core.read(path, at + 8, len)
  if not payload or #payload < len then return nil, "torn" end
  if payload:sub(1, #MAGIC) ~= MAGIC
    or core.crc(payload:sub(1, -5)) ~= get32(payload, len - 3) then
    return nil, "damaged"
  end
  local n = get32(payload, #MAGIC + 1)
  local ok, b = pcall(decode, payload:sub(#MAGIC + 5, #MAGIC + 4 + n))
  if not ok or type(b) ~= "table" then return nil, "damaged" end
  b.first_us, b.last_us = tonumber(b.first_us), tonumber(b.last_us)
  b.hashes, b.hashes_from = payload, #MAGIC + 5 + n
  b.at, b.frame_at, b.next = at, at + 8 + len, at + 8 + len + b.size
  if b.next > size then return nil, "torn" end
  return b
end

--- Iterates over the blocks of a file: block; at its end nil, why, offset ("end", "torn",
-- "damaged").
function M.blocks(path)
  local size = core.size(path) or 0
  local at = 0
  return function()
    local b, why = header(path, at, size)
    if not b then return nil, why, at end
    at = b.next
    return b
  end
end

--- Whether a block may have a message with this id.
function M.may_have(b, id)
  local want, s = u32(core.crc(id)), b.hashes
  local at = b.hashes_from
  while true do
    local found = s:find(want, at, true)
    if not found or found > #s - 7 then return false end
    if (found - b.hashes_from) % 4 == 0 then return true end
    at = found + 1
  end
end

--- The documents of a block, as JSON texts; nil, why.
function M.documents(path, b)
  local frame = core.read(path, b.frame_at, b.size)
  if not frame or #frame < b.size then return nil, "cut off" end
  local text, err = core.expand(frame)
  if not text then return nil, err end
  local list = {}
  for line in text:gmatch "([^\n]*)\n" do list[#list + 1] = line end
  if #list ~= b.n then return nil, ("%d documents, %d expected"):format(#list, b.n) end
  return list
end

--- Names of a channel's files, oldest first.
function M.files(folder, channel)
  local list = {}
  for _, name in ipairs(sys.list(folder .. "/" .. channel) or {}) do
    local day, n = name:match "^(%d%d%d%d%-%d%d%-%d%d)_?(%d*)%.zst$"
    if day then list[#list + 1] = { name = name, day = day, n = tonumber(n) or 1 } end
  end
  table.sort(list, function(a, b)
    if a.day ~= b.day then return a.day < b.day end
    return a.n < b.n
  end)
  for i, f in ipairs(list) do list[i] = folder .. "/" .. channel .. "/" .. f.name end
  return list
end

--- The file that a block of that day goes to.
function M.path(folder, channel, day, n)
  return ("%s/%s/%s%s.zst"):format(folder, channel, day, n > 1 and "_" .. n or "")
end

--- Takes off what a crash left half written; the last block, or nil. Damage: false, why.
function M.recover(path)
  local last
  local next_block = M.blocks(path)
  while true do
    local b, why, at = next_block()
    if b then
      last = b
    elseif why == "end" then
      return last
    elseif why == "torn" then
      local ok, err = core.cut(path, at)
      if not ok then return false, err end
      return last
    else
      return false, ("%s: damaged at byte %.0f: move it away, it is kept as it is"):format(path, at)
    end
  end
end

return M
