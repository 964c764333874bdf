// SPDX-License-Identifier: BSD-2-Clause
/* PCIDs of L2: two of its own address spaces with the same linear address, by turns and in one run without an exit. */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"

#ifdef __x86_64__
#define INDEX 3u /* of the window's page */
#define LA (L2_WINDOW + INDEX * PAGE_SIZE)
#define PTE_BITS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define KEEP (1ull << 63) /* MOV to CR3 needs to invalidate nothing */

#define READ_AX "\x8b\x07" /* [DI] */
#define READ_BX "\x8b\x1f"
#define READ_BP "\x8b\x2f"
#define CR3_DX "\x0f\x22\xda"
#define CR3_CX "\x0f\x22\xd9"
#define WRITE_PTE "\x44\x89\x06"           /* R8D to [SI] */
#define INVPCID "\x66\x45\x0f\x38\x82\x0a" /* R9, [R10] */

struct spaces {
	struct snippet s;
	u64 *window[2]; /* page tables */
	u64 cr3[2];     /* with PCIDs 1 and 2 */
	u32 *page[3];
	u64 *descriptor;
};

static void *copy_of(u64 entry)
{
	void *copy = page_alloc();

	memcpy(copy, (const void *)(ulong)(entry & PTE_ADDR), PAGE_SIZE);
	return copy;
}

/* The second address space is the first but for the window. */
static void make_spaces(struct spaces *t)
{
	u64 *four = copy_of(t->s.v.l2_root), *three = copy_of(four[0]), *two = copy_of(three[0]), *one = page_alloc();

	four[0] = (ulong)three | (four[0] & ~PTE_ADDR);
	three[0] = (ulong)two | (three[0] & ~PTE_ADDR);
	two[L2_WINDOW >> 21] = (ulong)one | PTE_P | PTE_W | PTE_U | PTE_A;
	t->window[0] = t->s.v.l2_window;
	t->window[1] = one;
	t->cr3[0] = t->s.v.l2_root | 1;
	t->cr3[1] = (ulong)four | 2;
}

static void show(struct spaces *t, u32 space, u32 page)
{
	t->window[space][INDEX] = (ulong)t->page[page] | PTE_BITS;
}

static void spaces_begin(struct spaces *t, struct cpu *c, u32 opt, u32 proc2)
{
	snippet_begin(&t->s, c, opt);
	t->s.v.ctl[CTL_PROC2] |= proc2;
	vcpu_write_controls(&t->s.v);
	for (u32 i = 0; i < 3; i++) {
		t->page[i] = page_alloc();
		t->page[i][0] = 0x9c1d0000 + i;
	}
	t->descriptor = page_alloc();
	make_spaces(t);
	vmwrite_bits(VMCS_guest_cr4, 0, CR4_PCIDE);
	vmwrite(VMCS_guest_cr3, t->cr3[0]);
}

/* L2 begins in the first address space; RDX and RCX are values for CR3, R8D is a page-table entry for [RSI]. */
static bool run(struct spaces *t, const char *code, u32 length, u64 dx, u64 cx, u32 space)
{
	struct vcpu *v = &t->s.v;
	struct exit e;

	show(t, 0, 0);
	show(t, 1, 1);
	vmwrite(VMCS_guest_cr3, t->cr3[0]);
	snippet_code(&t->s, code, length);
	v->g.di = LA;
	v->g.dx = dx;
	v->g.cx = cx;
	v->g.si = (ulong)&t->window[space][INDEX];
	v->g.r[0] = (u32)(ulong)t->page[2] | PTE_BITS;
	v->g.r[1] = t->descriptor[2];
	v->g.r[2] = (ulong)t->descriptor;
	e = snippet_run(&t->s);
	return expect(snippet_passed(&t->s, &e));
}

#define RUN(t, code, dx, cx, space) run(t, code, sizeof(code) - 1, dx, cx, space)

static void judge_tags(struct spaces *t)
{
	struct gregs *g = &t->s.v.g;

	for (u32 i = 0; i < 3; i++) {
		if (!RUN(t, READ_AX CR3_CX READ_BX CR3_DX READ_BP, t->cr3[0] | KEEP, t->cr3[1] | KEEP, 0))
			return;
		JUDGE("vpid.pcid-tags", (u32)g->ax, t->page[0][0]);
		JUDGE("vpid.pcid-tags", (u32)g->bx, t->page[1][0]);
		JUDGE("vpid.pcid-tags", (u32)g->bp, t->page[0][0]);
	}
}

/* The entry of the first space changes; there and back again, without KEEP at last. */
static void judge_cr3(struct spaces *t)
{
	struct gregs *g = &t->s.v.g;

	for (u32 i = 0; i < 3; i++) {
		if (!RUN(t, READ_AX WRITE_PTE CR3_CX CR3_DX READ_BX, t->cr3[0], t->cr3[1] | KEEP, 0))
			return;
		JUDGE("vpid.pcid-cr3", (u32)g->ax, t->page[0][0]);
		JUDGE("vpid.pcid-cr3", (u32)g->bx, t->page[2][0]);
	}
	if (!RUN(t, READ_AX WRITE_PTE CR3_CX CR3_DX READ_BX, t->cr3[0] | KEEP, t->cr3[1] | KEEP, 0))
		return;
	say_note("MOV to CR3 that needs to invalidate nothing: L2 sees the %s page (both are legal)",
		 (u32)g->bx == t->page[2][0] ? "new" : "old");
	JUDGE("vpid.pcid-cr3", (u32)g->bx == t->page[2][0] || (u32)g->bx == t->page[0][0], true);
}

static void judge_invpcid(struct spaces *t, u64 type)
{
	struct gregs *g = &t->s.v.g;

	/* Of the other PCID: it was used before, its table changes while the first one is current. */
	t->descriptor[0] = 2;
	t->descriptor[1] = LA;
	t->descriptor[2] = type;
	if (!RUN(t, CR3_CX READ_AX CR3_DX WRITE_PTE INVPCID CR3_CX READ_BX, t->cr3[0] | KEEP, t->cr3[1] | KEEP, 1))
		return;
	JUDGE("vpid.pcid-invpcid", (u32)g->ax, t->page[1][0]);
	JUDGE("vpid.pcid-invpcid", (u32)g->bx, t->page[2][0]);
}

static void for_worlds(struct cpu *c, u32 ept, bool invpcid)
{
	judge_begin();
	for (u32 vpid = 0; vpid < 2; vpid++) {
		struct spaces t;

		if (vpid && !cap_have("enable VPID"))
			continue;
		judge_about(vpid ? "VPID" : "without VPID", NULL);
		spaces_begin(&t, c, ept | (vpid ? OPT_vpid : 0), invpcid ? PROC2_enable_invpcid : 0);
		for (u64 type = 0; type < 4 && invpcid; type++)
			judge_invpcid(&t, type);
		if (!invpcid) {
			judge_tags(&t);
			judge_cr3(&t);
		}
		vcpu_destroy(&t.s.v);
	}
	judge_done();
}

TEST(vpid, pcids, .sdm = "Cached Translation Information", .needs = "CR4.PCIDE", .flags = TEST_AMD64,
     .rules = "vpid.pcid-tags vpid.pcid-cr3")
{
	for_worlds(c, 0, false);
}

TEST(vpid, pcids_ept, .sdm = "Cached Translation Information", .needs = "CR4.PCIDE", .opt = OPT_ept,
     .flags = TEST_AMD64, .rules = "vpid.pcid-tags vpid.pcid-cr3")
{
	for_worlds(c, OPT_ept, false);
}

TEST(vpid, pcids_invpcid, .sdm = "Operations that Invalidate Cached Mappings", .needs = "CR4.PCIDE; enable INVPCID",
     .flags = TEST_AMD64, .rules = "vpid.pcid-invpcid")
{
	for_worlds(c, 0, true);
}

TEST(vpid, pcids_invpcid_ept, .sdm = "Operations that Invalidate Cached Mappings", .needs = "CR4.PCIDE; enable INVPCID",
     .opt = OPT_ept, .flags = TEST_AMD64, .rules = "vpid.pcid-invpcid")
{
	for_worlds(c, OPT_ept, true);
}
#endif
