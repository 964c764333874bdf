/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot Specification 0.6.96: "Boot information format", as far as we read or write it. */
#ifndef X86_MULTIBOOT_H
#define X86_MULTIBOOT_H

#include "core/base.h"

#define MULTIBOOT_MAGIC 0x2badb002u
#define MULTIBOOT_HAS_MEMORY 0x1u
#define MULTIBOOT_HAS_BOOT_DEVICE 0x2u
#define MULTIBOOT_HAS_CMDLINE 0x4u
#define MULTIBOOT_HAS_MODULES 0x8u
#define MULTIBOOT_HAS_MMAP 0x40u
#define MULTIBOOT_HAS_LOADER_NAME 0x200u
#define MULTIBOOT_HEADER_MAGIC 0x1badb002u
#define MULTIBOOT_HEADER_ADDRESSES 0x10000u
#define MULTIBOOT_MMAP_RAM 1u

struct multiboot_info {
	u32 flags;
	u32 mem_lower, mem_upper; /* KiB; upper starts at 1 MiB */
	u32 boot_device;
	u32 cmdline; /* physical address of text */
	u32 mods_count, mods_addr;
	u32 syms[4];
	u32 mmap_length, mmap_addr;
	u32 drives_length, drives_addr, config_table, loader_name, apm_table;
	u32 vbe[4];
};

struct multiboot_module {
	u32 start, end, string, reserved;
};

struct multiboot_mmap {
	u32 size; /* of what follows */
	u64 base, length;
	u32 type;
} __attribute__((packed));

/* In the first 8 KiB of the kernel's file. */
struct multiboot_header {
	u32 magic, flags, checksum;
	u32 header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr; /* with MULTIBOOT_HEADER_ADDRESSES */
};

#endif
