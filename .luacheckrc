std = "luajit"
max_line_length = 100
-- What Lunate adds to a script's globals (lua/globals.lua). kv is written to: kv.name = value.
local added = { "channel", "mllp", "hl7", "log", "lookup", "json", "now", "env", "secret" }
for _, folder in ipairs { "channels", "lib" } do
  files["scripts/**/" .. folder .. "/**"] = { read_globals = added, globals = { "kv" } }
end
files["scripts/**/spec/*_spec.lua"] = { std = "+busted", read_globals = { "hl7", "json", "lunate" } }
files["contrib/**"] = { read_globals = added }
files["tests"] = { max_line_length = 120 } -- messages and what they become, side by side
files["tests/**/*_spec.lua"] = { std = "+busted", max_line_length = 120 }
exclude_files = { "build" }
