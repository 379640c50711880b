-- What a site adds to the dictionary (hl7.dictionary.extend), for verbs over files: the module of
-- lib/ that --dictionary names, or lib/dictionary.lua when the site has one.
local profile_file = require "lunate.cli.profile_file"
local site = require "lunate.cli.site"
local sys = require "lunate.sys"

local M = {}
local USUAL = "dictionary"

function M.define(parser)
  parser:option("--dictionary",
    "what the site adds to the dictionary: a module in lib/, or a file (lib/dictionary.lua)")
end

function M.load(args)
  local usual = sys.kind(site.file("lib/" .. USUAL .. ".lua")) == "file" and USUAL
  local name = args.dictionary or usual
  if name then profile_file.run(name) end
end

return M
