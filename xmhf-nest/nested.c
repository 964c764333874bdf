// SPDX-License-Identifier: BSD-2-Clause
/* Exits of L2: whose are they? */
#include "xmhf-nest/nested.h"

#include "arch/cpu.h"
#include "core/ept.h"
#include "x86/cr.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/mmio.h"
#include "xmhf-nest/poll.h"
#include "xmhf-nest/route.h"
#include "xmhf-nest/smp.h"
#include "xmhf-nest/vmx.h"

#define ENTRY_FAILURE (1u << 31)
#define QUAL_RIGHTS_SHIFT 3

static bool l1_wants_msr(struct cpu *c, bool write)
{
	struct msr_bit b = msr_bit((u32)c->regs->cx, write);
	const u8 *bitmap;

	if (!(c->nested.v[VI_primary_proc_based_controls] & PROC_use_msr_bitmaps) || !b.exists)
		return true;
	/* Where no memory is, ones. */
	bitmap = gpa_ptr(c->nested.v[VI_msr_bitmap_address], PAGE_SIZE);
	return !bitmap || bitmap[b.byte] & b.mask;
}

/* SDM: "Exception Bitmap". */
void l2_fault(struct cpu *c, u32 vector, u32 error)
{
	if (c->nested.v[VI_exception_bitmap] >> vector & 1)
		reflect_exception(c, vector, error);
	else
		l1_fault(c, vector, error);
}

/* L2 accesses an MSR that L0 watches and L1 doesn't. */
static void msr_for_l2(struct cpu *c, bool write)
{
	struct gregs *g = c->regs;
	u64 value = (u32)g->ax | (u64)(u32)g->dx << 32;

	if (write ? !msr_emulate_write(c, (u32)g->cx, value) : !msr_emulate_read(c, (u32)g->cx, &value)) {
		l2_fault(c, VEC_GP, 0);
		return;
	}
	if (!write) {
		g->ax = (u32)value;
		g->dx = (u32)(value >> 32);
	}
	l1_skip(c);
}

static void ept_violation(struct cpu *c)
{
	u64 qual = vmcs_read(VMCS_exit_qualification), gpa = vmcs_read(VMCS_guest_physical_address);
	u64 eptp12 = c->nested.eptp12;
	struct ept02_result r;

	if (!eptp12) {
		mmio_violation(c, gpa, (u32)qual & EPT_RWX);
		return;
	}
	r = ept02_violation(&c->ept02, eptp12, gpa, (u32)qual & EPT_RWX);
	switch (r.verdict) {
	case EPT02_FILLED:
		resume_interrupted(qual);
		break;
	case EPT02_APIC:
		mmio_violation(c, r.gpa1, (u32)qual & EPT_RWX);
		break;
	case EPT02_MISCONFIGURATION:
		reflect_exit(c, EXIT_ept_misconfiguration, 0);
		break;
	case EPT02_NOWHERE:
		if (!nested_ept(c)) {
			l2_fault(c, VEC_GP, 0);
			break;
		}
		r.rights = 0;
		/* fall through */
	default:
		qual &= ~((u64)EPT_RWX << QUAL_RIGHTS_SHIFT);
		reflect_exit(c, EXIT_ept_violation, qual | (u64)r.rights << QUAL_RIGHTS_SHIFT);
	}
}

static void for_l0(struct cpu *c, u32 basic)
{
	switch (basic) {
	case EXIT_init: /* a kick */
		resume_interrupted(0);
		break;
	case EXIT_ept_violation:
		ept_violation(c);
		break;
	case EXIT_rdmsr:
	case EXIT_wrmsr:
		msr_for_l2(c, basic == EXIT_wrmsr);
		break;
	default: /* EPT02 is L0's, and it never makes a misconfigured entry */
		panic("exit of L2 for reason 0x%x (%s)", c->reason, exit_reason_name(basic));
	}
}

void nested_exit(struct cpu *c)
{
	u32 basic = c->reason & 0xffff;
	bool msr_l1 = true;

	if (c->reason & ENTRY_FAILURE) {
		/* A VMLAUNCH that fails, late or not, leaves the VMCS clear. */
		if (c->launching)
			c->launched02 = false;
		reflect_failure(c, basic, vmcs_read(VMCS_exit_qualification));
		return;
	}
	c->nested.launched = true;
	if (basic == EXIT_rdmsr || basic == EXIT_wrmsr)
		msr_l1 = l1_wants_msr(c, basic == EXIT_wrmsr);
	if (basic == EXIT_preemption_timer && poll_ticks && poll_expired(c))
		resume_interrupted(0);
	else if (l0_wants(basic, msr_l1))
		for_l0(c, basic);
	else
		reflect_exit(c, c->reason, vmcs_read(VMCS_exit_qualification));
	if (c->l2 && c->ept02.dropped)
		nested_ept_again(c);
}

void nested_refused(struct cpu *c, u32 error)
{
	static u32 told;

	if (told < 8 && ++told)
		log_line("the CPU refuses an entry to L2 that L0's checks let through: VM-instruction error %u", error);
	c->l2 = false;
	/* Nothing is known about what VMCS02 has taken: the next entry brings all of it. */
	vmcs_load(&c->vmcs01);
	c->nested.changed |= CHANGED_CONTROLS | CHANGED_HOST;
	vm_fail(c, error);
}

bool nested_takes_init(struct cpu *c)
{
	if (!c->nested.vmxon)
		return false;
	if (c->l2) {
		c->noted_init = false;
		reflect_exit(c, EXIT_init, 0);
	}
	return true;
}
