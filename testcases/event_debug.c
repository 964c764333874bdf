// SPDX-License-Identifier: BSD-2-Clause
/*
 * Debug exceptions: single step, breakpoints of all kinds, accesses to debug registers, INT1. Those that exit tell by the qualification
 * what they tell a guest's handler by DR6. SDM: "Basic VM-Exit Information", "Architectural State Before a VM Exit".
 */
#include "core/mem.h"
#include "testcases/event_guest.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define QUALIFICATION "Basic VM-Exit Information"
#define DEBUG_CONTROLS "load debug controls; save debug controls"
#define DR7_GLOBAL(n) (2u << 2 * (n))
#define DR7_KIND(n, kind, length) ((u32)((kind) | (length) << 2) << (16 + 4 * (n)))
#define DR7_GD 0x2000u
#define ON_FETCH 0u
#define ON_WRITE 1u
#define ON_IO 2u
#define ON_ACCESS 3u
#define TWO_BYTES 1u
#define DR6_NONE 0xffff0ff0u
#define CAUSE_BD 0x2000u
#define CAUSE_BS 0x4000u
#define CAUSES 0x600fu
#define DB_INFO (INFO_VALID | TYPE_HARDWARE | VEC_DB)
#define IO_PORT 0x80u /* nothing listens there */

enum place { NOWHERE, IN_CODE, IN_STACK, AT_PORT };

struct debug {
	const char *name, *bytes;
	u32 length;
	u32 stands; /* offset of RIP afterwards */
	u32 flags, dr7;
	u32 causes;    /* in the qualification, and in DR6 */
	enum place at; /* of the breakpoints */
	bool fault;    /* RF is pushed as 1 */
};

#define CODE(text) .bytes = (text), .length = sizeof(text) - 1

static const struct debug debugs[] = {
	{ "single step", CODE("\x90"), .stands = 1, .flags = RFLAGS_TF, .causes = CAUSE_BS },
	{ "breakpoint 0, write", CODE("\x50"), .stands = 1, .dr7 = DR7_GLOBAL(0) | DR7_KIND(0, ON_WRITE, TWO_BYTES),
	  .causes = 1, .at = IN_STACK },
	{ "breakpoint 1, write", CODE("\x50"), .stands = 1, .dr7 = DR7_GLOBAL(1) | DR7_KIND(1, ON_WRITE, TWO_BYTES),
	  .causes = 2, .at = IN_STACK },
	{ "breakpoint 2, write", CODE("\x50"), .stands = 1, .dr7 = DR7_GLOBAL(2) | DR7_KIND(2, ON_WRITE, TWO_BYTES),
	  .causes = 4, .at = IN_STACK },
	{ "breakpoint 3, access", CODE("\x50"), .stands = 1, .dr7 = DR7_GLOBAL(3) | DR7_KIND(3, ON_ACCESS, TWO_BYTES),
	  .causes = 8, .at = IN_STACK },
	{ "breakpoints 0 and 3, write and step", CODE("\x50"), .stands = 1, .flags = RFLAGS_TF,
	  .dr7 = DR7_GLOBAL(0) | DR7_GLOBAL(3) | DR7_KIND(0, ON_WRITE, TWO_BYTES) | DR7_KIND(3, ON_WRITE, TWO_BYTES),
	  .causes = 9 | CAUSE_BS, .at = IN_STACK },
};

/* L2 gives a debug register this value; no exit changes them, but for DR7. */
static void set_dr(struct eguest *g, u32 number, ulong value)
{
	const u8 code[] = { 0x0f, 0x23, (u8)(0xc0 | number << 3) };
	struct exit e;

	snippet_code(&g->s, code, sizeof(code));
	g->s.v.g.ax = value;
	e = snippet_run(&g->s);
	expect(snippet_passed(&g->s, &e));
}

static ulong get_dr6(struct eguest *g)
{
	struct exit e;

	eguest_mode(g, SNIP_NATIVE, false);
	snippet_code(&g->s, "\x0f\x21\xf0", 3);
	e = snippet_run(&g->s);
	expect(snippet_passed(&g->s, &e));
	return g->s.v.g.ax;
}

static void begin(struct eguest *g, struct cpu *c)
{
	judge_begin();
	eguest_begin(g, c, 0);
	g->s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_debug_controls;
	g->s.v.ctl[CTL_VMEXIT] |= VMEXIT_save_debug_controls;
	vcpu_write_controls(&g->s.v);
}

static void end(struct eguest *g)
{
	eguest_mode(g, SNIP_NATIVE, false);
	for (u32 n = 0; n < 4; n++)
		set_dr(g, n, 0);
	set_dr(g, 6, DR6_NONE);
	vcpu_destroy(&g->s.v);
	judge_done();
}

static struct exit run(struct eguest *g, const struct debug *d, enum snip_mode mode, u32 bitmap)
{
	const ulong places[] = { 0, (ulong)g->s.code + d->stands, SNIP_SP(&g->s) - 2, IO_PORT };

	eguest_mode(g, SNIP_NATIVE, false);
	for (u32 n = 0; n < 4; n++)
		set_dr(g, n, places[d->at]);
	set_dr(g, 6, DR6_NONE);
	eguest_mode(g, mode, false);
	eguest_exits(g, bitmap);
	snippet_code(&g->s, d->bytes, d->length);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | d->flags);
	vmwrite(VMCS_guest_dr7, DR7_FIXED | d->dr7);
	if (d->at == AT_PORT)
		vmwrite_bits(VMCS_guest_cr4, 0, CR4_DE);
	return snippet_run(&g->s);
}

/* Bits of breakpoints that aren't enabled may be set. */
static u64 told(const struct debug *d, u64 causes)
{
	return causes & (CAUSE_BD | CAUSE_BS | (d->causes & 0xf));
}

static void judge_exit(struct eguest *g, const struct debug *d, const struct exit *e)
{
	JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_info), DB_INFO);
	JUDGE("exit.info.debug", told(d, e->qualification), d->causes);
	JUDGE("exit.info.debug", e->qualification & ~(u64)CAUSES, 0);
	JUDGE("exit.save.rip-exception", e->ip, (ulong)g->s.code + d->stands);
	JUDGE("exit.save.resume-flag", vmread(VMCS_guest_rflags) & RFLAGS_RF, d->fault ? RFLAGS_RF : 0);
	JUDGE("event.debug.dr7-stays", vmread(VMCS_guest_dr7), DR7_FIXED | d->dr7);
	JUDGE("event.debug.not-pending", vmread(VMCS_guest_pending_debug_exceptions), 0);
	JUDGE("exit.info.debug", get_dr6(g), DR6_NONE);
}

static void judge_delivered(struct eguest *g, const struct debug *d, const struct exit *e)
{
	struct eframe f;

	if (!JUDGE("event.exception.delivered", eguest_vector(g, e), VEC_DB))
		return;
	f = eguest_frame(g, false);
	JUDGE("event.exception.delivered", f.ip, (ulong)g->s.code + d->stands);
	JUDGE("event.exception.delivered", f.flags & RFLAGS_RF, d->fault ? RFLAGS_RF : 0);
	JUDGE("event.debug.dr6", vmread(VMCS_guest_dr7), DR7_FIXED | (d->dr7 & ~DR7_GD));
	JUDGE("event.debug.dr6", told(d, get_dr6(g)), d->causes);
}

static void judge_debug(struct eguest *g, const struct debug *d)
{
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		struct exit e;

		judge_about(d->name, snippet_name(mode));
		e = run(g, d, mode, 1u << VEC_DB);
		if (JUDGE("event.exception.exits", e.reason, EXIT_exception_or_nmi))
			judge_exit(g, d, &e);
		e = run(g, d, mode, ~(1u << VEC_DB));
		judge_delivered(g, d, &e);
	}
}

#define RULES                                                                                          \
	"event.exception.exits event.exception.delivered exit.info.debug exit.info.interruption "      \
	"exit.save.rip-exception exit.save.resume-flag event.debug.dr7-stays event.debug.not-pending " \
	"event.debug.dr6"

TEST(event, debug, .sdm = QUALIFICATION, .needs = DEBUG_CONTROLS, .rules = RULES)
{
	struct eguest g;

	begin(&g, c);
	for (u32 i = 0; i < ARRAY_SIZE(debugs); i++)
		judge_debug(&g, &debugs[i]);
	end(&g);
}

TEST(event, debug_fetch, .sdm = QUALIFICATION, .needs = DEBUG_CONTROLS, .rules = RULES)
{
	static const struct debug fetches[] = {
		{ "breakpoint 0, fetch", CODE("\x90\x90"), .stands = 1, .dr7 = DR7_GLOBAL(0) | DR7_KIND(0, ON_FETCH, 0),
		  .causes = 1, .at = IN_CODE },
		{ "breakpoint 2, fetch", CODE("\x90\x90"), .stands = 1, .dr7 = DR7_GLOBAL(2) | DR7_KIND(2, ON_FETCH, 0),
		  .causes = 4, .at = IN_CODE },
	};
	struct eguest g;

	begin(&g, c);
	for (u32 i = 0; i < ARRAY_SIZE(fetches); i++)
		judge_debug(&g, &fetches[i]);
	end(&g);
}

TEST(event, debug_io, .sdm = QUALIFICATION, .needs = DEBUG_CONTROLS, .rules = RULES)
{
	static const struct debug d = { "breakpoint 1, OUT", CODE("\xe6\x80"),
					.stands = 2,         .dr7 = DR7_GLOBAL(1) | DR7_KIND(1, ON_IO, 0),
					.causes = 2,         .at = AT_PORT };
	struct eguest g;

	begin(&g, c);
	judge_debug(&g, &d);
	end(&g);
}

TEST(event, debug_access, .sdm = QUALIFICATION, .needs = DEBUG_CONTROLS, .rules = RULES)
{
	static const struct debug d = { "access to a debug register",
					CODE("\x90\x0f\x21\xd8"),
					.stands = 1,
					.dr7 = DR7_GD,
					.causes = CAUSE_BD,
					.fault = true };
	struct eguest g;

	begin(&g, c);
	judge_debug(&g, &d);
	end(&g);
}

/* With RF at 1, the first instruction's breakpoint doesn't count, the second's does. */
TEST(event, debug_resume_flag, .sdm = "Instruction-Breakpoint Exception Condition", .needs = DEBUG_CONTROLS,
     .rules = "event.debug.resume-flag")
{
	struct eguest g;

	begin(&g, c);
	for (u32 second = 0; second < 2; second++) {
		struct debug d = { "with RF",          CODE("\x90\x90"),     .stands = second,
				   .flags = RFLAGS_RF, .dr7 = DR7_GLOBAL(0), .at = IN_CODE };
		struct exit e;

		judge_about(second ? "second instruction" : "first instruction", NULL);
		e = run(&g, &d, SNIP_NATIVE, ~0u);
		JUDGE("event.debug.resume-flag", snippet_faulted(&e, VEC_DB), second);
		if (!second)
			JUDGE("event.debug.resume-flag", snippet_passed(&g.s, &e), true);
	}
	end(&g);
}

/* Breakpoints that are off. */
TEST(event, debug_off, .sdm = "Debug Control Register (DR7)", .needs = DEBUG_CONTROLS, .rules = "event.debug.off")
{
	static const struct debug off[] = {
		{ "write", CODE("\x50"), .stands = 1, .dr7 = DR7_KIND(0, ON_WRITE, TWO_BYTES), .at = IN_STACK },
		{ "fetch", CODE("\x90\x90"), .stands = 1, .at = IN_CODE },
		{ "a write is no fetch", CODE("\x90"), .dr7 = DR7_GLOBAL(0) | DR7_KIND(0, ON_WRITE, 0), .at = IN_CODE },
	};
	struct eguest g;

	begin(&g, c);
	for (u32 i = 0; i < ARRAY_SIZE(off); i++) {
		struct exit e = run(&g, &off[i], SNIP_NATIVE, ~0u);

		judge_about(off[i].name, NULL);
		JUDGE("event.debug.off", snippet_passed(&g.s, &e), true);
	}
	end(&g);
}

TEST(event, int1, .sdm = QUALIFICATION, .needs = DEBUG_CONTROLS,
     .rules = "event.exception.exits event.exception.delivered exit.info.debug exit.info.interruption "
	      "exit.save.rip-exception exit.save.resume-flag event.exception.length")
{
	static const struct debug d = { "INT1", CODE("\x90\xf1"), .stands = 1 };
	struct eguest g;

	begin(&g, c);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		struct exit e = run(&g, &d, mode, 1u << VEC_DB);

		judge_about("INT1", snippet_name(mode));
		if (JUDGE("event.exception.exits", e.reason, EXIT_exception_or_nmi)) {
			JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_info),
			      INFO_VALID | TYPE_PRIVILEGED | VEC_DB);
			JUDGE("exit.save.rip-exception", e.ip, (ulong)g.s.code + 1);
			JUDGE("event.exception.length", e.length, 1);
			JUDGE("exit.save.resume-flag", vmread(VMCS_guest_rflags) & RFLAGS_RF, 0);
			JUDGE("exit.info.debug", e.qualification & (CAUSE_BD | CAUSE_BS), 0);
			JUDGE("exit.info.debug", get_dr6(&g), DR6_NONE);
		}
		e = run(&g, &d, mode, ~(1u << VEC_DB));
		if (JUDGE("event.exception.delivered", eguest_vector(&g, &e), VEC_DB))
			JUDGE("event.exception.delivered", eguest_frame(&g, false).ip, (ulong)g.s.code + 2);
	}
	end(&g);
}
