-- `lunate completion bash|zsh|fish`: a completion script for that shell, made from the verbs.
local M = {}

local shells = { "bash", "zsh", "fish" }

function M.define(parser)
  parser:argument("shell", table.concat(shells, ", ")):choices(shells)
end

function M.run(args)
  local list = require("lunate.cli.catalogue").list()
  io.write(require("lunate.cli.complete_" .. args.shell)(list))
  return 0
end

return M
