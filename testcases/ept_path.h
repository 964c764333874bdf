/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One guest-physical page whose EPT entries, from the PML4E down, lead to nothing else: they may be made anything
 * without taking L2's code away. L2 gets at it by a window of its own paging.
 *
 *	path_begin(&p, c);
 *	path_set(&p, 3, p.full[3] & ~EPT_W);
 *	path_synchronize(&p);
 *	e = path_access(&p, PATH_WRITE);
 *	path_restore(&p);
 *
 * L1, CPU 0. Tests with it need "INVEPT" and OPT_ept.
 */
#ifndef TESTCASES_EPT_PATH_H
#define TESTCASES_EPT_PATH_H

#include "testcases/snippet.h"

/* Bits of the exit qualification (SDM: "Exit Qualification for EPT Violations"). */
#define QUAL_READ 0x1u
#define QUAL_WRITE 0x2u
#define QUAL_FETCH 0x4u
#define QUAL_ACCESS 0x7u
#define QUAL_RIGHTS_SHIFT 3
#define QUAL_LINEAR_VALID 0x80u
#define QUAL_TRANSLATED 0x100u

enum path_access { PATH_READ, PATH_WRITE, PATH_FETCH, PATH_MODIFY, PATH_ACCESSES };

struct ept_path {
	struct snippet s;
	int top;                /* 4; 3 where physical addresses have less than 40 bits: then that PML4E is L2's own */
	u32 maxphyaddr;         /* bits */
	volatile u64 *entry[5]; /* by level, 4: PML4E to 1: PTE */
	u64 full[5];            /* what they are while nothing is wrong */
	u64 gpa;                /* of the page */
	ulong la;               /* its linear address */
	u8 *page;               /* where it is, for L1 */
};

/* Right that the access needs: EPT_R, EPT_W or EPT_X; PATH_MODIFY needs two. */
extern const u64 path_needs[PATH_ACCESSES];
const char *path_access_name(enum path_access a);
/* "PML4E" to "PTE"; "RW-", for texts. */
const char *ept_level_name(int level);
const char *ept_rights_name(u64 rights);

void path_begin(struct ept_path *p, struct cpu *c);
/* Lets the window show the guest-physical page gpa, which is pa's if EPT is right. */
void path_point(struct ept_path *p, u64 gpa, u64 pa);
/* The path's page is from now on the page table of L2's window; accesses are by its entry PATH_WALK_INDEX. */
#define PATH_WALK_INDEX 5u
void path_is_page_table(struct ept_path *p);
void path_set(struct ept_path *p, int level, u64 entry);
/* All entries full again. */
void path_restore(struct ept_path *p);
/* INVEPT. */
void path_synchronize(struct ept_path *p);
/* L2 reads, writes or modifies a word amidst the page, or jumps to its start, where there is a VMCALL. */
struct exit path_access(struct ept_path *p, enum path_access a);
/* The same as before, from where L2 stands. */
struct exit path_again(struct ept_path *p);
/* The addresses that the access is to. */
ulong path_linear(const struct ept_path *p, enum path_access a);
u64 path_physical(const struct ept_path *p, enum path_access a);
/* Did it go through, and come to the right memory? */
bool path_passed(const struct ept_path *p, enum path_access a, const struct exit *e);
/* Has L2 seen or changed nothing? */
bool path_untouched(const struct ept_path *p);

#endif
