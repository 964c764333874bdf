// SPDX-License-Identifier: BSD-2-Clause
/*
 * External interrupts and the interrupt window: each of IF, blocking by STI, blocking by MOV SS and the activity state,
 * at the entry and behind it. SDM: "Other Causes of VM Exits", "Event Blocking".
 */
#include "testcases/scene.h"
#include "arch/frame.h"
#include "lhv/apic.h"

#define CAUSES "Other Causes of VM Exits"
#define WINDOW PROC_interrupt_window_exiting
#define EXITING PIN_external_interrupt_exiting
#define TIMED PIN_activate_preemption_timer
#define NEEDS_TIMER "activate VMX-preemption timer"
#define NEEDS_WINDOW "interrupt-window exiting"
#define NEEDS_EXITING "external-interrupt exiting"

/* --- The window --- */

SCENES(intr, window_at_entry, .sdm = CAUSES, .needs = NEEDS_WINDOW,
       .rules = "intr.window intr.window-blocked entry.interrupt-window-open exit.info.qualification-zero")
{
	struct exit e = SCENE(st, "IF=1", NOPS(3), .flags = RFLAGS_IF, .proc = WINDOW);

	ENDS("entry.interrupt-window-open", st, e, EXIT_interrupt_window, 0);
	JUDGE("exit.info.qualification-zero", e.qualification, 0);
	JUDGE("intr.window", vmread(VMCS_guest_rflags), RFLAGS_FIXED | RFLAGS_IF);
	JUDGE("intr.window", vmread(VMCS_guest_interruptibility_state), 0);
	JUDGE("intr.window", vmread(VMCS_guest_activity_state), ACTIVE);
	JUDGE("intr.window", vmread(VMCS_exit_interruption_info) & EVENT_VALID, 0);
	/* It stays open, and without the control nobody asks. */
	e = scene_again(st);
	ENDS("intr.window", st, e, EXIT_interrupt_window, 0);
	e = SCENE(st, "IF=1, no window", NOPS(3), .flags = RFLAGS_IF);
	PASSES("intr.window", st, e);
	e = SCENE(st, "IF=0", NOPS(3), .proc = WINDOW);
	PASSES("intr.window-blocked", st, e);
	e = SCENE(st, "IF=0, MOV SS", NOPS(3), .blocked = BY_MOV_SS, .proc = WINDOW);
	PASSES("intr.window-blocked", st, e);
}

SCENES(intr, window_shadow_at_entry, .sdm = "Interruptibility State", .needs = NEEDS_WINDOW,
       .rules = "intr.window-blocked intr.shadow-one")
{
	struct exit e;

	for (u32 blocked = BY_STI; blocked <= BY_MOV_SS; blocked <<= 1) {
		e = SHADOW(st, blocked, .proc = WINDOW);
		ENDS("intr.window-blocked", st, e, EXIT_interrupt_window, 1);
		JUDGE("intr.shadow-one", vmread(VMCS_guest_interruptibility_state), 0);
	}
}

/* PUSH imm32 with IF; POPF */
#define PUSH_IF_POPF "\x68\x02\x02\x00\x00\x9d"

SCENES(intr, window_opens_later, .sdm = CAUSES, .needs = NEEDS_WINDOW,
       .rules = "intr.window intr.window-blocked intr.shadow-one intr.sti-again")
{
	struct exit e = SCENE(st, "STI", CODE("\xfb\x90\x90\x90"), .proc = WINDOW);

	ENDS("intr.shadow-one", st, e, EXIT_interrupt_window, 2);
	e = SCENE(st, "STI STI", CODE("\xfb\xfb\x90\x90"), .proc = WINDOW);
	ENDS("intr.sti-again", st, e, EXIT_interrupt_window, 2);
	e = SCENE(st, "STI CLI", CODE("\xfb\xfa\x90\x90"), .proc = WINDOW);
	PASSES("intr.window-blocked", st, e);
	e = SCENE(st, "POPF", CODE(PUSH_IF_POPF "\x90\x90"), .proc = WINDOW);
	ENDS("intr.window", st, e, EXIT_interrupt_window, sizeof(PUSH_IF_POPF) - 1);
	/* An instruction that exits comes before the boundary behind it. */
	e = SCENE(st, "STI VMCALL", CODE("\xfb"), .proc = WINDOW);
	PASSES("intr.window-blocked", st, e);
	JUDGE("intr.window-blocked", vmread(VMCS_guest_interruptibility_state), BY_STI);
}

SCENES(intr, window_hlt_at_entry, .sdm = "Interrupt-Window Exiting and Virtual-Interrupt Delivery",
       .needs = NEEDS_WINDOW "; " NEEDS_TIMER "; activity state HLT", .rules = "intr.window-hlt exit.save.activity")
{
	struct exit e =
		SCENE(st, "HLT, IF=1", NOPS(3), .flags = RFLAGS_IF, .activity = HLT, .pin = TIMED, .proc = WINDOW);

	ENDS("intr.window-hlt", st, e, EXIT_interrupt_window, 0);
	JUDGE("exit.save.activity", vmread(VMCS_guest_activity_state), HLT);
}

SCENES(intr, window_hlt_closed, .sdm = CAUSES, .needs = NEEDS_WINDOW "; " NEEDS_TIMER "; activity state HLT",
       .rules = "intr.window-blocked")
{
	struct exit e = SCENE(st, "HLT, IF=0", NOPS(3), .activity = HLT, .pin = TIMED, .proc = WINDOW);

	ENDS("intr.window-blocked", st, e, EXIT_preemption_timer, 0);
}

SCENES(intr, window_shutdown, .sdm = "Interrupt-Window Exiting and Virtual-Interrupt Delivery",
       .needs = NEEDS_WINDOW "; " NEEDS_TIMER "; activity state shutdown", .rules = "intr.window-shutdown")
{
	struct exit e = SCENE(st, "shutdown, IF=1", NOPS(3), .flags = RFLAGS_IF, .activity = SHUTDOWN, .pin = TIMED,
			      .proc = WINDOW);

	ENDS("intr.window-shutdown", st, e, EXIT_preemption_timer, 0);
}

SCENES(intr, window_priority, .sdm = "Interrupt-Window Exiting and Virtual-Interrupt Delivery",
       .needs = NEEDS_WINDOW "; NMI exiting; " NEEDS_EXITING, .rules = "intr.window-first")
{
	struct exit e =
		SCENE(st, "interrupt", NOPS(3), .flags = RFLAGS_IF, .pin = EXITING, .proc = WINDOW, .interrupt = true);

	ENDS("intr.window-first", st, e, EXIT_interrupt_window, 0);
	JUDGE("intr.window-first", scene_interrupt_pending(), true);
	e = SCENE(st, "NMI", NOPS(3), .flags = RFLAGS_IF, .pin = PIN_nmi_exiting, .proc = WINDOW, .nmi = true);
	ENDS("intr.window-first", st, e, EXIT_exception_or_nmi, 0);
}

/* By an interrupt gate, the handler has IF=0 until its IRET; by a trap gate, it keeps IF. */
SCENES(intr, window_injection, .sdm = "Interrupt-Window Exiting and Virtual-Interrupt Delivery", .needs = NEEDS_WINDOW,
       .rules = "intr.window-after-injection intr.window")
{
	struct scene sc = {
		.name = "interrupt gate", NOPS(3), .flags = RFLAGS_IF, .proc = WINDOW, .inject = EVENT_EXCEPTION(VEC_UD)
	};
	struct exit e;

	e = scene(st, &sc);
	if (HANDLES("intr.window-after-injection", st, e, VEC_UD)) {
		skip_instruction(&st->s.v, &e);
		e = scene_again(st);
		ENDS("intr.window", st, e, EXIT_interrupt_window, 0);
	}
	sc.name = "trap gate";
	st->idt2[VEC_UD].type |= 1;
	e = scene(st, &sc);
	ENDS_AT("intr.window-after-injection", st, e, EXIT_interrupt_window, scene_handler(st, VEC_UD));
	JUDGE("intr.window", vmread(VMCS_idt_vectoring_info) & EVENT_VALID, 0);
}

/* --- External interrupts that are pending at the entry --- */

SCENES(intr, acknowledged, .sdm = "External-Interrupt Exiting",
       .needs = NEEDS_EXITING "; acknowledge interrupt on exit",
       .rules = "intr.acknowledge exit.info.acknowledged intr.exits")
{
	u32 before = c->count[LEVEL_L1][IRQ_SELF];
	struct exit e = SCENE(st, "acknowledged", NOPS(3), .flags = RFLAGS_IF, .pin = EXITING,
			      .vmexit = VMEXIT_acknowledge_interrupt_on_exit, .interrupt = true);

	if (ENDS("intr.exits", st, e, EXIT_external_interrupt, 0)) {
		JUDGE("exit.info.acknowledged", vmread(VMCS_exit_interruption_info), EVENT_EXTERNAL(SCENE_VECTOR));
		JUDGE("intr.acknowledge", scene_interrupt_pending(), false);
		/* It's in service: nothing more comes from it. */
		irq_window();
		JUDGE("intr.acknowledge", c->count[LEVEL_L1][IRQ_SELF], before);
		apic_send_self(SCENE_VECTOR);
		irq_window();
		JUDGE("intr.acknowledge", c->count[LEVEL_L1][IRQ_SELF], before);
		apic_eoi();
		irq_window();
		JUDGE("intr.acknowledge", c->count[LEVEL_L1][IRQ_SELF], before + 1);
	}
}

SCENES(intr, not_acknowledged, .sdm = "External-Interrupt Exiting", .needs = NEEDS_EXITING,
       .rules = "intr.pending exit.info.acknowledged intr.exits exit.info.qualification-zero")
{
	u32 before = c->count[LEVEL_L1][IRQ_SELF];
	struct exit e = SCENE(st, "pending", NOPS(3), .flags = RFLAGS_IF, .pin = EXITING, .interrupt = true);

	if (ENDS("intr.exits", st, e, EXIT_external_interrupt, 0)) {
		JUDGE("exit.info.acknowledged", vmread(VMCS_exit_interruption_info) & EVENT_VALID, 0);
		JUDGE("exit.info.qualification-zero", e.qualification, 0);
		JUDGE("intr.pending", scene_interrupt_pending(), true);
		/* And exits again. */
		e = scene_again(st);
		ENDS("intr.exits", st, e, EXIT_external_interrupt, 0);
		irq_window();
		JUDGE("intr.pending", c->count[LEVEL_L1][IRQ_SELF], before + 1);
	}
}

SCENES(intr, taken_by_guest, .sdm = "External-Interrupt Exiting", .rules = "intr.guest")
{
	struct exit e = SCENE(st, "IF=1", NOPS(3), .flags = RFLAGS_IF, .interrupt = true);

	if (HANDLES("intr.guest", st, e, SCENE_VECTOR)) {
		JUDGE("intr.guest", scene_frame_ip(), (ulong)st->s.code);
		JUDGE("intr.guest", scene_interrupt_pending(), false);
	}
	e = SCENE(st, "IF=0", NOPS(3), .interrupt = true);
	PASSES("intr.guest", st, e);
	JUDGE("intr.guest", scene_interrupt_pending(), true);
	e = SCENE(st, "STI", CODE("\xfb\x90\x90"), .interrupt = true);
	if (HANDLES("intr.guest", st, e, SCENE_VECTOR))
		JUDGE("intr.guest", scene_frame_ip(), (ulong)st->s.code + 2);
}

SCENES(intr, shadow_guest, .sdm = "Interruptibility State", .rules = "intr.blocked-shadow")
{
	struct exit e;

	for (u32 blocked = BY_STI; blocked <= BY_MOV_SS; blocked <<= 1) {
		e = SHADOW(st, blocked, .interrupt = true);
		if (HANDLES("intr.blocked-shadow", st, e, SCENE_VECTOR))
			JUDGE("intr.blocked-shadow", scene_frame_ip(), (ulong)st->s.code + 1);
	}
}

SCENES(intr, shadow_exiting, .sdm = "Event Blocking", .needs = NEEDS_EXITING, .rules = "intr.blocked-shadow")
{
	struct exit e;

	for (u32 blocked = BY_STI; blocked <= BY_MOV_SS; blocked <<= 1) {
		e = SHADOW(st, blocked, .pin = EXITING, .interrupt = true);
		ENDS("intr.blocked-shadow", st, e, EXIT_external_interrupt, 1);
	}
}

static void check_hlt(struct stage *st, ulong flags)
{
	struct exit e = SCENE(st, flags ? "HLT, IF=1" : "HLT, IF=0", NOPS(3), .flags = flags, .activity = HLT,
			      .pin = EXITING | TIMED, .interrupt = true);

	if (ENDS("intr.hlt", st, e, EXIT_external_interrupt, 0))
		JUDGE("exit.save.activity", vmread(VMCS_guest_activity_state), HLT);
	else
		judge_absent("exit.save.activity");
}

SCENES(intr, hlt_pending, .sdm = CAUSES, .needs = NEEDS_EXITING "; " NEEDS_TIMER "; activity state HLT",
       .rules = "intr.hlt exit.save.activity")
{
	check_hlt(st, RFLAGS_IF);
}

SCENES(intr, hlt_pending_if0, .sdm = CAUSES, .needs = NEEDS_EXITING "; " NEEDS_TIMER "; activity state HLT",
       .rules = "intr.hlt exit.save.activity")
{
	check_hlt(st, 0);
}

/* Without exiting: IF decides, and the handler's IRET doesn't go back to sleep. */
SCENES(intr, hlt_guest, .sdm = "HLT-Halt", .needs = NEEDS_TIMER "; activity state HLT", .rules = "intr.guest")
{
	struct exit e =
		SCENE(st, "HLT, IF=1", NOPS(3), .flags = RFLAGS_IF, .activity = HLT, .pin = TIMED, .interrupt = true);

	if (HANDLES("intr.guest", st, e, SCENE_VECTOR)) {
		JUDGE("intr.guest", vmread(VMCS_guest_activity_state), ACTIVE);
		apic_eoi();
		skip_instruction(&st->s.v, &e);
		e = scene_again(st);
		PASSES("intr.guest", st, e);
	}
	e = SCENE(st, "HLT, IF=0", NOPS(3), .activity = HLT, .pin = TIMED, .interrupt = true);
	ENDS("intr.guest", st, e, EXIT_preemption_timer, 0);
}

SCENES(intr, shutdown_pending, .sdm = "Activity State",
       .needs = NEEDS_EXITING "; " NEEDS_TIMER "; activity state shutdown", .rules = "intr.shutdown")
{
	struct exit e = SCENE(st, "shutdown", NOPS(3), .flags = RFLAGS_IF, .activity = SHUTDOWN, .pin = EXITING | TIMED,
			      .interrupt = true);

	ENDS("intr.shutdown", st, e, EXIT_preemption_timer, 0);
	JUDGE("intr.shutdown", scene_interrupt_pending(), true);
}

SCENES(intr, after_injection, .sdm = "Details of Vectored-Event Injection", .needs = NEEDS_EXITING,
       .rules = "intr.after-injection inject.before-pending")
{
	struct exit e = SCENE(st, "exiting", NOPS(3), .flags = RFLAGS_IF, .pin = EXITING,
			      .inject = EVENT_EXCEPTION(VEC_UD), .interrupt = true);

	ENDS_AT("intr.after-injection", st, e, EXIT_external_interrupt, scene_handler(st, VEC_UD));
	JUDGE("inject.before-pending", vmread(VMCS_idt_vectoring_info) & EVENT_VALID, 0);
	JUDGE("inject.before-pending", vmread(VMCS_vm_entry_interruption_info) & EVENT_VALID, 0);
	e = SCENE(st, "not exiting", NOPS(3), .flags = RFLAGS_IF, .inject = EVENT_EXCEPTION(VEC_UD), .interrupt = true);
	/* IF is 0 in the first handler, and 1 again behind it. */
	if (HANDLES("inject.before-pending", st, e, VEC_UD)) {
		skip_instruction(&st->s.v, &e);
		e = scene_again(st);
		HANDLES("intr.after-injection", st, e, SCENE_VECTOR);
	}
}
