// SPDX-License-Identifier: BSD-2-Clause
/* mtrr_type against a literal reading of the SDM; mtrr_uniform against trying every page. */
#include "core/mtrr.h"
#include "unit/unit.h"

static u32 any_type(void)
{
	static const u8 types[] = { 0, 1, 4, 5, 6 };

	return types[unit_random() % ARRAY_SIZE(types)];
}

/* Small address spaces, so that every page can be tried: variable ranges within the low 16 MiB. */
static struct mtrr_state any_state(void)
{
	struct mtrr_state m = { .maxphyaddr = 36 + (u32)(unit_random() % 17) };
	u64 physical = (1ull << m.maxphyaddr) - 1;

	m.cap = (unit_random() & 0x100) | 0x400;
	m.def_type = (unit_random() % 8 ? 0x800 : 0) | (unit_random() & 0x400) | any_type();
	for (u32 i = 0; i < 11; i++)
		for (u32 k = 0; k < 8; k++)
			m.fixed[i] |= (u64)(unit_random() % 4 ? 6 : any_type()) << 8 * k;
	m.variable_count = (u32)(unit_random() % 5);
	for (u32 i = 0; i < m.variable_count; i++) {
		u64 size = 0x1000ull << unit_random() % 13;

		m.base[i] = ((unit_random() % 0x1000000) & ~(size - 1)) | any_type();
		m.mask[i] = (physical & ~(size - 1)) | (unit_random() % 4 ? 0x800 : 0);
	}
	return m;
}

/* Type by the letter: collect what matches, then apply the rules. */
static u32 model(const struct mtrr_state *m, u64 pa)
{
	u32 found = 0; /* bit per type */
	u64 physical = (1ull << m->maxphyaddr) - 1;

	if (!(m->def_type & 0x800))
		return 0;
	if (pa < 0x100000 && m->def_type & 0x400 && m->cap & 0x100) {
		static const struct {
			u32 base, size, reg;
		} part[] = {
			{ 0, 0x10000, 0 }, { 0x80000, 0x4000, 1 }, { 0xa0000, 0x4000, 2 }, { 0xc0000, 0x1000, 3 }
		};
		u32 p = pa >= 0xc0000 ? 3 : pa >= 0xa0000 ? 2 : pa >= 0x80000 ? 1 : 0;
		u32 n = ((u32)pa - part[p].base) / part[p].size;

		return m->fixed[part[p].reg + n / 8] >> 8 * (n % 8) & 0xff;
	}
	for (u32 i = 0; i < m->variable_count; i++) {
		u64 mask = m->mask[i] & physical & ~0xfffull;

		if (m->mask[i] & 0x800 && (pa & mask) == (m->base[i] & mask))
			found |= 1u << (m->base[i] & 0xff);
	}
	if (!found)
		return m->def_type & 0xff;
	for (u32 t = 0; t < 7; t++)
		if (found == 1u << t)
			return t;
	return found == (1u << 4 | 1u << 6) ? 4 : 0;
}

static void test_type(void)
{
	for (u32 round = 0; round < 300; round++) {
		struct mtrr_state m = any_state();

		for (u64 pa = 0; pa < 0x1100000; pa += 0x1000)
			CHECK(mtrr_type(&m, pa + unit_random() % 0x1000) == model(&m, pa));
	}
}

static void test_uniform(void)
{
	for (u32 round = 0; round < 300; round++) {
		struct mtrr_state m = any_state();

		for (u32 k = 0; k < 40; k++) {
			u64 size = 0x1000ull << unit_random() % 13, pa = (unit_random() % 0x1000000) & ~(size - 1);
			enum memtype type = MEMTYPE_WC;
			bool same = true, said = mtrr_uniform(&m, pa, size, &type);

			for (u64 at = pa; at < pa + size; at += 0x1000)
				same = same && model(&m, at) == model(&m, pa);
			CHECK(said == same);
			if (said)
				CHECK(type == model(&m, pa));
		}
	}
}

const struct unit_case mtrr_cases[] = {
	{ "mtrr: type against a model", test_type },
	{ "mtrr: uniform against every page", test_uniform },
	{ NULL, NULL },
};
