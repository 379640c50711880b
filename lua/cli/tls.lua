-- `lunate tls new-ca`, `new-cert NAME...`, `check HOST:PORT`: certificates for test beds, and a
-- look at what a server shows. Never writes over a file; keys are 0600.
local tls = require "lunate.tls_core"
local sys = require "lunate.sys"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local term = require "lunate.cli.term"

local M = {}

function M.define(parser)
  parser:argument("what", "new-ca, new-cert or check"):choices { "new-ca", "new-cert", "check" }
  parser:argument("names", "new-ca: its name; new-cert: host names and addresses, the first is the "
    .. "certificate's; check: HOST:PORT"):args "*"
  parser:option("--out", "folder for what is made (tls in the site's folder)")
  parser:option("--ca", "new-cert: the CA's certificate, its key beside it; check: what to trust")
  parser:option("--days", "how long it is good for"):convert(tonumber)
  parser:option("--cert", "check: our certificate")
  parser:option("--key", "check: its key")
  parser:option("--server-name", "check: the name to ask for and to expect")
end

-- The folder that certificates go to: the site's tls/, where channels look for what they name.
local function folder(args)
  return args.out or site.file "tls"
end

local function read(path)
  local f, err = io.open(path, "rb")
  if not f then fail.fail(1, "%s", err) end
  local text = f:read "*a"
  f:close()
  return text
end

local function days_of(args, default)
  local days = args.days or default
  if days < 1 or days > 36500 or days % 1 ~= 0 then
    fail.usage("--days is a whole number from 1 to 36500")
  end
  return days
end

-- Writes NAME.pem and NAME.key into the folder.
local function keep(dir, name, cert, key)
  if not sys.kind(dir) then sys.mkdir(dir) end
  local pem, secret = dir .. "/" .. name .. ".pem", dir .. "/" .. name .. ".key"
  for _, path in ipairs { pem, secret } do
    if sys.kind(path) then fail.fail(1, "%s is there already: nothing was written", path) end
  end
  for path, text in pairs { [secret] = key, [pem] = cert } do
    local ok, err = tls.keep(path, text, path == secret)
    if not ok then fail.fail(1, "cannot write %s: %s", path, err) end
  end
  print(("%s and %s"):format(pem, secret))
end

local function new_ca(args)
  if #args.names > 1 then fail.usage("new-ca takes one name") end
  local name = args.names[1] or "Lunate test CA"
  local cert, key = tls.make(name, {}, days_of(args, 3650))
  if not cert then fail.fail(1, "%s", key) end
  keep(folder(args), "ca", cert, key)
end

local function new_cert(args)
  local names = args.names
  if #names == 0 then fail.usage("new-cert needs the names that it is for") end
  local dir = folder(args)
  local ca = args.ca or dir .. "/ca.pem"
  if not sys.kind(ca) then
    fail.fail(1, "%s is not there: make a CA first (lunate tls new-ca), or name one with --ca", ca)
  end
  local cert, key = tls.make(names[1], names, days_of(args, 825), read(ca),
    read((ca:gsub("%.pem$", "") .. ".key")))
  if not cert then fail.fail(1, "%s", key) end
  keep(dir, (names[1]:gsub("[^%w.-]", "_")), cert, key)
end

local function options(args)
  local o = { server_name = args.server_name }
  for _, name in ipairs { "ca", "cert", "key" } do
    local path = args[name] or (name == "key" and args.cert or nil)
    if path then o[name], o[name .. "_path"] = read(path), path end
  end
  return o
end

local function check(args)
  local host, port = (args.names[1] or ""):match "^(.+):(%d+)$"
  if not host or #args.names > 1 then fail.usage("check needs one HOST:PORT") end
  host = host:match "^%[(.*)%]$" or host
  local o = options(args)
  local session, subject, ends, refused = tls.shake(host, port, o)
  local why = not session and subject
  if why and ends then fail.fail(3, "cannot connect to %s: %s", args.names[1], why) end
  if why then -- what it shows all the same
    o.insecure, o.ca, o.ca_path = true, nil, nil
    session, subject, ends = tls.shake(host, port, o)
  end
  if session then
    local days = math.floor((ends - sys.now()) / 86400)
    print("session      " .. session)
    print("certificate  " .. subject)
    print(("ends         %s, in %s"):format(os.date("!%Y-%m-%d %H:%M UTC", ends),
      term.count(days, "day")))
  end
  if why then fail.fail(1, "%s: %s", args.names[1], why) end
  print "verified     chain, dates and name"
  if refused then fail.fail(1, "%s: it ended the session: %s", args.names[1], refused) end
end

function M.run(args)
  local what = { ["new-ca"] = new_ca, ["new-cert"] = new_cert, check = check }
  what[args.what](args)
  return 0
end

return M
