-- Looks into archive files: for `messages --archive`, `show --archive`. Blocks say in their headers
-- what they may have; only those are read.
local file = require "lunate.archive.file"
local decode = require("json").decode
local time = require "lunate.cli.time"
local where = require "lunate.cli.where"

local M = {}

local function fits_block(args, b)
  if args.since_us and b.last_us < args.since_us then return false end
  if args.until_us and b.first_us > args.until_us then return false end
  if args.seq and (args.seq < b.from or args.seq > b.to) then return false end
  if args.control_id and not file.may_have(b, args.control_id) then return false end
  return not args.patient or file.may_have(b, args.patient)
end

local function is_type(args, doc)
  return not args.type or doc.type == args.type or doc.type:match "^[^%^]*" == args.type
end

local function is_state(args, doc)
  return not args.state or doc.state == args.state or args.state == "done" and doc.state == "sent"
end

local function fits(args, doc)
  local us = time.parse(doc.time)
  if args.seq and doc.seq ~= args.seq then return false end
  if args.control_id and doc.control_id ~= args.control_id then return false end
  if args.since_us and us < args.since_us or args.until_us and us > args.until_us then
    return false
  end
  if not is_type(args, doc) or not is_state(args, doc) then return false end
  local known = not args.patient
  for _, id in ipairs(doc.patient_ids) do known = known or id == args.patient end
  if not known then return false end
  if args.text and not doc.raw:lower():find(args.text, 1, true) then return false end
  return where.hold(args.conditions or {}, doc.raw)
end

-- Newest first; false: the search is to end.
local function search_file(path, args, found, trouble)
  local blocks, next_block = {}, file.blocks(path)
  while true do
    local b, why, at = next_block()
    if not b then
      if why == "damaged" then trouble(path, ("damaged at byte %.0f"):format(at)) end
      break
    end
    if b.closed then
      trouble(path, ("block at byte %.0f: %s"):format(b.at, b.closed))
    elseif fits_block(args, b) then blocks[#blocks + 1] = b end
  end
  for i = #blocks, 1, -1 do
    local docs, why = file.documents(path, blocks[i])
    if not docs then trouble(path, why) end
    for k = #(docs or {}), 1, -1 do
      local doc = decode(docs[k])
      if fits(args, doc) and found(doc, docs[k]) == false then return false end
    end
  end
end

--- Calls found(document, its JSON text) for all messages that the filters want, newest files first;
-- false ends it. archives: { { channel, folder } }; trouble(path, why): what cannot be read.
function M.search(archives, args, found, trouble)
  for _, a in ipairs(archives) do
    local files = file.files(a.folder, a.channel)
    for i = #files, 1, -1 do
      if search_file(files[i], args, found, trouble) == false then return end
    end
  end
end

--- What the blocks are encrypted with: keys { [id] = blocks }, clear: files that are not.
function M.keys(archives)
  local out = { keys = {}, clear = 0 }
  for _, a in ipairs(archives) do
    for _, path in ipairs(file.files(a.folder, a.channel)) do
      if not file.is_sealed(path) then out.clear = out.clear + 1 end
      for b in file.blocks(path) do
        if b.key then out.keys[b.key] = (out.keys[b.key] or 0) + 1 end
      end
    end
  end
  return out
end

--- Encrypts all of it anew under the present key: messages; nil, why. step(messages so far).
function M.seal(archives, step)
  local n = 0
  for _, a in ipairs(archives) do
    for _, path in ipairs(file.files(a.folder, a.channel)) do
      local more, err = file.seal(path)
      if not more then return nil, err end
      n = n + more
      if step then step(n) end
    end
  end
  return n
end

return M
