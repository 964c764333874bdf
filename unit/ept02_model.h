/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small memory of L1's with tables of EPT12, an EPT01, and what both together say: for each address of L2, all that
 * was true since the last INVEPT.
 */
#ifndef UNIT_EPT02_MODEL_H
#define UNIT_EPT02_MODEL_H

#include "core/ept.h"
#include "unit/unit.h"
#include "xmhf-nest/ept02.h"

#define ROOTS 10u  /* more than EPT02 has */
#define FRAMES 30u /* of L1's memory, with tables: ROOTS of level 4, 5 of level 3, 6 of level 2, 9 of level 1 */
#define ADDRESSES 108u
#define HISTORY 24u
#define HPA (1ull << 44) /* EPT01 leads to the same address with this bit */
#define GIB 0x40000000ull

/* What a translation says; rights 0: there is none. */
struct result {
	u64 hpa;
	u32 rights, type; /* type: bits 6:3 of the leaf */
	int level, level12;
};

extern u64 ept12[FRAMES][512]; /* L1's memory, from its address 0 on */
extern bool hidden[FRAMES];    /* private */
extern bool page_private[16], apic_on;
extern u64 address[ADDRESSES]; /* of L2, to be looked at */
extern u32 root_now;           /* the EPTP12 that L2 runs on */
extern u32 count_old;          /* accesses that got what was no more, but since INVEPT */

u32 any(u32 below);
u64 eptp_of(u32 root);

/* For struct nest_stub. */
struct ept_walk model_ept01_lookup(u64 gpa);
bool model_ept01_fill(u64 gpa);
void *model_gpa_ptr(u64 gpa, u32 bytes);

enum ept02_verdict model_walk12(u32 root, u64 gpa, u64 *leaf, int *level, u32 *rights, u64 *gpa1);
/* What an access to gpa has to come to, and what L2 gets there if it's FILLED. rights12, gpa1: as L1 is told. */
enum ept02_verdict model(u32 root, u64 gpa, u32 access, struct result *r, u32 *rights12, u64 *gpa1);
bool same(const struct result *a, const struct result *b);

/* Notes what is true now; forget: and nothing before is. */
void note(u32 root, bool forget);
void note_all(bool forget);
/* One note more would lose what may still be true. */
bool history_full(void);
/* L2 got this at address[a]. */
void check_known(u32 a, const struct result *r);

#endif
