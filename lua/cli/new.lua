-- `lunate new site DIR`, `lunate new channel NAME`, `lunate new editor`: files to begin with. Never
-- writes over a file, but for the definitions for editors, which are Lunate's own.
local sys = require "lunate.sys"
local fail = require "lunate.cli.fail"
local site = require "lunate.cli.site"
local template = require "lunate.cli.template"
local sample = require "lunate.cli.sample"

local M = {}

function M.define(parser)
  parser:argument("what", "site, channel or editor"):choices { "site", "channel", "editor" }
  parser:argument("name", "the site's folder, or the channel's name"):args "?"
  parser:option("--type", "the type of message that the channel takes (ADT), as ORU")
  parser:option("--from", "a file with such a message: its first one is the channel's sample, with "
    .. "pseudonyms")
end

-- Makes a folder and those above it.
local function folder(path)
  if sys.kind(path) == "folder" then return end
  local above = path:match "^(.*[^/])/+[^/]+/*$"
  if above then folder(above) end
  local ok, err = sys.mkdir(path)
  if not ok then fail.fail(1, "cannot make the folder %s: %s", path, err) end
end

-- Writes { path, text } pairs below root; nothing at all when one of them is there.
local function write(root, files)
  for _, f in ipairs(files) do
    local path = root .. "/" .. f[1]
    if sys.kind(path) then
      fail.fail(1, "%s is there already: nothing was written over it, nothing was made",
        (path:gsub("^%./", "")))
    end
  end
  for _, f in ipairs(files) do
    local path = root .. "/" .. f[1]
    folder(path:match "^(.*)/")
    local ok, err = sys.create(path, f[2])
    if not ok then fail.fail(1, "cannot write %s: %s", path, err) end
    print("  " .. (path:gsub("^%./", "")))
  end
end

-- The first port from 6661 on that no script of the site names.
local function free_port(root)
  local used = {}
  for _, name in ipairs(sys.list(root .. "/channels") or {}) do
    local text = site.read(root .. "/channels/" .. name) or
      site.read(root .. "/channels/" .. name .. "/init.lua") or ""
    for port in text:gmatch "port%s*=%s*(%d+)" do used[tonumber(port)] = true end
  end
  local port = 6661
  while used[port] or used[port + 1] do port = port + 10 end
  return port
end

local function channel_files(root, name, given)
  local port = free_port(root)
  local fill = { NAME = name, PORT = tostring(port), NEXT = tostring(port + 1), TYPE = given.type,
    CALLED = sample.called(given.type), OTHER = given.type == "ORU" and "ADT" or "ORU",
    FAMILY = given.family and ("%q"):format(given.family) }
  local function filled(text) return (text:gsub("@(%u+)@", fill)) end
  fill.NAMED = filled(given.family and template.named or template.nameless)
  fill.ANY = sample.can_be_made(given.type) and filled(template.any) or ""
  return {
    { "channels/" .. name .. ".lua", filled(template.channel) },
    { "samples/" .. name .. ".hl7", given.text },
    { "spec/" .. name .. "_spec.lua", filled(template.spec) },
  }, port
end

local function new_site(path)
  if sys.kind(path) and sys.kind(path) ~= "folder" then
    fail.fail(1, "%s is there and is not a folder", path)
  end
  path = path:match "^(.-)/*$"
  if path == "" then path = "/" end
  local files = channel_files(path, "adt_in", sample.of_type "ADT")
  table.insert(files, 1, { "lunate.lua", template.site })
  table.insert(files, 2, { ".gitignore", "data/\nsecrets/\n*.key\n" })
  write(path, files)
  print(("\nNext:\n  cd %s\n  lunate check\n  lunate test"):format(path))
  print "  lunate eval -c adt_in --diff samples/adt_in.hl7"
end

local function new_channel(name, type, from)
  if not name:match "^[%w_-]+$" or #name > 64 then
    fail.usage("\"%s\" is no channel name: up to 64 letters, digits, _ and -", name)
  end
  local root = site.path()
  if sys.kind(root) ~= "folder" then
    fail.fail(1, "there is no site %s (make one with: lunate new site %s)", root, root)
  end
  if not site.is_site() then fail.fail(1, "%s", site.no_site()) end
  if sys.kind(("%s/channels/%s"):format(root, name)) then
    fail.fail(1, "%s/channels/%s is there already", root, name)
  end
  local given = from and sample.from(from) or sample.of_type(type or "ADT")
  local files, port = channel_files(root, name, given)
  write(root, files)
  if given.count and given.count > 1 then
    print(("\nThe sample is the first of %d messages."):format(given.count))
  end
  if given.note then
    print(("\nThe sample has pseudonyms; %s.\nLook through it before others get it.")
      :format(given.note))
  end
  print(("\nIt listens on port %d. Try it:"):format(port))
  local there = root == "." and "" or "-C " .. root .. " "
  local above = root == "." and "" or root .. "/"
  print(("  lunate %seval -c %s --diff %ssamples/%s.hl7"):format(there, name, above, name))
end

-- Definitions for lua-language-server: written anew each time. .luarc.json is the user's.
local function new_editor()
  local root = site.path()
  if sys.kind(root) ~= "folder" then fail.fail(1, "there is no site %s", root) end
  local types = require "lunate.editor.types"
  folder(root .. "/.lunate/types")
  for name, text in pairs { lunate = require("lunate.editor.definitions").text(),
    segments = types.segments(), types = types.types() } do
    local path = ("%s/.lunate/types/%s.lua"):format(root, name)
    local f, err = io.open(path, "w")
    if not f then fail.fail(1, "cannot write %s", err) end
    f:write(text)
    f:close()
  end
  print("  " .. (root .. "/.lunate/types"):gsub("^%./", ""))
  if sys.kind(root .. "/.luarc.json") then
    print(("  %s/.luarc.json is there already: its workspace.library needs .lunate/types")
      :format(root))
  else
    write(root, { { ".luarc.json", template.luarc } })
  end
end

function M.run(args)
  if args.what == "editor" then
    if args.name then fail.usage "new editor takes no name" end
    new_editor()
    return 0
  end
  if not args.name then fail.usage("new %s needs a name", args.what) end
  if args.type and args.from then fail.usage "--from says the type: it goes without --type" end
  if (args.type or args.from) and args.what ~= "channel" then
    fail.usage "--type and --from are for new channel"
  end
  if args.what == "site" then
    new_site(args.name)
  else
    new_channel(args.name, args.type and args.type:upper(), args.from)
  end
  return 0
end

return M
