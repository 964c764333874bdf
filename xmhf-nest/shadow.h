/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU's VMCS shadowing: while L1 handles an exit, it reads and writes the fields that it needs most in a shadow VMCS,
 * without exits. Copying costs as much as two exits, so it's done as long as L1 asks for more than that in each trip.
 * SDM: "VMCS Types: Ordinary and Shadow".
 */
#ifndef NEST_SHADOW_H
#define NEST_SHADOW_H

#include "core/base.h"

struct cpu;

/* Part of struct cpu. */
struct shadow {
	u64 vmcs;  /* 0: the CPU has no such thing */
	bool on;   /* L1 uses it: what it wrote is there and not in VMCS12 */
	u32 trips; /* exits to L1 that will still use it */
	u32 asked; /* exits by VMREAD and VMWRITE of such fields since the last entry */
};

/* First CPU, after vmcs12_init. */
void shadow_init(void);
/* Each CPU, with VMXON done and VMCS01 current. */
void shadow_init_cpu(struct cpu *c);
/* The fields, a bit by enum vmcs_index; none if the CPU has no shadowing. */
extern u32 shadow_fields[];
/* VMREAD or VMWRITE by L1 of one of them exited; before the field is accessed. */
void shadow_asked(struct cpu *c, bool write);
/* VMLAUNCH or VMRESUME by L1: what it wrote is in VMCS12 afterwards. VMCS01 is current. */
void shadow_entry(struct cpu *c, bool launch);
/* Exit to L1 with trips left: exit information and guest state are in VMCS12 or VMCS02, which is current; then VMCS01 is. */
void shadow_exit(struct cpu *c);
/* L1 gets VMCS12 by exits again, which is complete afterwards. VMCS01 is current; no-op if it's off. */
void shadow_off(struct cpu *c);

#endif
