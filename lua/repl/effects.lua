-- What a run of a channel's script would do outside of it. Effects are held back and shown; with
-- `lunate repl --live` those that this process can do are done.
--
-- A source of effects is a function(session, result, add) in `sources`; add { what = text for
-- people, perform = function() -> true or false, text } or, for what only the engine can do,
-- without perform. Whatever else scripts will be able to reach gets a source here, and nothing
-- elsewhere.
local sys = require "lunate.sys"
local json = require "json"
local shell = require "lunate.cli.shell"
local site = require "lunate.cli.site"
local text = require "lunate.repl.text"

local M = {}

local files = { ca = "--ca", cert = "--cert", key = "--key", crl = "--crl" }
local words_for = { server_name = "--server-name", min_version = "--min-version" }

-- Options of `lunate send` for a destination's settings.
local function tls_words(settings, prefix)
  if settings[prefix .. "tls"] ~= "true" then return {} end
  local words = { "--tls" }
  local function add(option, value)
    words[#words + 1] = option
    words[#words + 1] = value
  end
  for key, option in pairs(files) do
    local value = settings[prefix .. "tls." .. key] or ""
    if value ~= "" then add(option, site.file(value)) end
  end
  for key, option in pairs(words_for) do
    local value = settings[prefix .. "tls." .. key] or ""
    if value ~= "" then add(option, value) end
  end
  if settings[prefix .. "tls.verify"] == "false" then words[#words + 1] = "--insecure" end
  return words
end

-- Sends bytes to HOST:PORT as the engine would, once: true or false, and what was answered.
local function send(bytes, to, timeout, words)
  local path = os.tmpname() -- made with mode 0600
  local f = assert(io.open(path, "wb"))
  f:write(bytes)
  f:close()
  local argv = { sys.realpath "/proc/self/exe", "send", to, path, "--whole", "--raw-bytes",
    "--json", "--timeout", timeout, unpack(words) }
  for i, word in ipairs(argv) do argv[i] = shell.quote(word) end
  local pipe = io.popen(table.concat(argv, " ") .. " 2>&1")
  local said = pipe:read "*a"
  pipe:close()
  os.remove(path)
  local answer = json.decode(said:match "%b{}%s*$" or "")
  local reply = answer and answer.replies and answer.replies[1]
  if not reply then
    said = said:gsub("^lunate send: ", ""):gsub("%s+$", "")
    return false, said ~= "" and said or "interrupted: nobody knows whether it arrived"
  end
  local note = reply.text and reply.text ~= json.null and reply.text ~= "" and ": " .. reply.text
  return answer.accepted == 1, reply.result .. (note or "")
end

local function sends(session, r, add)
  local settings = session.site.by_name[session.channel].settings
  for _, o in ipairs(r.outputs) do
    local prefix = "dest." .. o.dest .. "."
    if o.raw and settings[prefix .. "kind"] == "channel" then
      add { what = ("handing over to the channel %s"):format(o.dest) }
    elseif o.raw then
      local host = settings[prefix .. "host"] or "?"
      if host:find ":" then host = "[" .. host .. "]" end
      local to = host .. ":" .. (settings[prefix .. "port"] or "?")
      add { what = ("sending to %s (%s)"):format(o.dest, to), perform = function()
        return send(o.raw, to, settings[prefix .. "timeout"] or "10", tls_words(settings, prefix))
      end }
    end
  end
end

-- Only the engine connects for a script; what it wanted is shown without what it asked about.
local function calls(_, r, add)
  for _, request in ipairs(r.requests or {}) do
    add { what = ("asking %s (%s)"):format(request.url:match "^%a+://[^/?#]+" or "?",
      request.method) }
  end
end

M.sources = { calls, sends }

--- The effects of a run's result, in the order in which they would take place.
function M.of(session, r)
  local list = {}
  for _, source in ipairs(M.sources) do
    source(session, r, function(effect) list[#list + 1] = effect end)
  end
  return list
end

local function hold(session, list)
  if not session.person then return end
  local words, live = {}, false
  session.told_held = session.told_held or {}
  for _, effect in ipairs(list) do
    if not session.told_held[effect.what] then
      words[#words + 1] = effect.what
      live = live or effect.perform ~= nil
    end
    session.told_held[effect.what] = true
  end
  if #words == 0 then return end
  session:say(text.paint("dim", text.wrap(("held back: %s.%s"):format(table.concat(words, ", "),
    live and " `lunate repl --live` does it." or ""))))
end

--- Says what was held back (each thing once a session), or does it when the session is live.
function M.settle(session, r)
  local list = M.of(session, r)
  if not session.live then return hold(session, list) end
  for _, effect in ipairs(list) do
    if effect.perform then
      local ok, said = effect.perform()
      session:say("%s: %s", effect.what, text.paint(ok and "green" or "red", text.printable(said)))
      if not ok then session.status = 1 end
    else
      session:say("%s: %s", effect.what, text.paint("yellow",
        "held back, only the engine does that"))
    end
  end
end

return M
