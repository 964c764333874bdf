// SPDX-License-Identifier: BSD-2-Clause
/* The monitor trap flag, and exits by it that an entry injects. SDM: "Monitor Trap Flag", "Injection of Pending MTF VM Exits". */
#include "testcases/scene.h"

#define MTF "Monitor Trap Flag"
#define NEEDS "monitor trap flag"
#define STEP PROC_monitor_trap_flag
#define TIMED PIN_activate_preemption_timer
#define INJECTION "Injection of Pending MTF VM Exits"

SCENES(mtf, instructions, .sdm = MTF, .needs = NEEDS,
       .rules = "mtf.instruction mtf.trap-like exit.info.interruption-clear")
{
	/* NOP; MOV EAX,imm32; PUSH RAX; JMP +1; (skipped); XOR EAX,EAX */
	static const u32 at[] = { 1, 6, 7, 10, 12 };
	struct exit e = SCENE(st, "steps", CODE("\x90\xb8\x44\x33\x22\x11\x50\xeb\x01\x90\x31\xc0"), .proc = STEP);

	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		if (!ENDS("mtf.instruction", st, e, EXIT_monitor_trap_flag, at[i]))
			break;
		JUDGE("mtf.trap-like", e.qualification, 0);
		JUDGE("mtf.trap-like", vmread(VMCS_idt_vectoring_info) & EVENT_VALID, 0);
		JUDGE("mtf.trap-like", (u32)st->s.v.g.ax, i == 0 ? SNIP_REGISTER(0) : i == 4 ? 0 : 0x11223344);
		JUDGE("mtf.trap-like", vmread(VMCS_guest_rsp), SNIP_SP(&st->s) - (i < 2 ? 0 : sizeof(ulong)));
		JUDGE("exit.info.interruption-clear", vmread(VMCS_exit_interruption_info) & EVENT_VALID, 0);
		e = scene_again(st);
	}
	PASSES("mtf.instruction", st, e);
}

SCENES(mtf, injected_event, .sdm = MTF, .needs = NEEDS, .rules = "mtf.injected")
{
	struct exit e;

	for (const struct scene_event *v = scene_events; v < scene_events + SCENE_EVENTS; v++) {
		e = SCENE(st, v->name, NOPS(3), .flags = RFLAGS_IF, .proc = STEP, .inject = v->event,
			  .inject_length = v->length);
		ENDS_AT("mtf.injected", st, e, EXIT_monitor_trap_flag, scene_handler(st, v->event & 0xff));
		JUDGE("mtf.injected", scene_frame_ip(), (ulong)st->s.code + v->length);
		JUDGE("mtf.injected", vmread(VMCS_idt_vectoring_info) & EVENT_VALID, 0);
		JUDGE("mtf.injected", vmread(VMCS_vm_entry_interruption_info) & EVENT_VALID, 0);
	}
}

SCENES(mtf, pending_event, .sdm = MTF, .needs = NEEDS, .rules = "mtf.pending-event")
{
	struct exit e = SCENE(st, "interrupt", NOPS(3), .flags = RFLAGS_IF, .proc = STEP, .interrupt = true);

	ENDS_AT("mtf.pending-event", st, e, EXIT_monitor_trap_flag, scene_handler(st, SCENE_VECTOR));
	e = SCENE(st, "NMI", NOPS(3), .proc = STEP, .nmi = true);
	ENDS_AT("mtf.pending-event", st, e, EXIT_monitor_trap_flag, scene_handler(st, VEC_NMI));
	e = SCENE(st, "debug exception", NOPS(3), .debug = PENDING_BS, .proc = STEP, .takes = 1u << VEC_DB);
	ENDS_AT("mtf.pending-event", st, e, EXIT_monitor_trap_flag, scene_handler(st, VEC_DB));
}

SCENES(mtf, rep, .sdm = MTF, .needs = NEEDS, .rules = "mtf.rep")
{
	struct exit e;

	/* CPUID exits; behind it the registers are ours. */
	e = SCENE(st, "REP STOSB", CODE("\x0f\xa2\xf3\xaa\x90"), .proc = STEP);
	if (ENDS("mtf.rep", st, e, EXIT_cpuid, 0)) {
		skip_instruction(&st->s.v, &e);
		st->s.v.g.cx = 3;
		st->s.v.g.di = (ulong)st->s.data;
		st->s.v.g.ax = 0x5a;
		for (u32 left = 2; left < 3; left--) {
			e = scene_again(st);
			ENDS("mtf.rep", st, e, EXIT_monitor_trap_flag, left ? 2 : 4);
			JUDGE("mtf.rep", st->s.v.g.cx, left);
			JUDGE("mtf.rep", st->s.v.g.di, (ulong)st->s.data + 3 - left);
			JUDGE("mtf.rep", st->s.data[2 - left], 0x5a);
			JUDGE("mtf.rep", st->s.data[3 - left], 0);
		}
	}
}

SCENES(mtf, fault, .sdm = MTF, .needs = NEEDS, .rules = "mtf.fault mtf.other-exit")
{
	struct exit e = SCENE(st, "UD2 is L2's", CODE("\x0f\x0b"), .proc = STEP, .takes = 1u << VEC_UD);

	ENDS_AT("mtf.fault", st, e, EXIT_monitor_trap_flag, scene_handler(st, VEC_UD));
	JUDGE("mtf.fault", scene_frame_ip(), (ulong)st->s.code);
	e = SCENE(st, "UD2 exits", CODE("\x0f\x0b"), .proc = STEP);
	ENDS("mtf.other-exit", st, e, EXIT_exception_or_nmi, 0);
}

SCENES(mtf, software_interrupt, .sdm = MTF, .needs = NEEDS, .rules = "mtf.software-interrupt")
{
	struct exit e = SCENE(st, "INT 0x41", CODE("\xcd\x41"), .proc = STEP);

	ENDS_AT("mtf.software-interrupt", st, e, EXIT_monitor_trap_flag, scene_handler(st, 0x41));
	JUDGE("mtf.software-interrupt", scene_frame_ip(), (ulong)st->s.code + 2);
	e = SCENE(st, "INT3", CODE("\xcc"), .proc = STEP, .takes = 1u << VEC_BP);
	ENDS_AT("mtf.software-interrupt", st, e, EXIT_monitor_trap_flag, scene_handler(st, VEC_BP));
}

/* The other exit comes, and when L2 goes on without the flag nothing is left of it. */
SCENES(mtf, other_exit, .sdm = MTF, .needs = NEEDS, .rules = "mtf.other-exit")
{
	struct exit e = SCENE(st, "CPUID", CODE("\x0f\xa2\x90\x90"), .proc = STEP);

	if (ENDS("mtf.other-exit", st, e, EXIT_cpuid, 0)) {
		skip_instruction(&st->s.v, &e);
		vmwrite_bits(VMCS_primary_proc_based_controls, STEP, 0);
		e = scene_again(st);
		PASSES("mtf.other-exit", st, e);
	}
	e = SCENE(st, "MTF, then none", NOPS(3), .proc = STEP);
	ENDS("mtf.other-exit", st, e, EXIT_monitor_trap_flag, 1);
	vmwrite_bits(VMCS_primary_proc_based_controls, STEP, 0);
	e = scene_again(st);
	PASSES("mtf.other-exit", st, e);
}

SCENES(mtf, hlt, .sdm = MTF, .needs = NEEDS "; activate VMX-preemption timer; activity state HLT", .rules = "mtf.hlt")
{
	struct exit e = SCENE(st, "HLT", CODE("\xf4\x90"), .pin = TIMED, .proc = STEP);

	if (ENDS("mtf.hlt", st, e, EXIT_monitor_trap_flag, 1))
		JUDGE("mtf.hlt", vmread(VMCS_guest_activity_state), HLT);
}

SCENES(mtf, shadow, .sdm = MTF, .needs = NEEDS, .rules = "mtf.not-blocked")
{
	struct exit e = SCENE(st, "STI", CODE("\xfb\x90\x90"), .proc = STEP);

	ENDS("mtf.not-blocked", st, e, EXIT_monitor_trap_flag, 1);
	JUDGE("mtf.not-blocked", vmread(VMCS_guest_interruptibility_state), BY_STI);
	e = scene_again(st);
	ENDS("mtf.not-blocked", st, e, EXIT_monitor_trap_flag, 2);
	JUDGE("mtf.not-blocked", vmread(VMCS_guest_interruptibility_state), 0);
	/* MOV EAX,SEL_DATA; MOV SS,AX */
	e = SCENE(st, "MOV SS", CODE("\xb8\x10\0\0\0\x8e\xd0\x90\x90"), .proc = STEP);
	ENDS("mtf.not-blocked", st, e, EXIT_monitor_trap_flag, 5);
	e = scene_again(st);
	ENDS("mtf.not-blocked", st, e, EXIT_monitor_trap_flag, 7);
	JUDGE("mtf.not-blocked", vmread(VMCS_guest_interruptibility_state), BY_MOV_SS);
	e = scene_again(st);
	ENDS("mtf.not-blocked", st, e, EXIT_monitor_trap_flag, 8);
	JUDGE("mtf.not-blocked", vmread(VMCS_guest_interruptibility_state), 0);
}

/* The single step's exception waits: it is saved, and delivered by the next entry. */
SCENES(mtf, single_step, .sdm = MTF, .needs = NEEDS, .rules = "mtf.before-debug exit.save.pending-debug")
{
	struct exit e = SCENE(st, "TF", NOPS(3), .flags = RFLAGS_TF, .proc = STEP);

	if (ENDS("mtf.before-debug", st, e, EXIT_monitor_trap_flag, 1)) {
		JUDGE("exit.save.pending-debug", vmread(VMCS_guest_pending_debug_exceptions), PENDING_BS);
		e = scene_again(st);
		ENDS("mtf.before-debug", st, e, EXIT_exception_or_nmi, 1);
	}
	judge_absent("exit.save.pending-debug");
}

SCENES(mtf, before_events, .sdm = MTF,
       .needs = NEEDS
       "; NMI exiting; virtual NMIs; NMI-window exiting; external-interrupt exiting; interrupt-window exiting",
       .rules = "mtf.before-events")
{
	struct exit e;

	/* The window opens at the boundary where the flag's exit is due. */
	e = SCENE(st, "interrupt window", CODE("\x90\x90"), .flags = RFLAGS_IF, .blocked = BY_STI,
		  .proc = STEP | PROC_interrupt_window_exiting);
	ENDS("mtf.before-events", st, e, EXIT_monitor_trap_flag, 1);
	e = SCENE(st, "interrupt", CODE("\x90\x90"), .flags = RFLAGS_IF, .blocked = BY_STI,
		  .pin = PIN_external_interrupt_exiting, .proc = STEP, .interrupt = true);
	ENDS("mtf.before-events", st, e, EXIT_monitor_trap_flag, 1);
	e = SCENE(st, "injected, NMI window", NOPS(3), .pin = PIN_nmi_exiting | PIN_virtual_nmis,
		  .proc = PROC_nmi_window_exiting, .inject = EVENT_MTF);
	ENDS("mtf.before-events", st, e, EXIT_monitor_trap_flag, 0);
	e = SCENE(st, "injected, NMI", NOPS(3), .pin = PIN_nmi_exiting, .inject = EVENT_MTF, .nmi = true);
	ENDS("mtf.before-events", st, e, EXIT_monitor_trap_flag, 0);
}

/* --- Injected --- */

SCENES(mtf, injected, .sdm = INJECTION, .needs = NEEDS,
       .rules = "inject.mtf entry.mtf-pending inject.once mtf.not-blocked mtf.before-debug")
{
	struct exit e;

	for (u32 control = 0; control < 2; control++) {
		e = SCENE(st, control ? "control on" : "control off", NOPS(3), .proc = control ? STEP : 0,
			  .inject = EVENT_MTF);
		if (ENDS("inject.mtf", st, e, EXIT_monitor_trap_flag, 0)) {
			JUDGE("inject.once", vmread(VMCS_vm_entry_interruption_info) & EVENT_VALID, 0);
			JUDGE("entry.mtf-pending", e.qualification, 0);
			JUDGE("entry.mtf-pending", vmread(VMCS_idt_vectoring_info) & EVENT_VALID, 0);
		}
		vmwrite_bits(VMCS_primary_proc_based_controls, STEP, 0);
		e = scene_again(st);
		PASSES("inject.once", st, e);
	}
	for (u32 blocked = BY_STI; blocked <= BY_MOV_SS; blocked <<= 1) {
		e = SHADOW(st, blocked, .inject = EVENT_MTF);
		ENDS("mtf.not-blocked", st, e, EXIT_monitor_trap_flag, 0);
	}
	e = SCENE(st, "debug exception", NOPS(3), .debug = PENDING_BS, .inject = EVENT_MTF);
	ENDS("mtf.before-debug", st, e, EXIT_monitor_trap_flag, 0);
}

SCENES(mtf, injected_timer, .sdm = INJECTION, .needs = NEEDS "; activate VMX-preemption timer",
       .rules = "timer.after-mtf")
{
	struct exit e = SCENE(st, "timer 0", NOPS(3), .pin = TIMED, .timer_zero = true, .inject = EVENT_MTF);

	ENDS("timer.after-mtf", st, e, EXIT_monitor_trap_flag, 0);
}

SCENES(mtf, injected_hlt, .sdm = INJECTION, .needs = NEEDS "; activate VMX-preemption timer; activity state HLT",
       .rules = "mtf.hlt inject.mtf")
{
	struct exit e = SCENE(st, "HLT", NOPS(3), .activity = HLT, .pin = TIMED, .inject = EVENT_MTF);

	ENDS("inject.mtf", st, e, EXIT_monitor_trap_flag, 0);
	JUDGE("mtf.hlt", vmread(VMCS_guest_activity_state), HLT);
}
