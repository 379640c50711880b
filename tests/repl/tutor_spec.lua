-- `lunate tutor`: every lesson is solved by its answer, and by nothing that is wrong.
local site = require "support.site"
local proc = require "support.proc"
local terminal = require "support.terminal"
local tmp = require "support.tmp"

local lessons = dofile "lua/repl/lessons.lua"

describe("lunate tutor", function()
  after_each(function()
    terminal.cleanup()
    site.cleanup()
  end)

  local function tutor(lesson, lines)
    return proc.run { site.binary(), "-C", tmp.dir(), "tutor", lesson, timeout = 120,
      input = table.concat(lines, "\n") .. "\n" }
  end

  local function count(text, what)
    return select(2, text:gsub(what, ""))
  end

  it("has ten to twelve lessons, each with an answer and with wrong ones", function()
    assert.is_true(#lessons >= 10 and #lessons <= 12)
    for _, l in ipairs(lessons) do
      assert.is_true(#l.answer > 0 and #l.wrong > 0, l.title)
    end
  end)

  it("is walked through with the right answers", function()
    local lines = {}
    for _, l in ipairs(lessons) do
      for _, line in ipairs(l.answer) do lines[#lines + 1] = line end
    end
    local status, out, err = tutor("1", lines)
    assert.same({ 0, "" }, { status, err })
    assert.equal(#lessons, count(out, "\nRight%.\n"))
    for i, l in ipairs(lessons) do
      assert.truthy(out:find(("Lesson %d of %d: %s"):format(i, #lessons, l.title), 1, true), l.title)
    end
    assert.matches("That was the last lesson", out)
  end)

  for i, l in ipairs(lessons) do
    it(("lesson %d, %s: not with wrong answers"):format(i, l.title), function()
      local status, out = tutor(tostring(i), l.wrong)
      assert.equal(0, count(out, "Right%."))
      assert.equal(1, status)
      -- and the answer is one after these all the same
      local lines = { unpack(l.wrong) }
      lines[#lines + 1] = ".lesson " .. i
      for _, line in ipairs(l.answer) do lines[#lines + 1] = line end
      local _, all = tutor(tostring(i), lines)
      assert.equal(1, count(all, "Right%."))
    end)
  end

  it("hints, skips, goes to a lesson, survives a loop", function()
    local _, out, err = tutor("1", { ".hint", ".skip", ".lesson", ".lesson 5", ".task", ".spec x",
      "while true do end", 'msg["PID-5.1"] = "SAMPLE"' })
    assert.matches('\nmsg%["PID%-5.1"%]\n', out)
    assert.matches("Lesson 2 of", out)
    assert.matches("\n%* 2  By name\n", out)
    assert.equal(2, count(out, "Lesson 5 of"))
    assert.matches("%.spec is for sites", err)
    assert.matches("ran longer than", err)
    assert.matches("Right%..-Lesson 6 of", out)
  end)

  it("has nothing to skip to behind the last lesson", function()
    local _, out = tutor("12", { ".skip", "1 + 1" })
    assert.matches("this is the last lesson.-\n2\n", out)
  end)

  it("a lesson that there is not: 2", function()
    local status, _, err = tutor("99", {})
    assert.equal(2, status)
    assert.matches("lessons are numbered from 1 to %d", err)
  end)

  it("goes on where it was left", function()
    local state = tmp.dir()
    local env = { XDG_STATE_HOME = state, NO_COLOR = "1" }
    local t = terminal.open(site.binary() .. " tutor", { env = env })
    t:wait "Lesson 1 of"
    t:prompt "tutor>"
    t:line 'msg["PID-5.1"]'
    t:wait "Right."
    t:wait "Lesson 2 of"
    t:prompt "tutor>"
    t:press "C-d"
    t:wait "ended 0"
    t:close()
    t = terminal.open(site.binary() .. " tutor", { env = env })
    t:wait "Lesson 2 of"
    t:type "msg.PID.patient_name.gi"
    t:press "Tab"
    t:wait "tutor> msg.PID.patient_name.given_name\n"
    t:press "Enter"
    t:wait "Right."
  end)
end)
