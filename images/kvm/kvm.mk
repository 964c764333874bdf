# SPDX-License-Identifier: BSD-2-Clause
# The VMM of the appliance with Linux KVM (docs/kvm.md): build/kvm/vmm, a static program for x86-64 Linux.
# Included by the top Makefile.

KVM_DIR := build/kvm
KVM_C := $(wildcard images/kvm/vmm/*.c)
KVM_CFLAGS := -std=gnu11 -D_GNU_SOURCE -O2 -m64 -pthread -Wall -Wextra -Werror -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef \
	-MMD -MP

.PHONY: kvm
kvm: $(KVM_DIR)/vmm ## the VMM of stacks with Linux KVM

$(KVM_DIR)/%.o: images/kvm/vmm/%.c images/kvm/kvm.mk
	@mkdir -p $(@D)
	$(CC) $(KVM_CFLAGS) -c -o $@ $<
$(KVM_DIR)/vmm: $(patsubst images/kvm/vmm/%.c,$(KVM_DIR)/%.o,$(KVM_C))
	$(CC) -static -pthread -s -o $@ $^
-include $(patsubst images/kvm/vmm/%.c,$(KVM_DIR)/%.d,$(KVM_C))

PATCH :=
LINE := 6.1
.PHONY: kvm-patched
kvm-patched: ## builds KVM of a Debian kernel with PATCH="FILE ..." (LINE=6.1 VERSION=...) to be run in Bochs
	$(call need,kernel)
	$(PYTHON) images/kvm/patched.py --line $(LINE) $(if $(VERSION),--version $(VERSION)) $(ARGS) $(PATCH)
