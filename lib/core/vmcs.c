// SPDX-License-Identifier: BSD-2-Clause
#include "core/vmcs.h"

/* SDM: "Structure of VMCS Component Encoding": the encoding says width and area, and so does the table. */
enum { W16 = WIDTH_16, W64 = WIDTH_64, W32 = WIDTH_32, WNAT = WIDTH_NAT };
#define FIELD(width, encoding, name, area, exists, in, back)                   \
	_Static_assert(((encoding) >> 13 & 3) == W##width, #name ": width");   \
	_Static_assert(((encoding) >> 10 & 3) == AREA_##area, #name ": area"); \
	_Static_assert(!((encoding) & ~0x6ffe), #name ": reserved bits, or the high half");
#include "x86/vmcs_fields.def"
#undef FIELD

const struct vmcs_info vmcs_table[] = {
#define FIELD(width, encoding, name, area, exists, in, back) \
	{ encoding, W##width, AREA_##area, WAY_##in, WAY_##back, #name, exists },
#include "x86/vmcs_fields.def"
#undef FIELD
};

const u32 vmcs_table_count = ARRAY_SIZE(vmcs_table);
_Static_assert(ARRAY_SIZE(vmcs_table) <= VMCS_DUMP_MAX, "struct vmcs_dump");

const struct vmcs_info *vmcs_find(u32 encoding)
{
	u32 low = 0, high = vmcs_table_count;

	/* Only 64-bit fields have a second half. */
	if (encoding & 1 && (encoding >> 13 & 3) != WIDTH_64)
		return NULL;
	encoding &= ~1u;
	while (low < high) {
		u32 middle = (low + high) / 2;

		if (vmcs_table[middle].encoding == encoding)
			return &vmcs_table[middle];
		if (vmcs_table[middle].encoding < encoding)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const char *vmcs_name(u32 encoding)
{
	const struct vmcs_info *i = vmcs_find(encoding);

	return i ? i->name : "?";
}

u32 vmcs_diff(const struct vmcs_dump *a, const struct vmcs_dump *b, u32 start)
{
	while (start < vmcs_table_count && a->valid[start] == b->valid[start] &&
	       (!a->valid[start] || a->value[start] == b->value[start]))
		start++;
	return start;
}
