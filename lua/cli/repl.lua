-- `lunate repl [-c CHANNEL] [FILE]`: messages and scripts by hand (lua/repl).
local sys = require "lunate.sys"
local fail = require "lunate.cli.fail"
local text = require "lunate.repl.text"

local M = {}

function M.define(parser)
  parser:option("-c --channel", "the channel whose script is at hand; the only one when left out")
  parser:argument("file", "a file with messages"):args "?"
  parser:flag("--live", "what a run would send is sent; kv begins as the store has it")
end

function M.run(args)
  local session = require "lunate.repl.session".open { channel = args.channel,
    live = args.live }
  local ok, status = xpcall(function()
    if session.person then
      session:say(text.wrap(("Lunate %s: Lua, ?PID-3 explains, .help lists commands, Tab completes")
        :format(sys.version())))
      if args.live then
        session:say(text.paint("red", text.wrap "live: .run sends what goes out"))
      end
    end
    session:begin(args.file)
    return session:loop()
  end, function(e) return fail.is(e) and e or debug.traceback(e, 2) end)
  session:close()
  if not ok then error(status, 0) end
  return status
end

return M
