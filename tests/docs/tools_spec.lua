-- Runs every command of docs/tools.md: what it prints must be what stands below it.
local site = require "support.site"
local tmp = require "support.tmp"
local commands = require("support.transcript").commands
local proc = require "support.proc"

local text = assert(tmp.read "docs/tools.md")

describe("docs/tools", function()
  local folder

  lazy_setup(function()
    folder = tmp.dir()
    for name, content in text:gmatch "\n```%w+ ([%w_./-]+)\n(.-)```" do
      tmp.write(folder .. "/" .. name, content)
    end
    local pipe = io.popen("realpath " .. site.binary())
    local binary = pipe:read "*l"
    pipe:close()
    os.execute(("mkdir %s/bin && ln -s %s %s/bin/lunate"):format(folder, tmp.quote(binary), folder))
  end)

  lazy_teardown(site.cleanup)

  local count = 0
  for block in text:gmatch "\n```sh\n(.-)```" do
    for _, c in ipairs(commands(block)) do
      count = count + 1
      it(c[1], function()
        local env = { PATH = folder .. "/bin:" .. os.getenv "PATH", NO_COLOR = false, COLUMNS = false }
        local _, out, err = proc.run { "sh", "-c", "exec 2>&1; " .. c[1], cwd = folder, env = env }
        assert.equal("", err)
        if out:sub(-1) ~= "\n" and out ~= "" then out = out .. "\n" end
        assert.equal(c[2], out)
      end)
    end
  end

  it("has examples", function() assert.is_true(count > 3) end)
end)
