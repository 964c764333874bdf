// SPDX-License-Identifier: BSD-2-Clause
#include "arch/cpu.h"
#include "x86/nest_call.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/vmx.h"

#define CR4_OSXSAVE (1u << 18)
#define CR4_PKE (1u << 22)
#define CPUID1_OSXSAVE (1u << 27)
#define CPUID7_OSPKE (1u << 4)
#define CPUID8_LONG_MODE (1u << 29)

static void set_bit(u32 *word, u32 bit, bool on)
{
	*word = on ? *word | bit : *word & ~bit;
}

/* A few bits mirror CR4, which is L0's while we ask. */
static void fix(u32 leaf, u32 r[4], u64 cr4)
{
	if (leaf == 1)
		set_bit(&r[2], CPUID1_OSXSAVE, cr4 & CR4_OSXSAVE);
	if (leaf == 7)
		set_bit(&r[2], CPUID7_OSPKE, cr4 & CR4_PKE);
	/* A 32-bit L0 has no 64-bit guests. */
	if (leaf == 0x80000001 && sizeof(ulong) == 4)
		set_bit(&r[3], CPUID8_LONG_MODE, false);
}

/* Where hypervisors put theirs. Bit 31 of leaf 1's ECX stays as the CPU has it: L1 shall not behave otherwise. */
static void signature(u32 leaf, u32 r[4])
{
	if (leaf == NEST_LEAF_SIGNATURE) {
		r[0] = NEST_LEAF_FEATURES;
		r[1] = NEST_SIGNATURE_EBX;
		r[2] = NEST_SIGNATURE_ECX;
		r[3] = NEST_SIGNATURE_EDX;
	} else {
		r[0] = NEST_FEATURE_PRIVATE;
		r[1] = r[2] = r[3] = 0;
	}
}

void l1_cpuid(struct cpu *c)
{
	u32 leaf = (u32)c->regs->ax, r[4];

	if (leaf == NEST_LEAF_SIGNATURE || leaf == NEST_LEAF_FEATURES) {
		signature(leaf, r);
	} else {
		cpuid_raw(leaf, (u32)c->regs->cx, r);
		if (leaf == 1 || leaf == 7 || leaf == 0x80000001)
			fix(leaf, r, vmcs_read(VMCS_guest_cr4));
	}
	c->regs->ax = r[0];
	c->regs->bx = r[1];
	c->regs->cx = r[2];
	c->regs->dx = r[3];
	l1_skip(c);
}
