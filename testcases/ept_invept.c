// SPDX-License-Identifier: BSD-2-Clause
/*
 * INVEPT: which translations must be gone, and which changes of EPT need none. Where the SDM lets a CPU keep or drop a translation,
 * the test only tells what was seen.
 */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define PAGES 2u

struct oracle {
	struct ept_path p;
	u64 eptp[2]; /* the path's page is in both */
	u32 *page[PAGES];
};

static void set(struct oracle *t, u32 k, u32 page, u64 rights)
{
	ept_map_page(t->eptp[k] & EPT_ADDR, t->p.gpa, (ulong)t->page[page], rights);
}

static void oracle_begin(struct oracle *t, struct cpu *c)
{
	judge_begin();
	path_begin(&t->p, c);
	t->eptp[0] = t->p.s.v.eptp;
	t->eptp[1] = eptp_for(ept_new_root(false));
	for (u32 i = 0; i < PAGES; i++) {
		t->page[i] = page_alloc();
		t->page[i][0] = 0x1e970000 + i;
	}
}

/* Which page L2 sees by this EPTP; PAGES if none of them: a violation, for example. */
static u32 sees(struct oracle *t, u32 k)
{
	struct exit e;

	vmwrite(VMCS_ept_pointer, t->eptp[k]);
	snippet_code(&t->p.s, "\x8b\x07", 2);
	t->p.s.v.g.di = t->p.la;
	e = snippet_run(&t->p.s);
	for (u32 i = 0; i < PAGES && snippet_passed(&t->p.s, &e); i++)
		if ((u32)t->p.s.v.g.ax == t->page[i][0])
			return i;
	return PAGES;
}

/* Cached by both EPTPs, then another page. */
static void fill_and_change(struct oracle *t)
{
	for (u32 k = 0; k < 2; k++) {
		set(t, k, 0, EPT_RWX);
		expect_env(invept(INVEPT_SINGLE, t->eptp[k], 0).kind == OUT_OK);
		expect(sees(t, k) == 0);
		set(t, k, 1, EPT_RWX);
	}
}

#define SINGLE "single-context INVEPT"

TEST(ept, invept_single, .sdm = "Guidelines for Use of the INVEPT Instruction", .needs = SINGLE, .opt = OPT_ept,
     .rules = "ept.invept-needed ept.unsynchronized")
{
	struct oracle t;
	u32 page;

	oracle_begin(&t, c);
	for (u32 k = 0; k < 2; k++) {
		fill_and_change(&t);
		expect_out(invept(INVEPT_SINGLE, t.eptp[k], 0), out_ok());
		JUDGE("ept.invept-needed", sees(&t, k), 1);
		page = sees(&t, !k);
		say_note("INVEPT: a translation by another EPTP %s (both are legal)", page == 0 ? "stayed" : "is gone");
		/* The old page or the new one. */
		JUDGE("ept.unsynchronized", page < PAGES, true);
	}
	fill_and_change(&t);
	page = sees(&t, 0);
	say_note("without INVEPT, an entry and an exit: L2 sees the %s page (both are legal)", page ? "new" : "old");
	JUDGE("ept.unsynchronized", page < PAGES, true);
	/* Of the EPTP bits 51:12 count: with others that are legal it's the same context. */
	if (cap_have("EPT memory type UC")) {
		fill_and_change(&t);
		expect_out(invept(INVEPT_SINGLE, t.eptp[0] & ~7ull, 0), out_ok());
		JUDGE("ept.invept-needed", sees(&t, 0), 1);
	}
	judge_done();
}

TEST(ept, invept_all, .sdm = "Guidelines for Use of the INVEPT Instruction", .needs = SINGLE "; all-context INVEPT",
     .opt = OPT_ept, .rules = "ept.invept-needed")
{
	struct oracle t;

	oracle_begin(&t, c);
	fill_and_change(&t);
	expect_out(invept(INVEPT_ALL, 0, 0), out_ok());
	JUDGE("ept.invept-needed", sees(&t, 0), 1);
	JUDGE("ept.invept-needed", sees(&t, 1), 1);
	judge_done();
}

/* A hypervisor that gives rights needs no INVEPT: at worst, L2 exits once more. */
TEST(ept, invept_more_rights, .sdm = "Guidelines for Use of the INVEPT Instruction", .needs = SINGLE, .opt = OPT_ept,
     .rules = "ept.violation-invalidates ept.absent-not-cached")
{
	static const u64 from[] = { EPT_R, EPT_R | EPT_X, EPT_R | EPT_W, 0 };
	struct ept_path p;
	bool violated = false;

	judge_begin();
	path_begin(&p, c);
	for (int level = p.top; level >= 1; level--)
		for (u32 i = 0; i < ARRAY_SIZE(from); i++)
			for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
				struct exit e;

				judge_about(ept_level_name(level), ept_rights_name(from[i]));
				path_set(&p, level, (p.full[level] & ~EPT_RWX) | from[i]);
				path_synchronize(&p);
				/* Used with what it has: a violation, if it's nothing. */
				path_access(&p, PATH_READ);
				path_restore(&p);
				e = path_access(&p, a);
				if (from[i] && e.reason == EXIT_ept_violation) {
					violated = true;
					e = path_again(&p);
				}
				if (from[i])
					JUDGE("ept.violation-invalidates", path_passed(&p, a, &e), true);
				else
					JUDGE("ept.absent-not-cached", path_passed(&p, a, &e), true);
			}
	say_note("rights that were given without INVEPT %s (both are legal)",
		 violated ? "cost a violation" : "were seen at once");
	judge_done();
}

/* Changed above the leaf: another table. */
TEST(ept, invept_upper_levels, .sdm = "Guidelines for Use of the INVEPT Instruction", .needs = SINGLE, .opt = OPT_ept,
     .rules = "ept.invept-needed ept.rights-taken")
{
	struct oracle t;
	struct ept_path *p = &t.p;

	oracle_begin(&t, c);
	for (int level = p->top; level >= 2; level--)
		for (u32 i = 0; i < 3; i++) {
			u64 table[5];

			/* A second way, from this level down to page 1. */
			for (int k = level - 1; k >= 1; k--) {
				u64 *copy = page_alloc();
				u32 index = p->gpa >> (PAGE_SHIFT + 9 * (k - 1)) & 511;

				table[k + 1] = (ulong)copy | EPT_RWX;
				copy[index] = k == 1 ? ept_leaf((ulong)t.page[1], 1, EPT_RWX, MEMTYPE_WB) : 0;
				if (k < level - 1)
					((u64 *)(ulong)(table[k + 2] &
							EPT_ADDR))[p->gpa >> (PAGE_SHIFT + 9 * k) & 511] = table[k + 1];
			}
			judge_about(ept_level_name(level), NULL);
			path_restore(p);
			set(&t, 0, 0, EPT_RWX);
			path_synchronize(p);
			JUDGE("ept.invept-needed", sees(&t, 0), 0);
			path_set(p, level, i == 2 ? 0 : table[level]);
			path_synchronize(p);
			if (i == 2)
				JUDGE("ept.rights-taken", sees(&t, 0), PAGES);
			else
				JUDGE("ept.invept-needed", sees(&t, 0), 1);
		}
	judge_done();
}

/* --- Two CPUs --- */

static struct oracle remote;
static u32 remote_page;

static void remote_fill(struct cpu *c, void *arg)
{
	struct oracle *first = arg;

	path_begin(&remote.p, c);
	remote.eptp[0] = first->eptp[0];
	remote.page[0] = first->page[0];
	remote.page[1] = first->page[1];
	expect_env(invept(INVEPT_SINGLE, remote.eptp[0], 0).kind == OUT_OK);
	remote_page = sees(&remote, 0);
}

static void remote_look(struct cpu *c, void *arg)
{
	(void)c;
	(void)arg;
	remote_page = sees(&remote, 0);
}

static void remote_end(struct cpu *c, void *arg)
{
	(void)c;
	(void)arg;
	expect_env(invept(INVEPT_SINGLE, remote.eptp[0], 0).kind == OUT_OK);
	remote_page = sees(&remote, 0);
	vcpu_destroy(&remote.p.s.v);
}

static void on_second(void (*fn)(struct cpu *c, void *arg), struct oracle *t)
{
	on_cpu(1, fn, t);
	join_cpu(1);
}

TEST(ept, invept_two_cpus, .sdm = "Guidelines for Use of the INVEPT Instruction", .needs = SINGLE, .opt = OPT_ept,
     .flags = TEST_TWO_CPUS, .rules = "ept.invept-this-cpu ept.unsynchronized")
{
	struct oracle t;

	oracle_begin(&t, c);
	set(&t, 0, 0, EPT_RWX);
	path_synchronize(&t.p);
	on_second(remote_fill, &t);
	JUDGE("ept.invept-this-cpu", remote_page, 0);
	JUDGE("ept.invept-this-cpu", sees(&t, 0), 0);
	set(&t, 0, 1, EPT_RWX);
	expect_out(invept(INVEPT_SINGLE, t.eptp[0], 0), out_ok());
	JUDGE("ept.invept-this-cpu", sees(&t, 0), 1);
	on_second(remote_look, &t);
	say_note("CPU 1 sees the %s page after INVEPT on CPU 0 alone (both are legal)", remote_page ? "new" : "old");
	JUDGE("ept.unsynchronized", remote_page < PAGES, true);
	on_second(remote_end, &t);
	JUDGE("ept.invept-this-cpu", remote_page, 1);
	judge_done();
}

/* --- Many tables --- */

/*
 * One page in each of many page tables: more than an L0 has tables for, so that it must give some up while L2 runs. L2 adds up
 * a word of each page, twice.
 */
TEST(ept, many_tables, .sdm = "EPT Translation Mechanism", .needs = SINGLE, .opt = OPT_ept, .rules = "ept.walk")
{
	const u32 count = 400;
	struct ept_path p;
	u32 *page = page_alloc();
	u64 base;

	judge_begin();
	path_begin(&p, c);
	base = p.gpa & ~((1ull << 30) - 1);
	for (u32 i = 0; i < count; i++) {
		u64 gpa = base + i * LARGE_BYTES + (i % 512) * PAGE_SIZE;

		page[i] = 0x10001 * i + 7;
		ept_map_page(p.s.v.eptp & EPT_ADDR, gpa, (ulong)page, EPT_RWX);
		p.s.v.l2_window[i] = gpa | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
	}
	path_synchronize(&p);
	for (u32 round = 0; round < 2; round++) {
		u32 sum = 0;
		struct exit e;

		for (u32 i = 0; i < count; i++)
			sum += page[i];
		/* again: ADD EAX, [DI]; ADD EDI, 4100; LOOP again */
		snippet_code(&p.s, "\x03\x07\x81\xc7\x04\x10\x00\x00\xe2\xf6", 10);
		p.s.v.g.ax = 0;
		p.s.v.g.di = L2_WINDOW;
		p.s.v.g.cx = count;
		e = snippet_run(&p.s);
		JUDGE("ept.walk", snippet_passed(&p.s, &e), true);
		JUDGE("ept.walk", (u32)p.s.v.g.ax, sum);
	}
	judge_done();
}

#define ROOTS 12u
#define REGIONS 120u /* a page table of EPT each, for the last root */

/* L2's word at the beginning of its window. */
static u32 window_word(struct ept_path *p)
{
	struct exit e;

	snippet_code(&p->s, "\x8b\x07", 2); /* MOV EAX, [DI] */
	p->s.v.g.di = L2_WINDOW;
	e = snippet_run(&p->s);
	JUDGE("ept.walk", snippet_passed(&p->s, &e), true);
	return (u32)p->s.v.g.ax;
}

/* L2 reads a word of each region. */
static void touch_regions(struct ept_path *p)
{
	struct exit e;

	/* again: ADD EAX, [DI]; ADD EDI, 4096; LOOP again */
	snippet_code(&p->s, "\x03\x07\x81\xc7\x00\x10\x00\x00\xe2\xf6", 10);
	p->s.v.g.di = L2_WINDOW + PAGE_SIZE;
	p->s.v.g.cx = REGIONS;
	e = snippet_run(&p->s);
	JUDGE("ept.walk", snippet_passed(&p->s, &e), true);
}

/*
 * One guest-physical page that each of many EPT pointers maps to a page of its own: more than an L0 has roots for. Under the last
 * one L2 also needs more tables than an L0 has, which may cost it all roots, the one that L2 runs on among them.
 */
TEST(ept, many_roots, .sdm = "EPT Translation Mechanism", .needs = SINGLE, .opt = OPT_ept, .rules = "ept.walk")
{
	struct ept_path p;
	u64 eptp[ROOTS];

	judge_begin();
	path_begin(&p, c);
	for (u32 i = 0; i < ROOTS; i++) {
		u32 *page = page_alloc();

		eptp[i] = eptp_for(ept_new_root(false));
		page[0] = 0x30003 * (i + 1);
		ept_map_page(eptp[i] & EPT_ADDR, p.gpa, (ulong)page, EPT_RWX);
	}
	p.s.v.l2_window[0] = p.gpa | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
	for (u32 i = 0; i < REGIONS; i++) {
		u64 gpa = p.gpa + (i + 1) * (u64)LARGE_BYTES;

		ept_map_page(eptp[ROOTS - 1] & EPT_ADDR, gpa, (ulong)p.page, EPT_RWX);
		p.s.v.l2_window[1 + i] = gpa | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
	}
	for (u32 round = 0; round < 3; round++)
		for (u32 n = 0; n < ROOTS; n++) {
			u32 i = round == 1 ? ROOTS - 1 - n : n;

			vmwrite(VMCS_ept_pointer, eptp[i]);
			JUDGE("ept.walk", window_word(&p), 0x30003 * (i + 1));
			if (i != ROOTS - 1)
				continue;
			touch_regions(&p);
			JUDGE("ept.walk", window_word(&p), 0x30003 * (i + 1));
		}
	vcpu_destroy(&p.s.v);
	judge_done();
}
