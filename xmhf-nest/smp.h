/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUs asking each other. A request is a bit in the target's struct cpu_public; an INIT kicks the target out of its
 * guest. Some hosts drop an INIT that finds the CPU in VMX root operation, so it's repeated until the target answers.
 * That INIT is the kick also leaves NMIs to L1 alone.
 */
#ifndef NEST_SMP_H
#define NEST_SMP_H

#include "xmhf-nest/cpu.h"

enum smp_request {
	ASK_INIT = 1,  /* L1's INIT for that CPU */
	ASK_SIPI = 2,  /* L1's SIPI; the vector goes along */
	ASK_FLUSH = 4, /* EPT01 changed: drop EPT02, INVEPT */
};

/* Starts the other CPUs; they wait for L1's SIPI. First CPU, before L1 runs. count: as the firmware says. */
void smp_start(u32 count);
/* Returns when every CPU of the mask (bit per number; not the caller's) has answered. Answers meanwhile. */
void smp_ask(struct cpu *c, u32 mask, u32 request, u32 vector);
/* Answers what others asked. At every exit and while waiting; what concerns L1's state is only noted. */
void smp_answer(struct cpu *c);
/* At the end of an exit: INIT and SIPI that were noted take effect. */
void smp_settle(struct cpu *c);
/* EPT01 changed: when this returns, no CPU uses the old one, or an EPT02 made of it. */
void smp_flush_all(struct cpu *c);
/* Returns when L1 runs on this CPU: at once, or when a SIPI has come; after a VMX abort never. */
void smp_wait_to_run(struct cpu *c);
/* L1 sends INIT or a SIPI to CPUs (mask by number, own bit allowed). */
void smp_l1_init(struct cpu *c, u32 mask);
void smp_l1_sipi(struct cpu *c, u32 mask, u32 vector);

#endif
