// SPDX-License-Identifier: BSD-2-Clause
/* The MSRs that L0 has a part in (vmcs01.c sets which ones exit). */
#include "arch/cpu.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "xmhf-nest/apic.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/vmx.h"

bool msr_emulate_read(struct cpu *c, u32 msr, u64 *value)
{
	(void)c;
	if (msr >= MSR_VMX_BASIC && msr <= MSR_VMX_VMFUNC) {
		if (!caps_l1_have_msr(msr))
			return false;
		*value = caps_l1_msr(msr);
		return true;
	}
	return msr_try(msr, value);
}

bool msr_emulate_write(struct cpu *c, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_APIC_BASE:
		if (!msr_set(msr, value))
			return false;
		apic_l1_moved(c);
		return true;
	case MSR_X2APIC_ICR:
		return apic_l1_icr(c, value);
	case MSR_EFER:
		/* Only a 32-bit L0 asks. L1 can't have long mode. */
		if (value & ~1ull & ~0x800ull)
			return false;
		vmcs_write(VMCS_guest_ia32_efer, value);
		return true;
	default:
		return msr_set(msr, value);
	}
}

void l1_rdmsr(struct cpu *c)
{
	u64 value = 0;

	/* The CPU checks CPL before it exits. */
	if (!msr_emulate_read(c, (u32)c->regs->cx, &value)) {
		l1_fault(c, VEC_GP, 0);
		return;
	}
	c->regs->ax = (u32)value;
	c->regs->dx = (u32)(value >> 32);
	l1_skip(c);
}

void l1_wrmsr(struct cpu *c)
{
	u64 value = (u32)c->regs->ax | (u64)(u32)c->regs->dx << 32;

	if (msr_emulate_write(c, (u32)c->regs->cx, value))
		l1_skip(c);
	else
		l1_fault(c, VEC_GP, 0);
}
