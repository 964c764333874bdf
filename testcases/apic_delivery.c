// SPDX-License-Identifier: BSD-2-Clause
/* Virtual interrupts: evaluated at VM entry, delivered, held up, and given priority. What writes do is in apic_eoi.c. */
#include "lhv/apic.h"
#include "testcases/entry_rows.h"
#include "testcases/vapic.h"
#include "x86/cr.h"

#define EVALUATION "Evaluation of Pending Virtual Interrupts"
#define DELIVERY "Virtual-Interrupt Delivery"
#define NEEDS "use TPR shadow; virtual-interrupt delivery; external-interrupt exiting; " TIMER
#define BLOCKED_BY_STI 1u
#define BLOCKED_BY_MOV_SS 2u
#define ACTIVITY_HLT 1u
#define ACTIVITY_SHUTDOWN 2u
#define ICR_SELF_FIXED 0x44000u

/* --- At VM entry --- */

static const struct {
	u8 rvi, svi, tpr;
	bool delivered;
} entries[] = {
	{ 0x10, 0, 0, true },     { 0x1f, 0, 0x0f, true },     { 0x1f, 0, 0x10, false }, { 0x20, 0, 0x1f, true },
	{ 0x2f, 0, 0x20, false }, { 0x31, 0x20, 0, true },     { 0x3f, 0x30, 0, false }, { 0x31, 0x41, 0x00, false },
	{ 0x51, 0x41, 0, true },  { 0x51, 0x41, 0x50, false }, { 0x80, 0, 0x7f, true },  { 0xef, 0, 0xe0, false },
	{ 0xff, 0xe3, 0, true },  { 0xff, 0, 0xf0, false },    { 0xf0, 0, 0xef, true },  { 0x0f, 0, 0, false },
	{ 0, 0, 0, false },
};

static u32 ppr(u32 tpr, u32 svi)
{
	return tpr >> 4 >= svi >> 4 ? tpr : svi & 0xf0;
}

static void judge_entry(struct vapic *a, u32 rvi, u32 svi, u32 tpr, bool delivered)
{
	struct exit e;

	vapic_stand(a, "\x90", 1, RFLAGS_IF, VAPIC_STATUS(svi, rvi));
	vapic_set(a, VAPIC_TPR, tpr);
	vapic_set(a, VAPIC_PPR, 0xdead00ff);
	e = snippet_run(&a->s);
	if (!delivered) {
		JUDGE("apic.virtual.below", snippet_passed(&a->s, &e), true);
		JUDGE("apic.virtual.ppr-entry", vapic_get(a, VAPIC_PPR), ppr(tpr, svi));
		JUDGE("apic.virtual.status-kept", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(svi, rvi));
		return;
	}
	if (!DELIVERED("apic.virtual.entry", a, e, rvi, 0))
		return;
	JUDGE("apic.virtual.delivery-status", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(rvi, 0));
	JUDGE("apic.virtual.delivery-ppr", vapic_get(a, VAPIC_PPR), rvi & 0xf0);
	JUDGE("apic.virtual.delivery-bits", vapic_bit(a, VAPIC_ISR, rvi), true);
	JUDGE("apic.virtual.delivery-bits", vapic_bit(a, VAPIC_IRR, rvi), false);
	JUDGE("apic.virtual.delivery-flags", vmread(VMCS_guest_rflags) & RFLAGS_IF, 0);
	JUDGE("apic.virtual.no-event", vmread(VMCS_idt_vectoring_info) >> 31, 0);
}

VAPIC_TEST(virtual_entry, vapic_delivery(a, c, 0), .sdm = EVALUATION, .needs = NEEDS,
	   .rules = "apic.virtual.entry apic.virtual.below apic.virtual.ppr-entry apic.virtual.status-kept "
		    "apic.virtual.delivery-status apic.virtual.delivery-ppr apic.virtual.delivery-bits "
		    "apic.virtual.delivery-flags apic.virtual.no-event apic.virtual.next")
{
	static const u8 waiting[] = { 0x11, 0x12, 0x33, 0x35, 0x9f, 0xa0, 0xfe };
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(entries); i++)
		judge_entry(a, entries[i].rvi, entries[i].svi, entries[i].tpr, entries[i].delivered);
	/* The one that is next comes from VIRR. */
	for (u32 n = ARRAY_SIZE(waiting); n-- > 0;) {
		vapic_stand(a, "\x90", 1, RFLAGS_IF, waiting[n]);
		for (u32 i = 0; i < n; i++)
			vapic_bit_set(a, VAPIC_IRR, waiting[i]);
		e = snippet_run(&a->s);
		JUDGE("apic.virtual.next", vapic_vector(a, &e), waiting[n]);
		JUDGE("apic.virtual.next", vmread(VMCS_guest_interrupt_status),
		      VAPIC_STATUS(waiting[n], n ? waiting[n - 1] : 0));
	}
}

/* --- What holds it up --- */

VAPIC_TEST(virtual_blocked, vapic_delivery(a, c, 0), .sdm = DELIVERY, .needs = NEEDS,
	   .rules = "apic.virtual.if apic.virtual.sti apic.virtual.mov-ss apic.virtual.sti-instruction")
{
	struct exit e;

	judge_about("IF = 0", NULL);
	vapic_stand(a, "\x90\x90", 2, 0, 0x61);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.if", snippet_passed(&a->s, &e), true);
	JUDGE("apic.virtual.if", vmread(VMCS_guest_interrupt_status), 0x61);
	judge_about("blocking by STI at entry", NULL);
	vapic_stand(a, "\x90\x90", 2, RFLAGS_IF, 0x61);
	vmwrite(VMCS_guest_interruptibility_state, BLOCKED_BY_STI);
	e = snippet_run(&a->s);
	DELIVERED("apic.virtual.sti", a, e, 0x61, 1);
	judge_about("blocking by MOV SS at entry", NULL);
	vapic_stand(a, "\x90\x90", 2, RFLAGS_IF, 0x61);
	vmwrite(VMCS_guest_interruptibility_state, BLOCKED_BY_MOV_SS);
	e = snippet_run(&a->s);
	DELIVERED("apic.virtual.mov-ss", a, e, 0x61, 1);
	judge_about("STI", NULL);
	vapic_stand(a, "\x90\xfb\x90\x90", 4, 0, 0x61);
	e = snippet_run(&a->s);
	DELIVERED("apic.virtual.sti-instruction", a, e, 0x61, 3);
	judge_about("STI, CLI", NULL);
	vapic_stand(a, "\xfb\xfa\x90", 3, 0, 0x61);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.sti-instruction", snippet_passed(&a->s, &e), true);
	judge_about("POPF", NULL);
	vapic_stand(a, "\x9c\x81\x0c\x24\x00\x02\x00\x00\x9d\x90", 10, 0, 0x61);
	e = snippet_run(&a->s);
	DELIVERED("apic.virtual.if", a, e, 0x61, 9);
}

VAPIC_TEST(virtual_window, vapic_delivery(a, c, 0), .sdm = EVALUATION, .needs = NEEDS "; interrupt-window exiting",
	   .rules = "apic.virtual.window")
{
	struct exit e;

	a->s.v.ctl[CTL_PROC] |= PROC_interrupt_window_exiting;
	vcpu_write_controls(&a->s.v);
	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.window", e.reason, EXIT_interrupt_window);
	JUDGE("apic.virtual.window", e.ip, (ulong)a->s.code);
	JUDGE("apic.virtual.window", vmread(VMCS_guest_interrupt_status), 0x61);
	a->s.v.ctl[CTL_PROC] &= ~(u32)PROC_interrupt_window_exiting;
	vcpu_write_controls(&a->s.v);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.window", vapic_vector(a, &e), 0x61);
}

/* --- HLT and shutdown --- */

VAPIC_TEST(virtual_hlt, vapic_delivery(a, c, 0), .sdm = DELIVERY, .needs = NEEDS "; activity state HLT",
	   .rules = "apic.virtual.hlt-entry")
{
	struct exit e;

	judge_about("entry to HLT", NULL);
	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	vmwrite(VMCS_guest_activity_state, ACTIVITY_HLT);
	e = snippet_run(&a->s);
	DELIVERED("apic.virtual.hlt-entry", a, e, 0x61, 0);
	JUDGE("apic.virtual.hlt-entry", vmread(VMCS_guest_activity_state), 0);
}

/* The priority is evaluated as at any entry: what VPPR was doesn't matter. */
VAPIC_TEST(virtual_hlt_below, vapic_delivery(a, c, 0), .sdm = DELIVERY, .needs = NEEDS "; activity state HLT",
	   .rules = "apic.virtual.hlt-below")
{
	struct exit e;

	judge_about("entry to HLT, priority too low", NULL);
	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	vapic_set(a, VAPIC_TPR, 0x60);
	vmwrite(VMCS_guest_activity_state, ACTIVITY_HLT);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.hlt-below", e.reason, EXIT_preemption_timer);
	JUDGE("apic.virtual.hlt-below", vmread(VMCS_guest_activity_state), ACTIVITY_HLT);
}

VAPIC_TEST(virtual_sti_hlt, vapic_delivery(a, c, 0), .sdm = DELIVERY, .needs = NEEDS,
	   .rules = "apic.virtual.hlt-instruction")
{
	struct exit e;

	vapic_stand(a, "\xfb\xf4\x90", 3, 0, 0x61);
	e = snippet_run(&a->s);
	DELIVERED("apic.virtual.hlt-instruction", a, e, 0x61, 2);
}

VAPIC_TEST(virtual_shutdown, vapic_delivery(a, c, 0), .sdm = DELIVERY, .needs = NEEDS "; activity state shutdown",
	   .rules = "apic.virtual.shutdown")
{
	struct exit e;

	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	vmwrite(VMCS_guest_activity_state, ACTIVITY_SHUTDOWN);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.shutdown", e.reason, EXIT_preemption_timer);
	JUDGE("apic.virtual.shutdown", vmread(VMCS_guest_interrupt_status), 0x61);
}

/* --- Among other events --- */

#define INFO_VALID 0x80000000u

VAPIC_TEST(virtual_injection, vapic_delivery(a, c, 0), .sdm = DELIVERY, .needs = NEEDS,
	   .rules = "apic.virtual.after-injection apic.virtual.timer-first")
{
	struct exit e;

	judge_about("an injected interrupt, whose gate clears IF", NULL);
	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	vmwrite(VMCS_vm_entry_interruption_info, INFO_VALID | 0x92);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.after-injection", vapic_vector(a, &e), 0x92);
	JUDGE("apic.virtual.after-injection", vmread(VMCS_guest_interrupt_status), 0x61);
	judge_about("the VMX-preemption timer", NULL);
	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	vmwrite(VMCS_preemption_timer_value, 0);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.timer-first", e.reason, EXIT_preemption_timer);
	JUDGE("apic.virtual.timer-first", vmread(VMCS_guest_interrupt_status), 0x61);
}

/* A virtual interrupt comes before an external one, which then exits. */
VAPIC_TEST(virtual_before_external, vapic_delivery(a, c, 0), .sdm = DELIVERY, .needs = NEEDS,
	   .rules = "apic.virtual.before-external")
{
	struct exit e;

	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	apic_send_self(IRQ_VECTOR + IRQ_SELF);
	e = snippet_run(&a->s);
	/* By then it has been delivered, whether the exit comes before or behind the handler's VMCALL. */
	JUDGE("apic.virtual.before-external", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(0x61, 0));
	JUDGE("apic.virtual.before-external", e.ip & ~3ul, (ulong)a->handlers + 4 * 0x61);
	irq_window();
}

/*
 * One that waits for IF doesn't come because an external interrupt does: that one exits, whatever IF is. L2 goes in with
 * IF = 1, but blocked by STI, clears IF, and sends the interrupt itself.
 */
VAPIC_TEST(virtual_masked_external, vapic_delivery(a, c, 0), .sdm = DELIVERY, .needs = NEEDS,
	   .rules = "apic.virtual.masked-external")
{
	struct exit e;

	vapic_stand(a, "\xfa" MOV_TO_APIC "\x90\x90\x90", 6, RFLAGS_IF, 0x61);
	vmwrite(VMCS_guest_interruptibility_state, BLOCKED_BY_STI);
	a->s.v.g.bx = APIC_PAGE + VAPIC_ICR_LOW;
	a->s.v.g.ax = ICR_SELF_FIXED | (IRQ_VECTOR + IRQ_SELF);
	e = snippet_run(&a->s);
	irq_window();
	JUDGE("apic.virtual.masked-external", e.reason, EXIT_external_interrupt);
	JUDGE("apic.virtual.masked-external", vmread(VMCS_guest_interrupt_status), 0x61);
	JUDGE("apic.virtual.masked-external", vapic_bit(a, VAPIC_IRR, 0x61), true);
}

/* An exit in the midst of the delivery: the vector is in the IDT-vectoring information, and L1 can inject it. */
VAPIC_TEST(virtual_interrupted, vapic_delivery(a, c, 0),
	   .sdm = "Information for VM Exits That Occur During Event Delivery", .needs = NEEDS,
	   .rules = "apic.virtual.interrupted")
{
	struct exit e;

	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	/* The stack isn't mapped. */
	vmwrite(VMCS_guest_rsp, L2_WINDOW + 64 * PAGE_SIZE);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.interrupted", snippet_faulted(&e, VEC_PF), true);
	JUDGE("apic.virtual.interrupted", vmread(VMCS_idt_vectoring_info), INFO_VALID | 0x61);
	JUDGE("apic.virtual.interrupted", vmread(VMCS_guest_interrupt_status), VAPIC_STATUS(0x61, 0));
	JUDGE("apic.virtual.interrupted", vapic_bit(a, VAPIC_ISR, 0x61), true);
	JUDGE("apic.virtual.interrupted", e.ip, (ulong)a->s.code);
	vmwrite(VMCS_guest_rsp, SNIP_SP(&a->s));
	vmwrite(VMCS_vm_entry_interruption_info, vmread(VMCS_idt_vectoring_info));
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.interrupted", vapic_vector(a, &e), 0x61);
}

/* Without the control, nothing of all that happens. */
VAPIC_TEST(virtual_off, vapic_delivery(a, c, 0), .sdm = EVALUATION, .needs = NEEDS, .rules = "apic.virtual.off")
{
	struct exit e;

	a->s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_virtual_interrupt_delivery;
	vcpu_write_controls(&a->s.v);
	vapic_stand(a, "\x90", 1, RFLAGS_IF, 0x61);
	e = snippet_run(&a->s);
	JUDGE("apic.virtual.off", snippet_passed(&a->s, &e), true);
	JUDGE("apic.virtual.off", vmread(VMCS_guest_interrupt_status), 0x61);
	JUDGE("apic.virtual.off", vapic_bit(a, VAPIC_IRR, 0x61), true);
}
