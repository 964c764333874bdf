// SPDX-License-Identifier: BSD-2-Clause
/* REP INS and REP OUTS that nobody intercepts, and that come to a page that isn't there: each iteration happens once. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/io.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define STATE "Architectural State Before a VM Exit"
#define RFLAGS_DF 0x400u
#define PORT_POST 0x80 /* takes everything, does nothing */
#define PORT_MASK 0x21 /* the first 8259's interrupt masks: reads as it was written */
#define COUNT 8u
#define BEFORE 3u /* iterations on the first page */
#define PATTERN 0x5a

struct rep {
	struct snippet s;
	u8 *page[2]; /* those that the window shows */
	bool backwards;
	u32 size; /* of an iteration */
};

static void begin(struct rep *r, struct cpu *c, u32 opt)
{
	judge_begin();
	snippet_begin(&r->s, c, opt);
	for (u32 n = 0; n < 2; n++) {
		r->page[n] = page_alloc();
		r->s.v.l2_window[n] = (ulong)r->page[n] | PTE_P | PTE_W | PTE_U | 0x60;
	}
}

/* Address of iteration n; the page that isn't there begins with n = BEFORE. */
static ulong address(const struct rep *r, u32 n)
{
	ulong boundary = L2_WINDOW + PAGE_SIZE;

	if (r->backwards)
		return boundary + (BEFORE - 1) * r->size - n * r->size;
	return boundary - BEFORE * r->size + n * r->size;
}

static u32 absent(const struct rep *r)
{
	return r->backwards ? 0 : 1;
}

static void put(struct rep *r, u8 opcode)
{
	struct io_insn i = { .opcode = opcode, .rep = true, .port = opcode & 2 ? PORT_POST : PORT_MASK };

	r->size = opcode & 1 ? 4 : 1;
	io_put(&r->s, &i);
	r->s.v.g.cx = COUNT;
	r->s.v.g.si = r->s.v.g.di = address(r, 0);
	if (r->backwards)
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_DF);
}

/* L2 stands behind n iterations. */
static void judge_progress(struct rep *r, const struct exit *e, bool outs, u32 n)
{
	JUDGE("io.rep-progress", r->s.v.g.cx, COUNT - n);
	JUDGE("io.rep-progress", r->s.v.g.si, address(r, outs ? n : 0));
	JUDGE("io.rep-progress", r->s.v.g.di, address(r, outs ? 0 : n));
	if (n < COUNT)
		JUDGE("io.rep-progress", e->ip, (ulong)r->s.code);
}

static u8 *byte(const struct rep *r, ulong linear)
{
	return r->page[(linear - L2_WINDOW) / PAGE_SIZE] + linear % PAGE_SIZE;
}

/* Iterations that have written to memory: those to `done`, and nothing around them. */
static void judge_memory(struct rep *r, u32 done, u8 value)
{
	u32 wrong = 0;

	for (u32 n = 0; n < COUNT + 1; n++)
		wrong += *byte(r, address(r, n)) != (n < done ? value : PATTERN);
	JUDGE("io.rep-progress", wrong, 0);
}

static void rep_outs(struct rep *r, u8 opcode, u32 reason)
{
	bool fault = reason == EXIT_exception_or_nmi;
	struct exit e;

	put(r, opcode);
	e = snippet_run(&r->s);
	if (!JUDGE("io.rep-progress", e.reason, reason))
		return;
	if (fault)
		JUDGE("io.rep-progress", e.qualification, address(r, BEFORE));
	else
		JUDGE("io.rep-progress", e.qualification & QUAL_ACCESS, QUAL_READ);
	judge_progress(r, &e, true, BEFORE);
}

static void judge_rest(struct rep *r, bool outs)
{
	struct exit e = snippet_run(&r->s);

	JUDGE("io.rep-resumes", snippet_passed(&r->s, &e), true);
	judge_progress(r, &e, outs, COUNT);
}

TEST(io, rep_outs_page_fault, .sdm = STATE, .rules = "io.rep-progress io.rep-resumes")
{
	struct rep r = { 0 };

	begin(&r, c, 0);
	for (u32 n = 0; n < 4; n++) {
		u64 pte;

		r.backwards = n & 1;
		judge_about(n & 2 ? "32 bits" : "8 bits", n & 1 ? "backwards" : NULL);
		pte = r.s.v.l2_window[absent(&r)];
		r.s.v.l2_window[absent(&r)] = 0;
		rep_outs(&r, (u8)(OP_OUTS | n >> 1), EXIT_exception_or_nmi);
		r.s.v.l2_window[absent(&r)] = pte;
		judge_rest(&r, true);
	}
	judge_done();
}

/* PTEs aren't to be remembered between entries: without VPIDs, entries invalidate. */
TEST(io, rep_ins_page_fault, .sdm = STATE, .rules = "io.rep-progress io.rep-resumes")
{
	const u8 value = in8(PORT_MASK);
	struct rep r = { 0 };
	struct exit e;

	expect_env(value != PATTERN);
	begin(&r, c, 0);
	for (u32 n = 0; n < 2; n++) {
		u64 pte;

		r.backwards = n;
		judge_about("8 bits", n ? "backwards" : NULL);
		memset(r.page[0], PATTERN, PAGE_SIZE);
		memset(r.page[1], PATTERN, PAGE_SIZE);
		pte = r.s.v.l2_window[absent(&r)];
		r.s.v.l2_window[absent(&r)] = 0;
		put(&r, OP_INS);
		e = snippet_run(&r.s);
		JUDGE("io.rep-progress", snippet_faulted(&e, VEC_PF), true);
		JUDGE("io.rep-progress", e.qualification, address(&r, BEFORE));
		judge_progress(&r, &e, false, BEFORE);
		judge_memory(&r, BEFORE, value);
		r.s.v.l2_window[absent(&r)] = pte;
		judge_rest(&r, false);
		judge_memory(&r, COUNT, value);
	}
	judge_done();
}

/* A page of the window that EPT hasn't got, in the place of the absent one; its PTE before. */
static u64 take_page(struct rep *r)
{
	u64 pte = r->s.v.l2_window[absent(r)];

	r->s.v.l2_window[absent(r)] = GPA_ALIAS | PTE_P | PTE_W | PTE_U | 0x60;
	return pte;
}

static void give_page(struct rep *r, u64 pte)
{
	const ulong type = vmx_caps.ept_vpid & EPT_CAP_INVEPT_SINGLE ? INVEPT_SINGLE : INVEPT_ALL;

	ept_map_page(r->s.v.eptp & EPT_ADDR, GPA_ALIAS, 0, 0);
	expect_env(invept(type, r->s.v.eptp, 0).kind == OUT_OK);
	r->s.v.l2_window[absent(r)] = pte;
}

/* The same where EPT hasn't got the page. REP INS: ept/rep_ins_absent_page. */
TEST(io, rep_outs_ept, .sdm = STATE, .needs = "INVEPT", .opt = OPT_ept, .rules = "io.rep-progress io.rep-resumes")
{
	struct rep r = { 0 };
	u64 pte;

	begin(&r, c, OPT_ept);
	for (u32 n = 0; n < 2; n++) {
		r.backwards = n;
		judge_about(n ? "backwards" : "forwards", NULL);
		pte = take_page(&r);
		rep_outs(&r, OP_OUTS, EXIT_ept_violation);
		ept_map_page(r.s.v.eptp & EPT_ADDR, GPA_ALIAS, (ulong)r.page[absent(&r)], EPT_R | EPT_W | EPT_X);
		judge_rest(&r, true);
		give_page(&r, pte);
	}
	judge_done();
}

/* Addresses that aren't a page's first, so that an L0 that emulates OUTS must say all of them. */
TEST(io, rep_outs_ept_address, .sdm = "Exit Qualification for EPT Violations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "io.rep-progress exit.info.ept-linear-valid exit.info.ept-translated exit.info.ept-physical "
	      "exit.info.ept-linear")
{
	struct rep r = { .backwards = true };
	u64 qualification, pte;

	begin(&r, c, OPT_ept);
	pte = take_page(&r);
	rep_outs(&r, OP_OUTS, EXIT_ept_violation);
	qualification = vmread(VMCS_exit_qualification);
	JUDGE("exit.info.ept-linear-valid", qualification & QUAL_LINEAR_VALID, QUAL_LINEAR_VALID);
	JUDGE("exit.info.ept-translated", qualification & QUAL_TRANSLATED, QUAL_TRANSLATED);
	JUDGE("exit.info.ept-physical", vmread(VMCS_guest_physical_address), GPA_ALIAS + PAGE_SIZE - 1);
	JUDGE("exit.info.ept-linear", vmread(VMCS_guest_linear_address), address(&r, BEFORE));
	give_page(&r, pte);
	judge_done();
}

/* Only told. */
TEST(io, rep_none, .sdm = "Instructions That Cause VM Exits Conditionally", .needs = "unconditional I/O exiting",
     .rules = "io.rep-none")
{
	struct rep r = { 0 };

	begin(&r, c, 0);
	io_unconditional(&r.s, true);
	for (u32 n = 0; n < 2; n++) {
		put(&r, n ? OP_OUTS : OP_INS);
		r.s.v.g.cx = 0;
		say_note("REP %s with a count of 0: exit %u", n ? "OUTS" : "INS", snippet_run(&r.s).reason);
		JUDGE("io.rep-none", r.s.v.g.cx, 0);
	}
	judge_done();
}
