// SPDX-License-Identifier: BSD-2-Clause
/*
 * VPIDs: which translations must be gone after what, and which must never be mixed. Where the SDM lets a CPU keep or drop a
 * translation, the test only tells what was seen. (An emulator that drops all at each entry passes by doing too much.)
 */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define PLAIN 3u /* pages of the window */
#define OTHER 5u
#define GLOBAL 6u
#define PTE_BITS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define PTE_G 0x100ull
#define PAGES 3u

struct tags {
	struct snippet s;
	u32 *page[PAGES];
};

static ulong linear(u32 index)
{
	return L2_WINDOW + index * PAGE_SIZE;
}

static void map(struct tags *t, u32 index, u32 page)
{
	t->s.v.l2_window[index] = (ulong)t->page[page] | PTE_BITS | (index == GLOBAL ? PTE_G : 0);
}

static void map_all(struct tags *t, u32 page)
{
	map(t, PLAIN, page);
	map(t, OTHER, page);
	map(t, GLOBAL, page);
}

static void tags_begin(struct tags *t, struct cpu *c, u32 opt)
{
	judge_begin();
	snippet_begin(&t->s, c, opt);
	for (u32 i = 0; i < PAGES; i++) {
		t->page[i] = page_alloc();
		t->page[i][0] = 0x71d00000 + i;
	}
	vmwrite(VMCS_guest_cr4, read_cr4() | CR4_PGE);
	if (cap_have("all-context INVVPID"))
		expect_env(invvpid(INVVPID_ALL, 0, 0).kind == OUT_OK);
}

/* Which of the pages L2 sees there; PAGES: none of them. */
static u32 sees(struct tags *t, u32 vpid, ulong address)
{
	struct exit e;

	if (vpid)
		vmwrite(VMCS_vpid, vpid);
	snippet_code(&t->s, "\x8b\x07", 2);
	t->s.v.g.di = address;
	e = snippet_run(&t->s);
	for (u32 i = 0; i < PAGES && snippet_passed(&t->s, &e); i++)
		if ((u32)t->s.v.g.ax == t->page[i][0])
			return i;
	return PAGES;
}

/* L2 has all three cached with both VPIDs; then the page tables change. */
static void fill_and_change(struct tags *t)
{
	map_all(t, 0);
	expect_env(invvpid(INVVPID_ALL, 0, 0).kind == OUT_OK);
	for (u32 vpid = 1; vpid <= 2; vpid++) {
		expect_env(sees(t, vpid, linear(PLAIN)) == 0);
		expect_env(sees(t, vpid, linear(OTHER)) == 0);
		expect_env(sees(t, vpid, linear(GLOBAL)) == 0);
	}
	map_all(t, 1);
}

static void tell(const char *what, u32 page)
{
	say_note("INVVPID: %s %s (both are legal)", what, page == 0 ? "stayed" : "is gone");
	/* One of the two, and nothing else. */
	expect(page <= 1);
}

#define ALL "INVVPID; all-context INVVPID"

TEST(vpid, invvpid_address, .sdm = "Guidelines for Use of the INVVPID Instruction",
     .needs = ALL "; individual-address INVVPID", .opt = OPT_vpid, .rules = "vpid.address")
{
	static const u32 indices[] = { PLAIN, OTHER, GLOBAL };
	struct tags t;

	tags_begin(&t, c, OPT_vpid);
	for (u32 i = 0; i < ARRAY_SIZE(indices); i++)
		for (u32 offset = 0; offset < PAGE_SIZE; offset += 0xabc) {
			fill_and_change(&t);
			/* Any address in the page. */
			expect_out(invvpid(INVVPID_ADDRESS, 2, linear(indices[i]) + offset), out_ok());
			JUDGE("vpid.address", sees(&t, 2, linear(indices[i])), 1);
		}
	fill_and_change(&t);
	expect_out(invvpid(INVVPID_ADDRESS, 1, linear(PLAIN)), out_ok());
	tell("another address", sees(&t, 1, linear(OTHER)));
	tell("the address of another VPID", sees(&t, 2, linear(PLAIN)));
	judge_done();
}

TEST(vpid, invvpid_single, .sdm = "Guidelines for Use of the INVVPID Instruction",
     .needs = ALL "; single-context INVVPID", .opt = OPT_vpid, .rules = "vpid.single")
{
	struct tags t;

	tags_begin(&t, c, OPT_vpid);
	for (u32 vpid = 1; vpid <= 2; vpid++) {
		fill_and_change(&t);
		/* The address doesn't count. */
		expect_out(invvpid(INVVPID_SINGLE, vpid, vpid == 1 ? 0 : linear(OTHER)), out_ok());
		JUDGE("vpid.single", sees(&t, vpid, linear(PLAIN)), 1);
		JUDGE("vpid.single", sees(&t, vpid, linear(OTHER)), 1);
		JUDGE("vpid.single", sees(&t, vpid, linear(GLOBAL)), 1);
		if (vpid == 1)
			tell("another VPID", sees(&t, 2, linear(PLAIN)));
	}
	judge_done();
}

TEST(vpid, invvpid_all, .sdm = "Guidelines for Use of the INVVPID Instruction", .needs = ALL, .opt = OPT_vpid,
     .rules = "vpid.all")
{
	struct tags t;

	tags_begin(&t, c, OPT_vpid);
	fill_and_change(&t);
	expect_out(invvpid(INVVPID_ALL, 0, 0), out_ok());
	for (u32 vpid = 1; vpid <= 2; vpid++) {
		JUDGE("vpid.all", sees(&t, vpid, linear(PLAIN)), 1);
		JUDGE("vpid.all", sees(&t, vpid, linear(OTHER)), 1);
		JUDGE("vpid.all", sees(&t, vpid, linear(GLOBAL)), 1);
	}
	judge_done();
}

TEST(vpid, invvpid_globals, .sdm = "Guidelines for Use of the INVVPID Instruction",
     .needs = ALL "; single-context-retaining-globals INVVPID", .opt = OPT_vpid,
     .rules = "vpid.not-globals vpid.globals")
{
	struct tags t;
	u32 page;

	tags_begin(&t, c, OPT_vpid);
	fill_and_change(&t);
	expect_out(invvpid(INVVPID_SINGLE_GLOBALS, 1, 0), out_ok());
	JUDGE("vpid.not-globals", sees(&t, 1, linear(PLAIN)), 1);
	JUDGE("vpid.not-globals", sees(&t, 1, linear(OTHER)), 1);
	page = sees(&t, 1, linear(GLOBAL));
	tell("a global translation", page);
	JUDGE("vpid.globals", page <= 1, true);
	judge_done();
}

/* --- Tags --- */

/* Two guests with page tables of their own, by turns, and without any invalidation. */
TEST(vpid, tags, .sdm = "Cached Translation Information", .needs = ALL, .opt = OPT_vpid, .rules = "vpid.tags")
{
	struct tags t[2];

	tags_begin(&t[0], c, OPT_vpid);
	map_all(&t[0], 0);
	tags_begin(&t[1], c, OPT_vpid);
	map_all(&t[1], 1);
	for (u32 i = 0; i < 12; i++) {
		struct tags *now = &t[i % 2];
		struct vcpu *v = &now->s.v;
		/* VPIDs that an L0 which knows only their low bits would mix. */
		static const u32 vpids[][2] = { { 1, 2 }, { 0x101, 1 }, { 0x8001, 1 } };

		expect_env(vmptrld(v->vmcs_pa).kind == OUT_OK);
		c->vcpu = v;
		JUDGE("vpid.tags", sees(now, vpids[i / 4][i % 2], linear(PLAIN)), i % 2);
		JUDGE("vpid.tags", sees(now, vpids[i / 4][i % 2], linear(GLOBAL)), i % 2);
		/* The next pair begins with the VPIDs unused. */
		if (i % 4 == 3)
			expect_env(invvpid(INVVPID_ALL, 0, 0).kind == OUT_OK);
	}
	vcpu_destroy(&t[1].s.v);
	expect_env(vmptrld(t[0].s.v.vmcs_pa).kind == OUT_OK);
	c->vcpu = &t[0].s.v;
	judge_done();
}

/* More VPIDs than an L0 may have tags: each one is new, so nothing of another may be seen. */
TEST(vpid, many_tags, .sdm = "Cached Translation Information", .needs = ALL, .opt = OPT_vpid, .rules = "vpid.tags")
{
	struct tags t;

	tags_begin(&t, c, OPT_vpid);
	for (u32 vpid = 0x100; vpid < 0x150; vpid++) {
		map_all(&t, vpid % 2);
		JUDGE("vpid.tags", sees(&t, vpid, linear(PLAIN)), vpid % 2);
		JUDGE("vpid.tags", sees(&t, vpid, linear(GLOBAL)), vpid % 2);
	}
	judge_done();
}

/* L2's page table maps an address elsewhere than L1's own, which maps it to itself. */
static void remap_frame(struct tags *t, u64 frame, u32 page)
{
	u64 *table = (u64 *)(ulong)t->s.v.l2_root, *low = page_alloc();

#ifdef __x86_64__
	table = (u64 *)(ulong)(table[0] & PTE_ADDR);
#endif
	table = (u64 *)(ulong)(table[0] & PTE_ADDR);
	low[0] = (ulong)t->page[page] | PTE_BITS;
	table[frame >> 21] = (ulong)low | PTE_P | PTE_W | PTE_U | PTE_A;
}

static void judge_l1_and_l2(struct tags *t, u32 vpid)
{
	volatile u32 *here = (volatile u32 *)(ulong)FRAME_B;

	for (u32 i = 0; i < 4; i++) {
		*here = 0x11000000 + i;
		JUDGE("vpid.tags-l1", sees(t, vpid, FRAME_B), 2);
		JUDGE("vpid.tags-l1", *here, 0x11000000 + i);
		JUDGE("vpid.tags-l1", t->page[2][0], 0x71d00002);
	}
}

TEST(vpid, tags_of_l1, .sdm = "Cached Translation Information", .needs = ALL, .opt = OPT_vpid, .rules = "vpid.tags-l1")
{
	static const u32 vpids[] = { 1, 2, 0xffff };
	struct tags t;

	tags_begin(&t, c, OPT_vpid);
	remap_frame(&t, FRAME_B, 2);
	for (u32 i = 0; i < ARRAY_SIZE(vpids); i++)
		judge_l1_and_l2(&t, vpids[i]);
	judge_done();
}

TEST(vpid, tags_of_l1_zero, .sdm = "Cached Translation Information", .rules = "vpid.tags-l1")
{
	struct tags t;

	tags_begin(&t, c, 0);
	remap_frame(&t, FRAME_B, 2);
	judge_l1_and_l2(&t, 0);
	judge_done();
}

/* The same VPID with two EPTPs. */
TEST(vpid, tags_of_eptp, .sdm = "Cached Translation Information", .needs = ALL "; INVEPT", .opt = OPT_vpid | OPT_ept,
     .rules = "vpid.tags-eptp")
{
	struct tags t;
	u64 eptp[2];

	tags_begin(&t, c, OPT_vpid | OPT_ept);
	t.s.v.l2_window[PLAIN] = GPA_ALIAS | PTE_BITS;
	for (u32 i = 0; i < 2; i++) {
		eptp[i] = eptp_for(ept_new_root(false));
		ept_map_page(eptp[i] & EPT_ADDR, GPA_ALIAS, (ulong)t.page[i], EPT_RWX);
	}
	expect_env(vmx_caps.ept_vpid & EPT_CAP_INVEPT_ALL ? invept(INVEPT_ALL, 0, 0).kind == OUT_OK : true);
	for (u32 i = 0; i < 8; i++) {
		vmwrite(VMCS_ept_pointer, eptp[i % 2]);
		JUDGE("vpid.tags-eptp", sees(&t, 1 + i / 4, linear(PLAIN)), i % 2);
	}
	judge_done();
}

TEST(vpid, invept_all_vpids, .sdm = "Operations that Invalidate Cached Mappings",
     .needs = ALL "; single-context INVEPT", .opt = OPT_vpid | OPT_ept, .rules = "vpid.invept")
{
	struct tags t;
	u64 root;

	tags_begin(&t, c, OPT_vpid | OPT_ept);
	root = t.s.v.eptp & EPT_ADDR;
	t.s.v.l2_window[PLAIN] = GPA_ALIAS | PTE_BITS;
	t.s.v.l2_window[GLOBAL] = GPA_ALIAS | PTE_BITS | PTE_G;
	for (u32 i = 0; i < 6; i++) {
		ept_map_page(root, GPA_ALIAS, (ulong)t.page[i % 3], EPT_RWX);
		expect_out(invept(INVEPT_SINGLE, t.s.v.eptp, 0), out_ok());
		for (u32 vpid = 1; vpid <= 3; vpid++) {
			JUDGE("vpid.invept", sees(&t, vpid, linear(PLAIN)), i % 3);
			JUDGE("vpid.invept", sees(&t, vpid, linear(GLOBAL)), i % 3);
		}
	}
	judge_done();
}

/* --- Without VPIDs --- */

/* An entry and an exit in between is all that it needs. */
static void judge_zero(struct tags *t)
{
	for (u32 i = 0; i < 6; i++) {
		map_all(t, i % 3);
		JUDGE("vpid.zero", sees(t, 0, linear(PLAIN)), i % 3);
		JUDGE("vpid.zero", sees(t, 0, linear(GLOBAL)), i % 3);
	}
}

TEST(vpid, zero, .sdm = "Cached Translation Information", .rules = "vpid.zero")
{
	struct tags t;

	tags_begin(&t, c, 0);
	judge_zero(&t);
	judge_done();
}

TEST(vpid, zero_with_ept, .sdm = "Cached Translation Information", .opt = OPT_ept, .rules = "vpid.zero")
{
	struct tags t;

	tags_begin(&t, c, OPT_ept);
	judge_zero(&t);
	judge_done();
}

/* L1's own table; it never executes INVLPG for it. */
static void judge_zero_l1(struct tags *t)
{
	u64 *table = (u64 *)(ulong)(read_cr3() & PTE_ADDR), *low = page_alloc(), saved;
	volatile u32 *here = (volatile u32 *)(ulong)FRAME_B;

#ifdef __x86_64__
	table = (u64 *)(ulong)(table[0] & PTE_ADDR);
#endif
	table = (u64 *)(ulong)(table[0] & PTE_ADDR);
	saved = table[FRAME_B >> 21];
	for (u32 i = 0; i < 6; i++) {
		low[0] = (ulong)t->page[i % 3] | PTE_BITS;
		table[FRAME_B >> 21] = (ulong)low | PTE_P | PTE_W | PTE_U | PTE_A;
		map_all(t, 0);
		if (i == 0)
			invlpg((ulong)here);
		sees(t, 0, linear(PLAIN));
		JUDGE("vpid.zero-l1", *here, t->page[i % 3][0]);
	}
	table[FRAME_B >> 21] = saved;
	invlpg((ulong)here);
}

TEST(vpid, zero_of_l1, .sdm = "Operations that Invalidate Cached Mappings", .rules = "vpid.zero-l1")
{
	struct tags t;

	tags_begin(&t, c, 0);
	judge_zero_l1(&t);
	judge_done();
}

/* --- The instruction --- */

#ifdef __x86_64__
TEST(insn, invvpid_type_64bit, .sdm = "INVVPID-Invalidate Translations Based on VPID", .needs = ALL, .opt = OPT_vpid,
     .flags = TEST_AMD64, .rules = "insn.invvpid.type-64")
{
	struct outcome refused = out_valid(VMXERR_invalid_invept_invvpid_operand);
	struct vcpu v;

	test_vcpu(&v, c, OPT_vpid);
	expect_out(invvpid(1ull << 32 | INVVPID_ALL, 1, 0), refused);
	expect_out(invvpid(1ull << 63 | INVVPID_SINGLE, 1, 0), refused);
	expect_out(invvpid(INVVPID_ALL, 1, 0), out_ok());
}
#endif

/* Where it isn't offered; where it is, other tests see that it isn't #UD. */
TEST(insn, inv_not_offered, .sdm = "INVEPT-Invalidate Translations Derived from EPT",
     .rules = "insn.invept.ud insn.invvpid.ud")
{
	static const u64 descriptor[2];
	bool both = cap_have("INVEPT") && cap_have("INVVPID");
	struct vcpu v;

	if (both) {
		result_set(c->judging, VERDICT_SKIP, "environment: the CPU offers INVEPT and INVVPID");
		return;
	}
	test_vcpu(&v, c, 0);
	if (!cap_have("INVEPT"))
		expect_out(vmx_outcome(vmx_invept_raw(INVEPT_ALL, descriptor)), out_fault(VEC_UD, 0));
	if (!cap_have("INVVPID"))
		expect_out(vmx_outcome(vmx_invvpid_raw(INVVPID_ALL, descriptor)), out_fault(VEC_UD, 0));
}
