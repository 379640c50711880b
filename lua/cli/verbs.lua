-- The catalogue of verbs: what `lunate help` lists, in its order. A verb without `lua` is written
-- in C (core/role); its help is in lunate.cli.pages all the same.
return {
  { group = "A site" },
  { "new", "makes a site, or a channel in one", lua = "lunate.cli.new" },
  { "check", "loads every script, says what is wrong, changes nothing", lua = "lunate.cli.check" },
  { "eval", "runs a channel's script on files, sends nothing", lua = "lunate.cli.eval" },
  { "test", "runs the site's specs", lua = "lunate.cli.test" },
  { "run", "runs the site in the foreground" },

  { group = "A running engine" },
  { "status", "channels and queues, what needs a hand first", lua = "lunate.cli.status" },
  { "reload", "swaps in changed scripts, or says why not", lua = "lunate.cli.control" },
  { "start", "opens a channel again", lua = "lunate.cli.control" },
  { "stop", "closes a channel's listener and worker", lua = "lunate.cli.control" },
  { "pause", "goes on receiving, processes nothing", lua = "lunate.cli.control" },
  { "resume", "processes again", lua = "lunate.cli.control" },
  { "hold", "stops sending to a destination", lua = "lunate.cli.control" },
  { "release", "sends again", lua = "lunate.cli.control" },
  { "step", "one try of a held destination's first message", lua = "lunate.cli.control" },
  { "skip", "parks the head of a destination's queue", lua = "lunate.cli.control" },
  { "metrics", "counters as OpenMetrics text", lua = "lunate.cli.control" },

  { group = "Messages" },
  { "messages", "finds messages by state, ids, type, time, values, text",
    lua = "lunate.cli.messages" },
  { "tail", "the newest messages, and with -f what comes", lua = "lunate.cli.messages" },
  { "show", "one message: as received, what happened, what was sent", lua = "lunate.cli.show" },
  { "resend", "sends or processes a message again", lua = "lunate.cli.control" },

  { group = "Tools" },
  { "send", "MLLP client and load generator" },
  { "listen", "MLLP receiver for tests" },
  { "query", "values of messages by path", lua = "lunate.cli.query" },
  { "lua", "runs a Lua file with Lunate's modules" },
  { "version", "prints the version", lua = "lunate.cli.help" },
  { "help", "help on a verb", lua = "lunate.cli.help" },
}
