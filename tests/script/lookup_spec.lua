local peer = require "support.peer"
local tmp = require "support.tmp"

local raw = "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5\r"

local function run(csv, body)
  local w = assert(peer.worker { files = { ["tables/t.csv"] = csv }, body })
  local r = w:run(raw)
  if r.verdict ~= "done" then return r.reason end
  return w.logs[1].text
end

describe("script/lookup", function()
  after_each(peer.cleanup)

  it("gives the second column, or the default", function()
    local csv = "A,Apple\nB,Bean\n"
    assert.equal("Apple", run(csv, "log.info(lookup('t', 'A'))"))
    assert.equal("nil d d", run(csv,
      "log.info('%s %s %s', tostring(lookup('t', 'C')), lookup('t', 'C', 'd'), "
      .. "lookup('t', nil, 'd'))"))
    assert.equal("one", run("1,one\n", "log.info(lookup('t', 1))"))
    assert.equal("Apple Apple d", run(csv, "local a = msg.MSH[3] log.info('%s %s %s', lookup('t', a), "
      .. "lookup('t', a[1]), lookup('t', msg.MSH[30], 'd'))"))
  end)

  it("gives a row by column name when the first line starts with #, else by number", function()
    local csv = "# code,name,ward\nA,Apple,3\n"
    assert.equal("Apple 3 A", run(csv, "local r = lookup.row('t', 'A') "
      .. "log.info('%s %s %s', r.name, r.ward, r[1])"))
    assert.equal("nil", run(csv, "log.info(tostring(lookup.row('t', 'code')))"))
    assert.equal("name", run("code,name\n", "log.info(lookup.row('t', 'code')[2])"))
  end)

  it("reads what RFC 4180 allows", function()
    local csv = '\239\187\191#k,v\r\n"a,b","say ""hi"""\r\n\r\n'
      .. 'c,"two\r\nlines"\r\nd, x \r\ne,\r\nlast,1'
    assert.equal('say "hi"', run(csv, "log.info(lookup('t', 'a,b'))"))
    assert.equal("two\r\nlines", run(csv, "log.info(lookup('t', 'c'))"))
    assert.equal("[ x ]", run(csv, "log.info('[%s]', lookup('t', 'd'))"))
    assert.equal("[]", run(csv, "log.info('[%s]', lookup('t', 'e'))"))
    assert.equal("1", run(csv, "log.info(lookup('t', 'last'))"))
  end)

  it("refuses a broken table with its line", function()
    for csv, why in pairs {
      ["a,1\na,2\n"] = "tables/t.csv:2: key already stands on line 1",
      ['a,"x\n'] = "tables/t.csv:1: a quoted value does not end",
      ['a,1\nb,"x"y\n'] = 'tables/t.csv:2: something follows a closing "',
      ['a,1\nb,x"y\n'] = 'tables/t.csv:2: a " within a value',
    } do
      local text = run(csv, "lookup('t', 'a')")
      assert.truthy(text:find(why, 1, true), text)
    end
  end)

  it("reads a table beside the site again when it has changed", function()
    local out = tmp.dir()
    local path = out .. "/codes.csv"
    tmp.write(path, "a,1\n")
    local w = assert(peer.worker { ("log.info(tostring(lookup(%q, 'a')))"):format(path), read = { out } })
    local function told()
      local r = w:run(raw)
      return r.verdict == "done" and w.logs[#w.logs].text or r.reason
    end
    assert.equal("1", told())
    assert.equal("1", told())
    tmp.write(path .. ".new", "a,22\n")
    assert(os.rename(path .. ".new", path))
    assert.equal("22", told())
    tmp.write(path, "a,3\na,4\n")
    assert.equal("lookup: " .. path .. ":2: key already stands on line 1", told())
    assert(os.remove(path))
    assert.equal("lookup: " .. path .. ": No such file or directory", told())
    tmp.write(path, "#k,v\na,5\n")
    assert.equal("5", told())
  end)

  it("names the tables there are when one is unknown", function()
    local text = run("a,1\n", "lookup('tt', 'a')")
    assert.equal("lookup: no table 'tt' (no tables/tt.csv, did you mean 't'?); "
      .. "tables there are: t", text)
  end)
end)
