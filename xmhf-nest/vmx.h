/* SPDX-License-Identifier: BSD-2-Clause */
/* L0's own use of VMX: capabilities, VMXON, the host state that every VMCS of L0's shares, VMCS01. */
#ifndef NEST_VMX_H
#define NEST_VMX_H

#include "xmhf-nest/cpu.h"

extern struct vmx_caps caps_cpu; /* what the CPU offers */
extern struct vmx_caps caps_l1;  /* what L1 reads: without what L0 hides */
extern u32 cpu_maxphyaddr;
extern bool cpu_has_vpid; /* with the INVVPID types that L0 uses */

/* First CPU, before any other. Panics with the name of what is missing. */
void caps_init(void);
u64 caps_l1_msr(u32 msr); /* 0x480 to 0x491 as L1 reads it */
bool caps_l1_have_msr(u32 msr);
/* Does this CPU, or L1's, have what the table's `exists` names? "" always. */
bool caps_have(const struct vmx_caps *c, const char *exists);

u64 msr_get(u32 msr);              /* panics on a fault */
bool msr_try(u32 msr, u64 *value); /* false: #GP */
bool msr_set(u32 msr, u64 value);  /* false: #GP */

/* This CPU: control registers, VMXON, a VMCS01 in the state of a CPU after INIT, waiting for a SIPI. */
void vmx_start(struct cpu *c);
/* Host state, the same in all VMCSs of this CPU; into the current one. */
void vmcs_host_state(struct cpu *c);
extern u32 entry01; /* VM-entry controls of VMCS01 but for "IA-32e mode guest" */
/* An empty VMCS, VMCLEARed; indicator: bit 31 for a shadow VMCS, else 0. */
u64 vmcs_new(u32 indicator);

/* Guest state of VMCS01 as after INIT; general registers too. */
void vmcs01_init_state(struct cpu *c);
/* INIT state, but active in real mode at the SIPI's vector. */
void vmcs01_sipi(struct cpu *c, u32 vector);

/* INVEPT and INVVPID on this CPU; L0's mistakes panic. */
void invept_all(void);
void invept_single(u64 eptp);
void invvpid_single(u32 vpid);

#define VPID_L1 1u

#endif
