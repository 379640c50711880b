-- Loop, committer and reader side by side under the thread sanitizer.
local st = require "support.store"

st.both("store, threads", function()
  after_each(st.clean)

  it("has no race between the loop, its reader and the committer", function()
    if st.sh "echo 'int main(void){return 0;}' | gcc -fsanitize=thread -xc - -o /dev/null" ~= 0 then
      return pending "this compiler has no thread sanitizer"
    end
    local child, dir = st.program("child", "tsan"), st.folder()
    for _, in_flight in ipairs { 1, 7, 64 } do
      local status, text = st.sh(("LD_PRELOAD= TSAN_OPTIONS=halt_on_error=1 timeout 120 "
        .. "%s run %s 1500 %d >/dev/null"):format(child, dir, in_flight))
      assert.same({ 0, "" }, { status, text })
    end
    local s = assert(st.open(dir))
    assert.equal(4500, s:state(1).processed)
    s:close()
  end)
end)
