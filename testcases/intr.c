// SPDX-License-Identifier: BSD-2-Clause
/* External interrupts and VM exits. */
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/test.h"

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

TEST(intr, external_exit_if0_pending, .sdm = "Other Causes of VM Exits", .needs = "external-interrupt exiting")
{
	check_exit_with_if0(c, true);
}

TEST(intr, external_exit_if0_arriving, .sdm = "Other Causes of VM Exits", .needs = "external-interrupt exiting")
{
	check_exit_with_if0(c, false);
}
