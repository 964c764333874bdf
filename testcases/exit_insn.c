// SPDX-License-Identifier: BSD-2-Clause
/*
 * Instructions without an operand in memory that exit, always or where a control says so: in all modes, at both ends of
 * the privileges, with and without useless prefixes. One test per instruction; what its exit tells and saves is judged too.
 */
#include "lhv/guest.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define RFLAGS_RF 0x10000u
#define INFO_VALID 0x80000000u
#define INSN_MAX 15u

/* What the instruction does at CPL 3. */
enum at_cpl3 { USER_EXITS, USER_GP, USER_UD };
/* And without the control. */
enum without { RUNS, STAYS, FAULTS_UD };

struct insn {
	const char *bytes;
	u32 length;
	u32 reason;
	u32 proc, proc2; /* makes it exit; both 0: it exits always */
	u32 enable;      /* secondary control without which the instruction is #UD */
	u32 cr4;         /* without which it's #UD */
	enum at_cpl3 user;
	enum without without;
	bool ud_compatibility; /* #UD in compatibility mode */
	bool whole_length;     /* any prefix makes it something else */
};

#define CODE(text) .bytes = (text), .length = sizeof(text) - 1

/* The bytes, behind so many segment overrides, which do nothing here. */
static void put(struct snippet *s, const struct insn *i, u32 prefixes)
{
	u8 code[INSN_MAX];
	u32 n = 0;

	while (n < prefixes)
		code[n++] = 0x2e;
	for (u32 k = 0; k < i->length; k++)
		code[n++] = (u8)i->bytes[k];
	snippet_code(s, code, n);
	s->v.g.cx = 0; /* RDPMC, XSETBV */
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_ARITH | RFLAGS_RF);
	vmwrite_bits(VMCS_guest_cr4, 0, i->cr4);
}

static bool unchanged(const struct gregs *a, const struct gregs *b)
{
	const ulong *x = &a->ax, *y = &b->ax;
	bool same = true;

	for (u32 n = 0; n < sizeof(*a) / sizeof(ulong); n++)
		same &= x[n] == y[n];
	return same;
}

static void judge_exit(struct snippet *s, const char *cause, const struct insn *i)
{
	struct gregs before = s->v.g;
	struct exit e = snippet_run(s);

	if (!judge_equal(WHERE(cause), "reason", e.reason, i->reason))
		return;
	if (i->reason == EXIT_vmcall)
		JUDGE("exit.info.vmcall-length", e.length, 3);
	JUDGE("exit.info.instruction-length", e.length, s->length);
	JUDGE("exit.info.qualification-zero", e.qualification, 0);
	JUDGE("exit.info.interruption-clear", vmread(VMCS_exit_interruption_info) & INFO_VALID, 0);
	JUDGE("exit.info.idt-vectoring-clear", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
	JUDGE("exit.save.rip-instruction", e.ip, (ulong)s->code);
	JUDGE("exit.save.rsp", vmread(VMCS_guest_rsp), SNIP_SP(s));
	JUDGE("exit.save.resume-flag-instruction", vmread(VMCS_guest_rflags) & RFLAGS_RF, 0);
	JUDGE("exit.save.rflags", vmread(VMCS_guest_rflags) & ~(u64)RFLAGS_RF, RFLAGS_FIXED | RFLAGS_ARITH);
	JUDGE("exit.cause.no-effect", unchanged(&before, &s->v.g), true);
}

static void set_controls(struct snippet *s, const struct insn *i, bool exiting)
{
	s->v.ctl[CTL_PROC] = exiting ? i->proc : 0;
	s->v.ctl[CTL_PROC2] = (exiting ? i->proc2 : 0) | i->enable;
	vcpu_write_controls(&s->v);
}

static void judge_user(struct snippet *s, const char *cause, const struct insn *i)
{
	struct exit e;

	put(s, i, 0);
	if (i->user == USER_EXITS) {
		judge_exit(s, cause, i);
		return;
	}
	e = snippet_run(s);
	JUDGE("exit.cause.fault-first", snippet_faulted(&e, i->user == USER_GP ? VEC_GP : VEC_UD), true);
}

static void judge_mode(struct snippet *s, const char *cause, const struct insn *i, enum snip_mode mode)
{
	static const u32 prefixes[] = { 0, 1 };
	struct exit e;

	judge_about(snippet_name(mode), "CPL 0");
	snippet_mode(s, mode, false);
	if (i->ud_compatibility && mode == SNIP_COMPAT) {
		put(s, i, 0);
		e = snippet_run(s);
		JUDGE("exit.cause.fault-first", snippet_faulted(&e, VEC_UD), true);
		return;
	}
	for (u32 k = 0; k < (i->whole_length ? 1 : ARRAY_SIZE(prefixes)); k++) {
		put(s, i, prefixes[k]);
		judge_exit(s, cause, i);
	}
	if (!i->whole_length) {
		put(s, i, INSN_MAX - i->length);
		judge_exit(s, cause, i);
	}
	judge_about(snippet_name(mode), "CPL 3");
	snippet_mode(s, mode, true);
	judge_user(s, cause, i);
}

/* With the control at 0. */
static void judge_without(struct snippet *s, const char *cause, const struct insn *i)
{
	struct exit e;

	if (i->without == STAYS || !(i->proc | i->proc2))
		return;
	judge_about("without the control", NULL);
	set_controls(s, i, false);
	snippet_mode(s, SNIP_NATIVE, false);
	put(s, i, 0);
	e = snippet_run(s);
	/* It may fault for reasons of its own. */
	judge_equal(WHERE(cause), "exits", e.reason == i->reason, false);
}

/* With the control that makes it exit, and without what makes it an instruction. */
static void judge_disabled(struct snippet *s, struct insn *i)
{
	struct exit e;

	set_controls(s, i, true);
	snippet_mode(s, SNIP_NATIVE, false);
	if (i->enable) {
		judge_about("not enabled", NULL);
		s->v.ctl[CTL_PROC2] &= ~i->enable;
		vcpu_write_controls(&s->v);
	} else if (i->cr4) {
		judge_about("not enabled by CR4", NULL);
		vmwrite_bits(VMCS_guest_cr4, i->cr4, 0);
		i->cr4 = 0;
	} else {
		return;
	}
	put(s, i, 0);
	e = snippet_run(s);
	JUDGE("exit.cause.fault-first", snippet_faulted(&e, VEC_UD), true);
}

static void check_insn(struct cpu *c, const char *cause, struct insn *i)
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	set_controls(&s, i, true);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode))
		judge_mode(&s, cause, i, mode);
	judge_without(&s, cause, i);
	judge_disabled(&s, i);
	if (i->ud_compatibility && sizeof(ulong) == 4)
		judge_absent("exit.cause.fault-first");
	judge_done();
}

#define TOLD                                                                                       \
	" exit.info.instruction-length exit.info.qualification-zero exit.info.interruption-clear " \
	"exit.info.idt-vectoring-clear exit.save.rip-instruction exit.save.rsp "                   \
	"exit.save.resume-flag-instruction exit.save.rflags exit.cause.no-effect"
#define EXITS(name_, sdm_, needs_, rules_, ...)                                             \
	TEST(exit, name_, .sdm = sdm_, .needs = needs_, .rules = "exit.cause." rules_ TOLD) \
	{                                                                                   \
		struct insn i = { __VA_ARGS__ };                                            \
                                                                                            \
		check_insn(c, cause_of(test_rules()), &i);                                  \
	}

/* The first rule of the list: by which the instruction exits. */
static const char *cause_of(const char *rules)
{
	static char first[64];
	u32 n = 0;

	for (; rules[n] && rules[n] != ' ' && n < sizeof(first) - 1; n++)
		first[n] = rules[n];
	first[n] = 0;
	return first;
}

#define ALWAYS "Instructions That Cause VM Exits Unconditionally"
#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define FIRST " exit.cause.fault-first"

EXITS(cpuid, ALWAYS, "", "cpuid", CODE("\x0f\xa2"), .reason = EXIT_cpuid)
EXITS(invd, ALWAYS, "", "invd" FIRST, CODE("\x0f\x08"), .reason = EXIT_invd, .user = USER_GP)
EXITS(xsetbv, ALWAYS, "CR4.OSXSAVE", "xsetbv" FIRST, CODE("\x0f\x01\xd1"), .reason = EXIT_xsetbv, .user = USER_GP,
      .cr4 = CR4_OSXSAVE, .whole_length = true)
EXITS(getsec, ALWAYS, "CR4.SMXE", "getsec" FIRST, CODE("\x0f\x37"), .reason = EXIT_getsec, .cr4 = CR4_SMXE,
      .whole_length = true)
EXITS(vmcall, ALWAYS, "", "vmx exit.info.vmcall-length", CODE("\x0f\x01\xc1"), .reason = EXIT_vmcall,
      .whole_length = true)
EXITS(vmlaunch, ALWAYS, "", "vmx" FIRST, CODE("\x0f\x01\xc2"), .reason = EXIT_vmlaunch, .ud_compatibility = true,
      .whole_length = true)
EXITS(vmresume, ALWAYS, "", "vmx" FIRST, CODE("\x0f\x01\xc3"), .reason = EXIT_vmresume, .ud_compatibility = true,
      .whole_length = true)
EXITS(vmxoff, ALWAYS, "", "vmx" FIRST, CODE("\x0f\x01\xc4"), .reason = EXIT_vmxoff, .ud_compatibility = true,
      .whole_length = true)
EXITS(hlt, CONDITION, "HLT exiting", "hlt" FIRST, CODE("\xf4"), .reason = EXIT_hlt, .proc = PROC_hlt_exiting,
      .user = USER_GP, .without = STAYS)
EXITS(rdpmc, CONDITION, "RDPMC exiting", "rdpmc" FIRST, CODE("\x0f\x33"), .reason = EXIT_rdpmc,
      .proc = PROC_rdpmc_exiting, .user = USER_GP)
EXITS(rdtsc, CONDITION, "RDTSC exiting", "rdtsc", CODE("\x0f\x31"), .reason = EXIT_rdtsc, .proc = PROC_rdtsc_exiting)
EXITS(rdtscp, CONDITION, "RDTSC exiting; enable RDTSCP", "rdtscp" FIRST, CODE("\x0f\x01\xf9"), .reason = EXIT_rdtscp,
      .proc = PROC_rdtsc_exiting, .enable = PROC2_enable_rdtscp)
EXITS(wbinvd, CONDITION, "WBINVD exiting", "wbinvd" FIRST, CODE("\x0f\x09"), .reason = EXIT_wbinvd,
      .proc2 = PROC2_wbinvd_exiting, .user = USER_GP)
EXITS(pause, CONDITION, "PAUSE exiting", "pause", CODE("\xf3\x90"), .reason = EXIT_pause, .proc = PROC_pause_exiting)
EXITS(monitor, CONDITION, "MONITOR exiting; MONITOR and MWAIT", "monitor" FIRST, CODE("\x0f\x01\xc8"),
      .reason = EXIT_monitor, .proc = PROC_monitor_exiting, .user = USER_UD, .whole_length = true)
EXITS(mwait, CONDITION, "MWAIT exiting; MONITOR and MWAIT", "mwait" FIRST, CODE("\x0f\x01\xc9"), .reason = EXIT_mwait,
      .proc = PROC_mwait_exiting, .user = USER_UD, .without = STAYS, .whole_length = true)
