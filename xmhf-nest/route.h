/* SPDX-License-Identifier: BSD-2-Clause */
/* Whose is an exit of L2? Pure, host-tested as truth tables. */
#ifndef NEST_ROUTE_H
#define NEST_ROUTE_H

#include "core/vmxcap.h"

/* Where the MSR bitmap has the bit for an MSR (SDM: "MSR-Bitmap Address"); MSRs beyond both ranges always exit. */
struct msr_bit {
	bool exists;
	u16 byte;
	u8 mask;
};
struct msr_bit msr_bit(u32 msr, bool write);

/*
 * Does L0 handle an exit for this basic reason by itself? msr_l1: L1 asked for exits of the MSR in question. What isn't
 * L0's is L1's: VMCS02 has no control beyond VMCS12's that would add exits, but for EPT, the MSR bitmap, and INIT.
 */
bool l0_wants(u32 basic, bool msr_l1);

#endif
