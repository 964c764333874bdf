/* SPDX-License-Identifier: BSD-2-Clause */
/* L2's side: what runs there shares L1's image and memory; it asks L1 by VMCALL (code in AX, argument in DX). */
#ifndef LHV_GUEST_H
#define LHV_GUEST_H

#include "core/base.h"

enum l2_code {
	L2_RETURN = 0x4c320000, /* the function given to guest() has returned; DX: its value */
	L2_FAULT,               /* an exception that nobody expected: DX vector, CX error code, BX address */
	L2_REGISTERS,           /* all registers have the pattern of l2_registers */
	L2_PAGING_OFF,          /* CR0.PG is 0 */
	L2_REAL_MODE,           /* from real mode */
	L2_PROTECTED_MODE,      /* from 16-bit protected mode */
	L2_USER,                /* from CPL 3 */
	L2_STEP,                /* a test's own synchronisation point */
};

/* VMCALL; returns what L1 leaves in AX. */
ulong l2_call(ulong code, ulong argument);
/* Called by exception handlers of L2. */
void guest_report_fault(u32 vector, u32 error, ulong ip);

/* lib/arch/l2.asm */
extern u8 l2_start[];
/*
 * Fills every general register with PATTERN + its number (AX = L2_REGISTERS), VMCALLs, and returns a bit per
 * register that doesn't then hold PATTERN2 + its number. Numbers are those of struct gregs.
 */
#define L2_PATTERN 0x5ca1ab00u
#define L2_PATTERN2 0xbedab1e0u
ulong l2_registers(ulong unused);
/*
 * Paging off, VMCALL(L2_PAGING_OFF) if `call`, paging on again. Returns CR0 as it was without paging.
 * On amd64 by way of a 32-bit code segment. Interrupts must be off. Works in L1 too (outside VMX operation), with call = 0.
 */
ulong paging_off_on(ulong call);
/* STI; HLT; CLI */
void l2_halt_once(void);
/* Reads that may fault: the value, or FAULTED_READ with the fault in struct cpu. */
#define FAULTED_READ 0xfa017ed0u
ulong try_read(volatile u32 *address);
u32 try_rdmsr(u32 msr);
/* Instructions that are privileged: 0, or 3 if they faulted (fault in struct cpu). */
u32 try_hlt(void);
u32 try_cli(void);
u32 try_read_cr0(void);
/* #UD, always. */
u32 try_ud2(void);
extern u8 try_ud2_instruction[];

#endif
