-- Neovim 0.11 or later, in plugin/: lua-language-server for Lunate sites, :make for their mistakes.
-- luacheck: globals vim
-- `lunate new editor` in the site makes the definitions that the server reads.
vim.lsp.config("lunate", {
  cmd = { "lua-language-server" },
  filetypes = { "lua" },
  root_markers = { "lunate.lua" },
  workspace_required = true,
})
vim.lsp.enable "lunate"

vim.filetype.add { extension = { hl7 = "hl7" } }

vim.api.nvim_create_autocmd("FileType", {
  pattern = "lua",
  callback = function(e)
    local root = vim.fs.root(e.buf, "lunate.lua")
    if not root then return end
    -- Mistakes are told from the site's folder on: sed makes paths of them that hold anywhere.
    vim.bo[e.buf].makeprg = ("lunate -C %s check 2>&1 | sed %s"):format(
      vim.fn.shellescape(root, 1), vim.fn.shellescape("s:^:" .. root .. "/:", 1))
    vim.bo[e.buf].errorformat = "%f:%l: %m,%-G%.%#"
  end,
})
