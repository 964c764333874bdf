/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC: L0's few own uses, and L1's writes that L0 has to see. */
#ifndef NEST_APIC_H
#define NEST_APIC_H

#include "xmhf-nest/cpu.h"

void apic_init(void); /* once, before any CPU is in VMX operation */
u32 apic_id(void);
/* First CPU, at boot: INIT and SIPIs to all others (SDM: "Typical BSP Initialization Sequence"). */
void apic_start_others(u32 page);
/* A kick (smp.h). L1's half-written ICR survives. */
void apic_send_init(u32 id);
/* An NMI to this CPU, which has NMIs blocked: it stays pending. */
void apic_send_nmi_self(void);
/* Registers as after INIT (SDM: "Local APIC State After It Receives an INIT"), but IRR. */
void apic_reset(void);

/* L1 (or L2, where L1 let it through) writes a register in xAPIC mode; offset in the page, multiple of 16. */
void apic_l1_write(struct cpu *c, u32 offset, u32 value);
/* WRMSR of the ICR in x2APIC mode; false: #GP(0). */
bool apic_l1_icr(struct cpu *c, u64 value);
/* IA32_APIC_BASE was written by L1: where are the registers now? */
void apic_l1_moved(struct cpu *c);

#endif
