// SPDX-License-Identifier: BSD-2-Clause
#include "dev/mtrr.h"

#include "arch/cpu.h"
#include "x86/msr.h"

#define MTRRCAP_VARIABLE 0xffu
#define MTRRCAP_FIXED 0x100u

/* Registers that IA32_MTRRCAP says exist; 0 if they don't after all. */
static u64 read(u32 msr)
{
	u64 value = 0;

	msr_read_raw(msr, &value);
	return value;
}

void mtrr_read(struct mtrr_state *m)
{
	static const u32 fixed[11] = {
		MSR_MTRR_FIX64K_00000,
		MSR_MTRR_FIX16K_80000,
		MSR_MTRR_FIX16K_A0000,
		0x268,
		0x269,
		0x26a,
		0x26b,
		0x26c,
		0x26d,
		0x26e,
		0x26f,
	};
	u32 r[4];

	*m = (struct mtrr_state){ .maxphyaddr = 36 };
	cpuid_raw(0x80000000, 0, r);
	if (r[0] >= 0x80000008) {
		cpuid_raw(0x80000008, 0, r);
		m->maxphyaddr = r[0] & 0xff;
	}
	if (msr_read_raw(MSR_MTRRCAP, &m->cap)) {
		m->def_type = 1u << 11 | MEMTYPE_WB;
		return;
	}
	m->def_type = read(MSR_MTRR_DEF_TYPE);
	if (m->cap & MTRRCAP_FIXED)
		for (u32 i = 0; i < ARRAY_SIZE(fixed); i++)
			m->fixed[i] = read(fixed[i]);
	m->variable_count = m->cap & MTRRCAP_VARIABLE;
	if (m->variable_count > MTRR_VARIABLE_MAX)
		m->variable_count = MTRR_VARIABLE_MAX;
	for (u32 i = 0; i < m->variable_count; i++) {
		m->base[i] = read(MSR_MTRR_PHYSBASE0 + 2 * i);
		m->mask[i] = read(MSR_MTRR_PHYSBASE0 + 2 * i + 1);
	}
}
