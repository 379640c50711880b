-- The messages of files, one after another, for verbs over files: one message, several, a batch,
-- MLLP frames; from standard input without a file. Files are read in blocks, so that their size
-- does not matter. What cannot be read is one line on stderr with file and byte; the rest goes on.
local hl7 = require "hl7"
local core = require "lunate.hl7.core" -- made by hl7
local sys = require "lunate.sys"
local tools = require "lunate.tools"

local M = {}
local BLOCK = 1024 * 1024

local Source = {}
Source.__index = Source

function Source:say(offset, text, ...)
  io.stderr:write(("lunate %s: %s: byte %.0f: %s\n"):format(self.verb, self.name, offset,
    text:format(...)))
end

function Source:wrong(offset, text, ...)
  self.status = 1
  self:say(offset, text, ...)
end

-- Adds the offset to "byte N" of an error of the parser.
local function shift(err, base)
  local at, rest = tostring(err):match "^byte (%d+): (.*)$"
  if not at then return base, tostring(err) end
  return base + tonumber(at), rest
end

function Source:message(offset, text, take)
  self.count = self.count + 1
  local msg, err = hl7.parse(text)
  if not msg then
    self:wrong(shift(err, offset))
    return
  end
  take { msg = msg, text = text, file = self.file, name = self.name, offset = offset,
    n = self.count }
end

-- What stands between messages: segments of a batch, and junk.
function Source:between(offset, text, take)
  local junk, junk_at = 0, nil
  for at, line in text:gmatch "()([^\r\n\v\28]+)" do
    if line:find "^[FB][HT]S%p" or line == "BTS" or line == "FTS" then
      self.enveloped = true
      if self.envelopes then
        take { envelope = line, file = self.file, name = self.name, offset = offset + at - 1 }
      end
    elseif line:find "[^ \t%z\239\187\191]" then
      if not self.almost and line:find "^[ \t\239\187\191]*MSH" then
        self.almost, self.almost_at = line, ("the line at byte %.0f"):format(offset + at - 1)
      end
      junk, junk_at = junk + #line, junk_at or offset + at - 1
    end
  end
  if junk > 0 then
    if self.framed then self.status = 1 end
    self:say(junk_at, "%d byte%s that belong to no message left out", junk, junk == 1 and "" or "s")
  end
end

-- Deals with `text`, which begins at self.at; returns how much of it is done with.
function Source:block(text, last, take)
  if self.framed == nil then
    local first = text:match "^[ \t\r\n]*(.)"
    self.framed = first == "\v"
  end
  local list, used = tools.split(text, self.framed, last)
  local stop = 0
  for i = 1, #list, 2 do
    local offset, piece = list[i], list[i + 1]
    if offset > stop then self:between(self.at + stop, text:sub(stop + 1, offset), take) end
    self:message(self.at + offset, piece, take)
    stop = offset + #piece
  end
  if last and self.framed and text:find("\v", used + 1, true) then
    self:wrong(self.at + used, "the file ends inside an MLLP frame")
    used = #text
  elseif stop < used then
    self:between(self.at + stop, text:sub(stop + 1, used), take)
  end
  return used
end

function Source:read(f, take)
  local rest, want = "", BLOCK
  self.at = 0
  while true do
    local chunk = f:read(want)
    if self.at == 0 and rest == "" and chunk and core.narrow(chunk) then
      chunk = core.narrow(chunk .. (f:read "*a" or "")) -- UTF-16: offsets are of its UTF-8 form
    end
    local text = chunk and rest .. chunk or rest
    local used = self:block(text, chunk == nil, take)
    if chunk == nil then break end
    want = used == 0 and math.max(BLOCK, #text) or BLOCK
    self.at, rest = self.at + used, text:sub(used + 1)
  end
  if self.count == 0 and not self.enveloped then
    self.status = 1
    io.stderr:write(("lunate %s: %s: %s\n"):format(self.verb, self.name,
      require "lunate.cli.no_message"(self.almost or "", self.almost_at)))
  end
end

--- Opens a file of the folder one works in; else, with -C, one of the site.
function M.open(file)
  local f, err = io.open(file, "rb")
  if f or file:sub(1, 1) == "/" then return f, err end
  return io.open(sys.site() .. "/" .. file, "rb") or nil, err
end

--- Calls take(piece) for each message of the files ("-", or none: standard input):
-- { msg, text, file, name, offset, n }, and with o.envelopes for each segment of a batch header or
-- trailer { envelope = line, ... }. Returns the exit status: 1 when something could not be read.
function M.each(verb, files, take, o)
  if not files or #files == 0 then files = { "-" } end
  local status = 0
  for _, file in ipairs(files) do
    local source = setmetatable({ verb = verb, file = file, count = 0, status = 0,
      name = file == "-" and "standard input" or file, envelopes = o and o.envelopes }, Source)
    local f, err
    if file == "-" then f = io.stdin else f, err = M.open(file) end
    local why = f and select(2, f:read(0)) -- a folder can be opened, but not read
    if why then
      local hint = sys.kind(file) == "folder" and (": name its files, as %s/*.hl7"):format(
        (file:gsub("/+$", ""))) or ""
      f, err = nil, ("%s: %s%s"):format(source.name, why, hint)
    end
    if f then
      source:read(f, take)
      if file ~= "-" then f:close() end
      status = math.max(status, source.status)
    else
      io.stderr:write(("lunate %s: %s\n"):format(verb, err))
      status = 1
    end
  end
  return status
end

--- All messages of one file, in a list, and the status.
function M.all(verb, file)
  local list = {}
  local status = M.each(verb, { file }, function(piece) list[#list + 1] = piece end)
  return list, status
end

return M
