/* SPDX-License-Identifier: BSD-2-Clause */
/* VMCS dumps by field name. L1, on the CPU whose VMCS is current. */
#ifndef LHV_DUMP_H
#define LHV_DUMP_H

#include "core/vmcs.h"

/* dump=1: dump at the end of every item. Set once. */
extern bool dump_wanted;

/* Reads every field of the table; those that the CPU hasn't are marked invalid. */
void dump_read(struct vmcs_dump *d);
/* Prints vmcs lines for the valid fields. */
void dump_print(const struct vmcs_dump *d, const char *tag);
/* Prints diff lines; returns how many fields differ. */
u32 dump_diff(const struct vmcs_dump *a, const struct vmcs_dump *b);
/* Reads and prints this CPU's current VMCS, if it has one. */
void dump_current(const char *tag);
/* The same after a failed check, at most FAIL_DUMPS_MAX times per boot: the port is slow. */
#define FAIL_DUMPS_MAX 16
void dump_after_failure(void);

#endif
