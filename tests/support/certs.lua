-- Certificates for TLS tests, made with the openssl program, which is also the other end: nothing of
-- Lunate's own code takes part.
local proc = require "support.proc"
local tmp = require "support.tmp"

local M = {}
local Ca = {}
Ca.__index = Ca

local function openssl(dir, ...)
  local status, out, err = proc.run { "openssl", cwd = dir, ... }
  if status ~= 0 then error("openssl " .. table.concat({ ... }, " ") .. ": " .. err .. out, 2) end
  return out
end

--- A CA in a folder: files NAME.pem and NAME.key.
function M.ca(dir, name)
  local ca = setmetatable({ dir = dir, name = name, serial = 1 }, Ca)
  openssl(dir, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-keyout", name .. ".key", "-out", name .. ".pem", "-days", "3650", "-subj", "/CN=" .. name,
    "-addext", "keyUsage=critical,keyCertSign,cRLSign")
  return ca
end

--- A certificate: files NAME.pem and NAME.key. o: cn, san, days (negative: expired), eku, rsa (bits).
function Ca:cert(name, o)
  o = o or {}
  local dir = self.dir
  openssl(dir, "req", "-new", "-newkey", o.rsa and "rsa:" .. o.rsa or "ec", "-pkeyopt",
    o.rsa and "rsa_keygen_bits:" .. o.rsa or "ec_paramgen_curve:P-256", "-nodes", "-keyout",
    name .. ".key", "-out", name .. ".csr", "-subj", "/O=Hospital/CN=" .. (o.cn or name))
  tmp.write(dir .. "/" .. name .. ".ext", ("subjectAltName=%s\nextendedKeyUsage=%s\n"):format(
    o.san or "IP:127.0.0.1,DNS:localhost", o.eku or "serverAuth,clientAuth"))
  self.serial = self.serial + 1
  local days = o.days or 365
  local args = { "x509", "-req", "-in", name .. ".csr", "-CA", self.name .. ".pem", "-CAkey",
    self.name .. ".key", "-set_serial", tostring(self.serial), "-out", name .. ".pem", "-extfile",
    name .. ".ext", "-days", tostring(days) }
  openssl(dir, unpack(args))
  return self.serial
end

--- A revocation list over certificates by name: file NAME.crl.
function Ca:revoke(names)
  local dir = self.dir .. "/" .. self.name .. ".db"
  proc.run { "mkdir", "-p", dir }
  tmp.write(dir .. "/index.txt", "")
  tmp.write(dir .. "/crlnumber", "01\n")
  tmp.write(dir .. "/ca.conf", ("[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index.txt\n"
    .. "crlnumber=%s/crlnumber\ndefault_md=sha256\ndefault_crl_days=30\n"):format(dir, dir))
  local function ca(...)
    return openssl(self.dir, "ca", "-config", dir .. "/ca.conf", "-cert", self.name .. ".pem",
      "-keyfile", self.name .. ".key", ...)
  end
  for _, name in ipairs(names) do ca("-revoke", name .. ".pem") end
  ca("-gencrl", "-out", self.name .. ".crl")
end

return M
