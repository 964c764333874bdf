/* SPDX-License-Identifier: BSD-2-Clause */
/* Multiboot Specification 0.6.96: "Boot information format", as far as lhv reads it. */
#ifndef LHV_MULTIBOOT_H
#define LHV_MULTIBOOT_H

#include "core/base.h"

#define MULTIBOOT_MAGIC 0x2badb002u
#define MULTIBOOT_HAS_MEMORY 0x1u
#define MULTIBOOT_HAS_CMDLINE 0x4u

struct multiboot_info {
	u32 flags;
	u32 mem_lower, mem_upper; /* KiB; upper starts at 1 MiB */
	u32 boot_device;
	u32 cmdline; /* physical address of text */
};

#endif
