/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that C can't say (lib/arch/cpu.asm, isr.asm). All nmi-safe unless said otherwise. */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include "core/base.h"
#include "core/outcome.h"

void out8(u16 port, u8 value);
void out16(u16 port, u16 value);
void out32(u16 port, u32 value);
u8 in8(u16 port);
u16 in16(u16 port);
u32 in32(u16 port);
void in16_rep(u16 port, void *buf, u32 count); /* REP INSW */

u64 read_tsc(void);
void cpuid_raw(u32 leaf, u32 subleaf, u32 out[4]); /* eax ebx ecx edx */

/* 0: done, 3: faulted (see fault_outcome in lib/arch/percpu.h) */
u32 msr_read_raw(u32 msr, u64 *value);
u32 msr_write_raw(u32 msr, u32 low, u32 high);
u32 write_cr0_raw(ulong value);
u32 write_cr4_raw(ulong value);

ulong read_cr0(void);
ulong read_cr2(void);
ulong read_cr3(void);
ulong read_cr4(void);
void write_cr0(ulong value);
void write_cr2(ulong value);
void write_cr3(ulong value);
void write_cr4(ulong value);
ulong read_dr0(void);
ulong read_dr1(void);
ulong read_dr2(void);
ulong read_dr3(void);
ulong read_dr6(void);
ulong read_dr7(void);
void write_dr0(ulong value);
void write_dr1(ulong value);
void write_dr2(ulong value);
void write_dr3(ulong value);
void write_dr6(ulong value);
void write_dr7(ulong value);
ulong read_flags(void);
ulong read_sp(void);
void invlpg(ulong address);

/* Operand of LGDT and LIDT. */
struct table_reg {
	u16 limit;
	ulong base;
} __attribute__((packed));
void load_gdt(const struct table_reg *r); /* reloads all segment registers */
void load_idt(const struct table_reg *r);
void store_gdt(struct table_reg *r);
void store_idt(struct table_reg *r);
void load_tr(u32 selector);
u32 store_tr(void);

void irq_on(void);
void irq_off(void);
void irq_window(void);  /* STI, two instructions, CLI */
void halt_irq_on(void); /* STI; HLT */
void halt(void);
void cpu_pause(void);

/* Never returns; fn runs with this stack. */
void switch_stack(ulong top, void (*fn)(void *), void *arg) __attribute__((noreturn));

/*
 * Runs fn(arg) at CPL 3 and returns what it returns. user_stack: top, 16-byte aligned. tss_sp0: the
 * ESP0/RSP0 field of the TSS in use, set so that interrupts land below this frame. flags: RFLAGS in user mode.
 */
ulong user_run(ulong (*fn)(ulong), ulong arg, ulong user_stack, u32 *tss_sp0, ulong flags);

/* Symbols in assembly, for their addresses only. */
extern u8 isr_stubs[], user_return_gate[], vmx_exit_entry[];
#define ISR_STUB_SIZE 16

#endif
