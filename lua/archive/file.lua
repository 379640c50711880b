-- Archive files: FOLDER/CHANNEL/YYYY-MM-DD[_N].zst, the day (UTC) of receipt, N from 2 when a file
-- grew over 256 MB. Plain zstd: `zstdcat FILE` gives a JSON document a line, one per message, as
-- `lunate show --json` prints it. A file is a row of blocks, each a skippable frame with what a
-- search needs, then a frame (with a checksum) of up to 1 MiB of documents:
--
--   "LNARCH1\n", u32 length, JSON { channel, from, to, first_us, last_us, n, bytes, size, no,
--   before }, then u32 hashes (CRC-32C) of control ids and patient ids, then u32 CRC-32C of all
--   that
--
-- no counts the channel's blocks from 1, before is the sum of the block before it (SHA-256 over
-- what stands behind the head's magic, without its CRC, and the frame): a chain through all files,
-- which a new key leaves as it is. Where it ends stands in the ledger (lua/archive/ledger.lua).
--
-- With encryption: YYYY-MM-DD[_N].sealed, a row of
--
--   "LNARCS1\n", u32 length of the head, u32 length of the body, u32 CRC-32C of these 16 bytes,
--   then the head (what stands above behind the magic, without its CRC) and the body (the frame),
--   each sealed as core/crypt/sealed.h says: the head as one of this channel, the body as that of
--   its head
--
-- A block that a crash cut off is found by its header and taken off before more is written.
local core = require "lunate.archive_core"
local sys = require "lunate.sys"
local json = require "lunate.cli.json"
local decode = require("json").decode

local M = { block = 1024 * 1024, file = 256 * 1024 * 1024 }

local SKIPPABLE, MAGIC, SEALED = 0x184D2A50, "LNARCH1\n", "LNARCS1\n"
local OUTER = 20 -- bytes before a sealed head

local function u32(n)
  return string.char(n % 256, math.floor(n / 256) % 256, math.floor(n / 65536) % 256,
    math.floor(n / 16777216) % 256)
end

local function get32(s, at)
  local a, b, c, d = s:byte(at, at + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

local function label_of(channel) return "archive " .. channel end

local function body_label(b)
  return ("archive %s %.0f-%.0f %.0f"):format(b.channel, b.from, b.to, b.first_us)
end

-- A block of what its head says and its frame.
local function clear_block(plain, frame)
  local payload = MAGIC .. plain
  payload = payload .. u32(core.crc(payload))
  return u32(SKIPPABLE) .. u32(#payload) .. payload .. frame
end

local function sealed_block(plain, frame, about)
  local head, err = core.seal(label_of(about.channel), plain)
  if not head then return nil, err end
  local body, why = core.seal(body_label(about), frame)
  if not body then return nil, why end
  local outer = SEALED .. u32(#head) .. u32(#body)
  return outer .. u32(core.crc(outer)) .. head .. body
end

--- Bytes of a block, and its sum. docs: JSON texts; about: { channel, from, to, first_us, last_us,
-- no, before, unsure }; ids: texts that a search may ask for; sealed: under the site's key.
function M.encode(docs, about, ids, sealed)
  local text = table.concat(docs, "\n") .. "\n"
  local frame, err = core.compress(text)
  if not frame then return nil, err end
  local head = json.encode(json.object("channel", about.channel, "from", about.from, "to", about.to,
    "first_us", ("%.0f"):format(about.first_us), "last_us", ("%.0f"):format(about.last_us), "n",
    #docs, "bytes", #text, "size", #frame, "no", about.no, "before", about.before, "unsure",
    about.unsure))
  local parts = { u32(#head), head }
  for _, id in ipairs(ids) do parts[#parts + 1] = u32(core.crc(id)) end
  local plain = table.concat(parts)
  local bytes, why
  if sealed then
    bytes, why = sealed_block(plain, frame, about)
  else
    bytes = clear_block(plain, frame)
  end
  return bytes, bytes and core.hash(plain, frame) or why
end

-- What a head says.
local function read_plain(plain)
  if #plain < 4 then return nil end
  local n = get32(plain, 1)
  local ok, b = pcall(decode, plain:sub(5, 4 + n))
  if not ok or type(b) ~= "table" or type(b.size) ~= "number" then return nil end
  b.first_us, b.last_us = tonumber(b.first_us), tonumber(b.last_us)
  b.plain, b.hashes_from = plain, 5 + n
  return b
end

-- The block at offset `at`, or nil and why: "end", "torn", "damaged".
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
  local b = read_plain(payload:sub(#MAGIC + 1, -5))
  if not b then return nil, "damaged" end
  b.at, b.frame_at, b.next = at, at + 8 + len, at + 8 + len + b.size
  if b.next > size then return nil, "torn" end
  return b
end

-- The same of a sealed file. A block whose head does not open has .closed, why; the next one may.
local function sealed_header(path, at, size)
  if at == size then return nil, "end" end
  local outer = core.read(path, at, OUTER)
  if not outer or #outer < OUTER then return nil, "torn" end
  if outer:sub(1, #SEALED) ~= SEALED or core.crc(outer:sub(1, 16)) ~= get32(outer, 17) then
    return nil, "damaged"
  end
  local head_len, body_len = get32(outer, 9), get32(outer, 13)
  local frame_at = at + OUTER + head_len
  if frame_at + body_len > size then return nil, "torn" end
  local head = core.read(path, at + OUTER, head_len)
  if not head or #head < head_len then return nil, "torn" end
  local plain, why = core.unseal(label_of(path:match "([^/]*)/[^/]*$"), head)
  local b = plain and read_plain(plain) or { closed = why or "its head makes no sense" }
  b.sealed, b.key, b.at, b.frame_at, b.size = true, core.key_of(head), at, frame_at, body_len
  b.next = frame_at + body_len
  return b
end

function M.is_sealed(path)
  return path:find "%.sealed$" ~= nil
end

--- Iterates over the blocks of a file: block; at its end nil, why, offset ("end", "torn",
-- "damaged"). Of a block with .closed (why) only its place and its key are known.
function M.blocks(path)
  local size = core.size(path) or 0
  local at, look = 0, M.is_sealed(path) and sealed_header or header
  return function()
    local b, why = look(path, at, size)
    if not b then return nil, why, at end
    at = b.next
    return b
  end
end

--- Whether a block may have a message with this id.
function M.may_have(b, id)
  local want, s = u32(core.crc(id)), b.plain
  local at = b.hashes_from
  while true do
    local found = s:find(want, at, true)
    if not found then return false end
    if (found - b.hashes_from) % 4 == 0 then return true end
    at = found + 1
  end
end

-- The compressed frame of a block; nil, why.
local function frame_of(path, b)
  if b.closed then return nil, b.closed end
  local frame = core.read(path, b.frame_at, b.size)
  if not frame or #frame < b.size then return nil, "cut off" end
  if b.sealed then return core.unseal(body_label(b), frame) end
  return frame
end

--- A block's sum, which the next one has as `before`; nil, why.
function M.sum(path, b)
  local frame, why = frame_of(path, b)
  if not frame then return nil, why end
  return core.hash(b.plain, frame)
end

--- The documents of a block, as JSON texts, and its sum; nil, why.
function M.documents(path, b)
  local frame, cause = frame_of(path, b)
  if not frame then return nil, cause end
  local text, err = core.expand(frame)
  if not text then return nil, err end
  local list = {}
  for line in text:gmatch "([^\n]*)\n" do list[#list + 1] = line end
  if #list ~= b.n then return nil, ("%d documents, %d expected"):format(#list, b.n) end
  return list, core.hash(b.plain, frame)
end

--- Names of a channel's files, oldest first. Where a crash left a file in both forms, the sealed
-- one is whole (M.seal).
function M.files(folder, channel)
  local list, names = {}, {}
  for _, name in ipairs(sys.list(folder .. "/" .. channel) or {}) do names[name] = true end
  for name in pairs(names) do
    local day, n, form = name:match "^(%d%d%d%d%-%d%d%-%d%d)_?(%d*)%.(%l+)$"
    local twin = form == "zst" and names[name:gsub("zst$", "sealed")]
    if day and (form == "zst" or form == "sealed") and not twin then
      list[#list + 1] = { name = name, day = day, n = tonumber(n) or 1 }
    end
  end
  table.sort(list, function(a, b)
    if a.day ~= b.day then return a.day < b.day end
    return a.n < b.n
  end)
  for i, f in ipairs(list) do list[i] = folder .. "/" .. channel .. "/" .. f.name end
  return list
end

--- The file that a block of that day goes to.
function M.path(folder, channel, day, n, sealed)
  return ("%s/%s/%s%s.%s"):format(folder, channel, day, n > 1 and "_" .. n or "",
    sealed and "sealed" or "zst")
end

--- Takes off what a crash left half written; the last block, or nil. Damage: false, why.
function M.recover(path)
  local last
  local next_block = M.blocks(path)
  while true do
    local b, why, at = next_block()
    if b and b.closed then
      return false, ("%s: the block at byte %.0f: %s"):format(path, b.at, b.closed)
    elseif b then
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

--- Writes a file anew, sealed under the present key; it takes the old one's place when it is whole
-- on disk. How many messages; nil, why.
function M.seal(path)
  local to = path:gsub("%.%l+$", "") .. ".sealed"
  local fresh, next_block, n = to .. ".new", M.blocks(path), 0
  os.remove(fresh) -- of a try that was ended
  while true do
    local b, why, at = next_block()
    if not b and why == "end" then break end
    if not b then return nil, ("%s: %s at byte %.0f"):format(path, why, at) end
    local frame, err = frame_of(path, b)
    local bytes = frame and sealed_block(b.plain, frame, b)
    local ok, cause = true, err
    if bytes then ok, cause = core.append(fresh, bytes) end
    if not bytes or not ok then
      os.remove(fresh)
      return nil, ("%s: the block at byte %.0f: %s"):format(path, b.at, cause or "no key")
    end
    n = n + b.n
  end
  local ok, err = true, nil
  if n > 0 then ok, err = core.replace(fresh, to) end
  if not ok then return nil, ("%s: %s"):format(to, err) end
  os.remove((to:gsub("sealed$", "zst")))
  return n
end

return M
