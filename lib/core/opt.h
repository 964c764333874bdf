/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_OPT_H
#define CORE_OPT_H

#include "core/base.h"

/* From lib/x86/lhv_opt.def: enum { OPT_msr_lists = 0x1, ... } */
enum opt_bit {
#define OPT(bit, name, requires, conflicts, text) OPT_##name = (bit),
#include "x86/lhv_opt.def"
#undef OPT
};

struct opt_info {
	u32 bit;
	const char *name;
	u32 requires;
	u32 conflicts;
	const char *text;
};

#define OPT_COUNT 16
extern const struct opt_info opt_table[OPT_COUNT]; /* in the order of the bits */

/*
 * Is this mask legal? If not, writes a sentence that names the rule ("ept_switch requires ept",
 * "l1_user conflicts with no_intr", "bit 0x10000 is not defined") to why.
 */
bool opt_legal(u32 mask, char *why, size_t size);

#endif
