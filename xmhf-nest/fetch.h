/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction at RIP, decoded, for L1 and L2. Walking page tables (and EPT12) and decoding costs thousands of
 * instructions, and it's the same few that write to the APIC: what was read on the way is remembered, and as long as
 * all of it still reads the same, so is the result.
 */
#ifndef NEST_FETCH_H
#define NEST_FETCH_H

#include "xmhf-nest/decode.h"

struct cpu;

#define FETCH_READS 40u /* page-table entries of two levels of paging, and the code */
#define FETCH_LINES 8u

struct fetch_line {
	u64 linear, cr3, eptp;
	u32 state;  /* mode bits that the walk depends on */
	u32 reads;  /* 0: empty */
	bool whole; /* everything was L1's memory and was recorded */
	struct {
		const void *at;
		u64 value;
		u8 bytes; /* 4 or 8 */
	} read[FETCH_READS];
	struct decode_insn insn;
};

/* VMCS of the guest that exited is current. Kind DECODE_UNSUPPORTED or DECODE_TRUNCATED if it can't be had. */
struct decode_insn fetch_insn(struct cpu *c);

#endif
