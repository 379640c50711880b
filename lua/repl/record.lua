-- `.spec NAME`: this input and what came out of it as a busted spec of the site. The spec reads its
-- input from samples/, so that no message of a patient gets into it.
local sys = require "lunate.sys"
local site = require "lunate.cli.site"
local diff = require "lunate.hl7.diff"
local hl7 = require "hl7"

local M = {}
local MOST = 20 -- values that are asserted of one output

local function quoted(s)
  return (("%q"):format(s):gsub("\\\n", "\\n"):gsub("\r", "\\r"))
end

-- The sample that the input is: its name and number, or nil and why not.
local function sample_of(run)
  local source = run.source
  local file = source and source.file and sys.realpath(source.file)
  local folder = sys.realpath(site.file "samples")
  local name = file and folder and file:sub(1, #folder + 1) == folder .. "/" and
    file:sub(#folder + 2):match "^([^/]+)%.hl7$"
  if not name then
    return nil, "the message is not one of samples/: a spec must not hold a patient's message"
  end
  if run.input ~= source.list[source.at] then
    return nil, "msg is not as it stands in " .. source.label .. ": .next " .. source.at ..
      " loads it again, then .run"
  end
  return name, source.at
end

-- Paths and values that the script changed; segments that it added, whole.
local function assertions(input, output)
  local out, msg = {}, assert(hl7.parse(output))
  for _, d in ipairs(diff.diff(input, output)) do
    if d.path:find("-", 1, true) then
      local ok, value = pcall(function() return msg[d.path] end)
      if ok and d.kind ~= "moved" then out[#out + 1] = { d.path, value } end
    elseif d.kind == "added" then
      out[#out + 1] = { d.path, msg:raw(d.path), raw = true }
    end
  end
  return out
end

local function value_text(v)
  if v == nil then return "nil" end
  if v == hl7.null then return "hl7.null" end
  return quoted(tostring(v))
end

local function output_lines(o, input, out)
  local function line(text, ...) out[#out + 1] = ("    " .. text):format(...) end
  if o.kind == "filtered" or o.kind == "error" then
    line("assert.is_nil(r:to %s) -- %s: %s", quoted(o.dest), o.kind, (o.reason:gsub("%c", " ")))
  elseif o.raw == input then
    line("assert.equal(sample, tostring(r:to %s)) -- as received", quoted(o.dest))
  else
    line("local to_%s = r:to %s", o.dest:gsub("%W", "_"), quoted(o.dest))
    local n = 0
    for _, a in ipairs(assertions(input, o.raw)) do
      n = n + 1
      if n > MOST then
        line("-- and more that is not asserted here")
        break
      end
      line(a.raw and "assert.equal(%s, to_%s:raw %s)" or "assert.equal(%s, to_%s[%s])",
        value_text(a[2]), o.dest:gsub("%W", "_"), quoted(a[1]))
    end
  end
end

-- The text of the spec.
local function spec_text(channel, name, sample, at, run)
  local r, out = run.result, {}
  local function line(text, ...) out[#out + 1] = text:format(...) end
  line("-- Made with .spec in `lunate repl`: what %s does to samples/%s.hl7. Run: lunate test",
    channel, sample)
  line("describe(%s, function()", quoted(channel))
  line("  local channel = lunate.channel %s", quoted(channel))
  line("")
  line("  it(%s, function()", quoted(name))
  line(at == 1 and "    local sample = lunate.sample %s" or
    "    local sample = lunate.samples(%s)[%d]", quoted(sample), at)
  line("    local r = channel:run(sample)")
  line("    assert.equal(%s, r.state)", quoted(r.state))
  if r.state == "filtered" then
    line("    assert.equal(%s, r.reason)", quoted(r.reason))
  else
    line("    assert.equal(%d, #r.outputs)", #r.outputs)
  end
  local seen = {}
  for _, o in ipairs(r.outputs) do
    if not seen[o.dest] then
      seen[o.dest] = true
      output_lines(o, run.input, out)
    end
  end
  line("  end)")
  line("end)")
  return table.concat(out, "\n") .. "\n"
end

--- Writes the spec of the last `.run`: its path, or nil and why not. Never over a file.
function M.spec(session, name)
  local run = session.last_run
  if not run then return nil, ".run comes first" end
  if run.result.state ~= "done" and run.result.state ~= "filtered" then
    return nil, "the last .run was an error"
  end
  if run.kv then
    return nil, "kv was not empty when .run began, as it is in a spec: .reload" ..
      (session.live and " without --live" or "") .. ", then .run"
  end
  if not name:find "^[%w_-]+$" then return nil, "a name of letters, digits, _ and - is needed" end
  local sample, at = sample_of(run)
  if not sample then return nil, at end
  name = name:gsub("_spec$", "")
  local path = "spec/" .. name .. "_spec.lua"
  if sys.kind(site.file(path)) then return nil, path .. " is there already: another name?" end
  sys.mkdir(site.file "spec")
  local ok, why = sys.create(site.file(path), spec_text(session.channel, name, sample, at, run))
  if not ok then return nil, ("%s: %s"):format(path, why) end
  return path
end

return M
