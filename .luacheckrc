std = "luajit"
max_line_length = 100
files["tests/**/*_spec.lua"] = { std = "+busted" }
files["scripts/**/spec/*_spec.lua"] = { std = "+busted", read_globals = { "hl7", "lunate" } }
files["scripts/**/channels/**"] = {
  read_globals = { "channel", "mllp", "hl7", "log", "kv", "lookup", "json", "now", "env" },
}
exclude_files = { "build" }
