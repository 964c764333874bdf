/* SPDX-License-Identifier: BSD-2-Clause */
/* Exits of L1: handlers by exit reason, and what handlers use. VMCS01 is current. */
#ifndef NEST_EXIT_H
#define NEST_EXIT_H

#include "xmhf-nest/cpu.h"

/* Behind the instruction that exited: RIP, STI and MOV SS blocking, single-step trap. */
void l1_skip(struct cpu *c);
void l1_skip_by(ulong bytes); /* where the exit gives no instruction length */
/* Instead of it: an exception, whose error code is pushed for those that have one. */
void l1_fault(struct cpu *c, u32 vector, u32 error);
bool exception_has_error(u32 vector); /* in protected mode */
/* The event during whose delivery the exit happened is delivered again (SDM: "Information for VM Exits During Event Delivery"). */
void redeliver_event(void);
u32 l1_cpl(void);
bool l1_long_mode(void); /* IA32_EFER.LMA */

/* Handlers. */
void l1_cpuid(struct cpu *c);
void l1_cr_access(struct cpu *c);
void l1_rdmsr(struct cpu *c);
void l1_wrmsr(struct cpu *c);
void l1_ept_violation(struct cpu *c);
void l1_vmcall(struct cpu *c);
void l1_vmx_off(struct cpu *c);
void l1_vmx_on(struct cpu *c);
void l1_vmclear(struct cpu *c);
void l1_vmptrld(struct cpu *c);
void l1_vmptrst(struct cpu *c);
void l1_vmread(struct cpu *c);
void l1_vmwrite(struct cpu *c);
void l1_vmlaunch(struct cpu *c);
void l1_vmresume(struct cpu *c);
void l1_invept(struct cpu *c);
void l1_invvpid(struct cpu *c);

/* CR0 and CR4 as L1 sees them. */
u64 l1_cr0(void);
u64 l1_cr4(void);
/* L1 enters or leaves VMX operation: which bits of CR0 are fixed changes. */
void l1_cr_fixed(bool vmx_operation);
/* PAE paging's PDPTEs from the page of cr3, into VMCS01 or VMCS02, whichever is current; false: reserved bits. */
bool pdptes_load(u64 cr3);
/* RDMSR and WRMSR as L1 (or L2 without L1's objection) would see them; false: #GP(0). */
bool msr_emulate_read(struct cpu *c, u32 msr, u64 *value);
bool msr_emulate_write(struct cpu *c, u32 msr, u64 value);

void cpuid_emulate(struct cpu *c, u64 cr4);

#endif
