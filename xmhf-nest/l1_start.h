/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NEST_L1_START_H
#define NEST_L1_START_H

#include "x86/multiboot.h"
#include "xmhf-nest/cpu.h"

#define L1_MODULES 16
#define L1_STRING 4096

/* What the boot loader left, in L0's memory. */
struct l1_boot {
	struct multiboot_info info;
	u32 count; /* of modules */
	struct {
		const u8 *data;
		u32 bytes;
		const char *string; /* L1_STRING bytes */
	} module[L1_MODULES];
};

void l1_start_multiboot(struct cpu *c, const struct l1_boot *b);
/* Real mode, at a stub that reads the drive's first sector through the BIOS and jumps there. */
void l1_start_disk(struct cpu *c, u32 drive);
/* VMCALL in real mode: is it L0's own code in L1's memory? Then it's done; the caller goes on behind it. */
bool l1_disk_vmcall(struct cpu *c);

#endif
