#!/bin/sh
# install-pages.sh SHARE: man pages and shell completion of build/lunate, below PREFIX/share.
set -eu
share=$1
man=$share/man/man1
install -d "$man" "$share/bash-completion/completions" "$share/zsh/site-functions" \
  "$share/fish/vendor_completions.d"
build/lunate help --man >"$man/lunate.1"
for verb in $(build/lunate help --names); do
  build/lunate help --man "$verb" >"$man/lunate-$verb.1"
done
build/lunate completion bash >"$share/bash-completion/completions/lunate"
build/lunate completion zsh >"$share/zsh/site-functions/_lunate"
build/lunate completion fish >"$share/fish/vendor_completions.d/lunate.fish"
