// SPDX-License-Identifier: BSD-2-Clause
/* EPT tables against an array that says what each 4 KiB page of a small guest-physical space is mapped to. */
#include "core/ept.h"
#include "unit/unit.h"

#define POOL 600
#define SPAN_PAGES (4u * 512) /* the low 8 MiB, and the same again at 1 GiB */

struct pool {
	u64 pages[POOL][512];
	u32 used, limit;
};

static u64 pool_alloc(void *ctx)
{
	struct pool *p = ctx;

	if (p->used >= p->limit)
		return 0;
	memset(p->pages[p->used], 0, 4096);
	return (u64)(p->used++ + 1) << 12; /* made-up physical addresses */
}

static u64 *pool_map(void *ctx, u64 table)
{
	struct pool *p = ctx;

	CHECK(!(table & 0xfff) && table >> 12 >= 1 && table >> 12 <= p->used);
	return p->pages[(table >> 12) - 1];
}

static struct pool *pool;
static struct ept_mem mem;

static u64 begin(u32 limit)
{
	if (!pool)
		pool = malloc(sizeof(*pool));
	pool->used = 0;
	pool->limit = limit;
	mem = (struct ept_mem){ pool_alloc, pool_map, pool };
	return pool_alloc(pool);
}

struct model_page {
	u64 pa, bits; /* rights and type; 0: not mapped */
};
static struct model_page model[2][SPAN_PAGES];

static u64 gpa_of(u32 half, u32 page)
{
	return ((u64)half << 30) + ((u64)page << 12);
}

static void verify(u64 root)
{
	for (u32 half = 0; half < 2; half++) {
		for (u32 page = 0; page < SPAN_PAGES; page++) {
			struct ept_walk w = ept_lookup(&mem, root, gpa_of(half, page) + 0x123);
			struct model_page *m = &model[half][page];

			CHECK(w.present == (m->bits != 0));
			if (!w.present)
				continue;
			CHECK(w.pa == m->pa + 0x123);
			CHECK(w.rights == (m->bits & EPT_RWX));
			CHECK((w.entry & 0x38) == (m->bits & 0x38));
		}
	}
}

static void random_set(u64 root, bool check)
{
	u32 half = unit_random() % 2, level = unit_random() % 3 ? 1 : 2, n = level == 1 ? 1 : 512;
	u32 page = (u32)(unit_random() % SPAN_PAGES) & ~(n - 1);
	u64 rights = (1 + unit_random() % 7), pa = (unit_random() % 0x100000 & ~(u64)(n - 1)) << 12;
	u64 bits = unit_random() % 4 ? rights | EPT_TYPE(unit_random() % 2 ? 6 : 0) : 0;
	u64 entry = bits ? ept_leaf(pa, (int)level, bits & EPT_RWX, (enum memtype)(bits >> 3 & 7)) : 0;

	CHECK(ept_set(&mem, root, gpa_of(half, page), (int)level, entry) || !check);
	for (u32 i = 0; check && i < n; i++)
		model[half][page + i] = (struct model_page){ pa + ((u64)i << 12), bits };
}

static void test_fuzz(void)
{
	for (u32 round = 0; round < 12; round++) {
		u64 root = begin(POOL);

		memset(model, 0, sizeof(model));
		for (u32 i = 0; i < 250; i++) {
			random_set(root, true);
			if (i % 25 == 0)
				verify(root);
		}
		verify(root);
	}
}

/* Without pages ept_set says so, and never writes outside of what it has. */
static void test_no_memory(void)
{
	for (u32 limit = 1; limit < 12; limit++) {
		u64 root = begin(limit);

		for (u32 i = 0; i < 100; i++)
			random_set(root, false);
	}
	CHECK(!ept_set(&mem, begin(1), 0, 1, ept_leaf(0x1000, 1, 7, MEMTYPE_WB)));
	CHECK(ept_set(&mem, begin(4), 0, 1, ept_leaf(0x1000, 1, 7, MEMTYPE_WB)));
}

static void test_alignment(void)
{
	u64 root = begin(POOL);

	CHECK(!ept_set(&mem, root, 0x1000, 2, ept_leaf(0, 2, 7, MEMTYPE_WB)));
	CHECK(!ept_set(&mem, root, 0, 2, ept_leaf(0x1000, 2, 7, MEMTYPE_WB)));
	CHECK(!ept_set(&mem, root, 0x200000, 3, ept_leaf(0, 3, 7, MEMTYPE_WB)));
	CHECK(!ept_set(&mem, root, 0x123, 1, 0));
}

static void test_gigabyte(void)
{
	u64 root = begin(POOL);
	struct ept_walk w;

	CHECK(ept_set(&mem, root, 0x40000000, 3, ept_leaf(0x80000000, 3, 7, MEMTYPE_WB)));
	w = ept_lookup(&mem, root, 0x40000000 + 0x12345678);
	CHECK(w.present && w.level == 3 && w.pa == 0x80000000 + 0x12345678);
	/* Splitting it twice changes one page only. */
	CHECK(ept_set(&mem, root, 0x40000000 + 0x5000, 1, ept_leaf(0x7000, 1, 1, MEMTYPE_UC)));
	w = ept_lookup(&mem, root, 0x40000000 + 0x5010);
	CHECK(w.present && w.level == 1 && w.pa == 0x7010 && w.rights == 1);
	w = ept_lookup(&mem, root, 0x40000000 + 0x6010);
	CHECK(w.present && w.level == 1 && w.pa == 0x80006010 && w.rights == 7 && !(w.entry & EPT_LARGE));
	w = ept_lookup(&mem, root, 0x40000000 + 0x200000);
	CHECK(w.present && w.level == 2 && w.pa == 0x80200000);
	w = ept_lookup(&mem, root, 0x3ffff000);
	CHECK(!w.present);
}

/* Every page maps to itself with the MTRRs' type, whatever leaves were chosen; and nothing beyond. */
static void test_identity(void)
{
	for (int max = 1; max <= 3; max++) {
		struct mtrr_state m = { .cap = 0x100, .def_type = 0xc06, .maxphyaddr = 36, .variable_count = 1 };
		u64 root = begin(POOL), end = 0x1a03000;
		u32 large = 0;

		for (u32 i = 0; i < 11; i++)
			m.fixed[i] = i == 2 ? 0 : 0x0606060606060606ull;
		m.base[0] = 0x800000;
		m.mask[0] = (0xfffffffffull & ~0xfffffull) | 0x800; /* 1 MiB of UC */
		CHECK(ept_identity(&mem, root, 0, end, max, &m));
		for (u64 pa = 0; pa < end; pa += 0x1000) {
			struct ept_walk w = ept_lookup(&mem, root, pa);

			CHECK(w.present && w.pa == pa && w.rights == 7);
			CHECK((w.entry >> 3 & 7) == mtrr_type(&m, pa));
			large += w.level > 1;
		}
		CHECK(!ept_lookup(&mem, root, end).present);
		CHECK((large > 0) == (max > 1));
	}
	CHECK(!ept_identity(&mem, begin(2), 0, 0x2000, 1, &(struct mtrr_state){ .maxphyaddr = 36 }));
}

const struct unit_case ept_cases[] = {
	{ "ept: fuzz against an array", test_fuzz }, { "ept: no memory", test_no_memory },
	{ "ept: alignment", test_alignment },        { "ept: 1 GiB leaves", test_gigabyte },
	{ "ept: identity maps", test_identity },     { NULL, NULL },
};
