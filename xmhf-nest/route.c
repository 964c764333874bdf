// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/route.h"

struct msr_bit msr_bit(u32 msr, bool write)
{
	u32 number = msr & 0x1fff, base = (msr >> 31 ? 1024 : 0) + (write ? 2048 : 0);

	if (msr & ~0xc0001fffu || (msr >> 30 && msr >> 30 != 3))
		return (struct msr_bit){ .exists = false };
	return (struct msr_bit){ true, (u16)(base + number / 8), (u8)(1u << number % 8) };
}

bool l0_wants(u32 basic, bool msr_l1)
{
	switch (basic) {
	case EXIT_init:
	case EXIT_ept_violation: /* filled, or on to L1 */
	case EXIT_ept_misconfiguration:
		return true;
	case EXIT_rdmsr:
	case EXIT_wrmsr:
		return !msr_l1;
	default:
		return false;
	}
}
