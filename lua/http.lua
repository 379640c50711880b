-- http.get, http.post, http.request: look-ups of scripts over HTTP. The request is put together and
-- checked here; core.http hands it to the process, which has it connected to by the engine when the
-- channel's allow.net names the host (core/hub/reach.c).
local nearest = require "lunate.nearest"
local type, error, pairs, ipairs, tonumber = type, error, pairs, ipairs, tonumber
local format, match, lower, upper, find = string.format, string.match, string.lower, string.upper,
  string.find
local sort, concat = table.sort, table.concat

local MAX_BODY, MOST_BODY = 4 * 1024 * 1024, 64 * 1024 * 1024
local keys = { method = true, url = true, headers = true, body = true, timeout = true,
  max_body = true }
local ours = { host = true, connection = true, ["content-length"] = true, te = true,
  ["transfer-encoding"] = true, upgrade = true, expect = true, trailer = true }

-- "https://api.example.org:8443/x?y" -> tls, host, port, target; nil, what is wrong. Never the URL
-- itself: its query may be about a patient.
local function split(url)
  if type(url) ~= "string" then return nil, 'the url is a text like "https://host:8443/"' end
  if find(url, "[%c%s\128-\255]") then
    return nil, "the url holds a character that has to be written as %XX"
  end
  local scheme, rest = match(url, "^([%a]+)://(.+)$")
  scheme = scheme and lower(scheme)
  if scheme ~= "http" and scheme ~= "https" then
    return nil, "the url begins with http:// or https://"
  end
  local where, target = match(rest, "^([^/?#]+)([^#]*)")
  if not where then return nil, "the url names no host" end
  if find(where, "@", 1, true) then
    return nil, "no user and password in the url: they belong in a header"
  end
  local host, port = match(where, "^%[([%x:.]+)%](.*)$")
  if not host then host, port = match(where, "^([%w._-]+)(.*)$") end
  if not host or (port ~= "" and not match(port, "^:%d+$")) then
    return nil, "the url names no host"
  end
  if #host > 253 then return nil, "the url's host is longer than a name can be" end
  port = port ~= "" and tonumber(match(port, "%d+")) or scheme == "https" and 443 or 80
  if port < 1 or port > 65535 then return nil, "the url's port is from 1 to 65535" end
  if target:sub(1, 1) ~= "/" then target = "/" .. target end
  return scheme == "https", lower(host):gsub("%.$", ""), port, target, where
end

local function add_headers(list, headers)
  local names = {}
  for name, value in pairs(headers) do
    if type(name) ~= "string" or not match(name, "^[%w!#$%%&'*+.^_`|~-]+$") then
      return "a header's name has letters, digits and -"
    end
    if type(value) == "number" then value = tostring(value) end
    if type(value) ~= "string" or find(value, "[%z\1-\8\10-\31\127]") then
      return format("the header %s must be a text without line ends", name)
    end
    if ours[lower(name)] then return format("the header %s is set by Lunate", name) end
    names[#names + 1] = name
  end
  sort(names)
  for _, name in ipairs(names) do
    list[#list + 1] = format("%s: %s\r\n", name, headers[name])
    list[lower(name)] = true
  end
end

local function number(o, key, least, most)
  local v = o[key]
  if v == nil then return 0 end
  if type(v) ~= "number" or v ~= v or v < least or v > most then
    return nil, format("%s must be from %g to %g", key, least, most)
  end
  return v
end

-- What core.http takes; nil, what is wrong.
local function compose(o)
  for key in pairs(o) do
    if not keys[key] then
      local near = type(key) == "string" and nearest(key, keys)
      return nil, format("unknown key '%s'%s", tostring(key),
        near and format(" (did you mean '%s'?)", near) or "")
    end
  end
  local method = o.method == nil and "GET" or o.method
  if type(method) ~= "string" or not match(method, "^%a+$") or upper(method) == "CONNECT" then
    return nil, 'method is "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD" or the like'
  end
  local tls, host, port, target, where = split(o.url)
  if tls == nil then return nil, host end
  local body = o.body
  if body ~= nil and type(body) ~= "string" then
    return nil, "body is a text: json.encode makes one of a table"
  end
  if o.headers ~= nil and type(o.headers) ~= "table" then return nil, "headers is a table" end
  local list = {}
  local wrong = add_headers(list, o.headers or {})
  if wrong then return nil, wrong end
  local timeout, max_body
  timeout, wrong = number(o, "timeout", 0.001, 3600)
  if not timeout then return nil, wrong end
  max_body, wrong = number(o, "max_body", 0, MOST_BODY)
  if not max_body then return nil, wrong end
  if not list["user-agent"] then list[#list + 1] = "User-Agent: lunate\r\n" end
  if not list.accept then list[#list + 1] = "Accept: */*\r\n" end
  return { method = upper(method), url = o.url, host = host, port = port, tls = tls and 1 or 0,
    target = target, headers = "Host: " .. where .. "\r\n" .. concat(list), body = body or "",
    timeout = timeout, max_body = o.max_body and max_body or MAX_BODY }
end

local any_case = { __index = function(t, key)
  return type(key) == "string" and rawget(t, lower(key)) or nil
end, __metatable = false }

local function send(core, name, o)
  local ask, wrong = compose(o)
  if not ask then error(format("http.%s: %s", name, wrong), 3) end
  local status, headers, body = core.http(ask)
  if status then
    return { status = status, headers = setmetatable(headers, any_case), body = body }
  end
  if body then error(format("http.%s: %s", name, headers), 3) end
  return nil, headers
end

local function with(o, name)
  if o ~= nil and type(o) ~= "table" then
    error(format("http.%s: the options are a table: { headers = { ... }, timeout = 2 }", name), 3)
  end
  local all = {}
  for k, v in pairs(o or {}) do all[k] = v end
  return all
end

--- new(core) -> the table `http` of scripts.
return function(core)
  local http = {}
  --- http.request { method =, url =, headers =, body =, timeout =, max_body = } -> { status,
  --- headers, body }; nil and why when there is no answer.
  function http.request(o)
    if type(o) ~= "table" then error("http.request takes a table: { url = \"https://...\" }", 2) end
    local a, b = send(core, "request", o)
    return a, b
  end
  function http.get(url, o)
    local all = with(o, "get")
    all.url, all.method = url, "GET"
    local a, b = send(core, "get", all)
    return a, b
  end
  function http.post(url, body, o)
    local all = with(o, "post")
    all.url, all.body, all.method = url, body, "POST"
    local a, b = send(core, "post", all)
    return a, b
  end
  return http
end
