// SPDX-License-Identifier: BSD-2-Clause
/* L1's EPT: the SDM's list of reserved bits as ranges, and a walk by recursion,
 * on small random memories. */
#include "unit/unit.h"
#include "x86/msr.h"
#include "xmhf-nest/ept12.h"

#define PAGES 24u

static u64 memory[PAGES][512];

static const u64 *memory_map(u64 pa)
{
	CHECK(!(pa & 0xfff));
	return pa >> 12 < PAGES ? memory[pa >> 12] : NULL;
}

static bool any_of(u64 value, u32 high, u32 low)
{
	for (u32 b = low; b <= high; b++)
		if (value >> b & 1)
			return true;
	return false;
}

/* SDM: "EPT Misconfigurations" and the tables of "EPT Translation Mechanism",
 * row by row */
static bool model_wrong(const struct ept12_rules *r, u64 e, int level)
{
	bool readable = e & 1, writable = e >> 1 & 1, executable = e >> 2 & 1, large = e >> 7 & 1;
	u32 type = e >> 3 & 7;

	if ((writable && !readable) || (executable && !readable && !r->execute_only))
		return true;
	if (r->maxphyaddr < 52 && any_of(e, 51, r->maxphyaddr))
		return true;
	if (level == 4)
		return any_of(e, 7, 3);
	if (level == 3 && large && !r->large_1g)
		return true;
	if (level == 2 && large && !r->large_2m)
		return true;
	if (level > 1 && !large)
		return any_of(e, 6, 3);
	if (level == 3 && any_of(e, 29, 12))
		return true;
	if (level == 2 && any_of(e, 20, 12))
		return true;
	return type == 2 || type == 3 || type == 7;
}

/* gpa's part below the table at this level has to be translated yet. */
static void model_walk(struct ept12_walk *w, const struct ept12_rules *r, u64 table, u64 gpa, int level, u32 rights)
{
	u64 size = level == 4 ? 1ull << 39 : level == 3 ? 1ull << 30 : level == 2 ? 1ull << 21 : 1ull << 12;
	u64 at = table + gpa / size % 512 * 8, e = ~0ull;

	if (at < sizeof(memory))
		memcpy(&e, (const u8 *)memory + at, 8);
	w->level = (u8)level;
	w->rights = (u8)(rights & e & 7);
	w->entry[level] = e;
	w->table[level] = at < sizeof(memory) ? memory[at / 4096] : NULL;
	if (e % 8 == 0) {
		w->end = EPT12_ABSENT;
	} else if (model_wrong(r, e, level)) {
		w->end = EPT12_WRONG;
	} else if (level == 1 || e & 128) {
		w->end = EPT12_LEAF;
		w->gpa = (e % (1ull << 52) - e % size) + gpa % size;
	} else {
		model_walk(w, r, e % (1ull << 52) - e % 4096, gpa, level - 1, rights & (u32)e);
	}
}

static bool likely(u32 of)
{
	return unit_random() % of != 0;
}

/* Mostly sound, so that walks get deep. */
static u64 any_entry(int level)
{
	static const u8 rights[] = { 7, 7, 7, 7, 3, 5, 1, 4, 0, 2, 6 };
	static const u8 types[] = { 0, 1, 4, 5, 6, 6, 6, 2, 3, 7 };
	u64 e = rights[unit_random() % ARRAY_SIZE(rights)] | (unit_random() % (PAGES + 1)) << 12;

	if (level < 4 && (level == 1 || !likely(4))) {
		e |= (u64)types[unit_random() % ARRAY_SIZE(types)] << 3 | (unit_random() & 0x40) | 0x80;
		e &= level == 1 && likely(2) ? ~0x80ull : ~0ull;
		if (level > 1 && likely(4))
			e = (e & 0xfff) | (unit_random() % 64) << (level == 3 ? 30 : 21);
	}
	e |= unit_random() & 0xfff0000000000f00ull;
	return likely(12) ? e : e ^ 1ull << unit_random() % 64;
}

static u64 any_gpa(void)
{
	static const u16 indices[] = { 0, 1, 510, 511 };
	u64 gpa = unit_random() & 0xfff;

	for (u32 i = 0; i < 4; i++)
		gpa |= (u64)indices[unit_random() % 4] << (12 + 9 * i);
	return gpa;
}

static struct ept12_rules any_rules(void)
{
	static const u8 widths[] = { 32, 36, 39, 40, 46, 52 };

	return (struct ept12_rules){
		.maxphyaddr = widths[unit_random() % ARRAY_SIZE(widths)],
		.execute_only = likely(3),
		.large_2m = likely(4),
		.large_1g = likely(4),
	};
}

static void compare(const struct ept12_rules *r, u64 eptp, u64 gpa, u32 ends[3][5])
{
	struct ept12_walk w = { .end = 99 }, m = { .gpa = 0 };

	ept12_walk(&w, r, memory_map, eptp, gpa);
	model_walk(&m, r, eptp % (1ull << 52) - eptp % 4096, gpa, 4, 7);
	CHECK(w.end == m.end && w.level == m.level && w.rights == m.rights);
	CHECK(w.gpa == m.gpa);
	for (int level = m.level; level <= 4; level++)
		CHECK(w.entry[level] == m.entry[level] && w.table[level] == m.table[level]);
	ends[m.end][m.level]++;
}

static void test_fuzz(void)
{
	u32 ends[3][5] = { { 0 } };

	for (u32 round = 0; round < 3000; round++) {
		struct ept12_rules r = any_rules();

		/* Tables by level: pages 0 to 5 for 4, 6 to 11 for 3, ...; but an entry may
     * lead to any. */
		for (u32 page = 0; page < PAGES; page++)
			for (u32 k = 0; k < 4; k++) {
				int level = 4 - (int)(page / 6);
				u64 e = any_entry(level);

				if (level > 1 && !(e & 0x80) && e >> 12 < PAGES && likely(8))
					e = (e & 0xfff0000000000fffull) | (6 * (5 - (u64)level) + unit_random() % 6)
										  << 12;
				memory[page][k < 2 ? k : 508 + k] = e;
			}
		for (u32 i = 0; i < 50; i++)
			compare(&r, (unit_random() % 7) << 12 | 0x1e, any_gpa(), ends);
	}
	/* Each way to end was there, at each level where there is one. */
	for (u32 level = 1; level <= 4; level++)
		CHECK(ends[EPT12_ABSENT][level] > 100 && ends[EPT12_WRONG][level] > 100 &&
		      (level == 4 || ends[EPT12_LEAF][level] > 100));
}

/* Each bit alone and each value of the low byte, at each level, under all
 * rules. */
static void test_entries(void)
{
	static const u8 widths[] = { 32, 36, 40, 51, 52 };
	u32 wrong = 0, total = 0;

	for (u32 rule = 0; rule < 8 * ARRAY_SIZE(widths); rule++) {
		struct ept12_rules r = { widths[rule / 8], rule & 1, rule & 2, rule & 4 };

		for (int level = 1; level <= 4; level++)
			for (u32 low = 0; low < 256; low++)
				for (u32 bit = 8; low % 8 && bit <= 64; bit++) {
					u64 e = low | (bit < 64 ? 1ull << bit : 0);

					CHECK(ept12_wrong(&r, e, level) == model_wrong(&r, e, level));
					wrong += ept12_wrong(&r, e, level);
					total++;
				}
	}
	CHECK(wrong > total / 4 && wrong < total);
}

/* Where L1 has no memory, reads give ones: a misconfiguration, whatever the
 * level and the rules. */
static void test_no_memory(void)
{
	for (u32 i = 0; i < 200; i++) {
		struct ept12_rules r = any_rules();
		int level = 1 + (int)(i % 4);
		struct ept12_walk w;

		for (int at = 4; at > level; at--)
			memory[4 - at][0] = (u64)(5 - at) << 12 | 7;
		if (level < 4)
			memory[3 - level][0] = (u64)PAGES << 12 | 7;
		ept12_walk(&w, &r, memory_map, level < 4 ? 0x1e : PAGES << 12 | 0x1e, 0);
		CHECK(w.end == EPT12_WRONG && w.level == level && !w.table[level] && w.entry[level] == ~0ull);
	}
}

/* SDM: "Extended-Page-Table Pointer (EPTP)" */
static bool model_pointer(const struct vmx_caps *caps, u32 width, u64 eptp)
{
	bool uc = caps->ept_vpid >> 8 & 1, wb = caps->ept_vpid >> 14 & 1, ad = caps->ept_vpid >> 21 & 1;
	u32 type = eptp & 7, length = eptp >> 3 & 7;

	if (!(type == 0 && uc) && !(type == 6 && wb))
		return true;
	if (length + 1 != 4 || (eptp >> 6 & 1 && !ad))
		return true;
	return any_of(eptp, 11, 7) || any_of(eptp, 63, width);
}

static void test_pointer(void)
{
	u32 wrong = 0, total = 0;

	for (u32 i = 0; i < 8; i++) {
		struct vmx_caps caps = { .ept_vpid = (i & 1) << 8 | (i & 2) << 13 | (i & 4) << 19 | 0x6011 };

		caps.ept_vpid &= i & 2 ? ~0ull : ~(u64)EPT_CAP_WB;
		for (u32 low = 0; low < 4096; low++)
			for (u32 bit = 12; bit <= 64; bit += low % 64 == 0x1e ? 1 : 13) {
				u64 eptp = low | (bit < 64 ? 1ull << bit : 0);
				u32 width = 32 + low / 256 % 4 * 5;

				CHECK(ept12_pointer_wrong(&caps, width, eptp) == model_pointer(&caps, width, eptp));
				wrong += ept12_pointer_wrong(&caps, width, eptp);
				total++;
			}
	}
	CHECK(wrong > 0 && wrong < total);
	CHECK(!ept12_pointer_wrong(&(struct vmx_caps){ .ept_vpid = EPT_CAP_WB }, 36, 0xffffff01eull));
	CHECK(ept12_pointer_wrong(&(struct vmx_caps){ .ept_vpid = EPT_CAP_WB }, 36, 0x100000001eull));
}

const struct unit_case ept12_cases[] = {
	{ "ept12: fuzz against a model", test_fuzz },
	{ "ept12: entries", test_entries },
	{ "ept12: no memory", test_no_memory },
	{ "ept12: pointers", test_pointer },
	{ NULL, NULL },
};
