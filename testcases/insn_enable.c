// SPDX-License-Identifier: BSD-2-Clause
/* Instructions that L2 has only with a control, and PAUSE loops. */
#include "core/mem.h"
#include "testcases/entry_rows.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"

#define SECTION "Changes to Instruction Behavior in VMX Non-Root Operation"
#define SECTION_PAUSE "Instructions That Cause VM Exits Conditionally"

struct insn {
	const char *name, *bytes;
	u32 length;
};

/* Without the control they're invalid opcodes, in all modes, whatever the operand is. */
static void judge_disabled(struct cpu *c, const char *rule, const struct insn *table, u32 count, u32 cr4, bool user)
{
	struct snippet s;
	struct exit e;

	judge_begin();
	snippet_begin(&s, c, 0);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode))
		for (u32 i = 0; i < count; i++) {
			judge_about(table[i].name, snippet_name(mode));
			snippet_mode(&s, mode, user);
			vmwrite_bits(VMCS_guest_cr4, 0, cr4);
			snippet_code(&s, table[i].bytes, table[i].length);
			/* An address where nothing is mapped. */
			s.v.g.bx = L2_WINDOW + 100 * PAGE_SIZE;
			e = snippet_run(&s);
			judge_equal(WHERE(rule), "invalid opcode", snippet_faulted(&e, VEC_UD), true);
		}
	judge_done();
}

static const struct insn invpcid[] = { { "INVPCID", "\x66\x0f\x38\x82\x03", 5 } };
static const struct insn xsaves[] = { { "XSAVES", "\x0f\xc7\x2b", 3 }, { "XRSTORS", "\x0f\xc7\x1b", 3 } };

TEST(insn, invpcid_disabled, .sdm = SECTION, .needs = "enable INVPCID", .rules = "insn.enable.invpcid")
{
	judge_disabled(c, "insn.enable.invpcid", invpcid, ARRAY_SIZE(invpcid), 0, false);
}

TEST(insn, invpcid_disabled_cpl3, .sdm = SECTION, .needs = "enable INVPCID", .rules = "insn.enable.invpcid-first")
{
	judge_disabled(c, "insn.enable.invpcid-first", invpcid, ARRAY_SIZE(invpcid), 0, true);
}

#define XSAVES "enable XSAVES/XRSTORS; CR4.OSXSAVE"

TEST(insn, xsaves_disabled, .sdm = SECTION, .needs = XSAVES, .rules = "insn.enable.xsaves")
{
	judge_disabled(c, "insn.enable.xsaves", xsaves, ARRAY_SIZE(xsaves), CR4_OSXSAVE, false);
}

TEST(insn, xsaves_disabled_cpl3, .sdm = SECTION, .needs = XSAVES, .rules = "insn.enable.xsaves-first")
{
	judge_disabled(c, "insn.enable.xsaves-first", xsaves, ARRAY_SIZE(xsaves), CR4_OSXSAVE, true);
}

/* --- PAUSE loops --- */

#define LOOP "\xf3\x90\xe2\xfc" /* 1: pause; loop 1b */
#define ROUNDS 20000u
#define GAP 500u
#define WINDOW 5000u

static struct exit pause_loop(struct snippet *s, u32 gap, u32 window)
{
	vmwrite(VMCS_ple_gap, gap);
	vmwrite(VMCS_ple_window, window);
	snippet_code(s, LOOP, 4);
	s->v.g.cx = ROUNDS;
	return snippet_run(s);
}

TEST(exit, pause_loop, .sdm = SECTION_PAUSE, .needs = "PAUSE-loop exiting",
     .rules = "exit.pause.loop exit.pause.loop-rip exit.pause.loop-user exit.pause.loop-short exit.pause.loop-off")
{
	struct snippet s;
	struct exit e;

	judge_begin();
	snippet_begin(&s, c, 0);
	s.v.ctl[CTL_PROC2] |= PROC2_pause_loop_exiting;
	vcpu_write_controls(&s.v);
	judge_about("long loop", NULL);
	e = pause_loop(&s, GAP, WINDOW);
	JUDGE("exit.pause.loop", e.reason, EXIT_pause);
	JUDGE("exit.pause.loop", e.qualification, 0);
	JUDGE("exit.pause.loop-rip", e.ip, (ulong)s.code);
	JUDGE("exit.pause.loop-rip", e.length, 2);
	JUDGE("exit.pause.loop", s.v.g.cx > 0 && s.v.g.cx < ROUNDS, true);
	judge_about("window larger than the loop", NULL);
	e = pause_loop(&s, GAP, ~0u);
	JUDGE("exit.pause.loop-short", snippet_passed(&s, &e), true);
	judge_about("CPL 3", NULL);
	snippet_mode(&s, SNIP_NATIVE, true);
	e = pause_loop(&s, GAP, WINDOW);
	JUDGE("exit.pause.loop-user", snippet_passed(&s, &e), true);
	judge_about("without the control", NULL);
	snippet_mode(&s, SNIP_NATIVE, false);
	s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_pause_loop_exiting;
	vcpu_write_controls(&s.v);
	e = pause_loop(&s, GAP, WINDOW);
	JUDGE("exit.pause.loop-off", snippet_passed(&s, &e), true);
	judge_done();
}

/* PAUSE exiting, the older control, makes every PAUSE exit, and the new one doesn't count. */
TEST(exit, pause_loop_and_exiting, .sdm = SECTION_PAUSE, .needs = "PAUSE-loop exiting; PAUSE exiting",
     .rules = "exit.pause.both")
{
	struct snippet s;
	struct exit e;

	judge_begin();
	judge_about("", NULL);
	snippet_begin(&s, c, 0);
	s.v.ctl[CTL_PROC2] |= PROC2_pause_loop_exiting;
	s.v.ctl[CTL_PROC] |= PROC_pause_exiting;
	vcpu_write_controls(&s.v);
	for (u32 user = 0; user < 2; user++) {
		snippet_mode(&s, SNIP_NATIVE, user);
		e = pause_loop(&s, GAP, ~0u);
		JUDGE("exit.pause.both", e.reason, EXIT_pause);
		JUDGE("exit.pause.both", s.v.g.cx, ROUNDS);
	}
	judge_done();
}
