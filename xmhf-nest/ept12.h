/* SPDX-License-Identifier: BSD-2-Clause */
/* L1's EPT, as the CPU would read it (SDM: "EPT Translation Mechanism", "EPT Misconfigurations"). Pure. */
#ifndef NEST_EPT12_H
#define NEST_EPT12_H

#include "core/ept.h"
#include "core/vmxcap.h"

/* What of EPT the L1 may use. */
struct ept12_rules {
	u32 maxphyaddr;
	bool execute_only, large_2m, large_1g;
};

enum ept12_end { EPT12_LEAF, EPT12_ABSENT, EPT12_WRONG };

struct ept12_walk {
	u8 end;       /* enum ept12_end */
	u8 level;     /* where it ended: 4 to 1 */
	u8 rights;    /* AND over all levels; of an absent entry 0 */
	u64 entry[5]; /* by level, down to where it ended */
	const u64 *table[5];
	u64 gpa; /* of a leaf: where it leads to */
};

/* A page of L1's memory by address, or NULL: then reads give ones, as where there is no memory. */
typedef const u64 *ept12_map(u64 pa);

/* Is an entry with some right set misconfigured? */
bool ept12_wrong(const struct ept12_rules *r, u64 entry, int level);
/* Would this EPTP fail VM entry? (SDM: "Checks on VM-Execution Control Fields") */
bool ept12_pointer_wrong(const struct vmx_caps *caps, u32 maxphyaddr, u64 eptp);
void ept12_walk(struct ept12_walk *w, const struct ept12_rules *r, ept12_map *map, u64 eptp, u64 gpa);

#endif
