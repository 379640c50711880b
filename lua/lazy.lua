--- lazy(name): stands for the module of that name, which is loaded when something is first asked of
-- it: for what is not needed until somebody waits for it anyway.
return function(name)
  return setmetatable({}, { __index = function(_, key) return require(name)[key] end })
end
