/* SPDX-License-Identifier: BSD-2-Clause */
/* Ranges of pages that L1 asked L0 to hide: from every CPU, from L1 and from L2. */
#ifndef NEST_PRIVATE_H
#define NEST_PRIVATE_H

#include "core/base.h"

struct cpu;

/* Does [start, end) touch a private range? */
bool private_overlaps(u64 start, u64 end);
/* VMCALL by L1 with NEST_CALL_MAGIC in eax (x86/nest_call.h). False: not ours. The result is in eax. */
bool private_hypercall(struct cpu *c);

#endif
