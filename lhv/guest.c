// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/guest.h"

#include "lhv/cpu.h"

/* lib/arch/l2.asm: VMCALL with these registers. */
void l2_call4(ulong code, ulong dx, ulong cx, ulong bx);

void guest_report_fault(u32 vector, u32 error, ulong ip)
{
	l2_call4(L2_FAULT, vector, error, ip);
}
