local C = require("support.ln").C

describe("base/crc", function()
  it("gives the sums of RFC 3720, whatever the length", function()
    assert.equal(0xe3069283, tonumber(C.ln_crc32c("123456789", 9)))
    assert.equal(0x8a9136aa, tonumber(C.ln_crc32c(("\0"):rep(32), 32)))
    assert.equal(0x62a8ab43, tonumber(C.ln_crc32c(("\255"):rep(32), 32)))
    local up = {}
    for i = 0, 31 do up[#up + 1] = string.char(i) end
    assert.equal(0x46dd794e, tonumber(C.ln_crc32c(table.concat(up), 32)))
    assert.equal(0, tonumber(C.ln_crc32c("", 0)))
  end)
end)
