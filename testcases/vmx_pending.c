// SPDX-License-Identifier: BSD-2-Clause
/*
 * Leaving VMX operation while something is on its way: an interrupt stays pending, and what only counts in VMX non-root
 * operation comes to an end. Hosts that keep timers and pages for a VMCS have used them after it was gone.
 */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/platform.h"
#include "testcases/entry_rows.h"
#include "testcases/judge.h"

#define VECTOR (IRQ_VECTOR + IRQ_SELF)
#define CHURN 8u
#define TIMER_VALUE 60000u /* so much that L2 calls before; and little enough to have run out a moment later */

static void leave_and_come_back(struct cpu *c)
{
	expect_out(vmx_off(c), out_ok());
	expect_out(vmx_on(c), out_ok());
}

TEST(vmx, interrupt_over_vmxoff, .sdm = "VMXOFF-Leave VMX Operation", .rules = "insn.vmxoff.interrupt-pending")
{
	volatile u32 *count = &c->count[LEVEL_L1][IRQ_SELF];

	judge_begin();
	for (u32 n = 0; n < 4; n++) {
		u32 before = *count;

		/* IF is 0. */
		apic_send_self(VECTOR);
		leave_and_come_back(c);
		judge_about("interrupt that waits", "VMXOFF and VMXON");
		JUDGE("insn.vmxoff.interrupt-pending", *count, before);
		JUDGE("insn.vmxoff.interrupt-pending", apic_pending(VECTOR), true);
		irq_window();
		JUDGE("insn.vmxoff.interrupt-pending", *count, before + 1);
		JUDGE("insn.vmxoff.interrupt-pending", apic_pending(VECTOR), false);
	}
	judge_done();
}

static ulong l2_nothing(ulong x)
{
	return x;
}

static struct exit enter_with_timer(struct vcpu *v)
{
	guest(v, l2_nothing, 1);
	vmwrite(VMCS_preemption_timer_value, TIMER_VALUE);
	return enter_once(v);
}

static void let_it_run_out(void)
{
	u64 begin = read_tsc();

	while (read_tsc() - begin < 2 * TIMER_VALUE)
		cpu_pause();
}

/* The timer counts in VMX non-root operation only: however its VMCS goes away, nothing comes of it in L1. */
TEST(vmx, timer_over_vmclear, .sdm = "VMX-Preemption Timer", .needs = TIMER, .rules = "insn.vmxoff.timer-ends")
{
	struct vcpu v;

	judge_begin();
	for (u32 n = 0; n < CHURN; n++) {
		struct exit e;

		test_vcpu(&v, c, 0);
		v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
		vcpu_write_controls(&v);
		e = enter_with_timer(&v);
		judge_about("timer", n & 1 ? "VMCLEAR and VMXOFF" : "VMCLEAR");
		JUDGE("insn.vmxoff.timer-ends", e.reason, EXIT_vmcall);
		vcpu_destroy(&v);
		if (n & 1)
			leave_and_come_back(c);
		let_it_run_out();
		/* The page is something else by now. */
		memset((void *)(ulong)v.vmcs_pa, 0x5a, PAGE_SIZE);
		let_it_run_out();
		JUDGE("insn.vmxoff.timer-ends", *(volatile u64 *)(ulong)(v.vmcs_pa + 8), 0x5a5a5a5a5a5a5a5aull);
	}
	judge_done();
}

/* Pages that a VMCS named are L1's alone as soon as it's cleared. */
TEST(vmx, pages_after_vmclear, .sdm = "Software Access to Related Structures",
     .needs = "use TPR shadow; use MSR bitmaps", .rules = "vmcs.pages-free")
{
	u8 *page[2] = { page_alloc(), page_alloc() };
	struct vcpu v;

	judge_begin();
	for (u32 n = 0; n < CHURN; n++) {
		struct exit e;

		test_vcpu(&v, c, 0);
		v.ctl[CTL_PROC] |= PROC_use_tpr_shadow | PROC_use_msr_bitmaps;
		vcpu_write_controls(&v);
		memset(page[0], 0, PAGE_SIZE);
		memset(page[1], 0xff, PAGE_SIZE);
		vmwrite(VMCS_virtual_apic_address, (ulong)page[0]);
		vmwrite(VMCS_msr_bitmap_address, (ulong)page[1]);
		vmwrite(VMCS_tpr_threshold, 0);
		guest(&v, l2_nothing, 1);
		e = enter_once(&v);
		judge_about("pages of a VMCS", "that was cleared");
		JUDGE("vmcs.pages-free", e.reason, EXIT_vmcall);
		vcpu_destroy(&v);
		if (n & 1)
			leave_and_come_back(c);
		for (u32 k = 0; k < 2; k++) {
			memset(page[k], (int)(0x30 + n), PAGE_SIZE);
			for (u32 at = 0; at < PAGE_SIZE; at += 512)
				JUDGE("vmcs.pages-free", page[k][at], 0x30 + n);
		}
	}
	judge_done();
}
