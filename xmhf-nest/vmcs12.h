/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMCS12: the VMCS as L1 sees it. It lives in L1's memory; VMPTRLD copies it to the CPU, VMCLEAR (or VMPTRLD of
 * another) copies it back. While it is current, each field is in one of three states:
 *
 *   clean   VMCS12 and VMCS02 agree (or the field doesn't get into VMCS02)
 *   dirty   L1 wrote it: the next entry brings it to VMCS02
 *   stale   L2 ran: the value is in VMCS02 and fetched when somebody asks
 */
#ifndef NEST_VMCS12_H
#define NEST_VMCS12_H

#include "core/vmcs.h"

struct cpu;

#define VMCS12_REVISION 0x4e584d48u /* bit 31 clear */
#define VMCS12_NONE (~0ull)         /* "current-VMCS pointer" when there is none */
#define VI_WORDS ((VI_COUNT + 31) / 32)

/* In L1's memory. */
struct vmcs12_page {
	u32 revision; /* bit 31: shadow-VMCS indicator */
	u32 abort;
	u32 launched;
	u32 reserved;
	u64 v[VI_COUNT];
};
_Static_assert(sizeof(struct vmcs12_page) <= 4096, "a VMCS region");

/* What of VMCS12 changed since the last entry. */
#define CHANGED_CONTROLS 1u /* to be checked again */
#define CHANGED_HOST 2u     /* to be checked again */
#define CHANGED_GUEST 4u    /* to be checked again: more than RIP, RSP, RFLAGS */
#define CHANGED_HANDLER 8u  /* a control with code of its own */

/* Part of struct cpu. */
struct vmcs12_cpu {
	bool vmxon; /* L1 is in VMX operation */
	u64 vmxon_pointer, current;
	bool launched;
	bool touched; /* differs from what is in L1's memory */
	u8 changed;   /* CHANGED_ */
	u32 dirty[VI_WORDS], stale[VI_WORDS];
	u64 v[VI_COUNT];
	/* Derived from the controls at entry. */
	u32 proc2;     /* secondary controls that count */
	bool host_lma; /* L1's LMA when the host state was checked */
	u64 eptp02;    /* what VMCS02 holds; 0: unknown */
	u64 eptp12;    /* the EPT pointer of L1's that EPT02 stands for, with flags of ept02.h; 0: L2 runs on EPT01 */
	u16 tag[16];   /* VPIDs of L1 that have a tag of L0's (vpid02.c); 0: free */
	u32 next_tag;
	const char *rule; /* check that failed last, for dumps */
};

/* At boot, once: which fields L1 has. */
void vmcs12_init(void);
/* Index (enum vmcs_index) of an encoding that L1 may use, or -1. An odd encoding names a high half. */
int vmcs12_index(u32 encoding);

/* Current VMCS12. VMCS01 is loaded before and after. */
u64 vmcs12_get(struct cpu *c, u32 index);
void vmcs12_set(struct cpu *c, u32 index, u64 value);
/* Copies the current VMCS12 to L1's memory and forgets it; no-op if there is none. */
void vmcs12_flush(struct cpu *c);
/* Makes the VMCS12 at gpa current; it is L1's memory. */
void vmcs12_load(struct cpu *c, u64 gpa);

/* VMCS02 is loaded. */
void vmcs12_fetch_stale(struct cpu *c, u32 index);
void vmcs12_fetch_all(struct cpu *c);
/* Brings what is dirty to VMCS02; controls with code of their own only mark CHANGED_HANDLER. */
void vmcs12_bring(struct cpu *c);
/* L2 ran: what the CPU changed is stale now. */
void vmcs12_ran(struct cpu *c);

static inline void bit_mark(u32 *bits, u32 index)
{
	bits[index / 32] |= 1u << index % 32;
}

static inline void bit_clear(u32 *bits, u32 index)
{
	bits[index / 32] &= ~(1u << index % 32);
}

static inline bool bit_test(const u32 *bits, u32 index)
{
	return bits[index / 32] >> index % 32 & 1;
}

#endif
