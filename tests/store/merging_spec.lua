-- The index while its blocks are merged: nothing is missed, nothing found twice. With blocks of 8
-- entries, so that a few thousand messages go through all levels.
local st = require "support.store"

describe("the store's index", function()
  after_each(st.clean)

  it("finds each id in whatever state the merging is, trimmed or not", function()
    local exe = st.compile("merging", "-O2 -DLN_INDEX_BLOCK=8u",
      "core/store/*.c core/crypt/*.c core/base/*.c -llmdb -lzstd -lcrypto -pthread")
    local dir = st.folder()
    local status, text = st.sh(("LD_PRELOAD= timeout 300 %s %s 4500 20000 | head -20"):format(exe, dir))
    assert.equal("", text)
    assert.equal(0, status)
  end)
end)
