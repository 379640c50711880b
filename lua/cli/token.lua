-- `lunate token new|list|revoke`: tokens for scripts and for the admin address.
local core = require "lunate.token_core"
local audit = require "lunate.cli.audit"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"
local term = require "lunate.cli.term"
local time = require "lunate.cli.time"
local json = require "lunate.cli.json"
local fail = require "lunate.cli.fail"

local M = {}

local units = { h = 3600, d = 86400, w = 7 * 86400 }

function M.define(parser)
  parser:argument("what", "new, list, revoke"):choices { "new", "list", "revoke" }
  parser:argument("name", "new: what it is for, one word; revoke: the token's id"):args "?"
  parser:option("--role", "observer, viewer, operator, developer or admin (observer)")
    :default "observer"
  parser:option("--channels", "names or patterns, with commas between (*)"):default "*"
  parser:option("--days", "how long it holds: 90, 12h, 4w; at most 366 days (90)"):default "90"
  parser:option("--reason", "why, kept in the audit log")
  parser:flag("--json", "one JSON document; list: one a line")
end

local function seconds(text)
  local n, unit = text:match "^(%d+)([hdw]?)$"
  local s = n and tonumber(n) * units[unit == "" and "d" or unit]
  if not s or s < 3600 or s > 366 * 86400 then
    fail.usage("--days \"%s\": from 1h to 366d, as in 90, 12h, 4w", text)
  end
  return s
end

local roles = { observer = true, viewer = true, operator = true, developer = true, admin = true }

local function document(t, text)
  return json.object("token", text, "id", t.id, "name", t.name, "role", t.role, "channels",
    t.channels, "made", sys.iso(t.made_us), "ends", sys.iso(t.ends_us),
    "expired", t.ends_us <= sys.now() * 1e6)
end

local function new(args, data)
  if not args.name or not args.name:find "^[%w_.-]+$" then
    fail.usage "say what it is for, in one word: lunate token new prometheus"
  end
  if not roles[args.role] then
    fail.usage("--role \"%s\": observer, viewer, operator, developer or admin", args.role)
  end
  if not args.channels:find "^[%w_*,-]+$" then
    fail.usage("--channels \"%s\": names or patterns, with commas between", args.channels)
  end
  local ends = (sys.now() + seconds(args.days)) * 1e6
  audit.put { action = "token.new", object = args.name, reason = args.reason,
    text = ("%s over %s until %s"):format(args.role, args.channels, sys.iso(ends)) }
  local text, t = core.new(data, args.role, args.channels, args.name, ends)
  if not text then fail.fail(1, "%s", t) end
  if args.json then return print(json.encode(document(t, text))) end
  print(text)
  io.stderr:write(("%s over %s until %s. It is shown this once; use it as LUNATE_TOKEN, or as "
    .. "Authorization: Bearer TOKEN. lunate token revoke %s ends it\n"):format(t.role, t.channels,
    time.text(t.ends_us):sub(1, 16), t.id))
end

local function list(args, data)
  local tokens, err = core.list(data)
  if not tokens then fail.fail(1, "%s", err) end
  audit.put { action = "token.list", reason = args.reason }
  for _, t in ipairs(tokens) do
    if args.json then
      print(json.encode(document(t)))
    else
      print(("%s  %s  %s  %s  %s"):format(t.id, term.fit(t.name, 16), term.fit(t.role, 9),
        t.ends_us <= sys.now() * 1e6 and term.paint("red", "expired         ")
        or time.text(t.ends_us):sub(1, 16), t.channels))
    end
  end
  if #tokens == 0 and not args.json then io.stderr:write "no tokens\n" end
end

local function revoke(args, data)
  if not args.name then fail.usage "which? lunate token revoke ID (see lunate token list)" end
  audit.put { action = "token.revoke", object = args.name, reason = args.reason }
  local ok, err = core.revoke(data, args.name)
  if not ok then fail.fail(1, "%s", err) end
  print(args.json and json.encode(json.object("ok", true, "id", args.name))
    or args.name .. " is no token any more")
end

function M.run(args)
  local data = site.data()
  if sys.kind(data) ~= "folder" then
    fail.fail(1, "%s has no store yet: %s is made when its engine first runs", site.path(), data)
  end
  ({ new = new, list = list, revoke = revoke })[args.what](args, data)
  return 0
end

return M
