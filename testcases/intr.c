// SPDX-License-Identifier: BSD-2-Clause
/* External interrupts and VM exits. */
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/test.h"
#include "x86/cr.h"

#define SPIN 1000

static ulong l2_spin(ulong send)
{
	if (send)
		apic_send_self(IRQ_VECTOR + IRQ_SELF);
	for (int i = 0; i < SPIN; i++)
		cpu_pause();
	return 0x5917;
}

/* With external-interrupt exiting IF doesn't matter; L2 has IF=0 all the time. */
static void check_exit_with_if0(struct cpu *c, bool pending_before)
{
	u32 before = c->count[LEVEL_L1][IRQ_SELF];
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, 0);
	v.irq_mode = IRQ_TO_L1;
	vcpu_write_controls(&v);
	if (pending_before)
		apic_send_self(IRQ_VECTOR + IRQ_SELF);
	guest(&v, l2_spin, !pending_before);
	e = enter_once(&v);
	expect_exit(&v, e, EXIT_external_interrupt);
	if (pending_before)
		expect_eq(e.ip, (ulong)l2_start);
	irq_window();
	expect_eq(c->count[LEVEL_L1][IRQ_SELF], before + 1);
}

TEST(intr, external_exit_if0_pending, .sdm = "Other Causes of VM Exits", .needs = "external-interrupt exiting",
     .rules = "intr.exits-if0")
{
	check_exit_with_if0(c, true);
}

TEST(intr, external_exit_if0_arriving, .sdm = "Other Causes of VM Exits", .needs = "external-interrupt exiting",
     .rules = "intr.exits-if0")
{
	check_exit_with_if0(c, false);
}

/* --- An interrupt right behind an exception --- */

#define ROUNDS 400u
#define FAULTS 20u

/* Faults again and again while the timer comes closer by a tick each round. */
static ulong l2_faults(ulong unused)
{
	ulong faulted = 0;

	(void)unused;
	for (u32 round = 0; round < ROUNDS; round++) {
		apic_timer_once(100 + round);
		irq_on();
		for (u32 i = 0; i < FAULTS; i++)
			faulted += try_ud2() == 3;
		irq_off();
	}
	return faulted;
}

/*
 * An exit between the delivery of an exception and the handler's first instruction must save RIP of the handler, as
 * it saves its RFLAGS. RIP of the faulting instruction with IF=0, which only the handler has, is a mixture of both.
 */
TEST(intr, external_exit_after_exception, .sdm = "Saving RIP, RSP, RFLAGS, and SSP",
     .needs = "external-interrupt exiting",
     .rules = "exit.save.rip-external exit.save.rip-exception-handler intr.exits")
{
	u32 exits = 0, in_handler = 0;
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, 0);
	v.irq_mode = IRQ_TO_L1;
	v.l2_takes = 1u << VEC_UD;
	vcpu_write_controls(&v);
	guest(&v, l2_faults, 0);
	for (e = enter_once(&v); e.reason == EXIT_external_interrupt; e = enter_once(&v)) {
		bool handler = !(vmread(VMCS_guest_rflags) & RFLAGS_IF);

		irq_window();
		exits++;
		in_handler += handler;
		if (handler && !expect(e.ip != (ulong)try_ud2_instruction))
			break;
		require_env(exits <= 2 * ROUNDS);
	}
	apic_timer_stop();
	irq_window();
	if (e.reason == EXIT_external_interrupt)
		return;
	require_call(&v, e, L2_RETURN);
	expect_eq(v.g.dx, ROUNDS * FAULTS);
	expect_env(exits > 0);
	say_note("%u external-interrupt exits, %u of them from the handler", exits, in_handler);
}

/* --- HLT and the interrupt window --- */

#define WATCHDOG 200000u /* timer ticks: much more than L2 needs to get to its HLT */

static ulong l2_halt(ulong x)
{
	l2_halt_once();
	return x;
}

/* The window opens when STI's shadow ends, and L2 is halted by then: the exit must wake it. */
TEST(intr, window_ends_hlt, .sdm = "Other Causes of VM Exits",
     .needs = "interrupt-window exiting; activate VMX-preemption timer; activity state HLT", .rules = "intr.window-hlt")
{
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, 0);
	v.ctl[CTL_PROC] |= PROC_interrupt_window_exiting;
	v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
	vcpu_write_controls(&v);
	vmwrite(VMCS_preemption_timer_value, WATCHDOG);
	guest(&v, l2_halt, 0x417);
	e = enter_once(&v);
	require_exit(&v, e, EXIT_interrupt_window);
	expect_eq(vmread(VMCS_guest_rflags) & RFLAGS_IF, RFLAGS_IF);
	expect_eq(vmread(VMCS_guest_interruptibility_state), 0);
	v.ctl[CTL_PROC] &= ~(u32)PROC_interrupt_window_exiting;
	vcpu_write_controls(&v);
	vmwrite(VMCS_guest_activity_state, 0);
	e = enter_once(&v);
	require_call(&v, e, L2_RETURN);
	expect_eq(v.g.dx, 0x417);
}
