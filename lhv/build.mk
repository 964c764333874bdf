# SPDX-License-Identifier: BSD-2-Clause
# Builds build/lhv/lhv-{i386,amd64}.elf: multiboot kernels in a 32-bit ELF container, stripped.
# Included by the top Makefile; works on its own from the top folder too (make -f lhv/build.mk lhv).

CC ?= gcc
NASM ?= nasm
OBJCOPY ?= objcopy
# The mask that an image without opt= and test= on its command line runs.
LHV_OPT ?= 0x3c

LHV_DIR := build/lhv
LHV_C := $(wildcard lib/core/*.c lib/dev/*.c lhv/*.c lhv/opts/*.c testcases/*.c)
LHV_ASM := $(wildcard lib/arch/*.asm)

LHV_CFLAGS := -std=c11 -O2 -g -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only \
	-fno-stack-protector -fno-asynchronous-unwind-tables -fno-strict-aliasing -fno-common -fno-builtin \
	-Wall -Wextra $(WERROR) -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef \
	-Ilib -I. -MMD -MP
LHV_CFLAGS_i386 := -m32 -march=i686
LHV_CFLAGS_amd64 := -m64 -mcmodel=small
LHV_NASM_i386 := -f elf32
LHV_NASM_amd64 := -f elf64
LHV_LD_i386 := -m32 -Wl,-m,elf_i386
LHV_LD_amd64 := -m64 -Wl,-m,elf_x86_64

.PHONY: lhv
lhv: $(LHV_DIR)/lhv-i386.elf $(LHV_DIR)/lhv-amd64.elf

# Everything that changes objects without being a file: a new value rebuilds what depends on it.
$(LHV_DIR)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(LHV_OPT) $(LHV_CFLAGS) $(LHV_CFLAGS_i386) $(LHV_CFLAGS_amd64) $(LHV_C) $(LHV_ASM)' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
.PHONY: FORCE

define lhv_arch
$(LHV_DIR)/$(1)/%.o: %.c $(LHV_DIR)/flags
	@mkdir -p $$(@D)
	$$(CC) $$(LHV_CFLAGS) $$(LHV_CFLAGS_$(1)) -DLHV_OPT='$$(LHV_OPT)u' -c -o $$@ $$<
$(LHV_DIR)/$(1)/%.asm.o: %.asm $(LHV_DIR)/flags
	@mkdir -p $$(@D)
	$$(NASM) -Werror -w+all -Ilib/arch/ $$(LHV_NASM_$(1)) -MD $$(@:.o=.d) -MP -o $$@ $$<
LHV_OBJ_$(1) := $(patsubst %.c,$(LHV_DIR)/$(1)/%.o,$(LHV_C)) $(patsubst %.asm,$(LHV_DIR)/$(1)/%.asm.o,$(LHV_ASM))
# The unstripped file is for debuggers. GRUB and QEMU's -kernel want a 32-bit container.
$(LHV_DIR)/lhv-$(1).debug: $$(LHV_OBJ_$(1)) lib/arch/link.ld
	$$(CC) $$(LHV_LD_$(1)) -nostdlib -static -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-warn-rwx-segments \
		-Wl,-z,max-page-size=4096 -Wl,-T,lib/arch/link.ld -o $$@ $$(LHV_OBJ_$(1))
$(LHV_DIR)/lhv-$(1).elf: $(LHV_DIR)/lhv-$(1).debug
	$$(OBJCOPY) --strip-all -O elf32-i386 $$< $$@
-include $$(patsubst %.o,%.d,$$(LHV_OBJ_$(1)))
endef
$(eval $(call lhv_arch,i386))
$(eval $(call lhv_arch,amd64))
