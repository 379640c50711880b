-- What the end-to-end specs send and the channels they send it through.
local net = require "support.net"

local M = {}

--- A small ADT message. o: name (PID-5), type ("ADT^A01^ADT_A01"), version, more (segments).
function M.adt(id, o)
  o = o or {}
  return table.concat({
    "MSH|^~\\&|EHR|HOSP|LAB|CITY|20261123120000||" .. (o.type or "ADT^A01^ADT_A01") .. "|" .. id .. "|P|"
      .. (o.version or "2.5.1"),
    "EVN|A01|20261123120000",
    "PID|1||" .. id .. "^^^HOSP^MR||" .. (o.name or "Muster^Anna") .. "||19700101|F",
  }, "\r") .. "\r" .. (o.more or "")
end

--- A channel script. port: where it listens; out: port of its destination `out`, nil for none.
-- o: source, top, dest: Lua text that goes into these tables.
function M.channel(port, out, o)
  o = o or {}
  local dest = out and ([[
    out = mllp.send { host = "127.0.0.1", port = %d, retry = { first = 0.05, max = 0.2 }, %s },]])
    :format(out, o.dest or "") or ""
  return ([[
return channel {
  source = mllp.listen { port = %d, %s },
  %s
  destinations = {
%s
  },
}]]):format(port, o.source or "", o.top or "", dest)
end

--- Sends one message and returns MSA-1; raises when there is no reply or it is another message's.
function M.exchange(conn, id, o)
  local reply, why = net.exchange(conn, M.adt(id, o), o and o.timeout)
  if not reply then error(("%s: no reply: %s"):format(id, why), 2) end
  local echoed = net.field(reply, "MSA", 2)
  if echoed ~= id then error(("%s: reply to %s"):format(id, tostring(echoed)), 2) end
  return net.field(reply, "MSA", 1), reply
end

--- PREFIX1 .. PREFIXn.
function M.ids(prefix, n, from)
  local list = {}
  for i = from or 1, n do list[#list + 1] = prefix .. i end
  return list
end

--- Sends them all in order over one connection without waiting in between, then takes the replies in
-- order; raises unless each is AA (or `code`).
function M.send_all(conn, ids, o, code)
  local frames = {}
  for i, id in ipairs(ids) do frames[i] = net.frame(M.adt(id, o)) end
  local at = 1
  for first = 1, #frames, 50 do
    local last = math.min(first + 49, #frames)
    assert(conn:send(table.concat(frames, "", first, last), 10))
    while at <= last do
      local reply, why = conn:recv_frame(10)
      if not reply then error(("%s: no reply: %s"):format(ids[at], why), 2) end
      local id, got = net.field(reply, "MSA", 2), net.field(reply, "MSA", 1)
      if id ~= ids[at] or got ~= (code or "AA") then
        error(("%s: answered %s for %s"):format(ids[at], got, id), 2)
      end
      at = at + 1
    end
  end
end

return M
