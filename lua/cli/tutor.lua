-- `lunate tutor [LESSON]`: learning by doing (lua/repl/tutor.lua).
local fail = require "lunate.cli.fail"

local M = {}

function M.define(parser)
  parser:argument("lesson", "the lesson to begin with; where it was left when left out"):args "?"
end

function M.run(args)
  local tutor = require "lunate.repl.tutor"
  local n = args.lesson and tonumber(args.lesson)
  if args.lesson and not (n and n >= 1 and n <= tutor.count and n % 1 == 0) then
    fail.usage("lessons are numbered from 1 to %d", tutor.count)
  end
  return tutor.run(n)
end

return M
