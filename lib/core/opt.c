// SPDX-License-Identifier: BSD-2-Clause
#include "core/opt.h"

#include "core/fmt.h"

const struct opt_info opt_table[OPT_COUNT] = {
#define OPT(bit, name, requires, conflicts, text) { bit, #name, requires, conflicts, text },
#include "x86/lhv_opt.def"
#undef OPT
};

static const char *name_of(u32 bit)
{
	for (u32 i = 0; i < OPT_COUNT; i++)
		if (opt_table[i].bit & bit)
			return opt_table[i].name;
	return "?";
}

static u32 lowest(u32 bits)
{
	return bits & (0 - bits);
}

bool opt_legal(u32 mask, char *why, size_t size)
{
	u32 known = 0;

	for (u32 i = 0; i < OPT_COUNT; i++)
		known |= opt_table[i].bit;
	if (mask & ~known) {
		fmt(why, size, "bit 0x%x is not defined", lowest(mask & ~known));
		return false;
	}
	for (u32 i = 0; i < OPT_COUNT; i++) {
		const struct opt_info *o = &opt_table[i];

		if (!(mask & o->bit))
			continue;
		if (o->requires & ~mask) {
			fmt(why, size, "%s requires %s", o->name, name_of(lowest(o->requires & ~mask)));
			return false;
		}
		if (o->conflicts & mask) {
			fmt(why, size, "%s conflicts with %s", o->name, name_of(lowest(o->conflicts & mask)));
			return false;
		}
	}
	return true;
}
