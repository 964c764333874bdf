/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_VMCS_H
#define CORE_VMCS_H

#include "core/base.h"

/* From lib/x86/vmcs_fields.def: enum { VMCS_guest_rip = 0x681e, ... } */
enum vmcs_field {
#define FIELD(width, encoding, name, area, exists, in, back) VMCS_##name = (encoding),
#include "x86/vmcs_fields.def"
#undef FIELD
};

/* Position in the table: VI_guest_rip, ..., VI_COUNT. */
enum vmcs_index {
#define FIELD(width, encoding, name, area, exists, in, back) VI_##name,
#include "x86/vmcs_fields.def"
#undef FIELD
	VI_COUNT
};

enum vmcs_width { WIDTH_16, WIDTH_64, WIDTH_32, WIDTH_NAT }; /* bits 14:13 of the encoding */
/* How an L0 that nests treats a field; see the table. */
enum vmcs_way { WAY_NONE, WAY_COPY, WAY_GPA, WAY_HANDLER };
enum vmcs_area { AREA_CONTROL, AREA_EXIT, AREA_GUEST, AREA_HOST }; /* bits 11:10; EXIT is read-only */

struct vmcs_info {
	u16 encoding; /* of the full field, even */
	u8 width;
	u8 area;
	u8 in, back; /* enum vmcs_way */
	const char *name;
	const char *exists; /* capability that the field depends on ("" for always), a name of vmx_controls.def */
};

extern const struct vmcs_info vmcs_table[];
extern const u32 vmcs_table_count;

/* NULL if there is no such field. A high half (odd encoding of a 64-bit field) finds its full field. */
const struct vmcs_info *vmcs_find(u32 encoding);
const char *vmcs_name(u32 encoding); /* "?" if unknown */

/* A dump: values in the table's order. */
#define VMCS_DUMP_MAX 256
struct vmcs_dump {
	u64 value[VMCS_DUMP_MAX];
	u8 valid[VMCS_DUMP_MAX]; /* 0: the field doesn't exist on this CPU */
};
/* Index of the first field at or after start in which a and b differ (value or validity), or vmcs_table_count. */
u32 vmcs_diff(const struct vmcs_dump *a, const struct vmcs_dump *b, u32 start);

#endif
