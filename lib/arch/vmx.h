/* SPDX-License-Identifier: BSD-2-Clause */
/* VMX instructions (lib/arch/vmx.asm): 0 VMsucceed, 1 VMfailInvalid, 2 VMfailValid, 3 fault. */
#ifndef ARCH_VMX_H
#define ARCH_VMX_H

#include "core/base.h"

/* General registers but RSP; vmx.asm knows the order. */
struct gregs {
	ulong ax, cx, dx, bx, bp, si, di;
#ifdef __x86_64__
	ulong r[8]; /* R8 to R15 */
#endif
};

u32 vmx_on_raw(const u64 *pa);
u32 vmx_off_raw(void);
u32 vmx_clear_raw(const u64 *pa);
u32 vmx_ptrld_raw(const u64 *pa);
u32 vmx_ptrst_raw(u64 *pa);
u32 vmx_launch_raw(void);
u32 vmx_resume_raw(void);
u32 vmx_call_raw(void);
u32 vmx_func_raw(void);
u32 vmcall_raw(u32 ax, u32 bx, u32 cx, u32 dx); /* a hypercall: EAX afterwards */
u32 vmx_read_raw(ulong field, ulong *value);
u32 vmx_write_raw(ulong field, ulong value);
/* The forms with an operand in memory. */
u32 vmx_read_mem_raw(ulong field, ulong *to);
u32 vmx_write_mem_raw(ulong field, const ulong *from);
/* VMLAUNCH and VMRESUME while events are blocked by MOV SS. */
u32 vmx_launch_mov_ss_raw(void);
u32 vmx_resume_mov_ss_raw(void);
/* RFLAGS after a VMPTRLD that started with these; clears IF. */
ulong vmx_ptrld_flags(const u64 *pa, ulong flags);
u32 vmx_invept_raw(ulong type, const void *descriptor);
u32 vmx_invvpid_raw(ulong type, const void *descriptor);

/*
 * Enters L2 (VMLAUNCH, or VMRESUME) with the current VMCS; 0 after a VM exit, with L2's registers in g.
 * HOST_RIP must be vmx_exit_entry; HOST_RSP is set here. Interrupts off.
 */
u32 vmx_enter_raw(struct gregs *g, u32 resume);

/*
 * For measuring: resumes `count` times, each time until L2's next exit, and stores the ticks of each trip. L2 must
 * be launched, exit at its first instruction every time (bench_vmcall, bench_rdmsr), and needs cx in ECX. 0, or 3 if
 * an entry failed. HOST_RIP is changed.
 */
#define TRIP_FIELDS 0x1u /* in L1: VMREAD of exit reason, qualification and RIP, VMWRITE of RIP */
#define TRIP_NONE 0x2u   /* no trip: what the measuring itself costs */
u32 vmx_trips_raw(u32 *ticks, u32 count, u32 how, u32 cx);
extern u8 bench_vmcall[], bench_rdmsr[]; /* lib/arch/l2.asm */
/*
 * A HOST_RIP that answers an EPT violation by writing vmx_fill_entry to its place in the page table vmx_fill_table;
 * everything else goes to vmx_exit_entry.
 */
extern u8 vmx_exit_fill[];
extern ulong vmx_fill_table, vmx_fill_entry;

#endif
