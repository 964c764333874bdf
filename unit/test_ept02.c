// SPDX-License-Identifier: BSD-2-Clause
/*
 * EPT02 under a CPU that caches all it may: L2's accesses, L1's changes of EPT12 and INVEPTs, EPT01's changes, in any
 * order. What an access of L2 gets must be what EPT12 and EPT01 together said at some time since L1's last INVEPT.
 */
#include "unit/ept02_model.h"
#include "unit/nest_stub.h"

#define ALIASES 2u /* linear addresses by which L2 gets to an address; the CPU caches by these */
#define WAYS 3u

struct cached {
	u64 pointer, table; /* table: of level 1, for the cache of ways there */
	struct result r;
};

static struct cached tlb[ALIASES][ADDRESSES][WAYS], ways[ALIASES][ADDRESSES][WAYS];
static struct ept02 ept02;
static u64 pointer02;
static bool entered; /* ept02_use was called, nothing has happened since that asks for another call */
static bool calm;    /* L1 has all rights nearly everywhere: EPT02 gets full */
static u32 count_verdict[5], count_full, count_large, count_piece, count_invept;

/* --- the CPU --- */

static void stub_invept_all(void)
{
	memset(tlb, 0, sizeof(tlb));
	memset(ways, 0, sizeof(ways));
	count_invept++;
}

static struct cached *find(struct cached *set)
{
	for (u32 i = 0; i < WAYS; i++)
		if (set[i].pointer == pointer02)
			return &set[i];
	return NULL;
}

static void keep(struct cached *set, const struct cached *c)
{
	struct cached *old = find(set);

	*(old ? old : &set[any(WAYS)]) = *c;
}

/* Reads EPT02; start: a table of level 1 and the rights on the way there, or NULL. */
static struct result walk02(u64 gpa, const struct cached *start, struct cached *way)
{
	u64 table = start ? start->table : pointer02 & EPT_ADDR;
	u32 rights = start ? start->r.rights : 7;

	for (int level = start ? 1 : 4;; level--) {
		u32 shift = 12 + 9 * (u32)(level - 1);
		u64 e = ((const u64 *)(ulong)table)[gpa >> shift & 511], offset = (1ull << shift) - 1;

		rights &= (u32)e & 7;
		if (!(e & 7))
			return (struct result){ 0 };
		/* Never misconfigured. */
		CHECK((e & 3) != 2 && !(level == 1 || e & EPT_LARGE ? e & EPT_ADDR & offset : e & 0xf8));
		if (level == 1 || e & 0x80)
			return (struct result){ ((e & EPT_ADDR & ~offset) | (gpa & offset)) & ~0xfffull, rights,
						e & 0x78, level, level };
		table = e & EPT_ADDR;
		if (level == 2)
			*way = (struct cached){ pointer02, table, { .rights = rights } };
	}
}

/* The same large page's translations for other addresses. */
static void keep_neighbours(u32 alias, u32 a, const struct result *r)
{
	u64 offset = (1ull << (12 + 9 * (r->level - 1))) - 1;

	for (u32 b = 0; b < ADDRESSES; b++)
		if (r->level > 1 && !((address[a] ^ address[b]) & ~offset) && any(2)) {
			struct cached c = { pointer02, 0, *r };

			c.r.hpa = ((r->hpa & ~offset) | (address[b] & offset)) & ~0xfffull;
			keep(tlb[alias][b], &c);
		}
}

static void enter(void)
{
	pointer02 = ept02_use(&ept02, eptp_of(root_now));
	CHECK((pointer02 & 0xfff) == 0x1e && !ept02.dropped);
	entered = true;
}

/* EPT02 without caches, all of it: for the time after INVEPT. */
static void sweep(void)
{
	for (u32 a = 0; a < ADDRESSES; a++) {
		struct cached way;
		struct result r = walk02(address[a], NULL, &way);

		if (r.rights)
			check_known(a, &r);
	}
}

/* SDM: "Operations that Invalidate Cached Mappings": what an EPT violation drops is only what it used. */
static bool violation(u32 alias, u32 a, u32 access)
{
	struct result want, got;
	struct cached *c, way;
	u32 rights12;
	u64 gpa1;
	enum ept02_verdict v = model(root_now, address[a], access, &want, &rights12, &gpa1);
	struct ept02_result r;

	c = find(tlb[alias][a]);
	if (c)
		c->pointer = 0;
	c = find(ways[alias][a]);
	if (c)
		c->pointer = 0;
	r = ept02_violation(&ept02, eptp_of(root_now), address[a], access);
	count_verdict[v]++;
	CHECK(r.verdict == v);
	CHECK(v != EPT02_VIOLATION || r.rights == rights12);
	CHECK(v == EPT02_MISCONFIGURATION || v == EPT02_VIOLATION || r.gpa1 == gpa1);
	if (v != EPT02_FILLED)
		return false;
	note_all(false); /* ept01_fill may have added a page */
	if (ept02.dropped) {
		count_full++;
		enter();
		return true;
	}
	got = walk02(address[a], NULL, &way);
	if (!(same(&got, &want) && got.level == want.level))
		printf("# got %llx %x %x %d want %llx %x %x %d\n", (long long)got.hpa, got.rights, got.type, got.level,
		       (long long)want.hpa, want.rights, want.type, want.level);
	CHECK(same(&got, &want) && got.level == want.level);
	count_large += got.level > 1;
	count_piece += got.level < want.level12;
	return true;
}

static void access_once(u32 alias, u32 a, u32 access)
{
	for (u32 tries = 0; tries < 4; tries++) {
		struct cached *c = find(tlb[alias][a]), fresh = { pointer02, 0, { 0 } }, way = { 0 };

		if (c && !(access & ~c->r.rights)) {
			check_known(a, &c->r);
			return;
		}
		fresh.r = walk02(address[a], any(2) ? find(ways[alias][a]) : NULL, &way);
		if (fresh.r.rights && !(access & ~fresh.r.rights)) {
			check_known(a, &fresh.r);
			keep(tlb[alias][a], &fresh);
			if (way.pointer)
				keep(ways[alias][a], &way);
			keep_neighbours(alias, a, &fresh.r);
			return;
		}
		if (!violation(alias, a, access))
			return;
	}
	CHECK(!"L2 gets on");
}

/* --- what L1 does --- */

static int level_of(u32 frame)
{
	return frame < ROOTS ? 4 : frame < ROOTS + 5 ? 3 : frame < ROOTS + 11 ? 2 : 1;
}

static u64 any_entry(int level)
{
	static const u8 first[] = { 0, 21, 15, 10 }, number[] = { 0, 9, 6, 5 };
	static const u8 rights[] = { 7, 7, 7, 7, 7, 1, 3, 5, 4, 0, 2 };
	static const u8 types[] = { 6, 6, 6, 0, 1, 4, 5 };
	u64 e = calm && any(20) ? EPT_RWX : rights[any(ARRAY_SIZE(rights))], where;

	if (level > 1 && (level == 4 || any(5)))
		return e | (u64)(any(60) ? first[level - 1] + any(number[level - 1]) : FRAMES) << 12;
	e |= (u64)types[any(ARRAY_SIZE(types))] << 3 | (any(4) ? 0 : 0x40) | (level > 1 ? 0x80 : 0);
	where = any(12) ? any(4) * GIB : any(4) ? 5 * GIB : 1ull << 41;
	if (level == 3)
		return e | where;
	where += (u64)any(4) << 21;
	return e | (level == 2 ? where : where + ((u64)any(16) << 12));
}

static u32 any_index(int level)
{
	static const u16 indices[5][4] = {
		{ 0 }, { 0, 1, 511, 0 }, { 0, 1, 2, 511 }, { 0, 1, 511, 1 }, { 0, 1, 511, 0 }
	};

	return indices[level][any(4)];
}

static void change(void)
{
	u32 frame = any(FRAMES), index = any_index(level_of(frame));
	u64 e = any_entry(level_of(frame));

	/* Often a change of rights alone. */
	ept12[frame][index] = any(3) ? e : (ept12[frame][index] & ~7ull) | (e & 7);
	note_all(false);
}

static void invept(bool all, u32 root)
{
	if (all) {
		ept02_invept_all(&ept02);
		note_all(true);
	} else {
		/* Only the address of the EPTP counts. */
		ept02_invept_single(&ept02, any(2) ? eptp_of(root) : (eptp_of(root) & ~7ull));
		note(root, true);
	}
	entered = false;
}

/* EPT01 changes: all CPUs drop EPT02. */
static void change01(void)
{
	u32 frame = any(FRAMES);

	for (u32 i = 0; i < FRAMES && any(20); i++)
		frame = hidden[i] ? i : frame;
	if (any(3) == 0)
		apic_on = !apic_on;
	else if (any(2))
		page_private[any(16)] ^= 1;
	else if (hidden[frame]) {
		hidden[frame] = false; /* shown: EPT01 only has more now */
		note_all(false);
		entered = false;
		return;
	} else {
		hidden[frame] = true;
	}
	ept02_drop_all(&ept02);
	stub_invept_all();
	note_all(true);
	entered = false;
}

static void one_step(void)
{
	static const u8 accesses[] = { 1, 1, 2, 3, 4, 5 };
	u32 choice = any(1000);

	if (choice < 100 && !history_full())
		change();
	else if (choice < 112)
		invept(false, root_now);
	else if (choice < 118 || history_full())
		invept(true, 0);
	else if (choice < 122)
		invept(false, any(ROOTS));
	else if (choice < 128)
		change01();
	else if (choice < 150) {
		root_now = any(ROOTS);
		entered = false;
	} else {
		if (!entered) {
			enter();
			sweep();
		}
		access_once(any(ALIASES), any(ADDRESSES), accesses[any(ARRAY_SIZE(accesses))]);
	}
}

static void begin_empty(void)
{
	nest_stub = (struct nest_stub){
		.gpa_ptr_slow = model_gpa_ptr,
		.ept01_lookup = model_ept01_lookup,
		.ept01_fill = model_ept01_fill,
		.invept_all = stub_invept_all,
	};
	if (!ept02.table[0].entry)
		ept02_init(&ept02);
	else
		ept02_drop_all(&ept02);
	stub_invept_all();
	entered = false;
}

static void begin(void)
{
	static const u16 edges[] = { 0, 1, 511 }, index2[] = { 0, 1, 2, 511 };

	for (u32 a = 0; a < ADDRESSES; a++)
		address[a] = (u64)edges[a / 36] << 39 | (u64)edges[a / 12 % 3] << 30 | (u64)index2[a / 3 % 4] << 21 |
			     (u64)edges[a % 3] << 12;
	for (u32 frame = 0; frame < FRAMES; frame++)
		for (u32 i = 0; i < 512; i++)
			ept12[frame][i] = any_entry(level_of(frame));
	memset(hidden, 0, sizeof(hidden));
	begin_empty();
	note_all(true);
}

static void test_fuzz(void)
{
	for (u32 round = 0; round < 4; round++) {
		calm = round % 2;
		begin();
		for (u32 i = 0; i < 25000; i++)
			one_step();
	}
	/* All there is to see was seen. */
	for (u32 v = 0; v < ARRAY_SIZE(count_verdict); v++)
		CHECK(count_verdict[v] > 20);
	CHECK(count_old > 100 && count_full > 20 && count_large > 1000 && count_piece > 500);
}

/* --- one at a time --- */

/* EPTP12's root leads, by one table of each level, to entry in the first of level 1. */
static void begin_simple(u64 entry)
{
	memset(ept12, 0, sizeof(ept12));
	memset(hidden, 0, sizeof(hidden));
	memset(page_private, 0, sizeof(page_private));
	apic_on = false;
	ept12[0][0] = 0xa007;
	ept12[10][0] = 0xf007;
	ept12[15][0] = 0x15007;
	ept12[21][0] = entry;
	root_now = 0;
	begin_empty();
}

static u64 reads(u64 gpa)
{
	struct cached way;

	for (u32 tries = 0; tries < 3; tries++) {
		struct result r;

		if (!entered || ept02.dropped)
			enter();
		r = walk02(gpa, NULL, &way);
		if (r.rights & EPT_R)
			return r.hpa;
		if (ept02_violation(&ept02, eptp_of(root_now), gpa, EPT_R).verdict != EPT02_FILLED)
			break;
	}
	return 0;
}

/* INVEPT names a root by its address: the EPTP's other bits don't count. */
static void test_single(void)
{
	begin_simple(0x3037);
	CHECK(reads(0) == (0x3000 | HPA));
	ept12[21][0] = 0x6037;
	CHECK(reads(0) == (0x3000 | HPA));
	ept02_invept_single(&ept02, 0x1000 | 0x1e);
	entered = false;
	CHECK(reads(0) == (0x3000 | HPA));
	ept02_invept_single(&ept02, 0x18);
	entered = false;
	CHECK(reads(0) == (0x6000 | HPA));
}

/* A root that was made while L1's table was private is compared, too, when the table is back. */
static void test_private_root(void)
{
	begin_simple(0x3037);
	hidden[0] = true;
	CHECK(!reads(0));
	hidden[0] = false;
	CHECK(reads(0) == (0x3000 | HPA));
	ept12[21][0] = 0;
	ept02_invept_all(&ept02);
	entered = false;
	CHECK(!reads(0));
}

/* Changed without INVEPT, then seen by a violation: the CPU may still know the rest of the large page. */
static void test_replaced(void)
{
	u32 before;

	begin_simple(0);
	ept12[15][0] = 0x402000b1; /* 2 MiB, read-only */
	CHECK(reads(0x5000) == (0x40205000 | HPA));
	before = count_invept;
	ept12[15][0] = 0x15007;
	ept12[21][0] = 0x3037;
	CHECK(ept02_violation(&ept02, eptp_of(0), 0, EPT_W).verdict == EPT02_FILLED);
	CHECK(count_invept > before);
	/* More rights than before don't cost that. */
	before = count_invept;
	ept12[21][1] = 0x4031;
	CHECK(reads(0x1000) == (0x4000 | HPA));
	ept12[21][1] = 0x4033;
	CHECK(ept02_violation(&ept02, eptp_of(0), 0x1000, EPT_W).verdict == EPT02_FILLED);
	CHECK(count_invept == before);
}

static enum ept02_verdict verdict_by(u64 flags, u64 gpa, u32 access)
{
	return ept02_violation(&ept02, eptp_of(root_now) | flags, gpa, access).verdict;
}

static u32 rights_by(u64 flags, u64 gpa)
{
	struct cached way;
	struct result r;

	pointer02 = ept02_use(&ept02, eptp_of(root_now) | flags);
	r = walk02(gpa, NULL, &way);
	return r.rights;
}

/* Where L1 virtualizes the local APIC's page, L2's EPT02 has it without the guard, and nobody else's has. */
static void test_open(void)
{
	begin_simple(0x1037);
	ept12[21][1] = 0x4037;
	apic_on = true;
	ept01_apic = 0x1000;
	enter();
	CHECK(verdict_by(0, 0, EPT_W) == EPT02_APIC);
	CHECK(!rights_by(EPT02_OPEN, 0));
	CHECK(verdict_by(EPT02_OPEN, 0, EPT_W) == EPT02_FILLED);
	CHECK(rights_by(EPT02_OPEN, 0) == EPT_RWX);
	CHECK(!rights_by(0, 0));
	CHECK(verdict_by(0, 0, EPT_R) == EPT02_FILLED);
	CHECK(rights_by(0, 0) == (EPT_R | EPT_X) && rights_by(EPT02_OPEN, 0) == EPT_RWX);
	/* INVEPT is for both. */
	ept12[21][0] = 0x4037;
	ept02_invept_single(&ept02, eptp_of(0));
	CHECK(!rights_by(0, 0) && !rights_by(EPT02_OPEN, 0));
	/* EPT12's rights count. */
	ept12[21][0] = 0x1031;
	CHECK(verdict_by(EPT02_OPEN, 0, EPT_W) == EPT02_VIOLATION);
	ept01_apic = 0x2000;
	ept12[21][0] = 0x1037;
	CHECK(verdict_by(EPT02_OPEN, 0, EPT_W) == EPT02_APIC);
	/* Without EPT12, everything is where it is. */
	ept01_apic = 0x1000;
	CHECK(!rights_by(EPT02_WITHOUT | EPT02_OPEN, 0x1000));
	CHECK(verdict_by(EPT02_WITHOUT | EPT02_OPEN, 0x1000, EPT_W) == EPT02_FILLED);
	CHECK(rights_by(EPT02_WITHOUT | EPT02_OPEN, 0x1000) == EPT_RWX);
	CHECK(verdict_by(EPT02_WITHOUT | EPT02_OPEN, 0x40205000, EPT_W) == EPT02_FILLED);
	CHECK(rights_by(EPT02_WITHOUT | EPT02_OPEN, 0x40206000) == EPT_RWX);
	CHECK(verdict_by(EPT02_WITHOUT | EPT02_OPEN, 1ull << 41, EPT_R) == EPT02_NOWHERE);
	ept01_apic = 0;
	apic_on = false;
	entered = false;
}

/* With all tables taken there is none for another root: all go. */
static void test_full(void)
{
	u32 taken = 0;

	begin_simple(0x3037);
	ept12[1][0] = ept12[0][0];
	for (u32 i = 0; i < EPT02_TABLES - 3; i++) {
		ept12[15][i] = 0x15007;
		CHECK(reads((u64)i << 21) == (0x3000 | HPA));
	}
	for (u32 i = 0; i < EPT02_TABLES; i++)
		taken += ept02.table[i].taken;
	CHECK(taken == EPT02_TABLES);
	root_now = 1;
	entered = false;
	CHECK(reads(0) == (0x3000 | HPA));
	taken = 0;
	for (u32 i = 0; i < EPT02_TABLES; i++)
		taken += ept02.table[i].taken;
	CHECK(taken == 4);
}

/* What L0 reads of L2's memory by itself. */
static void test_translate(void)
{
	u32 found = 0;

	calm = false;
	for (u32 round = 0; round < 20; round++) {
		begin();
		for (u32 a = 0; a < ADDRESSES; a++)
			for (u32 root = 0; root < ROOTS; root++) {
				u64 leaf, want, got = 0;
				u32 rights;
				int level;
				enum ept02_verdict v =
					model_walk12(root, address[a] + 9, &leaf, &level, &rights, &want);
				bool ok = v == EPT02_FILLED && rights & EPT_R;

				CHECK(ept12_translate(eptp_of(root), address[a] + 9, &got) == ok);
				CHECK(!ok || got == want);
				found += ok;
			}
	}
	CHECK(found > 100);
}

const struct unit_case ept02_cases[] = {
	{ "ept02: fuzz with a CPU that caches", test_fuzz },
	{ "ept02: INVEPT of a root", test_single },
	{ "ept02: a root while it's private", test_private_root },
	{ "ept02: replaced entries", test_replaced },
	{ "ept02: the local APIC's page, where it is virtualized", test_open },
	{ "ept02: no table left", test_full },
	{ "ept02: for L0's own reading", test_translate },
	{ NULL, NULL },
};
