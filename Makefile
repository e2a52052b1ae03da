# cdc_sink: build, install and test. `make help` lists the targets.

EXTENSION = cdc_sink
MODULE_big = cdc_sink
DATA = $(wildcard sql/cdc_sink--*.sql)

# Scanner and grammar are generated; everything else is picked up by folder.
PARSER = $(patsubst %.y,%.c,$(wildcard src/parser/*.y)) $(patsubst %.l,%.c,$(wildcard src/parser/*.l))
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c) $(PARSER)))
HEADERS = $(wildcard src/*.h src/*/*.h)

# -Wextra without the groups that PostgreSQL's own headers and macros trip.
# `make WERROR=` builds with a compiler that warns about more than ours.
WERROR ?= -Werror
PG_CFLAGS = -std=gnu99 -pthread -fvisibility=hidden -Wall -Wextra $(WERROR) \
	-Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Wno-clobbered
# Up to PostgreSQL 15 PGDLLEXPORT is empty; the hidden default needs it.
PG_CPPFLAGS = -Isrc '-DPGDLLEXPORT=__attribute__((visibility("default")))' \
	$(shell pkg-config --cflags rdkafka 2>/dev/null)
SHLIB_LINK = -pthread $(shell pkg-config --libs rdkafka 2>/dev/null || echo -lrdkafka) \
	$(shell pkg-config --libs libcurl 2>/dev/null || echo -lcurl) \
	$(shell pkg-config --atleast-version=7.77 libcurl 2>/dev/null || echo -lssl) -lcrypto -lz -lzstd

REGRESS = $(basename $(notdir $(filter-out sql/cdc_sink--%.sql,$(sort $(wildcard sql/*.sql)))))
REGRESS_OPTS = --inputdir=. --outputdir=$(REGRESS_OUT)
REGRESS_OUT ?= .
EXTRA_CLEAN = $(PARSER) $(wildcard src/parser/*.h.tmp) src/parser/gram.h src/parser/gram.output tmp/unit

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
SETUP = deps demo test up down restart bench check-style readme debezium-compare help
NEED_PGXS = $(if $(filter-out $(SETUP),$(or $(MAKECMDGOALS),all)),yes)

ifneq ($(PGXS),)
override with_llvm = no
include $(PGXS)
else ifeq ($(NEED_PGXS),yes)
$(error $(PG_CONFIG) not found: run `make deps`, or name it: make PG_CONFIG=/path/to/pg_config)
endif

$(OBJS): Makefile $(HEADERS) $(if $(wildcard src/parser/gram.y),src/parser/gram.h)

# Parser: bison and flex by their plain names, as PGXS may know neither.
CDC_BISON ?= bison
CDC_FLEX ?= flex
src/parser/gram.h: src/parser/gram.c ;
src/parser/gram.c: src/parser/gram.y
	$(CDC_BISON) -Wno-deprecated --defines=src/parser/gram.h -o $@ $<
src/parser/scan.c: src/parser/scan.l
	$(CDC_FLEX) -o $@ $<
# Generated code does not meet our warnings; last flag wins.
src/parser/gram.o src/parser/scan.o: override CFLAGS += -Wno-error -w

# A SQL function that is hidden would only be missed at CREATE FUNCTION.
all: .exports-checked
.exports-checked: $(if $(OBJS),cdc_sink$(or $(DLSUFFIX),.so))
	@missing=$$(nm -D --defined-only $< | awk '{d[$$3]=1} END {for (s in d) if (sub(/^pg_finfo_/, "", s) && !(s in d)) print s}'); \
	test -z "$$missing" || { echo "not exported, declare PGDLLEXPORT Datum f(PG_FUNCTION_ARGS) before PG_FUNCTION_INFO_V1:" $$missing >&2; exit 1; }
	@touch $@
EXTRA_CLEAN += .exports-checked

# ---- everything below works from a bare checkout -------------------------

export PG_CONFIG
.PHONY: $(SETUP) unit tap

help:
	@sed -n 's/^#: //p' Makefile

#: make deps         install what is missing (Debian packages; Kafka from Maven; stores by Go and npm)
#: make demo         a changefeed into files, start to end; SINK=kafka: into a broker
#: make test         all tests against real parts, from a bare checkout
#: make unit         unit tests only (no server)
#: make tap          TAP tests only (extension installed); T=test/t/001_basic.pl for one
#: make installcheck regression tests against the server at PGHOST, PGPORT
#: make up           throw-away cluster, broker, S3 server; addresses in tmp/env
#: make restart      build, install, restart that cluster
#: make down         stop and remove them
#: make bench        measurements, see test/bench/README.md
#: make check-style  rules a script can check
#: make readme       puts the table of options into README.md
#: make debezium-compare  runs Debezium's connector beside a changefeed and compares (800 MB, a JDK 21 or later)
deps:
	@test/env/deps.sh
demo:
	@test/env/demo.sh $(or $(SINK),file)
test:
	@test/env/test.sh
up:
	@test/env/up.sh
restart:
	@test/env/restart.sh
down:
	@test/env/down.sh
unit:
	@test/unit/run.sh
tap:
	@test/env/tap.sh $(T)
bench:
	@test/bench/bench.sh
check-style:
	@test/env/check-style.sh
readme:
	@test/env/readme-options.sh
debezium-compare:
	@test/debezium/live.sh $(or $(OUT),tmp/debezium) $(CONFIGS)
