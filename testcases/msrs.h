/* SPDX-License-Identifier: BSD-2-Clause */
/* An L2 that executes RDMSR or WRMSR. L1, CPU 0. */
#ifndef TESTCASES_MSRS_H
#define TESTCASES_MSRS_H

#include "testcases/snippet.h"

#define MSR_NOWHERE 0x1ffeu /* no CPU has it; nor this number in the high range */

struct msrs {
	struct snippet s;
	u8 *bitmap; /* no exits until somebody changes it */
};

/* Judging begins, too. */
void msrs_begin(struct msrs *m, struct cpu *c, bool bitmaps);
/* L2 stands before RDMSR, or WRMSR of this value. */
void msrs_put(struct msrs *m, u32 msr, bool write, u64 value);
struct exit msrs_access(struct msrs *m, u32 msr, bool write, u64 value);
bool msrs_exited(const struct exit *e, bool write);
/* It did what the CPU does with it: the instruction has been executed, or was #GP. */
bool msrs_executed(struct msrs *m, const struct exit *e);

#endif
