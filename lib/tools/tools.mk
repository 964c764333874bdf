# SPDX-License-Identifier: BSD-2-Clause
# Programs that run on the host: build/tables.json for the harness.

HOSTCC ?= cc
TOOLS_CFLAGS := -std=c11 -O1 -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef -Ilib

build/host/tables_json: lib/tools/tables_json.c $(wildcard lib/x86/*.def)
	@mkdir -p $(@D)
	$(HOSTCC) $(TOOLS_CFLAGS) -o $@ $<

build/tables.json: build/host/tables_json
	$< > $@.new
	mv $@.new $@
