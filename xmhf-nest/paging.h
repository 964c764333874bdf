/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's page tables, walked as the CPU does (SDM: "Paging"): none, 32-bit, PAE, 4-level. Pure; memory comes
 * through a callback. Not done: accessed and dirty bits (guest.c sets them), protection keys, shadow stacks and 5-level
 * paging are taken as absent.
 */
#ifndef NEST_PAGING_H
#define NEST_PAGING_H

#include "core/base.h"

struct paging {
	u64 cr0, cr3, cr4, efer;
	u32 maxphyaddr; /* 32 to 52; PSE-36 is taken as present */
	bool no_1g;     /* the CPU has no 1-GByte pages */
	u64 pdpte[4];   /* PAE paging: the registers, valid ones */
	/* Reads an entry of 4 or 8 bytes, aligned; false if it can't be read. */
	bool (*read)(void *ctx, u64 gpa, void *to, u32 bytes);
	void *ctx;
};

/* An access; the first three are where the error code has them. */
#define PAGING_WRITE 0x2u
#define PAGING_USER 0x4u /* CPL 3, and not an implicit access to a system table */
#define PAGING_FETCH 0x10u
#define PAGING_AC 0x40000u /* RFLAGS.AC; not for implicit accesses */

/* SDM: "Page-Fault Exceptions": error code */
#define PF_P 0x1u
#define PF_WRITE 0x2u
#define PF_USER 0x4u
#define PF_RSVD 0x8u
#define PF_FETCH 0x10u

enum paging_end { PAGING_OK, PAGING_FAULT, PAGING_UNREADABLE };

struct paging_walk {
	u8 end;    /* enum paging_end */
	u8 level;  /* of the last entry: 4 to 1; 0 without paging; 3 if it was a PDPTE register */
	u32 error; /* PAGING_FAULT: the page fault's error code */
	u64 pa;    /* OK: where linear leads to. UNREADABLE: the entry's address */
	u64 size;  /* OK: bytes of the page */
};

/* linear is canonical; outside of 64-bit mode its upper half isn't looked at. access: PAGING_ bits */
struct paging_walk paging_walk(const struct paging *p, u64 linear, u32 access);

/* The bits that have to be 0 in a present entry (its PS bit counts) at a level, 1 for a PTE. */
u64 paging_reserved(const struct paging *p, u32 level, u64 entry);

#endif
