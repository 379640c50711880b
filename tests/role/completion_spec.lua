-- `lunate completion` and the man pages: every verb and every option that the verbs' parsers and help
-- pages have is in them; bash completes with them; zsh, fish and man take them when they are there.
local site = require "support.site"
local proc = require "support.proc"

local function lunate(...)
  local status, out, err = proc.run { site.binary(), ... }
  assert.equal(0, status, err)
  return out
end

local function there(program)
  return os.execute(("command -v %s >/dev/null"):format(program)) == 0
end

-- Verbs, and per verb the options that help names.
local function from_help()
  local verbs, options = {}, {}
  for verb in lunate("help"):gsub("`lunate help VERB`.*", ""):gmatch "\n  (%l+) +%S" do
    local usage = lunate("help", verb):match "\nUsage\n(.*)$"
    verbs[#verbs + 1], options[verb] = verb, {}
    for option in usage:gmatch "%f[%-](%-%-[%l][%l-]+)" do options[verb][option] = true end
  end
  return verbs, options
end

describe("completion", function()
  local s
  before_each(function()
    s = site.new {}
    assert.equal(0, (proc.run { site.binary(), "new", "site", s.path }))
    assert.equal(0, (s:run("new", "channel", "results")))
  end)
  after_each(site.cleanup)

  -- What bash offers behind these words; the last one is being typed.
  local function bash(...)
    local words = { "lunate", ... }
    local list = {}
    for i, word in ipairs(words) do list[i] = "'" .. word .. "'" end
    local status, out, err = proc.run { "bash", "-c", ([[
      source "$1"; COMP_WORDS=(%s); COMP_CWORD=%d; _lunate 2>/dev/null; printf '%%s\n' "${COMPREPLY[@]}"]])
      :format(table.concat(list, " "), #words - 1), "bash", s:write("lunate.bash", lunate("completion", "bash")) }
    assert.equal(0, status, err)
    local found = {}
    for word in out:gmatch "[^\n]+" do found[#found + 1] = word end
    table.sort(found)
    return found
  end

  it("bash offers verbs, options, channels of the site, choices, files", function()
    assert.same({ "repl", "replay" }, bash "repl")
    assert.is_true(#bash "" > 25)
    assert.same({ "--annotate" }, bash("eval", "--a"))
    assert.same({ "adt_in", "results" }, bash("-C", s.path, "eval", "-c", ""))
    assert.same({ "adt_in" }, bash("-C", s.path, "pause", "a"))
    assert.same({ "results" }, bash("-C", s.path, "replay", "--channel", "r"))
    assert.same({ "channel", "editor", "site" }, bash("new", ""))
    assert.same({ "none", "now" }, bash("replay", "--kv", "n"))
    assert.same({ "bash", "fish", "zsh" }, bash("completion", ""))
    assert.same({ "listen", "lua" }, bash("help", "l"))
    assert.same({ "--connections", "--count" }, bash("send", "--co"))
    assert.same({ s.path .. "/lunate.bash", s.path .. "/lunate.lua" }, bash("lua", s.path .. "/lunate."))
    assert.same({ s.path .. "/samples" }, bash("-C", s.path .. "/sam"))
    assert.same({ s.path .. "/lunate.bash", s.path .. "/lunate.lua" }, bash("new", "--from", s.path .. "/lunate."))
    assert.same({ "ORM", "ORU" }, bash("new", "--type", "OR"))
    assert.same({ "parked", "pending" }, bash("messages", "--state", "p"))
    assert.same({ "AA", "AE", "AR" }, bash("listen", "--ack", "A"))
    assert.same({ "results" }, bash("-C", s.path, "test", "r"))
    assert.same({ "adt_in/receiver", "results/receiver" }, bash("-C", s.path, "hold", ""))
    assert.same({}, bash("status", "x"))
    assert.same({}, bash("nosuch", "x"))
  end)

  it("every verb and option is in all three scripts and in the man pages", function()
    local verbs, options = from_help()
    local zsh, fish, man = lunate("completion", "zsh"), lunate("completion", "fish"), lunate("help", "--man")
    assert.is_true(#verbs > 25)
    local n = 0
    for _, verb in ipairs(verbs) do
      local page = lunate("help", "--man", verb)
      assert.truthy(man:find("\\fB" .. verb .. "\\fR", 1, true), verb)
      local known = {}
      for _, w in ipairs(bash(verb, "--")) do known[w] = true end
      for option in pairs(options[verb]) do
        n = n + 1
        local name = option:sub(3)
        assert.is_true(known[option], verb .. " " .. option)
        assert.truthy(zsh:match("\n  " .. verb .. "%)\n(.-)\n    ;;"):find("'" .. option .. "[", 1, true), option)
        assert.truthy(fish:find(("from %s'[^\n]* %%-l %s "):format(verb, name:gsub("%-", "%%-"))), verb .. option)
        assert.truthy(page:find((option:gsub("%-", "\\-")), 1, true), verb .. " " .. option)
      end
    end
    assert.is_true(n > 60)
    assert.same(verbs, (function()
      local list = {}
      for name in lunate("help", "--names"):gmatch "%S+" do list[#list + 1] = name end
      return list
    end)())
  end)

  it("zsh and fish take their scripts, man its pages without a complaint", function()
    for shell, check in pairs { bash = { "bash", "-n" }, zsh = { "zsh", "-n" }, fish = { "fish", "-n" } } do
      local file = s:write("c." .. shell, lunate("completion", shell))
      if there(shell) then
        local status, _, err = proc.run { check[1], check[2], file }
        assert.same({ 0, "" }, { status, err }, shell)
      end
    end
    if there "fish" then
      local status, out = proc.run { "fish", "-c", ("source %s/c.fish; complete -C 'lunate -C %s eval -c '"):format(
        s.path, s.path), env = { HOME = s.path } }
      assert.same({ 0, "adt_in results " }, { status, (out:gsub("\t[^\n]*", ""):gsub("\n", " ")) })
    end
    if not there "man" then return pending "man is not installed" end
    for _, verb in ipairs { false, "eval", "send", "replay", "skip" } do
      local name = verb and "lunate-" .. verb or "lunate"
      local file = s:write(name .. ".1", verb and lunate("help", "--man", verb) or lunate("help", "--man"))
      local status, out, err = proc.run { "man", "--warnings", "-l", file, env = { MANWIDTH = "100",
        LD_PRELOAD = false } } -- troff does not live with a sanitizer
      assert.same({ 0, "" }, { status, err }, name)
      assert.truthy(out:find(name:gsub("%-", "."), 1) or out:find "lunate", out)
      assert.is_nil(out:find "\\f")
    end
  end)

  it("mistakes: one line", function()
    assert.equal(2, (proc.run { site.binary(), "completion" }))
    assert.equal(2, (proc.run { site.binary(), "completion", "csh" }))
    assert.equal(2, (proc.run { site.binary(), "help", "--man", "nosuch" }))
  end)
end)
