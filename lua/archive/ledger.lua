-- Where each channel's archive ends: archive.ledger in the store's folder, { CHANNEL = { no, sum,
-- to, last_us } }, its last block's number and sum (lua/archive/file.lua) and last message. Written
-- after the blocks, so an archive may be ahead of it, never behind: what is behind was cut off. Of
-- an encrypted site it is sealed, so that nobody without the key can make it say less.
local core = require "lunate.archive_core"
local json = require "lunate.cli.json"
local decode = require("json").decode

local M = {}

local LABEL, MOST = "archive ledger", 64 * 1024 * 1024

local function path_of(data) return data .. "/archive.ledger" end

--- The ledger; nil when there is none; nil, why when it cannot be read.
function M.read(data)
  local path = path_of(data)
  if not core.size(path) then return nil end
  local text, err = core.read(path, 0, MOST)
  if not text then return nil, ("%s: %s"):format(path, err or "unreadable") end
  if core.key_of(text) then
    local plain, why = core.unseal(LABEL, text)
    if not plain then return nil, ("%s: %s"):format(path, why) end
    text = plain
  end
  local ok, doc = pcall(decode, text)
  if not ok or type(doc) ~= "table" or type(doc.channels) ~= "table" then
    return nil, path .. ": damaged"
  end
  local list = {}
  for _, c in ipairs(doc.channels) do
    list[c.channel] = { no = c.no, sum = c.sum, to = c.to, last_us = tonumber(c.last_us) }
  end
  return list
end

--- Puts a damaged one aside, for whoever looks into it; nil, why.
function M.set_aside(data)
  return os.rename(path_of(data), path_of(data) .. ".damaged")
end

--- What is to be said as long as a damaged one lies aside; nil.
function M.damaged(data)
  local path = path_of(data) .. ".damaged"
  return core.size(path) and ("%s: archive.ledger was damaged: `lunate verify --archive`, and "
    .. "remove it when it is clear what happened"):format(path)
end

--- Replaces it: true; nil, why.
function M.write(data, list, sealed)
  local names, rows = {}, {}
  for name in pairs(list) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    local c = list[name]
    rows[i] = json.object("channel", name, "no", c.no, "sum", c.sum, "to", c.to, "last_us",
      ("%.0f"):format(c.last_us))
  end
  local text, why = json.encode(json.object("channels", json.list(rows))), nil
  if sealed then text, why = core.seal(LABEL, text) end
  if not text then return nil, why end
  return M.put(data, text)
end

--- As it stands in the file, for a copy of the store; nil when there is none; nil, why.
function M.bytes(data)
  if not core.size(path_of(data)) then return nil end
  return core.read(path_of(data), 0, MOST)
end

--- Puts such bytes in its place: true; nil, why.
function M.put(data, text)
  local path = path_of(data)
  local fresh = path .. ".new"
  os.remove(fresh)
  local ok, err = core.append(fresh, text)
  if ok then ok, err = core.replace(fresh, path) end
  if not ok then return nil, ("%s: %s"):format(path, err) end
  return true
end

--- The id of the key it is sealed with; nil.
function M.key(data)
  local text = core.read(path_of(data), 0, 4096)
  return text and core.key_of(text)
end

return M
