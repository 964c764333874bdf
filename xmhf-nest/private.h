/* SPDX-License-Identifier: BSD-2-Clause */
/* Ranges of pages that L1 asked L0 to hide: from every CPU, from L1 and from L2. */
#ifndef NEST_PRIVATE_H
#define NEST_PRIVATE_H

#include "core/base.h"

struct cpu;

/* Does [start, end) touch a private range? */
bool private_overlaps(u64 start, u64 end);
/* VMCALL by L1 with HYPERCALL_MAGIC in eax. False: not ours. The result is in eax. */
bool private_hypercall(struct cpu *c);

#define HYPERCALL_MAGIC 0x4e455354u /* "TSEN" */
#define HYPERCALL_HIDE 1u           /* ebx = operation, ecx = page number, edx = number of pages */
#define HYPERCALL_SHOW 2u
#define HYPERCALL_OK 0u
#define HYPERCALL_INVALID 1u
#define HYPERCALL_FULL 2u

#endif
