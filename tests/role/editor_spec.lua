-- `lunate new editor` and contrib/editors: the definitions name what there really is, the files are
-- what editors take, the patterns fit what Lunate prints.
local site = require "support.site"
local proc = require "support.proc"
local tmp = require "support.tmp"
local json = require "support.json"

-- Runs vim with these commands; false when it is not there.
local function vim(...)
  if os.execute "command -v vim >/dev/null" ~= 0 then return false end
  local argv = { "vim", "-u", "NONE", "-es" }
  for i = 1, select("#", ...) do
    argv[#argv + 1] = "-c"
    argv[#argv + 1] = (select(i, ...))
  end
  proc.run(argv)
  return true
end

describe("editor support", function()
  local s
  before_each(function()
    s = site.new {}
    assert.equal(0, (proc.run { site.binary(), "new", "site", s.path }))
  end)
  after_each(site.cleanup)

  it("new editor writes definitions that are Lua, and a .luarc.json that stays", function()
    local status, out = s:run("new", "editor")
    assert.equal(0, status)
    assert.matches("%.lunate/types\n.*%.luarc%.json\n", out)
    assert.same({ ".lunate/types" }, json.decode(s:read ".luarc.json")["workspace.library"])
    for _, name in ipairs { "lunate", "segments", "types" } do
      local text = s:read(".lunate/types/" .. name .. ".lua")
      assert.matches("^%-%-%-@meta", text)
      assert.is_true(#text < 500000)
      assert(loadstring(text))
    end
    s:write(".luarc.json", "{}")
    s:write(".lunate/types/types.lua", "old")
    assert.equal(0, (s:run("new", "editor")))
    assert.equal("{}", s:read ".luarc.json")
    assert.is_true(#s:read ".lunate/types/types.lua" > 1000)
    assert.equal(2, (s:run("new", "editor", "x")))
    assert.equal(2, (s:run("new", "site")))
  end)

  it("definitions: segments, fields and components by the names that messages take", function()
    assert.equal(0, (s:run("new", "editor")))
    local segments, types = s:read ".lunate/types/segments.lua", s:read ".lunate/types/types.lua"
    local pid = segments:match "@class lunate.segment.PID: lunate.Segment\n(.-)\n\n"
    assert.matches("@field patient_name lunate.XPN|string PID%-5 ", pid)
    assert.matches("@field PID lunate.segment.PID%? ", segments)
    assert.matches("@class lunate.XPN: lunate.Part\n.-@field family_name lunate.FN|string XPN.1 ", types)
    for class in (segments .. types):gmatch "@field [%w_]+ (lunate%.[%w_.]+)[|?]" do
      assert.truthy(class == "lunate.Part" or (segments .. types):find("@class " .. class .. ":", 1, true), class)
    end
    -- all names of a segment are taken by a message of some version
    local file = s:write("names.lua", [[
      for name in arg[1]:gmatch "[^ ]+" do
        local ok = false
        for _, v in ipairs { "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2" } do
          local msg = hl7.parse("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|" .. v .. "\rPID|\r")
          ok = ok or pcall(function() return msg.PID[name] end)
        end
        if not ok then print(name) end
      end]])
    local names = {}
    for name in pid:gmatch "@field ([%w_]+)" do names[#names + 1] = name end
    assert.is_true(#names > 40)
    local status, out = s:run("lua", file, table.concat(names, " "))
    assert.same({ 0, "" }, { status, out })
  end)

  it("definitions have all globals, hl7 functions and methods that a script has", function()
    assert.equal(0, (s:run("new", "editor")))
    local text = s:read ".lunate/types/lunate.lua"
    s:write("channels/adt_in.lua", [[
      return channel { source = mllp.listen { port = 6661 }, transform = function(msg)
        local list = {}
        for _, name in ipairs { "channel", "mllp", "hl7", "log", "kv", "lookup", "json", "http", "now", "env",
          "secret" } do
          if _G[name] == nil then error(name) end
          list[#list + 1] = name
        end
        for name, t in pairs { hl7 = hl7, log = log, mllp = mllp, kv = kv, lookup = lookup, json = json } do
          for k in pairs(t) do list[#list + 1] = name .. "." .. tostring(k) end
        end
        return table.concat(list, " ")
      end, destinations = { d = mllp.send { host = "h", port = 1 } } }]])
    local status, out = s:run("eval", "-c", "adt_in", s.path .. "/samples/adt_in.hl7")
    assert.equal(0, status)
    local n = 0
    for name in out:match "%-> d\n +([^\n]+)":gmatch "%S+" do
      n = n + 1
      local short = name:match "%.(.*)$"
      assert.truthy(text:find(name, 1, true) or (short and text:find("@field " .. short .. " ", 1, true)), name)
    end
    assert.is_true(n > 20)
    for name in tmp.read "core/script/message.c":match "luaL_Reg methods%[%] = (%b{})":gmatch '{"(%w+)"' do
      assert.truthy(text:find("function Message:" .. name .. "(", 1, true), name)
    end
    -- every key that check knows, also those that nobody described
    for _, key in ipairs { "duplicates", "allow", "stop_after_parks", "on_error", "tls" } do
      assert.truthy(text:find("@field " .. key .. "? ", 1, true), key)
    end
    assert(loadstring(text))
  end)

  -- What `find` gives of each name of the definitions must be there in a script.
  it("definitions have nothing that a script does not have", function()
    assert.equal(0, (s:run("new", "editor")))
    local text = s:read ".lunate/types/lunate.lua"
    local lines, n = { "local msg = hl7.parse(arg[1])", "local there = {" }, 0
    local objects = { Message = "msg", Segment = "msg.PID", Part = "msg.PID[5]", Channel = false, Result = false,
      lunate = false }
    for owner, name in text:gmatch "\nfunction (%w+)[.:]([%w_]+)%(" do
      local object = objects[owner]
      if object == nil then object = owner end
      if object then
        n = n + 1
        lines[#lines + 1] = ("['%s.%s'] = %s.%s,"):format(owner, name, object, name)
      end
    end
    assert.is_true(n > 50)
    for name in text:match "@class lunate.hl7\n(.-)\nhl7 = ":gmatch "@field ([%w_]+)" do
      lines[#lines + 1] = ("['hl7.%s'] = hl7.%s,"):format(name, name)
    end
    lines[#lines + 1] = "now = now, env = env, secret = secret, lookup = lookup, channel = channel }"
    local listed = {}
    for name in table.concat(lines, "\n"):gmatch "%['([%w_.]+)'%]" do listed[#listed + 1] = ("%q"):format(name) end
    lines[#lines + 1] = "for _, name in ipairs { " .. table.concat(listed, ", ") .. " } do"
    lines[#lines + 1] = "  if there[name] == nil then print(name) end\nend"
    local file = s:write("there.lua", table.concat(lines, "\n"))
    local status, out, err = s:run("lua", file, "MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5.1\rPID|1||9||A^B\r")
    assert.same({ 0, "", "" }, { status, out, err })
    -- what specs have
    local body = { "describe('definitions', function() it('are there', function()",
      "local c = lunate.channel 'adt_in' local r = c:run(lunate.sample 'adt_in') local g = _G" }
    for owner, name in text:gmatch "\nfunction (%w+)[.:]([%w_]+)%(" do
      local object = ({ Channel = "c", Result = "r", lunate = "lunate" })[owner]
      if object then body[#body + 1] = ("assert.is_function(%s.%s, %q)"):format(object, name, name) end
    end
    for name in text:match "specs %(`lunate test`%).*$":gmatch "\nfunction ([%w_]+)%(" do
      body[#body + 1] = ("assert.truthy(%s, %q)"):format(name, name)
    end
    body[#body + 1] = "end) end)"
    s:write("spec/definitions_spec.lua", table.concat(body, "\n"))
    status, out = s:run("test", "definitions")
    assert.equal(0, status, out)
    assert.is_true(#body > 14)
  end)

  it("definitions name no key that check does not know, and say what each call does", function()
    assert.equal(0, (s:run("new", "editor")))
    local text = s:read ".lunate/types/lunate.lua"
    local function keys(class) return text:match("@class [^\n]*lunate%." .. class .. "\n(.-)\n\n") end
    local options = {}
    for class, form in pairs { ListenOptions = "source = mllp.listen { port = 6661, %s = 1 }",
      SendOptions = "source = mllp.listen { port = 6661 }, " ..
        "destinations = { d = mllp.send { host = 'h', port = 1, %s = 1 } }",
      ChannelOptions = "%s = 1", RetryOptions = "source = mllp.listen { port = 6661 }, " ..
        "destinations = { d = mllp.send { host = 'h', port = 1, retry = { %s = 1 } } }" } do
      for name in keys(class):gmatch "@field ([%w_]+)" do options[#options + 1] = { class, name, form:format(name) } end
    end
    assert.is_true(#options > 30)
    local seen -- of one that is unknown, so that nothing said means something
    options[#options + 1] = { "SendOptions", "nosuch", "source = mllp.listen { port = 6661, nosuch = 1 }" }
    for i, o in ipairs(options) do
      s:write(("channels/k%d.lua"):format(i), "return channel { " .. o[3] .. " }")
    end
    local _, _, err = s:run "check" -- a wrong value is another mistake than a key that is unknown
    for line in err:gmatch "[^\n]+" do
      local n = line:match "channels/k(%d+).lua:"
      local o = options[tonumber(n or 0)]
      local unknown = o and line:find("unknown key '" .. o[2] .. "'", 1, true)
      if o and o[2] == "nosuch" then seen = unknown else assert.is_nil(unknown, line) end
    end
    assert.truthy(seen, err)
    for _, text_of in ipairs { "without unescaping; PID-3 is the", "up to the next of its own name",
      "as strftime has", "Environment of the engine" } do
      assert.truthy(text:gsub("\n%-%-%-", " "):find(text_of, 1, true), text_of)
    end
  end)

  it("the problem matcher and the errorformat fit what check prints", function()
    local tasks = json.decode(tmp.read "contrib/editors/vscode/settings/tasks.json")
    local pattern = tasks.tasks[1].problemMatcher.pattern.regexp
    s:write("channels/adt_in.lua", "return channel {\n  sorce = 1,\n}\n")
    s:write("channels/broken.lua", "return channel {\n")
    local _, _, err = s:run "check"
    local status, out = proc.run { "grep", "-cP", pattern, input = err }
    assert.equal(0, status)
    assert.is_true(tonumber(out) >= 3, err)
    local there = vim("set rtp+=contrib/editors/vim", "compiler lunate", "cgetfile " .. s:write("err", err),
      "call writefile(map(getqflist(), 'bufname(v:val.bufnr).\":\".v:val.lnum'), '" .. s.path .. "/qf')", "qa!")
    if not there then return pending "vim is not installed" end
    assert.matches("channels/adt_in.lua:%d", s:read "qf")
    assert.matches("channels/broken.lua:%d", s:read "qf")
  end)

  it("colours: the files are JSON, their patterns find what they name", function()
    json.decode(tmp.read "contrib/editors/vscode/settings/settings.json")
    local package = json.decode(tmp.read "contrib/editors/vscode/hl7/package.json")
    local path = package.contributes.grammars[1].path:gsub("^%./", "contrib/editors/vscode/hl7/")
    local grammar = json.decode(tmp.read(path))
    local function found(pattern, text)
      local status, out = proc.run { "grep", "-oP", pattern, input = text .. "\n" }
      assert.is_true(status == 0 or status == 1, pattern)
      return (out:gsub("\n$", ""):gsub("\n", " "))
    end
    local by = {}
    for _, p in ipairs(grammar.repository.parts.patterns) do by[p.name:match "^[%w.]-([%w]+)%.hl7$"] = p.match end
    assert.equal("MSH|^~\\&", found(grammar.patterns[1].begin, "MSH|^~\\&|A|B"))
    assert.equal("ZPD", found(grammar.patterns[2].begin, "ZPD|1"))
    assert.equal("PID", found(grammar.patterns[3].begin, "PID|1"))
    assert.equal("", found(grammar.patterns[3].begin, "hello"))
    assert.equal("20260105083000+0100 19800101", found(by.time, "PID|20260105083000+0100|x|19800101|1980"))
    assert.equal("\\T\\ \\.br\\", found(by.escape, "NTE|a\\T\\b\\.br\\c"))
    assert.equal('""', found(by.null, 'PID|""|a""'))
    local function name(line, column) return ("synIDattr(synID(%d,%d,1),'name')"):format(line, column) end
    local there = vim("set nocp rtp+=contrib/editors/vim", "syntax on", "edit " .. s.path .. "/samples/adt_in.hl7",
      "runtime ftdetect/hl7.vim", "set ft=hl7", ("call writefile([%s,%s,%s,%s],'%s/syn')"):format(name(1, 1),
        name(1, 5), name(2, 1), name(2, 9), s.path), "qa!")
    if not there then return pending "vim is not installed" end
    assert.equal("hl7Header\nhl7Delimiters\nhl7Segment\nhl7Time\n", s:read "syn")
  end)
end)
