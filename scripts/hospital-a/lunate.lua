-- Hospital A: what holds for all channels. Everything here may be left out.
return {
  data = "data", -- the store: every message received, and what became of it
  retention = { days = 90 }, -- how long messages are kept that need nobody any more
}
