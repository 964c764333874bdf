/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts a multiboot kernel, its modules and the boot information into a guest's memory (Multiboot Specification
 * 0.6.96). ELF32 and ELF64 containers, and kernels whose header has addresses. Pure.
 */
#ifndef KVM_MULTIBOOT_H
#define KVM_MULTIBOOT_H

#include <stddef.h>
#include <stdint.h>

struct guest_memory {
	uint8_t *bytes;
	size_t size; /* starts at guest-physical 0 */
};

struct blob {
	const uint8_t *bytes;
	size_t size;
	const char *text; /* command line */
};

struct boot_state {
	uint32_t entry, info; /* EIP; EBX. EAX is MULTIBOOT_MAGIC. */
};

#define MULTIBOOT_MAGIC 0x2badb002u

/* NULL if all is in place, else what is wrong. The file isn't trusted. */
const char *multiboot_load(struct guest_memory mem, struct blob kernel, const struct blob *modules, size_t module_count,
			   struct boot_state *out);

#endif
