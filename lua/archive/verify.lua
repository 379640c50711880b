-- `verify --archive`: every block and document, and whether any is missing: blocks are numbered,
-- each has the sum of the one before it, and the ledger says how many there must be.
local file = require "lunate.archive.file"

local M = {}

local function day_of(us) return os.date("!%Y-%m-%d", math.floor(us / 1e6)) end

local function blocks(from, to)
  if from == to then return ("block %.0f is"):format(from) end
  return ("blocks %.0f to %.0f are"):format(from, to)
end

-- A numbered block against the one before it. s: { no, sum, to, closed } of that.
local function check_place(w, s, path, b)
  local at = ("block %.0f at byte %.0f"):format(b.no, b.at)
  local next_no = s.no and s.no + s.closed + 1
  if not s.no then
    if b.no - s.closed > 1 then w.begins(b) end
  elseif b.no < next_no then
    w.problem(path, ("%s: was there before, or stands in the wrong place"):format(at))
  elseif b.no > next_no then
    w.problem(path, ("%s missing before it (messages between %.0f and %.0f): taken out or cut off")
      :format(blocks(next_no, b.no - 1), s.to or -1, b.from))
  elseif s.closed == 0 and s.sum and b.before ~= s.sum then
    w.problem(path, ("%s: the block before it is not the one that was written there"):format(at))
  end
  if b.unsure then w.unsure(path, b) end
end

-- One file: its blocks and documents.
local function verify_file(w, s, path)
  local next_block = file.blocks(path)
  while true do
    local b, why, at = next_block()
    if not b then
      if why ~= "end" then w.problem(path, ("%s at byte %.0f"):format(why, at)) end
      return
    end
    local docs, sum = file.documents(path, b)
    if not docs then w.problem(path, ("block at byte %.0f: %s"):format(b.at, sum)) end
    if b.closed then
      s.closed = s.closed + 1
    else
      if b.from <= s.last then w.out.again = w.out.again + 1 end
      if b.no then check_place(w, s, path, b) end
      if w.known and w.known.no == b.no and docs and w.known.sum ~= sum then
        w.problem(path, ("block %.0f at byte %.0f: the ledger knows another one"):format(b.no,
          b.at))
      end
      s.no, s.sum, s.to, s.last, s.closed = b.no or s.no, docs and sum, b.to, b.to, 0
      w.out.messages, w.out.bytes = w.out.messages + b.n, w.out.bytes + b.bytes
    end
  end
end

-- Whether all is there that the ledger knows.
local function check_end(w, s, where)
  local known, no = w.known, (s.no or 0) + s.closed
  if not known or no >= known.no then return end
  if w.from and day_of(known.last_us) < w.from then return end
  w.problem(where, ("%s missing at the end (up to message %.0f of %s): cut off, or taken away")
    :format(blocks(no + 1, known.no), known.to, day_of(known.last_us)))
end

local function verify_channel(w, a, out)
  local s = { last = -1, closed = 0 }
  local numbered
  local files = file.files(a.folder, a.channel)
  function w.begins(b)
    out.begins[#out.begins + 1] = { channel = a.channel, block = b.no, day = day_of(b.first_us) }
    if w.from and day_of(b.first_us) > w.from then
      w.problem(files[1], ("%s missing before it: all since %s should be here"):format(
        blocks(1, b.no - 1), w.from))
    end
  end
  for _, path in ipairs(files) do
    out.files = out.files + 1
    verify_file(w, s, path)
    numbered = numbered or s.no
  end
  check_end(w, s, a.folder .. "/" .. a.channel)
  return numbered
end

--- Looks at every block and document: files, messages, bytes, problems { { path, what } }; again:
-- blocks whose numbers were there before (the store was restored in between); begins: channels
-- whose first blocks are not there any more { { channel, block, day } }; unsure: blocks that were
-- written while there was no ledger. ledger: as ledger.read gives it; from: all since that day must
-- be there.
function M.verify(archives, ledger, from)
  local out = { files = 0, messages = 0, bytes = 0, again = 0, problems = {}, begins = {},
    unsure = {} }
  local w = { out = out, from = from }
  function w.problem(path, what) out.problems[#out.problems + 1] = { path = path, what = what } end
  function w.unsure(path, b) out.unsure[#out.unsure + 1] = { path = path, block = b.no } end
  local seen, numbered = {}, false
  for _, a in ipairs(archives) do
    w.known = ledger and ledger[a.channel]
    seen[a.channel] = true
    local yes = verify_channel(w, a, out)
    numbered = numbered or yes
  end
  for name, known in pairs(ledger or {}) do
    if not seen[name] and not (from and day_of(known.last_us) < from) then
      w.problem(name, ("all %.0f blocks of the channel are missing (up to message %.0f of %s)")
        :format(known.no, known.to, day_of(known.last_us)))
    end
  end
  out.no_ledger = numbered and not ledger
  return out
end

return M
