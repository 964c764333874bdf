/* SPDX-License-Identifier: BSD-2-Clause */
/* L2: entries by L1, exits to L0 and on to L1. */
#ifndef NEST_NESTED_H
#define NEST_NESTED_H

#include "xmhf-nest/cpu.h"
#include "xmhf-nest/msr_bitmap.h"

/* Once, on each CPU, with VMXON done. */
void nested_init(struct cpu *c);
/* An exit while L2 ran; VMCS02 is current. Afterwards c->l2 says who goes on, and their VMCS is current. */
void nested_exit(struct cpu *c);
/*
 * INIT for this CPU: true if VMX decides what becomes of it (an exit of L2, or pending while L1 is in VMX root
 * operation). SDM: "Interactions of INIT".
 */
bool nested_takes_init(struct cpu *c);
/* Before L2 runs: EPT02, which may have been dropped, or EPT01. */
void nested_ept_again(struct cpu *c);

/*
 * An exception of L2 that the CPU didn't raise: it exits, or is delivered, as L1 says. VMCS02 is current before;
 * afterwards c->l2 says who goes on.
 */
void l2_fault(struct cpu *c, u32 vector, u32 error);

/* The CPU refused VMCS02 with this VM-instruction error: so does VMLAUNCH or VMRESUME of L1, which is what goes on. */
void nested_refused(struct cpu *c, u32 error);

/* Is EPT on in VMCS12? */
bool nested_ept(const struct cpu *c);
bool nested_vpid(const struct cpu *c);

/* --- reflect.c --- */
/* Exit from L2 to L1, exit information from VMCS02. L1 goes on at its host RIP; VMCS01 is current. */
void reflect_exit(struct cpu *c, u32 reason, u64 qualification);
/* The same for an exception that L0 raises, a fault. */
void reflect_exception(struct cpu *c, u32 vector, u32 error);
/* VM-entry failure after the checks on controls and host state: bit 31 is set here. VMCS02 is current. */
void reflect_failure(struct cpu *c, u32 reason, u64 qualification);

/* --- msr_list.c --- */
/* VM-entry MSR load, into L2's state; the number of the entry that failed from 1, or 0. VMCS02 is current. */
u32 msr_list_enter(struct cpu *c);
/* VM-exit MSR store (VMCS02 is current), and load (VMCS01 is current); false: VMX abort. */
bool msr_list_store(struct cpu *c);
bool msr_list_exit(struct cpu *c);

/* --- vpid02.c --- */
/* The tag that stands for L1's VPID on this CPU. */
u32 vpid02_tag(struct cpu *c, u16 vpid);
/* INVVPID by L1, with a good operand. */
void vpid02_invalidate(struct cpu *c, u32 type, u16 vpid, u64 address);

/* --- insn.c --- */
bool vmx_allowed(struct cpu *c);
void vm_succeed(struct cpu *c);
void vm_fail_invalid(struct cpu *c);
void vm_fail(struct cpu *c, u32 error); /* VMfailInvalid if there is no current VMCS */

/* --- vmcs01.c --- */
void msr_bitmap_init(void);
const u8 *msr_bitmap_l1(void);
extern struct msr_bitmap_words msr_bitmap_words;

#endif
