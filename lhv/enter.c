// SPDX-License-Identifier: BSD-2-Clause
/* Entering L2, and what L1 does with interrupts that arrive there. */
#include "core/fmt.h"
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/report.h"
#include "lhv/vcpu.h"

#define INFO_VALID 0x80000000u
#define INFO_TYPE 0x700u
#define INFO_HAS_ERROR 0x800u
#define INFO_NMI_UNBLOCKING 0x1000u
#define BLOCKED_BY_STI_OR_MOV_SS 0x3u
#define ACTIVITY_HLT 1u
#define REASON_ENTRY_FAILED 0x80000000u

static bool interruptible(void)
{
	return (vmread(VMCS_guest_rflags) & RFLAGS_IF) &&
	       !(vmread(VMCS_guest_interruptibility_state) & BLOCKED_BY_STI_OR_MOV_SS);
}

static void window_exiting(struct vcpu *v, bool on)
{
	u32 proc = v->ctl[CTL_PROC] & ~(u32)PROC_interrupt_window_exiting;

	if (on)
		proc |= PROC_interrupt_window_exiting;
	if (proc == v->ctl[CTL_PROC])
		return;
	v->ctl[CTL_PROC] = proc;
	vmwrite(VMCS_primary_proc_based_controls, ctl_adjust(&vmx_caps, CTL_PROC, proc, 0, NULL));
}

/* Injects again what an exit interrupted, else the first interrupt that waits, when L2 can take it. */
static void inject(struct vcpu *v)
{
	u32 kind = 0;

	if (v->again_info) {
		vmwrite(VMCS_vm_entry_interruption_info, v->again_info);
		vmwrite(VMCS_vm_entry_exception_error_code, v->again_error);
		vmwrite(VMCS_vm_entry_instruction_length, v->again_length);
		v->again_info = 0;
		return;
	}
	if (!v->pending)
		return;
	if (!interruptible()) {
		window_exiting(v, true);
		return;
	}
	while (!(v->pending >> kind & 1))
		kind++;
	v->pending &= ~(1u << kind);
	v->injected++;
	vmwrite(VMCS_vm_entry_interruption_info, INFO_VALID | (IRQ_VECTOR + kind));
	window_exiting(v, v->pending != 0);
}

/* SDM: "Information for VM Exits That Occur During Event Delivery" */
static void save_interrupted_event(struct vcpu *v)
{
	u32 info = (u32)vmread(VMCS_idt_vectoring_info);

	if (!(info & INFO_VALID))
		return;
	v->again_info = info & ~INFO_NMI_UNBLOCKING;
	if (info & INFO_HAS_ERROR)
		v->again_error = (u32)vmread(VMCS_idt_vectoring_error_code);
	v->again_length = (u32)vmread(VMCS_exit_instruction_length);
}

struct exit enter_once(struct vcpu *v)
{
	struct exit e = { .entry = out_ok() };
	u32 raw;

	irq_off();
	raw = vmx_enter_raw(&v->g, v->launched);
	v->trips++;
	if (raw) {
		e.entry = vmx_outcome(raw);
		return e;
	}
	e.reason = (u32)vmread(VMCS_exit_reason);
	/* A failed entry leaves the launch state as it was (SDM: "VM-Entry Failures During or After Loading Guest State"). */
	if (!(e.reason & REASON_ENTRY_FAILED))
		v->launched = true;
	e.qualification = vmread(VMCS_exit_qualification);
	e.ip = (ulong)vmread(VMCS_guest_rip);
	e.length = (u32)vmread(VMCS_exit_instruction_length);
	return e;
}

static u32 taken_by(const struct cpu *c, enum level l)
{
	u32 n = 0;

	for (u32 k = 0; k < IRQ_KINDS; k++)
		n += c->count[l][k];
	return n;
}

/* The interrupt is still pending: opening the window must let L1's handler take it. */
static void take_in_l1(struct vcpu *v)
{
	u32 before = taken_by(v->cpu, LEVEL_L1) + v->cpu->spurious;

	irq_window();
	expect(taken_by(v->cpu, LEVEL_L1) + v->cpu->spurious > before);
	/* L2 was halted: what would have woken it came to us, so it must go on by our hand. */
	if (vmread(VMCS_guest_activity_state) == ACTIVITY_HLT)
		vmwrite(VMCS_guest_activity_state, 0);
}

/* The interrupt was acknowledged by the exit: its vector is in the VMCS, EOI and injection are ours. */
static void take_acknowledged(struct vcpu *v)
{
	u32 info = (u32)vmread(VMCS_exit_interruption_info);
	u32 vector = info & 0xff;
	u32 kind = vector - IRQ_VECTOR;

	if (!expect_eq(info & (INFO_VALID | INFO_TYPE | INFO_HAS_ERROR), INFO_VALID))
		return;
	if (vector == SPURIOUS_VECTOR) {
		v->cpu->spurious++;
		return;
	}
	apic_eoi();
	if (expect(kind < IRQ_KINDS))
		v->pending |= 1u << kind;
}

/* True if the exit was about an interrupt and is dealt with. */
static bool background(struct vcpu *v, const struct exit *e)
{
	switch (e->reason) {
	case EXIT_external_interrupt:
		v->external_exits++;
		if (!expect(v->irq_mode != IRQ_TO_L2))
			return false;
		if (v->irq_mode == IRQ_TO_L1)
			take_in_l1(v);
		else
			take_acknowledged(v);
		return true;
	case EXIT_interrupt_window:
		v->window_exits++;
		if (!expect(v->ctl[CTL_PROC] & PROC_interrupt_window_exiting))
			return false;
		expect(interruptible());
		window_exiting(v, false);
		return true;
	default:
		return false;
	}
}

struct exit enter(struct vcpu *v)
{
	struct exit e;

	do {
		irq_off();
		inject(v);
		if (v->before_entry)
			v->before_entry(v);
		e = enter_once(v);
		if (e.entry.kind != OUT_OK)
			break;
		if (!(e.reason & REASON_ENTRY_FAILED))
			save_interrupted_event(v);
		if (v->after_exit)
			v->after_exit(v, &e);
	} while (background(v, &e));
	if (!v->irq_off)
		irq_on();
	return e;
}

void skip_instruction(struct vcpu *v, const struct exit *e)
{
	(void)v;
	vmwrite(VMCS_guest_rip, e->ip + e->length);
}

static void describe(struct vcpu *v, const struct exit *e, char *text, size_t size)
{
	char outcome[100];

	if (e->entry.kind != OUT_OK) {
		fmt(text, size, "entry: %s", outcome_text(e->entry, outcome, sizeof(outcome)));
		return;
	}
	if (e->reason == EXIT_vmcall && v->g.ax == L2_FAULT) {
		fmt(text, size, "L2 got %s at 0x%lx",
		    outcome_text(out_fault((u8)v->g.dx, (u32)v->g.cx), outcome, sizeof(outcome)),
		    (unsigned long)v->g.bx);
		return;
	}
	fmt(text, size, "%sexit %u (%s) qualification 0x%llx rip 0x%lx",
	    e->reason & REASON_ENTRY_FAILED ? "failed entry, " : "", e->reason & 0xffff,
	    exit_reason_name(e->reason & 0xffff), (unsigned long long)e->qualification, (unsigned long)e->ip);
}

bool check_exit(struct vcpu *v, const struct exit *e, u32 reason, const struct where *w)
{
	char want[60], got[160];

	if (e->entry.kind == OUT_OK && e->reason == reason && !(reason == EXIT_vmcall && v->g.ax == L2_FAULT))
		return check_true(true, w);
	fmt(want, sizeof(want), "exit %u (%s)", reason, exit_reason_name(reason & 0xffff));
	describe(v, e, got, sizeof(got));
	return check_failed(w, want, got);
}

bool check_call(struct vcpu *v, const struct exit *e, ulong code, const struct where *w)
{
	char want[60], got[160];

	if (e->entry.kind == OUT_OK && e->reason == EXIT_vmcall && v->g.ax == code) {
		skip_instruction(v, e);
		return check_true(true, w);
	}
	fmt(want, sizeof(want), "call 0x%lx", (unsigned long)code);
	describe(v, e, got, sizeof(got));
	if (e->reason == EXIT_vmcall && v->g.ax != L2_FAULT)
		fmt(got, sizeof(got), "call 0x%lx", (unsigned long)v->g.ax);
	return check_failed(w, want, got);
}
