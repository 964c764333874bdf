// SPDX-License-Identifier: BSD-2-Clause
/*
 * XSAVES and XRSTORS exit only for supervisor state components that EDX:EAX, IA32_XSS and the XSS-exiting bitmap agree on.
 * SDM: "Instructions That Cause VM Exits Conditionally".
 */
#include "core/mem.h"
#include "testcases/operand.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define ENABLED "enable XSAVES/XRSTORS; CR4.OSXSAVE"

static const struct operand_insn insns[2] = {
	{ .opcode = "\x0f\xc7",
	  .opcode_length = 2,
	  .reg = 5,
	  .reason = EXIT_xsaves,
	  .user = OPERAND_USER_GP,
	  .enable = PROC2_enable_xsaves,
	  .cr4 = CR4_OSXSAVE,
	  .components = true },
	{ .opcode = "\x0f\xc7",
	  .opcode_length = 2,
	  .reg = 3,
	  .reason = EXIT_xrstors,
	  .user = OPERAND_USER_GP,
	  .enable = PROC2_enable_xsaves,
	  .cr4 = CR4_OSXSAVE,
	  .components = true },
};

/* Components that IA32_XSS may have. */
static u64 supervisor_components(void)
{
	u32 r[4];

	cpuid_raw(0xd, 1, r);
	return r[2] | (u64)r[3] << 32;
}

static void check_all(struct cpu *c, const struct operand_insn *insn)
{
	u64 xss = msr_read(MSR_XSS);

	msr_write(MSR_XSS, supervisor_components());
	operand_check(c, insn);
	msr_write(MSR_XSS, xss);
}

#define TOLD                                                                                                       \
	" exit.operand.scaling exit.operand.address-size exit.operand.memory exit.operand.segment "                \
	"exit.operand.index exit.operand.index-invalid exit.operand.base exit.operand.base-invalid "               \
	"exit.operand.displacement exit.operand.rip-relative exit.operand.length exit.operand.memory-fault-later " \
	"exit.operand.no-effect exit.operand.fault-first"

TEST(operand, xsaves, .sdm = CONDITION, .needs = ENABLED "; supervisor state components",
     .rules = "exit.operand.xsaves" TOLD)
{
	check_all(c, &insns[0]);
}

TEST(operand, xrstors, .sdm = CONDITION, .needs = ENABLED "; supervisor state components",
     .rules = "exit.operand.xrstors" TOLD)
{
	check_all(c, &insns[1]);
}

struct xss_case {
	u64 requested, xss, bitmap;
	bool exits;
};

/* XSAVES, then XRSTORS of what it has saved. */
static void judge_case(struct operand_run *r, const struct xss_case *t)
{
	struct operand_form f = operand_plain(r);
	struct operand_want w;
	struct exit e;

	msr_write(MSR_XSS, t->xss);
	vmwrite(VMCS_xss_exiting_bitmap, t->bitmap);
	memset(r->s.data, 0, PAGE_SIZE);
	for (u32 n = 0; n < 2; n++) {
		r->insn = &insns[n];
		if (n && t->exits) /* the area that XSAVES leaves, but for its components */
			*(u64 *)(r->s.data + 520) = 1ull << 63;
		operand_put(r, &f, &w);
		r->s.v.g.ax = (u32)t->requested;
		r->s.v.g.dx = (u32)(t->requested >> 32);
		e = snippet_run(&r->s);
		judge_about(n ? "XRSTORS" : "XSAVES", t->exits ? "exits" : "doesn't exit");
		if (n)
			JUDGE("exit.operand.xrstors", e.reason, t->exits ? EXIT_xrstors : EXIT_vmcall);
		else
			JUDGE("exit.operand.xsaves", e.reason, t->exits ? EXIT_xsaves : EXIT_vmcall);
	}
}

static void begin(struct operand_run *r, struct cpu *c)
{
	memset(r, 0, sizeof(*r));
	r->insn = &insns[0];
	judge_begin();
	snippet_begin(&r->s, c, 0);
	operand_controls(r, true);
	operand_mode(r, SNIP_NATIVE, false);
}

/* No component of a supervisor's is there to be saved. */
TEST(operand, xsaves_runs, .sdm = CONDITION, .needs = ENABLED,
     .rules = "exit.operand.xsaves exit.operand.xrstors exit.operand.fault-first")
{
	u64 xss = msr_read(MSR_XSS);
	struct operand_form f;
	struct operand_run r;

	begin(&r, c);
	judge_case(&r, &(const struct xss_case){ ~0ull, 0, ~0ull, false });
	judge_case(&r, &(const struct xss_case){ 1, 0, 1, false });
	for (u32 n = 0; n < 2; n++) {
		r.insn = &insns[n];
		judge_about(n ? "XRSTORS" : "XSAVES", "CPL 3");
		operand_mode(&r, SNIP_NATIVE, true);
		f = operand_plain(&r);
		operand_judge_fault(&r, &f, VEC_GP);
		judge_about(n ? "XRSTORS" : "XSAVES", "not enabled");
		operand_mode(&r, SNIP_NATIVE, false);
		r.s.v.ctl[CTL_PROC2] = 0;
		vcpu_write_controls(&r.s.v);
		operand_judge_fault(&r, &f, VEC_UD);
		operand_controls(&r, true);
	}
	msr_write(MSR_XSS, xss);
	judge_done();
}

TEST(operand, xsaves_condition, .sdm = CONDITION, .needs = ENABLED "; supervisor state components",
     .rules = "exit.operand.xsaves exit.operand.xrstors")
{
	u64 xss = msr_read(MSR_XSS), all = supervisor_components(), one = all & -all, others = all & ~one;
	const struct xss_case cases[] = {
		{ one, one, one, true },       { ~0ull, all, ~0ull, true },   { one, all, one, true },
		{ ~one, one, one, false },     { one, one, ~one, false },     { 1, one, ~0ull, false },
		{ one, others, ~0ull, false }, { ~0ull, others, one, false }, { one, one, 0, false },
	};
	struct operand_run r;

	begin(&r, c);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++)
		judge_case(&r, &cases[i]);
	msr_write(MSR_XSS, xss);
	judge_done();
}
