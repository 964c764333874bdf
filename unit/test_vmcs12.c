// SPDX-License-Identifier: BSD-2-Clause
/* Which encodings L1 may use: all there are, against the table's rows. */
#include "unit/nest_stub.h"
#include "unit/unit.h"
#include "xmhf-nest/vmcs12.h"

#define WIDE_16 0u
#define WIDE_32 0u
#define WIDE_64 1u
#define WIDE_NAT 0u

static const struct {
	u32 encoding, halves; /* halves: 1 if there is another encoding for the high half */
	const char *exists;
} fields[] = {
#define FIELD(width, encoding, name, area, exists, in, back) { encoding, WIDE_##width, exists },
#include "x86/vmcs_fields.def"
#undef FIELD
};

/* The table's controls, as many as there are, are had from this stage on. */
static u32 stage;

static u32 stage_of(const char *exists)
{
	u32 sum = 0;

	for (const char *p = exists; *p; p++)
		sum += (u8)*p;
	return *exists ? 1 + sum % 3 : 0;
}

static bool have(const char *exists)
{
	return stage_of(exists) <= stage;
}

static int model_index(u32 encoding)
{
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
		if (have(fields[i].exists) &&
		    (encoding == fields[i].encoding || (fields[i].halves && encoding == fields[i].encoding + 1)))
			return (int)i;
	return -1;
}

static void test_index(void)
{
	u32 before = 0;

	nest_stub.caps_have = have;
	/* What was had stays: vmcs12_init only adds. */
	for (stage = 0; stage < 4; stage++) {
		u32 found = 0;

		vmcs12_init();
		for (u32 encoding = 0; encoding < 0x10000; encoding++) {
			int index = vmcs12_index(encoding);

			CHECK(index == model_index(encoding));
			found += index >= 0;
		}
		CHECK(found > before);
		before = found;
	}
	stage = 3;
	/* All bits of a register count. */
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
		for (u32 bit = 0; bit < 32; bit++) {
			u32 encoding = fields[i].encoding ^ 1u << bit;

			CHECK(vmcs12_index(encoding) == model_index(encoding));
		}
	for (u32 i = 0; i < 100000; i++) {
		u32 encoding = (u32)unit_random() & (i & 1 ? ~0u : 0xffff6fffu);

		CHECK(vmcs12_index(encoding) == model_index(encoding));
	}
	CHECK(vmcs12_index(VMCS_guest_rip) == VI_guest_rip && vmcs12_index(VMCS_ept_pointer + 1) == VI_ept_pointer);
}

const struct unit_case vmcs12_cases[] = {
	{ "vmcs12: index of every encoding", test_index },
	{ NULL, NULL },
};
