// SPDX-License-Identifier: BSD-2-Clause
/* Guests that are entered halted or shut down, and what ends that. SDM: "Activity State". */
#include "lhv/apic.h"
#include "testcases/scene.h"

#define TIMED PIN_activate_preemption_timer
#define NEEDS_HLT "activate VMX-preemption timer; activity state HLT"
#define NEEDS_SHUTDOWN "activate VMX-preemption timer; activity state shutdown"
#define VEC_MC 18u

/* The event is delivered, L2 is active in its handler and behind it. */
static void check_wakes(struct stage *st, const struct scene *sc, const struct where *rule)
{
	u32 vector = sc->inject & 0xff;
	struct exit e = scene(st, sc);

	if (!stage_ends(rule, st, &e, EXIT_vmcall, scene_handler(st, vector)))
		return;
	judge_equal(rule, "activity state", vmread(VMCS_guest_activity_state), ACTIVE);
	judge_equal(rule, "RIP in the frame", scene_frame_ip(), (ulong)st->s.code);
	skip_instruction(&st->s.v, &e);
	e = scene_again(st);
	stage_ends(rule, st, &e, EXIT_vmcall, (ulong)st->after);
}

TEST(state, hlt_injection, .sdm = "Details of Vectored-Event Injection", .needs = NEEDS_HLT, .rules = "inject.hlt-ends")
{
	static const struct {
		const char *name;
		u32 event;
	} events[] = { { "interrupt", EVENT_EXTERNAL(SCENE_VECTOR) },
		       { "NMI", EVENT_NMI },
		       { "#DB", EVENT_EXCEPTION(VEC_DB) },
		       { "#MC", EVENT_EXCEPTION(VEC_MC) } };
	struct stage st;

	stage_begin(&st, c);
	for (u32 i = 0; i < ARRAY_SIZE(events); i++)
		check_wakes(&st,
			    &(const struct scene){ .name = events[i].name,
						   NOPS(3),
						   .flags = RFLAGS_IF,
						   .activity = HLT,
						   .pin = TIMED,
						   .inject = events[i].event },
			    WHERE("inject.hlt-ends"));
	stage_done(&st);
}

TEST(state, shutdown_injection, .sdm = "Activity State", .needs = NEEDS_SHUTDOWN, .rules = "entry.shutdown-injection")
{
	struct stage st;

	stage_begin(&st, c);
	check_wakes(&st,
		    &(const struct scene){
			    .name = "NMI", NOPS(3), .activity = SHUTDOWN, .pin = TIMED, .inject = EVENT_NMI },
		    WHERE("entry.shutdown-injection"));
	check_wakes(
		&st,
		&(const struct scene){
			.name = "#MC", NOPS(3), .activity = SHUTDOWN, .pin = TIMED, .inject = EVENT_EXCEPTION(VEC_MC) },
		WHERE("entry.shutdown-injection"));
	stage_done(&st);
}

/* An NMI is pending at the entry. */
static void check_nmi(struct cpu *c, enum activity activity, const struct where *rule)
{
	struct stage st;
	struct exit e;

	stage_begin(&st, c);
	e = scene(&st, &(const struct scene){
			       .name = "NMI is L2's", NOPS(3), .activity = activity, .pin = TIMED, .nmi = true });
	if (stage_ends(rule, &st, &e, EXIT_vmcall, scene_handler(&st, VEC_NMI)))
		judge_equal(rule, "activity state", vmread(VMCS_guest_activity_state), ACTIVE);
	e = scene(&st, &(const struct scene){ .name = "NMI exiting",
					      NOPS(3),
					      .activity = activity,
					      .pin = TIMED | PIN_nmi_exiting,
					      .nmi = true });
	if (stage_ends(rule, &st, &e, EXIT_exception_or_nmi, (ulong)st.s.code))
		judge_equal(rule, "activity state", vmread(VMCS_guest_activity_state), activity);
	stage_done(&st);
}

/* The handler's first instruction exits: RIP is the handler's. */
TEST(state, nmi_taken, .sdm = "Saving RIP, RSP, RFLAGS, and SSP",
     .rules = "exit.save.rip-exception-handler nmi.delivered")
{
	struct stage st;
	struct exit e;

	stage_begin(&st, c);
	e = scene(&st, &(const struct scene){ .name = "NMI is L2's", NOPS(3), .nmi = true });
	HANDLES("exit.save.rip-exception-handler", &st, e, VEC_NMI);
	JUDGE("nmi.delivered", stage_nmis(), 0);
	JUDGE("nmi.delivered", scene_frame_ip(), (ulong)st.s.code);
	stage_done(&st);
}

TEST(state, hlt_nmi, .sdm = "Activity State", .needs = NEEDS_HLT "; NMI exiting", .rules = "entry.hlt-nmi")
{
	check_nmi(c, HLT, WHERE("entry.hlt-nmi"));
}

TEST(state, shutdown_nmi, .sdm = "Activity State", .needs = NEEDS_SHUTDOWN "; NMI exiting",
     .rules = "entry.shutdown-nmi")
{
	check_nmi(c, SHUTDOWN, WHERE("entry.shutdown-nmi"));
}

TEST(state, shutdown_flags, .sdm = "Activity State", .needs = NEEDS_SHUTDOWN,
     .rules = "entry.shutdown-flags exit.save.activity")
{
	struct stage st;
	struct exit e;

	stage_begin(&st, c);
	e = scene(&st, &(const struct scene){
			       .name = "IF=1", NOPS(3), .flags = RFLAGS_IF, .activity = SHUTDOWN, .pin = TIMED });
	ENDS("exit.save.activity", &st, e, EXIT_preemption_timer, 0);
	JUDGE("exit.save.activity", vmread(VMCS_guest_activity_state), SHUTDOWN);
	JUDGE("entry.shutdown-flags", vmread(VMCS_guest_rflags), RFLAGS_FIXED | RFLAGS_IF);
	stage_done(&st);
}

#define NEEDS_WINDOW "; NMI exiting; virtual NMIs; NMI-window exiting"

static void check_window(struct cpu *c, enum activity activity)
{
	struct stage st;
	struct exit e;

	stage_begin(&st, c);
	e = scene(&st, &(const struct scene){ .name = "NMI window",
					      NOPS(3),
					      .activity = activity,
					      .pin = TIMED | PIN_nmi_exiting | PIN_virtual_nmis,
					      .proc = PROC_nmi_window_exiting });
	if (ENDS("entry.nmi-window-inactive", &st, e, EXIT_nmi_window, 0))
		JUDGE("entry.nmi-window-inactive", vmread(VMCS_guest_activity_state), activity);
	e = scene(&st, &(const struct scene){ .name = "virtually blocked",
					      NOPS(3),
					      .blocked = BY_NMI,
					      .activity = activity,
					      .pin = TIMED | PIN_nmi_exiting | PIN_virtual_nmis,
					      .proc = PROC_nmi_window_exiting });
	ENDS("entry.nmi-window-inactive", &st, e, EXIT_preemption_timer, 0);
	stage_done(&st);
}

TEST(state, hlt_nmi_window, .sdm = "NMI-Window Exiting", .needs = NEEDS_HLT NEEDS_WINDOW,
     .rules = "entry.nmi-window-inactive")
{
	check_window(c, HLT);
}

TEST(state, shutdown_nmi_window, .sdm = "NMI-Window Exiting", .needs = NEEDS_SHUTDOWN NEEDS_WINDOW,
     .rules = "entry.nmi-window-inactive")
{
	check_window(c, SHUTDOWN);
}

/* --- What an exit leaves to L1 --- */

/*
 * The NMI waits while MOV SS blocks in L2, whose call exits. If blocking outlived the exit, the NMI would come behind L1's
 * first instruction.
 */
TEST(state, nothing_blocked, .sdm = "Updating Non-Register State", .rules = "exit.load.nothing-blocked")
{
	struct stage st;
	struct exit e;

	stage_begin(&st, c);
	e = scene(&st, &(const struct scene){ .name = "MOV SS", CODE(""), .blocked = BY_MOV_SS, .nmi = true });
	if (PASSES("exit.load.nothing-blocked", &st, e)) {
		JUDGE("exit.load.nothing-blocked", vmread(VMCS_guest_interruptibility_state), BY_MOV_SS);
		JUDGE("exit.load.nothing-blocked", stage_nmis(), 1);
		JUDGE("exit.load.nothing-blocked", stage_nmi_ip(), vmread(VMCS_host_rip));
	}
	stage_done(&st);
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
TEST(state, monitor_cleared, .sdm = "Updating Non-Register State",
     .needs = "MONITOR and MWAIT; activate VMX-preemption timer",
     .rules = "exit.load.monitor-cleared entry.monitor-cleared")
{
	struct stage st;
	struct exit e;
	bool armed;

	stage_begin(&st, c);
	monitor_arm();
	armed = waits(c);
	e = scene(&st, &(const struct scene){ .name = "MONITOR in L2", CODE(MONITOR), .pin = TIMED });
	PASSES("exit.load.monitor-cleared", &st, e);
	JUDGE("exit.load.monitor-cleared", waits(c), false);
	/* scene() would do too much between. */
	e = scene(&st, &(const struct scene){ .name = "MONITOR in L1", CODE("\x0f\xa2" MWAIT), .pin = TIMED });
	if (ENDS("entry.monitor-cleared", &st, e, EXIT_cpuid, 0)) {
		skip_instruction(&st.s.v, &e);
		monitor_arm();
		e = scene_again(&st);
		PASSES("entry.monitor-cleared", &st, e);
	}
	e = scene(&st, &(const struct scene){ .name = "MONITOR and MWAIT in L2", CODE(MONITOR MWAIT), .pin = TIMED });
	say_note("MWAIT after MONITOR waits: L1 %s, L2 %s", armed ? "yes" : "no",
		 e.reason == EXIT_preemption_timer ? "yes" : "no");
	stage_done(&st);
}
