-- docs/output.md against what is printed, both ways: every key that it names is there (but those marked
-- with ?), and no key is there that it does not name.
local site = require "support.site"
local net = require "support.net"
local json = require "support.json"
local tmp = require "support.tmp"
local certs = require "support.certs"
local traffic = require "support.traffic"
local run = site.must

-- { VERB = { path = "needed" or "may be" } }
local function documented()
  local verbs, now = {}, nil
  for line in io.lines "docs/output.md" do
    local verb = line:match "^## (%w+)$"
    if verb then
      now = {}
      verbs[verb] = now
    elseif now and line:find "^| `" then
      for path, mark in line:match("^|(.-) |"):gmatch "`([^`]+)`(%??)" do
        now[path] = mark == "?" and "may be" or "needed"
      end
    end
  end
  return verbs
end

-- Paths of a document: leaves to "leaf", what has others in it to "around".
local function walk(v, path, into)
  if type(v) ~= "table" or v == json.null then
    into[path] = "leaf"
  elseif v[1] ~= nil then
    for _, x in ipairs(v) do walk(x, path .. "[]", into) end
  else
    if path ~= "" then into[path] = into[path] or "around" end
    for k, x in pairs(v) do
      if path:find "deviations$" then break end
      walk(x, path == "" and k or path .. "." .. k, into)
    end
  end
end

local function names_within(doc, path)
  for name in pairs(doc) do
    if name:sub(1, #path) == path and (#name == #path or name:find("^[.%[]", #path + 1)) then return true end
  end
end

local function same(verb, docs)
  local doc, printed, wrong = documented()[verb], {}, {}
  for _, d in ipairs(docs) do walk(d, "", printed) end
  for path, kind in pairs(printed) do
    if not (kind == "leaf" and doc[path] or kind == "around" and names_within(doc, path)) then
      wrong[#wrong + 1] = path .. " is printed, and not in docs/output.md"
    end
  end
  for path, need in pairs(doc) do
    if need == "needed" and not printed[path] and not printed[path:gsub("%[%]$", "")] then
      wrong[#wrong + 1] = path .. " stands in docs/output.md, and is not printed"
    end
  end
  table.sort(wrong)
  assert.equal("", table.concat(wrong, "\n"), verb)
end

describe("docs/output.md", function()
  after_each(site.cleanup)

  it("names what its verbs print, and nothing else", function()
    local dir, out, port = tmp.dir(), net.receiver {}, net.free_port()
    local ca = certs.ca(dir, "ca")
    ca:cert("hub", {})
    local tls = ('tls = { cert = "%s/hub.pem", key = "%s/hub.key" }'):format(dir, dir)
    local function script(mark)
      return traffic.channel(port, out.port, { top = ([[transform = function(msg)
        if msg.control_id == "BAD" then error "no" end
        if msg.control_id == "NONE" then return {} end
        msg["PID-5.2"] = "%s"
      end,]]):format(mark) })
    end
    local s = site.new { ["channels/in.lua"] = script "a",
      ["channels/safe.lua"] = traffic.channel(net.free_port(), nil, { source = tls }) }
    run(s, "key", "new", s.path .. "/store.key")
    s:write("lunate.lua", ([[
return {
  admin = "127.0.0.1:%d", admin_%s,
  audit = { syslog = { host = "127.0.0.1", port = %d, tls = { ca = "%s/ca.pem" } } },
  alerts = { targets = { duty = { command = { "true" } } } },
  archive = "archive", encryption = { key_file = "store.key" },
}]]):format(net.free_port(), tls, net.free_port(), dir))
    local e = s:start()
    traffic.send_all(net.connect(port), { "ONE", "BAD" })
    out:run_for_frames(1, 10)
    s:write("channels/in.lua", script "b")
    run(s, "reload")
    traffic.send_all(net.connect(port), { "TWO" })
    out:run_for_frames(2, 10)
    run(s, "rollback", "in", "--reason", "a test")
    site.wait_until(function() return e:channel("in").dest.out.sent == 2 end, 10, "deliveries")
    run(s, "hold", "in/out")
    traffic.send_all(net.connect(port), { "HELD" })
    site.wait_until(function() return e:channel("in").dest.out.queued == 1 end, 10, "the queue")
    same("status", { (s:json "status") })
    same("messages", s:json_lines("messages"))
    local list = {}
    for i = 1, 4 do list[i] = (s:json("show", "in/" .. i)) end
    same("show", list)
    same("versions", s:json_lines("versions", "in"))
    same("trace", { (s:json("trace", "in/1")), (s:json("trace", "in/2")) })
    same("key", { (s:json("key", "status")) })
    site.wait_until(function() return s:run "alerts" == 0 and #s:json "alerts".firing > 0 end, 30, "an alert")
    same("alerts", { (s:json "alerts") })
    local n = 0
    for _ in pairs(documented()) do n = n + 1 end
    assert.equal(8, n) -- all of its sections
    same("verify", { (s:json "verify") })
    assert.equal(0, e:stop(20))
  end)
end)
