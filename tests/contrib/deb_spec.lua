-- The Debian package: what is in it runs, and its unit starts what it installs.
local proc = require "support.proc"
local tmp = require "support.tmp"
local json = require "support.json"

local release = (os.getenv "MODE" or "release") == "release"

local function run(...)
  local argv = { ... }
  argv.timeout = 400
  local status, out, err = proc.run(argv)
  assert(status == 0, out .. err)
  return out
end

describe("contrib/deb", function()
  after_each(function()
    proc.cleanup()
    tmp.cleanup()
  end)
  if not release or os.execute "command -v dpkg-shlibdeps >/dev/null" ~= 0 then
    pending "needs a release build and dpkg-dev"
    return
  end

  it("installs a binary that runs and a unit that points to it", function()
    local deb = run("sh", "contrib/deb/build.sh", "0.0.1"):match "(build/%S+%.deb)"
    local root = tmp.dir()
    run("dpkg-deb", "-x", deb, root)
    assert.truthy(run(root .. "/usr/bin/lunate", "version"):find "^lunate %d")
    local unit = tmp.read(root .. "/usr/lib/systemd/system/lunate@.service")
    assert.truthy(unit:find("\nExecStart=/usr/bin/lunate ", 1, true))
    assert.truthy(unit:find "\nType=notify\n")
    local depends = run("dpkg-deb", "-f", deb, "Depends")
    for _, package in ipairs { "libc6", "libluajit", "liblmdb0", "libssl3", "libevent%-core" } do
      assert.truthy(depends:find(package), package)
    end
    local sbom = json.decode(tmp.read(root .. "/usr/share/doc/lunate/lunate.cdx.json"))
    local listed = {}
    for _, c in ipairs(sbom.components) do listed[c.name] = c.version end
    for package in (", " .. depends):gmatch ", (lib%S+)" do -- the first of alternatives
      package = package:gsub(",$", "")
      assert.truthy(listed[package], package .. " is missing in the SBOM")
    end
    assert.matches("^%d+%.%d+%.%d+$", listed.llhttp)
    assert.equal(run("sha256sum", root .. "/usr/bin/lunate"):match "^%x+",
      sbom.metadata.component.hashes[1].content)
    os.remove(deb)
    local doc = root .. "/usr/share/doc/lunate/" -- what the pages lead to is there
    for _, page in ipairs { "README.md", "docs/tutorial.md", "docs/monitoring.md" } do
      local text = tmp.read(doc .. page)
      for link in text:gmatch "%]%(([%w./_-]+)[#)]" do
        if link ~= "LICENSE" then -- in the package: copyright
          local at = doc .. (page:match "^.*/" or "") .. link
          assert.truthy(os.execute("test -e " .. tmp.quote(at)) == 0, page .. ": " .. link)
        end
      end
    end
  end)

  it("keeps the stores when it is purged", function()
    local postrm = tmp.read "contrib/deb/postrm"
    assert.is_nil(postrm:find "rm %-r")
  end)
end)
