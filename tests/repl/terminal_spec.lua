-- `lunate repl` in a real terminal: keys in, screens compared.
local site = require "support.site"
local terminal = require "support.terminal"
local sys = require "support.sys"
local tmp = require "support.tmp"
local proc = require "support.proc"

local message = table.concat({
  "MSH|^~\\&|EHR|HOSP A|LAB|CITY LAB|20261123231922||ADT^A01^ADT_A01|MSG00001|P|2.5.1",
  "PID|1||4711^^^HOSP A^MR~999^^^SSA^SS||DOE^EVE^E||19620320|F", "PV1|1|I|W1", "" }, "\r")

local script = [[
local function shout(s) return s:upper() .. bang end
bang = "!"
return channel {
  source = mllp.listen { port = 6661 },
  transform = function(msg)
    local name = msg["PID-5.2"]
    msg["PID-5.2"] = shout(name)
  end,
  destinations = { lab = mllp.send { host = "127.0.0.1", port = 1 } },
}
]]

describe("lunate repl in a terminal", function()
  local s, t
  before_each(function()
    s = site.new { ["channels/adt.lua"] = script, ["samples/adt.hl7"] = message }
  end)
  after_each(function()
    terminal.cleanup()
    site.cleanup()
  end)

  local function open(words, o)
    o = o or {}
    local env = o.env or {}
    env.XDG_STATE_HOME = env.XDG_STATE_HOME or s.path .. "/state"
    env.NO_COLOR = env.NO_COLOR == nil and "1" or env.NO_COLOR
    o.env, o.cwd = env, s.path
    t = terminal.open(site.binary() .. " repl " .. (words or ""), o)
    t:prompt(o.prompt or "adt>")
    if not o.keep then t:clear(o.prompt or "adt>") end
    return t
  end

  -- The processes of this site's REPLs that evaluate.
  local function children()
    local list = {}
    local _, out = proc.run { "pgrep", "-f", "^lunate: repl child",
      env = { LD_PRELOAD = false } } -- pgrep does not live with a sanitizer
    for pid in out:gmatch "%d+" do
      local _, cwd = proc.run { "readlink", ("/proc/%s/cwd"):format(pid) }
      if cwd:gsub("\n", "") == s.path then list[#list + 1] = tonumber(pid) end
    end
    return list
  end

  it("begins with the only channel and its sample", function()
    t = open("", { keep = true })
    local screen = t:screen()
    assert.matches("^Lunate %d.-%.help lists commands", screen)
    assert.matches("samples/adt.hl7: ADT%^A01 2.5.1  MSG00001, 3 segments\nadt>\n$", screen)
    t:line "msg"
    t:wait "PV1|1|I|W1"
    t:press "C-d"
    t:wait "ended 0"
  end)

  it("completes parts with what stands there", function()
    open()
    t:type "msg.PID."
    t:press "Tab"
    assert.equal([[
adt> msg.PID.
set_id                   PID-1  1
patient_identifier_list  PID-3  4711^^^HOSP A^MR~999^^^SSA^SS
patient_name             PID-5  DOE^EVE^E
date_time_of_birth       PID-7  19620320
administrative_sex       PID-8  F
adt> msg.PID.
]], (t:wait "administrative_sex":gsub("set_id_pid              ", "set_id                  ")))
    t:type "patient_n"
    t:press "Tab"
    t:wait "adt> msg.PID.patient_name\n"
    t:type ".giv"
    t:press("Tab", "Enter")
    t:wait "PID-5.2  Given Name"
    t:wait "\n  EVE\n"
  end)

  it("completes paths, functions, names, commands, files, topics", function()
    open()
    local function completes(typed, line)
      t:type(typed)
      t:press "Tab"
      t:wait("adt> " .. line .. "\n")
      t:press "C-u"
    end
    completes('msg["PID-7', 'msg["PID-7"]')
    completes("msg:del", "msg:delimiters")
    completes("hl7.dict", "hl7.dictionary")
    completes("sho", "shout")
    completes("ban", "bang")
    completes("string.form", "string.format")
    completes(".rec", ".recent")
    completes(".load samples/a", ".load samples/adt.hl7")
    completes("?msg:del", "?msg:delimiters")
    completes('msg["PV1-3', 'msg["PV1-3"]')
    t:type 'msg["PID-3[2].'
    t:press "Tab"
    t:wait "assigning_authority   SSA"
  end)

  it("asks for the rest of a chunk; Ctrl-C gives it up", function()
    open()
    t:line "for i = 1, 2 do"
    t:prompt "..>"
    t:line "  print(i * 21)"
    t:line "end"
    assert.equal("adt> for i = 1, 2 do\n..>   print(i * 21)\n..> end\n21\n42\nadt>\n", t:wait "42\nadt>")
    t:clear "adt>"
    t:line "function f("
    t:prompt "..>"
    t:type "a, b"
    t:press "C-c"
    t:prompt "adt>"
    t:line "1 + 1"
    t:wait "\n2\n"
  end)

  it("Ctrl-C stops a loop, keeps what was set, and gives the prompt back", function()
    open()
    t:line "x = 41"
    t:prompt "adt>"
    t:line "print 'on it' while true do end"
    t:wait "\non it\n"
    t:press "C-c"
    t:wait "error: interrupted"
    t:prompt "adt>"
    t:line "x + 1"
    t:wait "\n42\n"
  end)

  it("Ctrl-C ends the process of what cannot be stopped", function()
    open()
    t:line 'print "in C" for i = 1, 9 do (("a"):rep(30) .. "c"):find(("a-"):rep(30) .. "b") end'
    t:wait "\nin C\n"
    t:press "C-c"
    t:wait("its process had to be ended", 30)
    t:prompt "adt>"
    t:line 'msg["PID-3"]'
    t:wait '"4711"'
  end)

  it("a crash of the child costs that child alone", function()
    local opened = open()
    opened:line 'print "here"'
    opened:wait "\nhere\n"
    local pids = children()
    assert.equal(1, #pids)
    sys.C.kill(pids[1], 11)
    opened:line "1 + 1"
    opened:wait "the script ended its process"
    opened:prompt "adt>"
    opened:line 'msg["PID-5.2"]'
    opened:wait '"EVE"'
  end)

  it("takes a pasted message at once, and keeps it out of the history", function()
    open()
    t:paste((message:gsub("4711", "0815"):gsub("\r", "\n")))
    t:wait "pasted: ADT^A01 2.5.1  MSG00001, 3 segments"
    t:line 'msg["PID-3"]'
    t:wait '"0815"'
    t:line 'hl7.parse("MSH|^~\\\\&|SECRET\\r")'
    t:wait "SECRET"
    t:line "=7 * 6"
    t:wait "\n42\n"
    t:press "C-d"
    t:wait "ended 0"
    local folder = s.path .. "/state/lunate/history/"
    local _, names = proc.run { "ls", folder }
    local file = folder .. names:gsub("\n", "")
    assert.equal("600\n", (select(2, proc.run { "stat", "-c", "%a", file })))
    local kept = tmp.read(file)
    assert.matches('msg%["PID%-3"%]\n', kept)
    assert.matches("=7 %* 6\n", kept)
    assert.is_nil(kept:find("0815", 1, true))
    assert.is_nil(kept:find("SECRET", 1, true))
    -- and the next session has it
    terminal.cleanup()
    open()
    t:press("Up", "Up")
    t:wait 'adt> msg["PID-3"]'
  end)

  it("pastes Lua as one chunk", function()
    open()
    t:paste "for i = 1, 2 do\n  print(i * 21)\nend\n"
    t:press "Enter"
    t:wait "\n21\n42\nadt>"
  end)

  it("shows the line of an error, the part it touched, the variables", function()
    open()
    t:line 'msg["PID-5.2"] = nil'
    t:line ".run"
    t:wait "called from"
    t:prompt "adt>"
    assert.equal([[
adt> msg["PID-5.2"] = nil
adt> .run
error: attempt to index local 's' (a nil value)
  channels/adt.lua:1 in shout
>    1  local function shout(s) return s:upper() .. bang end
     2  bang = "!"
     3  return channel {
  msg["PID-5.2"]  nil
  the variables there (there.NAME, or just NAME):
  s  nil
  called from channels/adt.lua:7: in function <channels/adt.lua:5>
adt>
]], t:screen())
    t:clear "adt>"
    t:line "there.msg"
    t:wait "PV1|1|I|W1"
  end)

  it("takes a script that was saved, before the next line", function()
    open()
    t:line ".run"
    t:wait "EVE -> EVE!"
    t:clear "adt>"
    s:write("channels/adt.lua", (script:gsub('"!"', '"?"')))
    t:line ".run"
    t:wait "channels/adt.lua was saved: reloaded"
    t:wait "EVE -> EVE?"
    s:write("channels/adt.lua", "return channel {\n  x = = 1 }\n")
    t:line "1"
    t:wait "channels/adt.lua:2: unexpected symbol near '='\n     1  return channel {\n>    2    x = = 1 }"
    t:wait "the script as it was before stays in use"
    t:clear "adt>"
    t:line ".run"
    t:wait "EVE -> EVE?"
  end)

  it("edits the script in $EDITOR", function()
    local editor = s:write("edit.sh", "#!/bin/sh\nsed -i 's/\"!\"/\"+\"/' \"$1\"\n")
    os.execute("chmod +x " .. editor)
    open("", { env = { EDITOR = editor, VISUAL = false } })
    t:line ".edit"
    t:wait "channels/adt.lua: reloaded"
    t:line ".run"
    t:wait "EVE -> EVE+"
  end)

  it("20 columns: nothing is longer", function()
    open("", { width = 20, prompt = ">" })
    t:type "msg.PID."
    t:press "Tab"
    local screen = t:wait "adminis"
    assert.matches("\npatient…  DOE^EVE^E\n", (screen:gsub("%^", "^")))
    t:press "C-u"
    t:line "?PID-8"
    t:wait "O  Other"
  end)

  it("UTF-8 and Latin-1 are shown, control characters are not obeyed", function()
    local file = tmp.file("MSH|^~\\&|A\rPID|1||7||M\220LLER^J\195\182rg||\27[2Jx\a|\r", "l.hl7")
    open(file)
    t:line "msg"
    t:wait "\nMSH|^~\\&|A\nPID|1||7||MÜLLER^Jörg||·[2Jx·|"
    t:line 'print(msg["PID-7"])'
    t:wait "\n·[2Jx·\n"
    local cyrillic = tmp.file("MSH|^~\\&|A||||||ADT|1|P|2.5||||||8859/5\rPID|1||7||\184\210\208\221\208\r", "c.hl7")
    t:line(".load " .. cyrillic)
    t:line "msg"
    t:wait "PID|1||7||Ивана"
    t:line 'x = "größer"'
    t:line "x"
    t:wait '"größer"'
  end)

  it("colour on a terminal, none with NO_COLOR", function()
    open("", { env = { NO_COLOR = false } })
    t:line "msg"
    t:wait "PV1|1|I|W1"
    assert.matches("\27%[1m", t:screen(true))
    terminal.cleanup()
    open()
    t:line "msg"
    t:wait "PV1|1|I|W1"
    assert.is_nil(t:screen(true):find "\27%[[13]")
  end)

  it("without the line editor: says so, reads plain lines", function()
    open("", { env = { LUNATE_REPL = "/nowhere/lunate-repl" }, keep = true })
    t:wait "no line editor (/nowhere/lunate-repl is not there): no completion, no history"
    t:line "1 + 41"
    t:wait "\n42\n"
    t:line "while true do end"
    t:press "C-c"
    t:wait "error: interrupted"
    t:line "MSH|^~\\&|A"
    t:line "PID|1||99"
    t:line ""
    t:wait "pasted: "
    t:line 'msg["PID-3"]'
    t:wait '"99"'
    t:press "C-d"
    t:wait "ended 0"
  end)

  it("a script that does not load, a file that is not there: says so and goes on", function()
    s:write("channels/adt.lua", "return channel {\n  x = = 1 }\n")
    open("nosuch.hl7", { keep = true })
    t:wait "channels/adt.lua:2: unexpected symbol near '='"
    t:wait "there is no file nosuch.hl7"
    t:line "1 + 41"
    t:wait "\n42\n"
    s:write("channels/adt.lua", script)
    t:line ".load adt"
    t:wait "channels/adt.lua was saved: reloaded"
    t:line ".run"
    t:wait "EVE -> EVE!"
  end)

  it("on 20 columns words stay whole", function()
    open("", { width = 20, prompt = ">", keep = true })
    assert.matches("\nsamples/adt.hl7:\nADT%^A01 2.5.1\nMSG00001, 3\nsegments\n>\n$", t:screen())
    t:clear ">"
    t:line "?PID-8"
    assert.matches("\nPID%-8\nAdministrative Sex\n", "\n" .. t:wait "table 0001")
    t:clear ">"
    t:line ".load nosuchfile.hl7"
    assert.matches("error: there is no\nfile nosuchfile.hl7\n", t:wait "nosuchfile.hl7\n>")
    t:line ".run"
    assert.matches("done %(there is no\nfilter%) in .-\n%-> lab\n  PID  Patient ide…\n", t:wait "does it.")
  end)

  describe("a file that is saved while a line is typed", function()
    local function lines_of(screen)
      local list = {}
      for line in screen:gmatch "[^\n]*" do
        if line ~= "" then list[#list + 1] = line end
      end
      return list
    end

    it("is taken up at once; what is typed stays, and goes on", function()
      open()
      t:type "1 + 4"
      t:wait "adt> 1 + 4"
      s:write("channels/adt.lua", (script:gsub('bang = "!"', 'bang = "?"')))
      t:wait "channels/adt.lua was saved: reloaded"
      local list = lines_of(t:screen())
      assert.equal("adt> 1 + 4", list[#list])
      assert.equal(2, #list)
      t:line "1"
      t:wait "\n42"
      assert.is_nil(t:screen():find "42\n.*saved")
      t:line ".run"
      t:wait "EVE -> EVE?"
    end)

    it("a mistake in it shows, with its line; the old script stays until it is mended", function()
      open()
      t:type "bang"
      t:wait "adt> bang"
      s:write("channels/adt.lua", "return channel {\n  x = = 1 }\n")
      t:wait "channels/adt.lua:2: unexpected symbol near '='"
      t:wait ">    2    x = = 1 }"
      t:wait "the script as it was before stays in use"
      local list = lines_of(t:screen())
      assert.equal("adt> bang", list[#list])
      t:line ""
      t:wait '"!"'
      s:write("channels/adt.lua", script)
      t:wait "channels/adt.lua was saved: reloaded"
      t:prompt "adt>"
    end)

    it("does not disturb a search in the history, nor a line longer than the terminal", function()
      open("", { width = 40 })
      t:line "bang"
      t:wait '"!"'
      t:press "C-r"
      t:type "ba"
      t:wait "(reverse-i-search)`ba': bang"
      s:write("channels/adt.lua", script .. "\n-- 1")
      t:press "C-g"
      t:wait "channels/adt.lua was saved"
      t:prompt "adt>"
      t:clear "adt>"
      local long = "x = " .. ("1 + "):rep(12) .. "7"
      t:type(long)
      t:wait "+ 7"
      s:write("channels/adt.lua", script .. "\n-- 2")
      t:wait "channels/adt.lua was saved"
      t:wait "+ 7"
      t:press "Enter"
      t:line "x"
      t:wait "\n19"
    end)
  end)

  -- Forked at the beginning of main, they have not gone through the dynamic linker again: what keeps
  -- the prompt under 50 ms (core/role/ahead.h).
  it("its child is started before it has begun, with the libraries that it has itself", function()
    open()
    local function base(pid)
      return (tmp.read(("/proc/%d/maps"):format(pid)) or ""):match "(%x+)%-%x+ [^\n]*libluajit"
    end
    local child = children()[1]
    local parent = proc.proc_status(child, "PPid")
    if not base(child) then return pending "the maps of another process cannot be read" end
    assert.equal(base(parent), base(child))
  end)
end)
