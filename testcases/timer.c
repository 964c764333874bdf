// SPDX-License-Identifier: BSD-2-Clause
/* The VMX-preemption timer: when it exits, what it counts, what comes before and behind it. SDM: "VMX-Preemption Timer". */
#include "lhv/apic.h"
#include "lhv/vmx.h"
#include "testcases/scene.h"

#define TIMER "VMX-Preemption Timer"
#define TIMED PIN_activate_preemption_timer
#define SAVES VMEXIT_save_preemption_timer
#define NEEDS "activate VMX-preemption timer"
#define NEEDS_SAVED NEEDS "; save VMX-preemption timer value"
#define EXTERNAL PIN_external_interrupt_exiting

/* Ticks of the TSC per tick of the timer, as a shift (SDM: "Miscellaneous Data"). */
static u32 rate(void)
{
	return (u32)vmx_caps.misc & 31;
}

SCENES(timer, zero, .sdm = TIMER, .needs = NEEDS,
       .rules = "entry.timer-zero timer.not-blocked exit.info.timer-qualification")
{
	static const struct {
		const char *name;
		ulong flags;
		u32 blocked;
	} states[] = { { "IF=0", 0, 0 }, { "IF=1", RFLAGS_IF, 0 }, { "IF=0, NMI", 0, BY_NMI } };
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(states); i++) {
		e = SCENE(st, states[i].name, NOPS(3), .flags = states[i].flags, .blocked = states[i].blocked,
			  .pin = TIMED, .timer_zero = true);
		ENDS("entry.timer-zero", st, e, EXIT_preemption_timer, 0);
		JUDGE("exit.info.timer-qualification", e.qualification, 0);
		JUDGE("timer.not-blocked", vmread(VMCS_guest_interruptibility_state), states[i].blocked);
		JUDGE("timer.not-blocked", vmread(VMCS_guest_rflags), RFLAGS_FIXED | states[i].flags);
	}
}

SCENES(timer, zero_shadow, .sdm = TIMER, .needs = NEEDS, .rules = "entry.timer-zero timer.not-blocked")
{
	struct exit e;

	for (u32 blocked = BY_STI; blocked <= BY_MOV_SS; blocked <<= 1) {
		e = SHADOW(st, blocked, .pin = TIMED, .timer_zero = true);
		ENDS("entry.timer-zero", st, e, EXIT_preemption_timer, 0);
		JUDGE("timer.not-blocked", vmread(VMCS_guest_interruptibility_state), blocked);
	}
}

static void check_inactive(struct stage *st, enum activity activity, const struct where *rule)
{
	struct exit e;

	for (u32 zero = 0; zero < 2; zero++) {
		e = SCENE(st, zero ? "timer 0" : "timer 5000", NOPS(3), .activity = activity, .pin = TIMED,
			  .timer = 5000 >> rate(), .timer_zero = zero);
		stage_ends(rule, st, &e, EXIT_preemption_timer, (ulong)st->s.code);
		JUDGE("exit.save.activity", vmread(VMCS_guest_activity_state), activity);
	}
}

SCENES(timer, hlt, .sdm = TIMER, .needs = NEEDS "; activity state HLT", .rules = "entry.timer-hlt exit.save.activity")
{
	check_inactive(st, HLT, WHERE("entry.timer-hlt"));
}

SCENES(timer, shutdown, .sdm = TIMER, .needs = NEEDS "; activity state shutdown",
       .rules = "timer.shutdown exit.save.activity")
{
	check_inactive(st, SHUTDOWN, WHERE("timer.shutdown"));
}

/* L2 executes HLT while the timer runs. */
SCENES(timer, hlt_instruction, .sdm = TIMER, .needs = NEEDS "; activity state HLT",
       .rules = "timer.hlt exit.save.activity")
{
	struct exit e;

	for (u32 n = 0; n < 2; n++) {
		e = SCENE(st, n ? "HLT, IF=1" : "HLT, IF=0", CODE("\xf4\x90"), .flags = n ? RFLAGS_IF : 0,
			  .pin = TIMED);
		ENDS("timer.hlt", st, e, EXIT_preemption_timer, 1);
		JUDGE("exit.save.activity", vmread(VMCS_guest_activity_state), HLT);
	}
}

/* JMP to itself */
#define LOOP_FOREVER "\xeb\xfe"

SCENES(timer, expires, .sdm = TIMER, .needs = NEEDS_SAVED,
       .rules = "timer.expires timer.saved-zero timer.loaded exit.save.timer exit.info.timer-qualification")
{
	const u32 ticks = 20000u >> rate();
	struct scene sc = { .name = "loop", CODE(LOOP_FOREVER), .pin = TIMED, .vmexit = SAVES, .timer = ticks };
	struct exit e;
	u64 begin;

	begin = read_tsc();
	e = scene(st, &sc);
	ENDS("timer.expires", st, e, EXIT_preemption_timer, 0);
	JUDGE("exit.info.timer-qualification", e.qualification, 0);
	/* It begins to count somewhere within a tick. */
	JUDGE("timer.expires", read_tsc() - begin >= (u64)(ticks - 1) << rate(), true);
	JUDGE("timer.saved-zero", vmread(VMCS_preemption_timer_value), 0);
	/* Not saved: the field is as it was, and the next entry starts from it. */
	sc.vmexit = 0;
	e = scene(st, &sc);
	ENDS("timer.expires", st, e, EXIT_preemption_timer, 0);
	JUDGE("exit.save.timer", vmread(VMCS_preemption_timer_value), ticks);
	begin = read_tsc();
	e = scene_again(st);
	ENDS("timer.loaded", st, e, EXIT_preemption_timer, 0);
	JUDGE("timer.loaded", read_tsc() - begin >= (u64)(ticks - 1) << rate(), true);
}

/* RDTSC; MOV EBX,EAX; MOV ECX,20000; LOOP; RDTSC */
#define TWO_TSC "\x0f\x31\x89\xc3\xb9\x20\x4e\x00\x00\xe2\xfe\x0f\x31"

/* L2's own time is less than what the timer has counted, L1's is more. */
SCENES(timer, rate, .sdm = TIMER, .needs = NEEDS_SAVED, .rules = "timer.rate exit.save.timer")
{
	const u32 start = 0x40000000;
	u64 begin, around, counted, inside;
	struct exit e;

	for (u32 n = 0; n < 3; n++) {
		begin = read_tsc();
		e = SCENE(st, "loop", CODE(TWO_TSC), .pin = TIMED, .vmexit = SAVES, .timer = start);
		around = read_tsc() - begin;
		if (!PASSES("exit.save.timer", st, e))
			break;
		inside = (u32)st->s.v.g.ax - (u32)st->s.v.g.bx;
		counted = start - vmread(VMCS_preemption_timer_value);
		JUDGE("exit.save.timer", vmread(VMCS_preemption_timer_value) < start, true);
		/* One tick more or less at each end. */
		JUDGE("timer.rate", (counted + 2) << rate() >= inside, true);
		JUDGE("timer.rate", counted << rate() <= around + (2u << rate()), true);
	}
}

SCENES(timer, off, .sdm = TIMER, .needs = NEEDS, .rules = "timer.off")
{
	struct exit e;

	vmwrite(VMCS_preemption_timer_value, 0);
	e = SCENE(st, "off, 0", NOPS(3));
	PASSES("timer.off", st, e);
	JUDGE("timer.off", vmread(VMCS_preemption_timer_value), 0);
	vmwrite(VMCS_preemption_timer_value, 100);
	e = SCENE(st, "off, 100", CODE(TWO_TSC));
	PASSES("timer.off", st, e);
	JUDGE("timer.off", vmread(VMCS_preemption_timer_value), 100);
}

#define LEAVE_MIN 3000u
#define LEAVE_MAX (LEAVE_MIN << 12)

/*
 * L2 leaves early, and L1 waits until the timer would have got to 0. A CPU may take its time over L2's two instructions
 * (that of an L0 which has other things to do), so it's asked with longer and longer times, but there's an end to it.
 */
static void leave_timer_behind(struct stage *st, const struct where *rule)
{
	u64 begin, ticks = LEAVE_MIN;
	struct exit e;

	for (;; ticks <<= 4) {
		e = scene(st,
			  &(const struct scene){ .name = "timer left", NOPS(1), .pin = TIMED, .timer = (u32)ticks });
		if (ticks >= LEAVE_MAX || e.entry.kind != OUT_OK || e.reason != EXIT_preemption_timer)
			break;
	}
	stage_ends(rule, st, &e, EXIT_vmcall, (ulong)st->after);
	for (begin = read_tsc(); read_tsc() - begin < ticks << rate();)
		cpu_pause();
}

TEST(timer, stops, .sdm = TIMER, .needs = NEEDS, .rules = "timer.stops")
{
	struct stage st;
	struct exit e;

	for (u32 what = 0; what < 3; what++) {
		static const char *const names[] = { "same VMCS", "VMCLEAR", "VMXOFF" };
		const struct scene sc = { .name = names[what], CODE(TWO_TSC) };

		stage_begin(&st, c);
		leave_timer_behind(&st, WHERE("timer.stops"));
		if (what) {
			stage_done(&st);
			if (what == 2) {
				vmx_off(c);
				expect_out(vmx_on(c), out_ok());
			}
			stage_begin(&st, c);
		}
		e = scene(&st, &sc);
		PASSES("timer.stops", &st, e);
		stage_done(&st);
	}
}

/* --- What comes first --- */

SCENES(timer, after_injection, .sdm = TIMER, .needs = NEEDS, .rules = "timer.after-injection")
{
	struct exit e;

	for (const struct scene_event *v = scene_events; v < scene_events + SCENE_HARDWARE_EVENTS; v++) {
		e = SCENE(st, v->name, NOPS(3), .flags = RFLAGS_IF, .pin = TIMED, .timer_zero = true,
			  .inject = v->event);
		ENDS_AT("timer.after-injection", st, e, EXIT_preemption_timer, scene_handler(st, v->event & 0xff));
		JUDGE("timer.after-injection", vmread(VMCS_idt_vectoring_info) & EVENT_VALID, 0);
		JUDGE("timer.after-injection", vmread(VMCS_vm_entry_interruption_info) & EVENT_VALID, 0);
		JUDGE("timer.after-injection", scene_frame_ip(), (ulong)st->s.code);
	}
}

SCENES(timer, after_debug, .sdm = TIMER, .needs = NEEDS, .rules = "timer.after-debug")
{
	struct exit e = SCENE(st, "#DB exits", NOPS(3), .debug = PENDING_BS, .pin = TIMED, .timer_zero = true);

	ENDS("timer.after-debug", st, e, EXIT_exception_or_nmi, 0);
	e = SCENE(st, "#DB is L2's", NOPS(3), .debug = PENDING_BS, .pin = TIMED, .timer_zero = true,
		  .takes = 1u << VEC_DB);
	ENDS_AT("timer.after-debug", st, e, EXIT_preemption_timer, scene_handler(st, VEC_DB));
}

SCENES(timer, before_nmi, .sdm = TIMER, .needs = NEEDS "; NMI exiting; virtual NMIs; NMI-window exiting",
       .rules = "timer.before-nmi")
{
	struct exit e = SCENE(st, "NMI window", NOPS(3), .pin = TIMED | PIN_nmi_exiting | PIN_virtual_nmis,
			      .proc = PROC_nmi_window_exiting, .timer_zero = true);

	ENDS("timer.before-nmi", st, e, EXIT_preemption_timer, 0);
	e = SCENE(st, "NMI exiting", NOPS(3), .pin = TIMED | PIN_nmi_exiting, .timer_zero = true, .nmi = true);
	ENDS("timer.before-nmi", st, e, EXIT_preemption_timer, 0);
	e = SCENE(st, "NMI", NOPS(3), .pin = TIMED, .timer_zero = true, .nmi = true);
	ENDS("timer.before-nmi", st, e, EXIT_preemption_timer, 0);
}

SCENES(timer, before_interrupt, .sdm = TIMER, .needs = NEEDS "; external-interrupt exiting; interrupt-window exiting",
       .rules = "timer.before-interrupt")
{
	struct scene sc = { .name = "interrupt", NOPS(3), .flags = RFLAGS_IF, .pin = TIMED, .timer_zero = true };
	struct exit e;

	sc.interrupt = true;
	e = scene(st, &sc);
	ENDS("timer.before-interrupt", st, e, EXIT_preemption_timer, 0);
	JUDGE("timer.before-interrupt", scene_interrupt_pending(), true);
	sc.name = "interrupt exiting";
	sc.pin |= EXTERNAL;
	e = scene(st, &sc);
	ENDS("timer.before-interrupt", st, e, EXIT_preemption_timer, 0);
	sc.name = "interrupt exiting, window";
	sc.proc = PROC_interrupt_window_exiting;
	e = scene(st, &sc);
	ENDS("timer.before-interrupt", st, e, EXIT_preemption_timer, 0);
}
