// SPDX-License-Identifier: BSD-2-Clause
/* Debug exceptions that are pending at an entry, and single steps across entries and exits. SDM: "Delivery of Pending Debug
 * Exceptions after VM Entry", "Saving Non-Register State". */
#include "testcases/scene.h"

#define PENDING "Delivery of Pending Debug Exceptions after VM Entry"
#define TIMED PIN_activate_preemption_timer
#define NEEDS_TIMER "activate VMX-preemption timer"
#define TAKES_DB (1u << VEC_DB)
#define DR6_ZERO 0xffff0ff0u /* no condition */
/* Bits 16 and 11 say by 0 that something happened; not every CPU has them. */
#define DR6_JUDGED 0xefffu

/* MOV EAX,DR6, behind which L2 calls. */
#define READ_DR6 "\x0f\x21\xf0"

static const struct {
	const char *name;
	ulong pending, told;
} conditions[] = {
	{ "BS", PENDING_BS, PENDING_BS },
	{ "B0", PENDING_ENABLED | 1, 1 },
	{ "B3", PENDING_ENABLED | 8, 8 },
	{ "B0 B1 B2 B3", PENDING_ENABLED | 15, 15 },
	{ "BS B2", PENDING_BS | PENDING_ENABLED | 4, PENDING_BS | 4 },
};

SCENES(state, debug_exits, .sdm = PENDING,
       .rules = "entry.debug-exceptions entry.debug-dr6 exit.info.debug exit.info.interruption exit.save.pending-debug")
{
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(conditions); i++) {
		e = SCENE(st, conditions[i].name, CODE(READ_DR6), .debug = conditions[i].pending);
		if (!ENDS("entry.debug-exceptions", st, e, EXIT_exception_or_nmi, 0))
			continue;
		JUDGE("exit.info.debug", e.qualification, conditions[i].told);
		JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_info) & EVENT_TOLD,
		      EVENT_EXCEPTION(VEC_DB));
		JUDGE("exit.save.pending-debug", vmread(VMCS_guest_pending_debug_exceptions), 0);
		JUDGE("entry.debug-exceptions", vmread(VMCS_idt_vectoring_info) & EVENT_VALID, 0);
		/* The exit has taken it; DR6 tells nothing of it. */
		e = scene_again(st);
		if (PASSES("entry.debug-exceptions", st, e))
			JUDGE("entry.debug-dr6", st->s.v.g.ax & DR6_JUDGED, DR6_ZERO & DR6_JUDGED);
	}
}

/* XOR EAX,EAX; MOV DR6,EAX: no condition is left from another test; then the handler, which reads it. */
#define CLEAR_DR6 "\x31\xc0\x0f\x23\xf0"

static void clear_dr6(struct stage *st)
{
	struct exit e = SCENE(st, "DR6 cleared", CODE(CLEAR_DR6));

	expect_exit(&st->s.v, e, EXIT_vmcall);
}

SCENES(state, debug_taken, .sdm = PENDING, .rules = "entry.debug-exceptions entry.debug-dr6")
{
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(conditions); i++) {
		clear_dr6(st);
		e = SCENE(st, conditions[i].name, CODE(READ_DR6), .debug = conditions[i].pending, .takes = TAKES_DB);
		if (!HANDLES("entry.debug-exceptions", st, e, VEC_DB))
			continue;
		JUDGE("entry.debug-exceptions", scene_frame_ip(), (ulong)st->s.code);
		skip_instruction(&st->s.v, &e);
		e = scene_again(st);
		if (PASSES("entry.debug-exceptions", st, e))
			JUDGE("entry.debug-dr6", st->s.v.g.ax & DR6_JUDGED,
			      (DR6_ZERO & DR6_JUDGED) | conditions[i].told);
	}
	clear_dr6(st);
}

SCENES(state, debug_not_valid, .sdm = PENDING, .rules = "entry.debug-valid")
{
	struct exit e;

	for (u32 bits = 0; bits < 16; bits++) {
		e = SCENE(st, "B0 to B3 only", NOPS(3), .debug = bits);
		PASSES("entry.debug-valid", st, e);
	}
}

SCENES(state, debug_discarded, .sdm = PENDING, .rules = "entry.debug-discarded")
{
	struct exit e;

	for (const struct scene_event *v = scene_events; v < scene_events + SCENE_EVENTS; v++) {
		e = SCENE(st, v->name, NOPS(3), .flags = RFLAGS_IF, .debug = PENDING_BS | PENDING_ENABLED | 1,
			  .inject = v->event, .inject_length = v->length);
		if (!HANDLES("entry.debug-discarded", st, e, v->event & 0xff))
			continue;
		JUDGE("entry.debug-discarded", vmread(VMCS_guest_pending_debug_exceptions), 0);
		skip_instruction(&st->s.v, &e);
		e = scene_again(st);
		PASSES("entry.debug-discarded", st, e);
	}
}

SCENES(state, debug_shutdown, .sdm = PENDING, .needs = NEEDS_TIMER "; activity state shutdown",
       .rules = "entry.debug-shutdown")
{
	struct exit e =
		SCENE(st, "shutdown", NOPS(3), .activity = SHUTDOWN, .debug = PENDING_ENABLED | 1, .pin = TIMED);

	ENDS("entry.debug-shutdown", st, e, EXIT_preemption_timer, 0);
}

SCENES(state, debug_hlt, .sdm = "Activity State", .needs = NEEDS_TIMER "; activity state HLT",
       .rules = "entry.debug-hlt")
{
	struct exit e = SCENE(st, "HLT", NOPS(3), .activity = HLT, .debug = PENDING_ENABLED | 1, .pin = TIMED);

	ENDS("entry.debug-hlt", st, e, EXIT_exception_or_nmi, 0);
}

SCENES(state, debug_mov_ss, .sdm = PENDING, .rules = "entry.debug-mov-ss entry.debug-mov-ss-kept")
{
	struct exit e = SCENE(st, "MOV SS", NOPS(3), .blocked = BY_MOV_SS, .debug = PENDING_ENABLED | 1);
	bool kept = e.reason == EXIT_exception_or_nmi;

	JUDGE("entry.debug-mov-ss", e.entry.kind == OUT_OK && e.ip != (ulong)st->s.code, true);
	if (kept)
		ENDS("entry.debug-mov-ss-kept", st, e, EXIT_exception_or_nmi, 1);
	else
		PASSES("entry.debug-mov-ss-kept", st, e);
	say_note("a data breakpoint that is pending with blocking by MOV SS is %s", kept ? "kept" : "lost");
	/* STI blocks no debug exceptions. */
	e = SCENE(st, "STI", NOPS(3), .flags = RFLAGS_IF, .blocked = BY_STI, .debug = PENDING_ENABLED | 1);
	ENDS("entry.debug-mov-ss", st, e, EXIT_exception_or_nmi, 0);
}

SCENES(state, debug_first, .sdm = PENDING,
       .needs = "NMI exiting; virtual NMIs; NMI-window exiting; external-interrupt exiting; interrupt-window exiting",
       .rules = "entry.debug-before-events")
{
	static const struct {
		const char *name;
		u32 pin, proc;
		bool interrupt, nmi;
	} events[] = {
		{ "NMI", PIN_nmi_exiting, 0, false, true },
		{ "NMI window", PIN_nmi_exiting | PIN_virtual_nmis, PROC_nmi_window_exiting, false, false },
		{ "interrupt", PIN_external_interrupt_exiting, 0, true, false },
		{ "interrupt window", 0, PROC_interrupt_window_exiting, false, false },
	};
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(events); i++) {
		e = SCENE(st, events[i].name, NOPS(3), .flags = RFLAGS_IF, .debug = PENDING_ENABLED | 1,
			  .pin = events[i].pin, .proc = events[i].proc, .interrupt = events[i].interrupt,
			  .nmi = events[i].nmi);
		if (ENDS("entry.debug-before-events", st, e, EXIT_exception_or_nmi, 0))
			JUDGE("entry.debug-before-events", vmread(VMCS_exit_interruption_info) & EVENT_TOLD,
			      EVENT_EXCEPTION(VEC_DB));
	}
}

SCENES(state, single_step, .sdm = PENDING,
       .rules = "entry.single-step exit.info.debug exit.save.pending-debug exit.save.rflags")
{
	struct exit e = SCENE(st, "TF", NOPS(3), .flags = RFLAGS_TF);

	for (u32 at = 1; at <= 3; at++) {
		if (!ENDS("entry.single-step", st, e, EXIT_exception_or_nmi, at))
			break;
		JUDGE("exit.info.debug", e.qualification, PENDING_BS);
		JUDGE("exit.save.pending-debug", vmread(VMCS_guest_pending_debug_exceptions), 0);
		JUDGE("exit.save.rflags", vmread(VMCS_guest_rflags) & RFLAGS_TF, RFLAGS_TF);
		e = scene_again(st);
	}
	/* The call exits; what it would have trapped by doesn't come. */
	PASSES("entry.single-step", st, e);
	JUDGE("exit.save.pending-debug", vmread(VMCS_guest_pending_debug_exceptions), 0);
	/* One is pending: it comes first, and the next behind the instruction. */
	e = SCENE(st, "TF, BS", NOPS(3), .flags = RFLAGS_TF, .debug = PENDING_BS);
	ENDS("entry.single-step", st, e, EXIT_exception_or_nmi, 0);
	e = scene_again(st);
	ENDS("entry.single-step", st, e, EXIT_exception_or_nmi, 1);
	/* MOV EAX,SEL_DATA; MOV SS,AX; NOP: no trap behind MOV SS. */
	e = SCENE(st, "TF, MOV SS", CODE("\xb8\x10\0\0\0\x8e\xd0\x90\x90"), .flags = RFLAGS_TF);
	ENDS("entry.single-step", st, e, EXIT_exception_or_nmi, 5);
	e = scene_again(st);
	ENDS("entry.single-step", st, e, EXIT_exception_or_nmi, 8);
}

/* SDM: "Details of Vectored-Event Injection". Only software events may be injected where something blocks. */
SCENES(state, injected_unblocks, .sdm = "Details of Vectored-Event Injection",
       .rules = "entry.no-blocking-after-injection")
{
	struct exit e;

	for (u32 blocked = BY_STI; blocked <= BY_MOV_SS; blocked <<= 1) {
		e = SHADOW(st, blocked, .inject = EVENT_EXCEPTION(VEC_UD));
		if (HANDLES("entry.no-blocking-after-injection", st, e, VEC_UD))
			JUDGE("entry.no-blocking-after-injection", vmread(VMCS_guest_interruptibility_state), 0);
	}
}
