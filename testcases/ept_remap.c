// SPDX-License-Identifier: BSD-2-Clause
/*
 * EPT that changes all the time, by chance, but each time by the same: pages move between page sizes, tables between levels, places
 * and EPTPs. After each change and what it needs of INVEPT, L2 must see what a walk of the tables as they are says.
 */
#include "core/mem.h"
#include "core/rng.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define ROOTS 2u
#define TABLES 3u /* of each level below the root */
#define SLOTS 2u  /* of 2 MBytes */
#define PAGES 4u  /* of 4 KBytes in each */
#define STEPS 600u
#define DATA 0x800u /* offset of a page's own value */
/* One index at all levels, so that a table of another level has entries where it's looked for. */
#define INDEX 8u
#define TYPE_WB EPT_TYPE(MEMTYPE_WB)

struct remap {
	struct snippet s;
	struct rng rng;
	u64 *root[ROOTS];
	u64 *table[4][TABLES]; /* by level: 3 PDPTs, 2 page directories, 1 page tables */
	u64 base;              /* guest-physical; PML4E 1 is nobody else's */
	u32 maxphyaddr;
	u64 flavors[3]; /* low bits of EPTPs */
	u32 flavor_count;
	u64 eptp;
};

/* --- What the tables say (SDM: "EPT Translation Mechanism") --- */

enum end { LEAF, VIOLATION, MISCONFIGURATION };

struct model {
	enum end end;
	u64 rights, pa;
};

static bool wrong(const struct remap *t, u64 e, int level)
{
	bool leaf = level == 1 || (level < 4 && e & EPT_LARGE);
	u64 inside = level > 1 ? (1ull << (PAGE_SHIFT + 9 * (level - 1))) - PAGE_SIZE : 0;
	u32 type = e >> 3 & 7;

	if ((e & EPT_ADDR) >> t->maxphyaddr || (e & (EPT_R | EPT_W)) == EPT_W)
		return true;
	if (level == 3 && e & EPT_LARGE && !cap_have("1-GByte EPT pages"))
		return true;
	if (!leaf)
		return e & (level == 4 ? 0xf8 : 0x78);
	return e & EPT_ADDR & inside || type == 2 || type == 3 || type == 7;
}

static struct model walk(const struct remap *t, u64 gpa)
{
	const u64 *table = (const u64 *)(ulong)(t->eptp & EPT_ADDR);
	struct model m = { VIOLATION, EPT_RWX, 0 };

	for (int level = 4;; level--) {
		u32 shift = PAGE_SHIFT + 9 * ((u32)level - 1);
		u64 e = table[gpa >> shift & 511];

		m.rights &= e;
		if (!(e & EPT_RWX))
			return m;
		if (wrong(t, e, level)) {
			m.end = MISCONFIGURATION;
			return m;
		}
		if (level == 1 || e & EPT_LARGE) {
			u64 offset = (1ull << shift) - 1;

			m.end = LEAF;
			m.pa = (e & EPT_ADDR) | (gpa & offset);
			return m;
		}
		table = (const u64 *)(ulong)(e & EPT_ADDR);
	}
}

/* --- Changes --- */

static u64 some_rights(struct remap *t)
{
	static const u64 rights[] = { EPT_R | EPT_X, EPT_R | EPT_W, EPT_R, 0 };
	u32 n = rng_below(&t->rng, 20);

	return n < ARRAY_SIZE(rights) ? rights[n] : EPT_RWX;
}

static u64 *some_table(struct remap *t, int level)
{
	return t->table[level][rng_below(&t->rng, TABLES)];
}

static u64 some_frame(struct remap *t)
{
	return rng_below(&t->rng, 2) ? FRAME_A : FRAME_B;
}

static void change_page(struct remap *t)
{
	u64 *e = &some_table(t, 1)[INDEX + rng_below(&t->rng, PAGES)];
	u64 pa = some_frame(t) + rng_below(&t->rng, SLOTS * PAGES) * PAGE_SIZE;

	/* Bit 7 means nothing in a PTE. If the table is once used as a directory, it's a large page. */
	if (rng_below(&t->rng, 3) == 0)
		*e = some_frame(t) | EPT_LARGE | TYPE_WB | some_rights(t);
	else
		*e = pa | TYPE_WB | some_rights(t);
}

static void change_directory(struct remap *t)
{
	u64 *e = &some_table(t, 2)[INDEX + rng_below(&t->rng, SLOTS)];

	if (rng_below(&t->rng, 3) == 0)
		*e = some_frame(t) | EPT_LARGE | TYPE_WB | some_rights(t);
	else
		*e = (ulong)some_table(t, 1) | some_rights(t);
}

/* Now and then the table is one of another level. */
static void change_above(struct remap *t)
{
	u32 kind = rng_below(&t->rng, 12);
	u64 *pdpte = &some_table(t, 3)[INDEX];
	u64 *pml4e = &t->root[rng_below(&t->rng, ROOTS)][1];

	if (kind < 5)
		*pdpte = (ulong)some_table(t, 2) | some_rights(t);
	else if (kind == 5)
		*pdpte = (ulong)some_table(t, 1) | EPT_RWX;
	else if (kind == 6)
		*pdpte = EPT_LARGE | TYPE_WB | some_rights(t);
	else if (kind < 11)
		*pml4e = (ulong)some_table(t, 3) | some_rights(t);
	else
		*pml4e = (ulong)some_table(t, 2) | EPT_RWX;
}

/* The tables are shared: what was changed may be in use by each root. */
static void synchronize(struct remap *t)
{
	if (cap_have("all-context INVEPT") && rng_below(&t->rng, 2)) {
		expect_env(invept(INVEPT_ALL, 0, 0).kind == OUT_OK);
		return;
	}
	/* Any EPTP of the root will do (SDM: it's bits 51:12 that count). */
	for (u32 i = 0; i < ROOTS; i++) {
		u64 flavor = t->flavors[rng_below(&t->rng, t->flavor_count)];

		expect_env(invept(INVEPT_SINGLE, (ulong)t->root[i] | flavor, 0).kind == OUT_OK);
	}
}

static void change(struct remap *t)
{
	u32 kind = rng_below(&t->rng, 10);

	if (kind < 2) {
		t->eptp = (ulong)t->root[rng_below(&t->rng, ROOTS)] | t->flavors[rng_below(&t->rng, t->flavor_count)];
		vmwrite(VMCS_ept_pointer, t->eptp);
		return;
	}
	if (kind < 6)
		change_page(t);
	else if (kind < 8)
		change_directory(t);
	else
		change_above(t);
	synchronize(t);
}

/* --- L2's look at it --- */

static struct exit access(struct remap *t, enum path_access a, ulong la)
{
	static const char *const code[] = { "\x8b\x07", "\x89\x07", "\xff\xe7" };

	snippet_code(&t->s, code[a], 2);
	t->s.v.g.di = la;
	return snippet_run(&t->s);
}

static void judge_passed(struct remap *t, enum path_access a, const struct exit *e, u64 pa, u32 before, ulong la)
{
	volatile u32 *word = (volatile u32 *)(ulong)pa;

	if (!JUDGE("ept.remap", e->reason, EXIT_vmcall))
		return;
	if (a == PATH_WRITE) {
		JUDGE("ept.remap", *word, SNIP_REGISTER(0));
		*word = before;
	} else if (a == PATH_READ) {
		JUDGE("ept.remap", (u32)t->s.v.g.ax, before);
	} else {
		/* MOV EAX, the page's own address; VMCALL */
		JUDGE("ept.remap", (u32)t->s.v.g.ax, (u32)pa);
		JUDGE("ept.remap", e->ip, la + 5);
	}
}

static void judge_look(struct remap *t)
{
	enum path_access a = rng_below(&t->rng, 3);
	u32 slot = rng_below(&t->rng, SLOTS), page = rng_below(&t->rng, PAGES);
	u64 gpa = t->base + slot * LARGE_BYTES + (INDEX + page) * PAGE_SIZE + (a == PATH_FETCH ? 0 : DATA);
	ulong la = L2_WINDOW + (slot * PAGES + page) * PAGE_SIZE + (a == PATH_FETCH ? 0 : DATA);
	struct model m = walk(t, gpa);
	bool passes = m.end == LEAF && !(path_needs[a] & ~m.rights);
	u32 before = passes ? *(volatile u32 *)(ulong)m.pa : 0;
	struct exit e = access(t, a, la);

	judge_about(path_access_name(a), passes                    ? "passes" :
					 m.end == MISCONFIGURATION ? "misconfiguration" :
								     "violation");
	if (passes) {
		judge_passed(t, a, &e, m.pa, before, la);
		return;
	}
	if (!JUDGE("ept.remap", e.reason, m.end == MISCONFIGURATION ? EXIT_ept_misconfiguration : EXIT_ept_violation))
		return;
	JUDGE("exit.info.ept-physical", vmread(VMCS_guest_physical_address), gpa);
	if (m.end != MISCONFIGURATION)
		JUDGE("exit.info.ept-rights", e.qualification >> QUAL_RIGHTS_SHIFT & EPT_RWX, m.rights);
}

/* Each page says who it is: an instruction that loads its address, and a word. */
static void fill_frame(u32 frame)
{
	for (u32 i = 0; i < LARGE_BYTES / PAGE_SIZE; i++) {
		u8 *page = (u8 *)(ulong)(frame + i * PAGE_SIZE);

		page[0] = 0xb8;
		memcpy(page + 1, &page, 4);
		memcpy(page + 5, "\x0f\x01\xc1", 3);
		*(u32 *)(ulong)(page + DATA) = (u32)(ulong)page | 1;
	}
}

static void remap_begin(struct remap *t, struct cpu *c)
{
	u32 r[4];

	memset(t, 0, sizeof(*t));
	snippet_begin(&t->s, c, OPT_ept);
	rng_seed(&t->rng, 0xe97);
	cpuid_raw(0x80000008, 0, r);
	t->maxphyaddr = r[0] & 0xff;
	t->base = 1ull << 39 | (u64)INDEX << 30 | INDEX * LARGE_BYTES;
	fill_frame(FRAME_A);
	fill_frame(FRAME_B);
	for (u32 i = 0; i < ROOTS; i++)
		t->root[i] = (u64 *)(ulong)ept_new_root(false);
	for (int level = 1; level <= 3; level++)
		for (u32 i = 0; i < TABLES; i++)
			t->table[level][i] = page_alloc();
	t->flavors[t->flavor_count++] = EPTP_WALK4 | MEMTYPE_WB;
	if (cap_have("EPT memory type UC"))
		t->flavors[t->flavor_count++] = EPTP_WALK4 | MEMTYPE_UC;
	if (cap_have("EPT accessed and dirty flags"))
		t->flavors[t->flavor_count++] = EPTP_WALK4 | MEMTYPE_WB | EPTP_AD;
	for (u32 i = 0; i < SLOTS * PAGES; i++)
		t->s.v.l2_window[i] = (t->base + i / PAGES * LARGE_BYTES + (INDEX + i % PAGES) * PAGE_SIZE) | PTE_P |
				      PTE_W | PTE_U | PTE_A | PTE_D;
	t->eptp = (ulong)t->root[0] | t->flavors[0];
	vmwrite(VMCS_ept_pointer, t->eptp);
	/* Full at first, since most is cut off by the first entry that isn't present. */
	for (u32 i = 0; i < 60; i++) {
		change_page(t);
		change_directory(t);
	}
	for (u32 i = 0; i < ROOTS; i++)
		t->root[i][1] = (ulong)t->table[3][i] | EPT_RWX;
	for (u32 i = 0; i < TABLES; i++)
		t->table[3][i][INDEX] = (ulong)t->table[2][i] | EPT_RWX;
}

TEST(ept, remap, .sdm = "EPT Translation Mechanism", .needs = "single-context INVEPT; 2-MByte EPT pages",
     .opt = OPT_ept, .rules = "ept.remap exit.info.ept-physical exit.info.ept-rights")
{
	static struct remap t;

	judge_begin();
	remap_begin(&t, c);
	if (t.maxphyaddr < 40) {
		result_set(c->judging, VERDICT_SKIP, "environment: PML4E 1 is beyond the physical-address width");
		return;
	}
	for (u32 i = 0; i < STEPS; i++) {
		change(&t);
		judge_look(&t);
		judge_look(&t);
	}
	judge_done();
}
