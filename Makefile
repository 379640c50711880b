# Lunate: one non-recursive Makefile.
#   make            build build/lunate (needs the packages that `make deps` installs)
#   make demo       install packages, build, run the demo site, send messages through it
#   make test       install packages, build, run all tests          [SPEC=path MODE=asan]
#   make bench      side-by-side measurements (docs/performance.md)
#   make crash      200 rounds of kill -9 under load                [ROUNDS=n]
#   make soak       an hour of load, reloads, outages, kills        [MINUTES=n SEED=n]
#   make fuzz       libFuzzer on one target                         [FUZZ=mllp SECONDS=60]
#   make lint       formatting, luacheck, both compilers, floors
#   make install    DESTDIR= PREFIX=/usr/local
#   make deb        a Debian package in build/
#   make sbom       what it is made of, as CycloneDX, in build/
# MODE=release|debug|asan|tsan  CC=gcc|clang  V=1 shows the commands.

MODE   ?= release
PREFIX ?= /usr/local
UNITDIR ?= $(PREFIX)/lib/systemd/system
V      ?= 0
B      := build/$(MODE)
Q      := $(if $(filter 1,$(V)),,@)
SAY    := $(if $(filter 1,$(V)),@:,@printf '  %-5s %s\n')

BUILD_DEPS := pkg-config luajit libluajit-5.1-dev libevent-dev libssl-dev liblmdb-dev \
  libseccomp-dev libzstd-dev libreadline-dev libcurl4-openssl-dev lua-argparse
TEST_DEPS  := lua-busted lua-check clang clang-format libclang-rt-14-dev procps binutils dpkg-dev \
  tmux gnutls-bin sslscan

WARN := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
  -Wwrite-strings -Wformat=2 -Wundef -Werror
# Jumps land where they may (CET, BTI); no folder of the build stands in what is built.
CPU  := $(shell uname -m)
HARD_x86_64  := -fcf-protection=full
HARD_aarch64 := -mbranch-protection=standard
LAND_x86_64  := -Wl,-z,ibt,-z,shstk
LAND_aarch64 := -Wl,-z,force-bti
HARD := -fstack-protector-strong -fstack-clash-protection -fPIC -ffile-prefix-map=$(CURDIR)=. $(HARD_$(CPU))
OPT_release := -O2 -g -D_FORTIFY_SOURCE=2
OPT_debug   := -O0 -g3
OPT_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT_tsan    := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
OPT_fuzz    := $(OPT_asan) -fsanitize=fuzzer-no-link
PKGS := luajit libevent_core libevent_extra openssl lmdb libseccomp libzstd
# Looked up once, when first needed: `make demo` may install pkg-config itself.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)
VERSION := 0.1.0
LN_CFLAGS = -std=c11 -D_GNU_SOURCE -DLN_VERSION='"$(VERSION)"' -Icore -isystem $(LLHTTP) $(WARN) $(HARD) \
  $(OPT_$(MODE)) -pthread $(PKG_CFLAGS) $(CFLAGS)
LN_LDFLAGS = -pthread $(OPT_$(MODE)) -Wl,-z,relro,-z,now,-z,noexecstack $(LAND_$(CPU)) -pie -rdynamic $(LDFLAGS)
LN_LIBS    = $(PKG_LIBS) -lm -ldl

# llhttp, whose source Debian has in node-llhttp, is compiled in (contrib/llhttp.sh).
LLHTTP := build/llhttp
LLHTTP_OBJ := $(B)/llhttp/llhttp.o $(B)/llhttp/api.o $(B)/llhttp/http.o

# Everything but main.c also goes into liblunate.so, which the tests load through FFI. The line editor
# of `lunate repl` is a program of its own, since GNU readline is GPL: nothing else is linked with it.
EDITOR_SRC := $(sort $(wildcard core/repl/*.c))
C_SRC  := $(filter-out $(EDITOR_SRC),$(sort $(wildcard core/*/*.c)))
EDITOR_OBJ := $(EDITOR_SRC:%.c=$(B)/%.o)
C_OBJ  := $(C_SRC:%.c=$(B)/%.o)
LUA_SRC := $(sort $(shell find lua -name '*.lua' 2>/dev/null))
HEADERS := $(filter-out core/repl/%,$(sort $(wildcard core/*/*.h)))

.PHONY: all deps test-deps demo test bench crash soak lint install deb sbom clean fuzz fuzz-merge format
all: $(B)/lunate $(B)/lunate-repl $(B)/liblunate.so $(B)/cdef.h
	$(if $(filter release,$(MODE)),$(Q)for f in lunate lunate-repl; do \
	  ln -f $(B)/$$f build/$$f 2>/dev/null || cp -f $(B)/$$f build/$$f; done)

$(B)/lunate: $(B)/core/main.o $(C_OBJ) $(LLHTTP_OBJ) $(B)/embed.o
	$(SAY) LD $@
	$(Q)$(CC) $(LN_LDFLAGS) -o $@ $^ $(LN_LIBS)

$(B)/lunate-repl: $(EDITOR_OBJ) $(filter $(B)/core/base/% $(B)/core/ipc/%,$(C_OBJ))
	$(SAY) LD $@
	$(Q)$(CC) $(LN_LDFLAGS) -o $@ $^ -lreadline

$(B)/liblunate.so: $(C_OBJ) $(LLHTTP_OBJ) $(B)/embed.o
	$(SAY) LD $@
	$(Q)$(CC) -shared -pthread $(OPT_$(MODE)) $(LDFLAGS) -o $@ $^ $(LN_LIBS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(LN_CFLAGS) -MMD -MP -c -o $@ $<

$(LLHTTP)/llhttp.c:
	@sh contrib/llhttp.sh $(LLHTTP)
$(LLHTTP)/api.c $(LLHTTP)/http.c: $(LLHTTP)/llhttp.c ;
$(LLHTTP_OBJ): $(B)/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(HARD) $(OPT_$(MODE)) $(CFLAGS) -w -I$(LLHTTP) -c -o $@ $<
$(B)/core/net/http.o $(B)/core/net/call.o: | $(LLHTTP)/llhttp.c

# Lunate's own Lua, and argparse from its Debian package, as text in the binary.
$(B)/embed.s: $(LUA_SRC) contrib/embed.sh Makefile
	@mkdir -p $(@D)
	$(Q)sh contrib/embed.sh $(LUA_SRC) > $@.tmp && mv $@.tmp $@
$(B)/embed.o: $(B)/embed.s
	$(Q)$(CC) -c -o $@ $<

# The very headers that C reads, as one text for ffi.cdef.
$(B)/cdef.h: $(HEADERS) contrib/cdef.sh
	@mkdir -p $(@D)
	$(Q)CC="$(CC)" sh contrib/cdef.sh $(HEADERS) > $@.tmp && mv $@.tmp $@

-include $(wildcard $(B)/core/*.d $(B)/core/*/*.d)

deps:
	@sh contrib/install-deps.sh $(BUILD_DEPS)
test-deps:
	@sh contrib/install-deps.sh $(BUILD_DEPS) $(TEST_DEPS)

demo: deps
	@$(MAKE) --no-print-directory all
	@sh contrib/demo.sh

SPEC ?=
test: test-deps
	@$(MAKE) --no-print-directory all
	@MODE=$(MODE) sh contrib/run-tests.sh $(SPEC)

bench: test-deps
	@$(MAKE) --no-print-directory all
	@luajit tests/bench/bench.lua $(BENCH)

ROUNDS ?= 200
crash: test-deps
	@$(MAKE) --no-print-directory all
	@ROUNDS=$(ROUNDS) MODE=$(MODE) sh contrib/run-tests.sh tests/crash/kill_spec.lua

# The first line names the seed; the lines tell what was done when.
MINUTES ?= 60
soak: test-deps
	@$(MAKE) --no-print-directory all
	@MINUTES=$(MINUTES) MODE=$(MODE) LUNATE=$(CURDIR)/$(B)/lunate luajit tests/crash/soak_main.lua

# Fuzz targets: tests/fuzz/NAME_fuzz.c over what is pure (base, hl7, ipc), and with a NAME_fuzz.lua also
# over what scripts see. In MODE=fuzz they are linked with libFuzzer, otherwise with replay.c, which runs
# files through them (tests/fuzz/fuzz_spec.lua).
FUZZ    ?= mllp
SECONDS ?= 60
FUZZ_OBJ  := $(filter $(B)/core/base/% $(B)/core/hl7/% $(B)/core/ipc/%,$(C_OBJ)) $(B)/embed.o
FUZZ_MAIN := $(if $(filter fuzz,$(MODE)),,tests/fuzz/replay.c)
FUZZ_LINK := $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer)
$(B)/fuzz/%: tests/fuzz/%_fuzz.c tests/fuzz/fuzz.h $(FUZZ_MAIN) $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(SAY) LD $@
	$(Q)$(CC) $(LN_CFLAGS) $(FUZZ_LINK) -o $@ $(filter-out %.h,$^) $(FUZZ_LIBS) -lm
FUZZ_LUA := $(patsubst tests/fuzz/%_fuzz.lua,$(B)/fuzz/%,$(wildcard tests/fuzz/*_fuzz.lua))
$(FUZZ_LUA): tests/fuzz/lua_fuzz.h $(filter $(B)/core/script/%,$(C_OBJ))
$(FUZZ_LUA): FUZZ_LIBS := $(shell pkg-config --libs luajit 2>/dev/null) -ldl

fuzz: test-deps
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang build/fuzz/fuzz/$(FUZZ)
	@mkdir -p build/fuzz/corpus/$(FUZZ)
	build/fuzz/fuzz/$(FUZZ) -max_total_time=$(SECONDS) -timeout=10 -print_final_stats=1 \
	  -artifact_prefix=build/fuzz/$(FUZZ)- build/fuzz/corpus/$(FUZZ) tests/fuzz/corpus/$(FUZZ)
# Takes what `make fuzz` found and covers more into the corpus that is kept.
fuzz-merge:
	build/fuzz/fuzz/$(FUZZ) -merge=1 tests/fuzz/corpus/$(FUZZ) build/fuzz/corpus/$(FUZZ)

lint: test-deps
	@sh contrib/lint.sh

format:
	$(Q)clang-format -i $(shell git ls-files '*.c' '*.h')

install: all
	install -D -m 0755 build/lunate $(DESTDIR)$(PREFIX)/bin/lunate
	install -D -m 0755 build/lunate-repl $(DESTDIR)$(PREFIX)/libexec/lunate/lunate-repl
	for f in LICENSE README.md CHANGELOG.md docs/*.md \
	  $$(find scripts contrib/editors contrib/prometheus -name data -prune -o -type f -print); do \
	  install -D -m 0644 $$f $(DESTDIR)$(PREFIX)/share/doc/lunate/$$f || exit 1; done
	sh contrib/install-pages.sh $(DESTDIR)$(PREFIX)/share
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/local/bin|$(PREFIX)/bin|' contrib/systemd/lunate@.service > $(DESTDIR)$(UNITDIR)/lunate@.service

# A Debian package of this version: build/lunate_VERSION_ARCH.deb.
deb: test-deps
	@$(MAKE) --no-print-directory MODE=release all
	@sh contrib/deb/build.sh $(VERSION)

# What it is made of, as CycloneDX: build/lunate_VERSION.cdx.json.
sbom: test-deps
	@$(MAKE) --no-print-directory MODE=release all
	@luajit contrib/sbom.lua $(VERSION) build/lunate build/lunate-repl > build/sbom.tmp
	@mv build/sbom.tmp build/lunate_$(VERSION).cdx.json
	@echo build/lunate_$(VERSION).cdx.json

# What was fetched stays: a machine without network can build again.
clean:
	rm -rf $(filter-out $(LLHTTP),$(wildcard build/* build/.[!.]*))
