/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EPT02 = EPT01 o EPT12: what L2 runs on, filled page by page on violations. Each CPU has its own: what L1 does with
 * INVEPT concerns one CPU, so nothing here is shared or locked.
 *
 * A table of EPT02 stands for a table of EPT12 at the same level ("mirror"), or breaks up a large page of EPT12 that
 * EPT01 doesn't have in one piece ("piece"). Beside each entry stands the entry of EPT12 that it was made from. INVEPT
 * only marks a root; before the next entry that uses it, the entries that are there are compared with EPT12, and those
 * that changed are dropped.
 */
#ifndef NEST_EPT02_H
#define NEST_EPT02_H

#include "core/base.h"
#include "xmhf-nest/lru.h"

/*
 * Flags in place of EPTP12's reserved bits. OPEN: L2 may do to the local APIC's page what L1 may do to any, since the CPU
 * virtualizes each access there. WITHOUT: L1 has EPT off, so there is no EPTP12; EPT02 is EPT01 but for that page.
 */
#define EPT02_OPEN 0x100u
#define EPT02_WITHOUT 0x200u

#define EPT02_ROOTS 8u
#define EPT02_TABLES 96u /* per CPU; two pages each */

struct ept02_table {
	u64 *entry, *made_from; /* 512 each */
	const u64 *source;      /* mirror: the table of EPT12, in L1's memory; piece: NULL */
	u32 used[16];           /* bit per entry present */
	u8 level;
	bool taken;
};

struct ept02 {
	struct lru lru; /* key: the address in EPTP12, all that INVEPT goes by, and the flags below */
	struct ept02_table *root[EPT02_ROOTS];
	bool stale[EPT02_ROOTS]; /* INVEPT since the last comparison */
	struct ept02_table table[EPT02_TABLES];
	u32 free_hint;
	bool opened;  /* there may be roots with EPT02_OPEN */
	bool freed;   /* something that the CPU may know was given up */
	bool dropped; /* there are no roots any more: ept02_use before L2 runs */
};

/* What an EPT violation by L2 means. */
enum ept02_verdict {
	EPT02_FILLED,           /* L2 goes on */
	EPT02_VIOLATION,        /* L1's: rights has what EPT12 allows */
	EPT02_MISCONFIGURATION, /* L1's */
	EPT02_APIC,             /* a write to the guarded page of the local APIC, at gpa1 */
	EPT02_NOWHERE,          /* EPT12 allows it, but the page is private */
};

struct ept02_result {
	u8 verdict; /* enum ept02_verdict */
	u8 rights;  /* EPT_R, EPT_W, EPT_X over all levels of EPT12 */
	u64 gpa1;   /* where EPT12 leads to */
};

void ept02_init(struct ept02 *e);
/* The root for an EPTP of L1 with flags: an EPTP for VMCS02, up to date as far as L1 executed INVEPT. */
u64 ept02_use(struct ept02 *e, u64 eptp12);
/* A violation under eptp12, which ept02_use was called with last. access: EPT_R, EPT_W, EPT_X. */
struct ept02_result ept02_violation(struct ept02 *e, u64 eptp12, u64 gpa, u32 access);
/* INVEPT by L1. */
void ept02_invept_single(struct ept02 *e, u64 eptp12);
void ept02_invept_all(struct ept02 *e);
/* EPT01 changed. The caller executes INVEPT. */
void ept02_drop_all(struct ept02 *e);
/* Walks EPT12 for L0's own reading of L2's memory. False: not mapped for reading. */
bool ept12_translate(u64 eptp12, u64 gpa, u64 *gpa1);

#endif
