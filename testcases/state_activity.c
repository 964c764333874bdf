// SPDX-License-Identifier: BSD-2-Clause
/* Guests that are entered halted or shut down, and what ends that. SDM: "Activity State". */
#include "lhv/apic.h"
#include "testcases/scene.h"

#define TIMED PIN_activate_preemption_timer
#define NEEDS_HLT "activate VMX-preemption timer; activity state HLT"
#define NEEDS_SHUTDOWN "activate VMX-preemption timer; activity state shutdown"
#define VEC_MC 18u

/* The event is delivered, L2 is active in its handler and behind it. */
static void check_wakes(struct stage *st, struct exit e, u32 vector, const struct where *rule)
{
	if (!stage_ends(rule, st, &e, EXIT_vmcall, scene_handler(st, vector)))
		return;
	judge_equal(rule, "activity state", vmread(VMCS_guest_activity_state), ACTIVE);
	judge_equal(rule, "RIP in the frame", scene_frame_ip(), (ulong)st->s.code);
	skip_instruction(&st->s.v, &e);
	e = scene_again(st);
	stage_ends(rule, st, &e, EXIT_vmcall, (ulong)st->after);
}

SCENES(state, hlt_injection, .sdm = "Details of Vectored-Event Injection", .needs = NEEDS_HLT,
       .rules = "inject.hlt-ends")
{
	static const struct {
		const char *name;
		u32 event;
	} events[] = { { "interrupt", EVENT_EXTERNAL(SCENE_VECTOR) },
		       { "NMI", EVENT_NMI },
		       { "#DB", EVENT_EXCEPTION(VEC_DB) },
		       { "#MC", EVENT_EXCEPTION(VEC_MC) } };
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(events); i++) {
		e = SCENE(st, events[i].name, NOPS(3), .flags = RFLAGS_IF, .activity = HLT, .pin = TIMED,
			  .inject = events[i].event);
		check_wakes(st, e, events[i].event & 0xff, WHERE("inject.hlt-ends"));
	}
}

SCENES(state, shutdown_injection, .sdm = "Activity State", .needs = NEEDS_SHUTDOWN, .rules = "entry.shutdown-injection")
{
	struct exit e = SCENE(st, "NMI", NOPS(3), .activity = SHUTDOWN, .pin = TIMED, .inject = EVENT_NMI);

	check_wakes(st, e, VEC_NMI, WHERE("entry.shutdown-injection"));
	e = SCENE(st, "#MC", NOPS(3), .activity = SHUTDOWN, .pin = TIMED, .inject = EVENT_EXCEPTION(VEC_MC));
	check_wakes(st, e, VEC_MC, WHERE("entry.shutdown-injection"));
}

/* An NMI is pending at the entry. */
static void check_nmi(struct stage *st, enum activity activity, const struct where *rule)
{
	struct exit e = SCENE(st, "NMI is L2's", NOPS(3), .activity = activity, .pin = TIMED, .nmi = true);

	if (stage_ends(rule, st, &e, EXIT_vmcall, scene_handler(st, VEC_NMI)))
		judge_equal(rule, "activity state", vmread(VMCS_guest_activity_state), ACTIVE);
	e = SCENE(st, "NMI exiting", NOPS(3), .activity = activity, .pin = TIMED | PIN_nmi_exiting, .nmi = true);
	if (stage_ends(rule, st, &e, EXIT_exception_or_nmi, (ulong)st->s.code))
		judge_equal(rule, "activity state", vmread(VMCS_guest_activity_state), activity);
}

/* The handler's first instruction exits: RIP is the handler's. */
SCENES(state, nmi_taken, .sdm = "Saving RIP, RSP, RFLAGS, and SSP",
       .rules = "exit.save.rip-exception-handler nmi.delivered")
{
	struct exit e = SCENE(st, "NMI is L2's", NOPS(3), .nmi = true);

	HANDLES("exit.save.rip-exception-handler", st, e, VEC_NMI);
	JUDGE("nmi.delivered", stage_nmis(), 0);
	JUDGE("nmi.delivered", scene_frame_ip(), (ulong)st->s.code);
}

SCENES(state, hlt_nmi, .sdm = "Activity State", .needs = NEEDS_HLT "; NMI exiting", .rules = "entry.hlt-nmi")
{
	check_nmi(st, HLT, WHERE("entry.hlt-nmi"));
}

SCENES(state, shutdown_nmi, .sdm = "Activity State", .needs = NEEDS_SHUTDOWN "; NMI exiting",
       .rules = "entry.shutdown-nmi")
{
	check_nmi(st, SHUTDOWN, WHERE("entry.shutdown-nmi"));
}

SCENES(state, shutdown_flags, .sdm = "Activity State", .needs = NEEDS_SHUTDOWN,
       .rules = "entry.shutdown-flags exit.save.activity")
{
	struct exit e = SCENE(st, "IF=1", NOPS(3), .flags = RFLAGS_IF, .activity = SHUTDOWN, .pin = TIMED);

	ENDS("exit.save.activity", st, e, EXIT_preemption_timer, 0);
	JUDGE("exit.save.activity", vmread(VMCS_guest_activity_state), SHUTDOWN);
	JUDGE("entry.shutdown-flags", vmread(VMCS_guest_rflags), RFLAGS_FIXED | RFLAGS_IF);
}

#define NEEDS_WINDOW "; NMI exiting; virtual NMIs; NMI-window exiting"

static void check_window(struct stage *st, enum activity activity)
{
	struct exit e = SCENE(st, "NMI window", NOPS(3), .activity = activity,
			      .pin = TIMED | PIN_nmi_exiting | PIN_virtual_nmis, .proc = PROC_nmi_window_exiting);

	if (ENDS("entry.nmi-window-inactive", st, e, EXIT_nmi_window, 0))
		JUDGE("entry.nmi-window-inactive", vmread(VMCS_guest_activity_state), activity);
	e = SCENE(st, "virtually blocked", NOPS(3), .blocked = BY_NMI, .activity = activity,
		  .pin = TIMED | PIN_nmi_exiting | PIN_virtual_nmis, .proc = PROC_nmi_window_exiting);
	ENDS("entry.nmi-window-inactive", st, e, EXIT_preemption_timer, 0);
}

SCENES(state, hlt_nmi_window, .sdm = "NMI-Window Exiting", .needs = NEEDS_HLT NEEDS_WINDOW,
       .rules = "entry.nmi-window-inactive")
{
	check_window(st, HLT);
}

SCENES(state, shutdown_nmi_window, .sdm = "NMI-Window Exiting", .needs = NEEDS_SHUTDOWN NEEDS_WINDOW,
       .rules = "entry.nmi-window-inactive")
{
	check_window(st, SHUTDOWN);
}

/* --- What an exit leaves to L1 --- */

/*
 * The NMI waits while MOV SS blocks in L2, whose call exits. If blocking outlived the exit, the NMI would come behind L1's
 * first instruction.
 */
SCENES(state, nothing_blocked, .sdm = "Updating Non-Register State", .rules = "exit.load.nothing-blocked")
{
	struct exit e = SCENE(st, "MOV SS", CODE(""), .blocked = BY_MOV_SS, .nmi = true);

	if (PASSES("exit.load.nothing-blocked", st, e)) {
		JUDGE("exit.load.nothing-blocked", vmread(VMCS_guest_interruptibility_state), BY_MOV_SS);
		JUDGE("exit.load.nothing-blocked", stage_nmis(), 1);
		JUDGE("exit.load.nothing-blocked", stage_nmi_ip(), vmread(VMCS_host_rip));
	}
}

/* --- MONITOR --- */

#define TICKS 100000u /* of the APIC's timer: longer than anything else here */

/* lib/arch/monitor.asm */
void monitor_arm(void);
void mwait_irq_on(void);

/* L1 executes MWAIT: was it the timer that ended it? */
static bool waits(struct cpu *c)
{
	u32 before = c->count[LEVEL_L1][IRQ_TIMER];

	apic_timer_once(TICKS);
	mwait_irq_on();
	apic_timer_stop();
	return c->count[LEVEL_L1][IRQ_TIMER] != before;
}

/* XOR ECX,ECX; XOR EDX,EDX; MONITOR; XOR ECX,ECX; XOR EAX,EAX; MWAIT */
#define MONITOR "\x31\xc9\x31\xd2\x0f\x01\xc8"
#define MWAIT "\x31\xc9\x31\xc0\x0f\x01\xc9"

/* What isn't armed doesn't wait. That MWAIT does wait otherwise, nobody promises: it's told in a note. */
SCENES(state, monitor_cleared, .sdm = "Updating Non-Register State",
       .needs = "MONITOR and MWAIT; activate VMX-preemption timer",
       .rules = "exit.load.monitor-cleared entry.monitor-cleared")
{
	struct exit e;
	bool armed;

	monitor_arm();
	armed = waits(c);
	e = SCENE(st, "MONITOR in L2", CODE(MONITOR), .pin = TIMED);
	PASSES("exit.load.monitor-cleared", st, e);
	JUDGE("exit.load.monitor-cleared", waits(c), false);
	/* scene() would do too much between. */
	e = SCENE(st, "MONITOR in L1", CODE("\x0f\xa2" MWAIT), .pin = TIMED);
	if (ENDS("entry.monitor-cleared", st, e, EXIT_cpuid, 0)) {
		skip_instruction(&st->s.v, &e);
		monitor_arm();
		e = scene_again(st);
		PASSES("entry.monitor-cleared", st, e);
	}
	e = SCENE(st, "MONITOR and MWAIT in L2", CODE(MONITOR MWAIT), .pin = TIMED);
	say_note("MWAIT after MONITOR waits: L1 %s, L2 %s", armed ? "yes" : "no",
		 e.reason == EXIT_preemption_timer ? "yes" : "no");
}
