" :compiler lunate | make: `lunate check` in the site (the folder that has channels/), mistakes in the
" quickfix list.
if exists('current_compiler')
  finish
endif
let current_compiler = 'lunate'
CompilerSet makeprg=lunate\ check
CompilerSet errorformat=%f:%l:\ %m,%-G%.%#
