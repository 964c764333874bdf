# SPDX-License-Identifier: BSD-2-Clause
# Builds build/xmhf-nest/xmhf-nest-{i386,amd64}.elf: multiboot kernels in a 32-bit ELF container, stripped.
# Included by the top Makefile; works on its own from the top folder too (make -f xmhf-nest/build.mk xmhf-nest).

CC ?= gcc
NASM ?= nasm
OBJCOPY ?= objcopy

NEST_DIR := build/xmhf-nest
NEST_C := $(wildcard lib/core/*.c lib/dev/*.c xmhf-nest/*.c)
NEST_ASM := $(addprefix lib/arch/,cpu.asm isr.asm vmx.asm) $(wildcard xmhf-nest/arch/*.asm)

NEST_CFLAGS := -std=c11 -O3 -g -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only \
	-fno-stack-protector -fno-asynchronous-unwind-tables -fno-strict-aliasing -fno-common -fno-builtin \
	-Wall -Wextra $(WERROR) -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef \
	-Ilib -I. -MMD -MP
NEST_CFLAGS_i386 := -m32 -march=i686
NEST_CFLAGS_amd64 := -m64 -mcmodel=kernel
NEST_NASM_i386 := -f elf32
NEST_NASM_amd64 := -f elf64
NEST_LINK := -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments -Wl,-z,max-page-size=4096
NEST_LD_i386 := -m32 -Wl,-m,elf_i386
NEST_LD_amd64 := -m64 -Wl,-m,elf_x86_64
# Where the image is in L0's address space; xmhf-nest/mem.c and arch/boot.asm build the tables for it.
NEST_BASE_i386 := 0xf0000000
NEST_BASE_amd64 := 0xffffffff80000000

.PHONY: xmhf-nest
xmhf-nest: $(NEST_DIR)/xmhf-nest-i386.elf $(NEST_DIR)/xmhf-nest-amd64.elf

$(NEST_DIR)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(NEST_CFLAGS) $(NEST_CFLAGS_i386) $(NEST_CFLAGS_amd64) $(NEST_C) $(NEST_ASM)' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
.PHONY: FORCE

define nest_arch
$(NEST_DIR)/$(1)/%.o: %.c $(NEST_DIR)/flags
	@mkdir -p $$(@D)
	$$(CC) $$(NEST_CFLAGS) $$(NEST_CFLAGS_$(1)) -c -o $$@ $$<
$(NEST_DIR)/$(1)/%.asm.o: %.asm $(NEST_DIR)/flags
	@mkdir -p $$(@D)
	$$(NASM) -Werror -w+all -Ilib/arch/ $$(NEST_NASM_$(1)) -MD $$(@:.o=.d) -MP -o $$@ $$<
NEST_OBJ_$(1) := $(patsubst %.c,$(NEST_DIR)/$(1)/%.o,$(NEST_C)) $(patsubst %.asm,$(NEST_DIR)/$(1)/%.asm.o,$(NEST_ASM))
$(NEST_DIR)/xmhf-nest-$(1).debug: $$(NEST_OBJ_$(1)) xmhf-nest/link.ld xmhf-nest/build.mk
	$$(CC) $$(NEST_LINK) $$(NEST_LD_$(1)) -Wl,--defsym=nest_base=$(NEST_BASE_$(1)) -Wl,-T,xmhf-nest/link.ld -o $$@ $$(NEST_OBJ_$(1))
$(NEST_DIR)/xmhf-nest-$(1).elf: $(NEST_DIR)/xmhf-nest-$(1).debug
	$$(OBJCOPY) --strip-all -O elf32-i386 $$< $$@
-include $$(patsubst %.o,%.d,$$(NEST_OBJ_$(1)))
endef
$(eval $(call nest_arch,i386))
$(eval $(call nest_arch,amd64))

# For counting what the hardware does (harness/bench_hardware.py): in each of these, one class of instructions is slow. The folders
# look like build/ to the harness.
NEST_CLASSES := exit vmread vmwrite vmptrld invalidate msr
NEST_COSTLY_DIR := $(NEST_DIR)/costly
.PHONY: xmhf-nest-costly
xmhf-nest-costly: $(NEST_CLASSES:%=$(NEST_COSTLY_DIR)/%/xmhf-nest/xmhf-nest-amd64.elf)

define nest_costly
NEST_COSTLY_OBJ_$(1) := $(patsubst %.asm,$(NEST_COSTLY_DIR)/$(1)/%.asm.o,$(NEST_ASM))
$(NEST_COSTLY_DIR)/$(1)/%.asm.o: %.asm $(NEST_DIR)/flags
	@mkdir -p $$(@D)
	$$(NASM) -Werror -w+all -Ilib/arch/ $$(NEST_NASM_amd64) -dCOSTLY_$(1) -MD $$(@:.o=.d) -MP -o $$@ $$<
$(NEST_COSTLY_DIR)/$(1)/xmhf-nest/xmhf-nest-amd64.debug: $$(filter-out %.asm.o,$$(NEST_OBJ_amd64)) $$(NEST_COSTLY_OBJ_$(1)) xmhf-nest/link.ld
	@mkdir -p $$(@D)
	@ln -sfn ../../../lhv $(NEST_COSTLY_DIR)/$(1)/lhv && ln -sfn ../../../tables.json $(NEST_COSTLY_DIR)/$(1)/tables.json
	$$(CC) $$(NEST_LINK) $$(NEST_LD_amd64) -Wl,--defsym=nest_base=$(NEST_BASE_amd64) -Wl,-T,xmhf-nest/link.ld -o $$@ $$(filter %.o,$$^)
$(NEST_COSTLY_DIR)/$(1)/xmhf-nest/xmhf-nest-amd64.elf: $(NEST_COSTLY_DIR)/$(1)/xmhf-nest/xmhf-nest-amd64.debug
	$$(OBJCOPY) --strip-all -O elf32-i386 $$< $$@
-include $$(patsubst %.o,%.d,$$(NEST_COSTLY_OBJ_$(1)))
endef
$(foreach c,$(NEST_CLASSES),$(eval $(call nest_costly,$(c))))

# For seeing which lines lhv makes L0 execute (harness/coverage.py): counters in memory, which nobody writes out. Less optimized, so
# that lines stay apart.
NEST_COVERAGE_DIR := $(NEST_DIR)/coverage
NEST_COVERAGE_CFLAGS := $(filter-out -O3,$(NEST_CFLAGS)) -O1 -fprofile-arcs -ftest-coverage -fprofile-info-section -fprofile-update=single
.PHONY: xmhf-nest-coverage
xmhf-nest-coverage: $(NEST_COVERAGE_DIR)/xmhf-nest/xmhf-nest-amd64.elf

NEST_COVERAGE_OBJ := $(NEST_C:%.c=$(NEST_COVERAGE_DIR)/%.o)
$(NEST_COVERAGE_DIR)/%.o: %.c $(NEST_DIR)/flags xmhf-nest/build.mk
	@mkdir -p $(@D)
	$(CC) $(NEST_COVERAGE_CFLAGS) $(NEST_CFLAGS_amd64) -c -o $@ $<
$(NEST_COVERAGE_DIR)/xmhf-nest/xmhf-nest-amd64.debug: $(NEST_COVERAGE_OBJ) $(filter %.asm.o,$(NEST_OBJ_amd64)) xmhf-nest/link.ld
	@mkdir -p $(@D)
	@ln -sfn ../../lhv $(NEST_COVERAGE_DIR)/lhv && ln -sfn ../../tables.json $(NEST_COVERAGE_DIR)/tables.json
	$(CC) $(NEST_LINK) $(NEST_LD_amd64) -Wl,--defsym=nest_base=$(NEST_BASE_amd64) -Wl,--defsym=__gcov_merge_add=0 -Wl,-T,xmhf-nest/link.ld -o $@ $(filter %.o,$^)
$(NEST_COVERAGE_DIR)/xmhf-nest/xmhf-nest-amd64.elf: $(NEST_COVERAGE_DIR)/xmhf-nest/xmhf-nest-amd64.debug
	$(OBJCOPY) --strip-all -O elf32-i386 $< $@
-include $(NEST_COVERAGE_OBJ:.o=.d)
