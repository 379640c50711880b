-- `lunate resend CHANNEL/SEQ --edit`: the message in the operator's editor, then through the
-- script as a new entry that names its origin. The file is private and removed in any case.
local term = require "lunate.cli.term"
local site = require "lunate.cli.site"
local fail = require "lunate.cli.fail"
local differ = require "lunate.cli.differ"
local history = require "lunate.cli.history"

local M = {}

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

-- The text as somebody left it; nil when the editor says that it failed.
local function edited(text)
  local path = os.tmpname() -- made with mode 0600
  local editor = require("lunate.cli.shell").editor()
  write(path, text)
  local status = os.execute(("%s '%s'"):format(editor, path))
  local result = status == 0 and site.read(path) or nil
  os.remove(path)
  return result, editor
end

-- What somebody has typed is not thrown away when it could not be sent.
local function keep(text)
  local path = os.tmpname()
  write(path, (text:gsub("\r", "\n")))
  io.stderr:write("what you edited is in ", path, " (mode 0600; remove it when it is done with)\n")
end

function M.run(args, channel, seq)
  local h = history.open()
  local c = h:channel(channel)
  local known = not args.dest
  for _, d in ipairs(c.destinations) do known = known or d.name == args.dest end
  if not known then fail.fail(1, "channel %s has no destination named %s", channel, args.dest) end
  local receipt = h:one(c, seq, true)
  require("lunate.cli.audit").put { action = "edit", object = args.message, reason = args.reason,
    outcome = receipt and "ok" or "failed", text = "opened in an editor" }
  if not receipt then fail.fail(1, "there is no message %s", args.message) end
  if receipt.raw:find("\n", 1, true) or receipt.raw:find("%z") then
    fail.fail(1, "%s holds LF or NUL bytes, which an editor would change: save it with "
      .. "lunate show --raw, change it there, and send it with lunate send", args.message)
  end
  local text, editor = edited((receipt.raw:gsub("\r", "\n")))
  if not text then fail.fail(1, "%s failed: nothing is sent", editor) end
  text = text:gsub("\r?\n", "\r"):gsub("\r+$", "\r")
  if text == receipt.raw or text .. "\r" == receipt.raw or text == receipt.raw .. "\r" then
    fail.fail(1, "%s is unchanged: nothing is sent", args.message)
  end
  local ok, answer = pcall(site.request,
    { "edit", channel, ("%.0f"):format(seq), text, args.began_us, args.dest or "" },
    { seconds = 90 })
  if not ok then
    keep(text)
    error(answer, 0)
  end
  if args.json then
    print(answer)
    return 0
  end
  for _, line in ipairs(differ.lines(receipt.raw, text)) do
    if line:sub(1, 1) ~= " " then print("  " .. term.printable(line)) end
  end
  print(("%s, edited, as %s/%s%s"):format(args.message, channel,
    answer:match '"seq"%s*:%s*"?(%d+)' or "?", args.dest and " to " .. args.dest or ""))
  return 0
end

return M
