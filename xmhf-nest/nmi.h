/* SPDX-License-Identifier: BSD-2-Clause */
/* NMIs are L1's, or L2's: VMCS01 lets them through. Only one that arrives while L0 runs needs a hand. */
#ifndef NEST_NMI_H
#define NEST_NMI_H

#include "xmhf-nest/cpu.h"

/* From arch/exit.asm, in the NMI; leaves NMIs blocked on this CPU. */
void nmi_in_l0(void *stack);
/*
 * Before an entry, NMIs blocked since: injects the NMI if that is all there is to it. Else it's sent again, to this CPU: it
 * stays pending until the entry, which sets blocking as the VMCS says, and the CPU delivers it by its own priorities.
 */
void nmi_pass(struct cpu *c);

#endif
