# SPDX-License-Identifier: BSD-2-Clause
# Tests of the pure code on the host: one program per compiler and word size, with sanitizers.

UNIT_DIR := build/unit
# xmhf-nest's files without hardware and globals
NEST_PURE := $(addprefix xmhf-nest/, \
	check_controls.c \
	check_guest.c \
	check_host.c \
	check_segments.c \
	decode.c \
	decode_execute.c \
	ept02.c \
	ept12.c \
	lru.c \
	memmap.c \
	paging.c \
	route.c \
	vmcs12.c \
)
VMM_PURE := $(addprefix images/kvm/vmm/,devices.c job.c multiboot.c)
UNIT_C := $(wildcard unit/*.c) $(wildcard lib/core/*.c) $(NEST_PURE) $(VMM_PURE)
UNIT_CFLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -O1 -g -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef \
	-Ilib -I. -MMD -MP
UNIT_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
# lib/core/mem.c beside the C library's functions of the same names
UNIT_MEM := $(foreach f,memcpy memmove memset memcmp strlen strcmp strncmp,-D$(f)=core_$(f))

UNIT_CC_gcc64 := gcc -m64 $(UNIT_SANITIZE)
UNIT_CC_gcc32 := gcc -m32 $(UNIT_SANITIZE)
# clang's sanitizer library is a package of its own, so this one goes without.
UNIT_CC_clang64 := clang -m64
UNIT_CONFIGS := gcc64 gcc32 $(if $(shell command -v clang),clang64)

define unit_config
$(UNIT_DIR)/$(1)/%.o: %.c unit/unit.mk
	@mkdir -p $$(@D)
	$$(Q)$$(UNIT_CC_$(1)) $$(UNIT_CFLAGS) $$(if $$(filter lib/core/mem.c,$$<),-fno-builtin $$(UNIT_MEM)) -c -o $$@ $$<
$(UNIT_DIR)/$(1)/run: $(patsubst %.c,$(UNIT_DIR)/$(1)/%.o,$(UNIT_C))
	$$(Q)$$(UNIT_CC_$(1)) -o $$@ $$^
.PHONY: unit-$(1)
unit-$(1): $(UNIT_DIR)/$(1)/run
	@./$$< > $$<.ktap 2>&1 && { printf 'unit tests, $(1): '; tail -n 1 $$<.ktap; } || { cat $$<.ktap; exit 1; }
-include $(patsubst %.c,$(UNIT_DIR)/$(1)/%.d,$(UNIT_C))
endef
$(foreach c,$(UNIT_CONFIGS),$(eval $(call unit_config,$(c))))

.PHONY: unit
unit: $(addprefix unit-,$(UNIT_CONFIGS))
