/* SPDX-License-Identifier: BSD-2-Clause */
/* What a logical processor is to lhv. */
#ifndef LHV_CPU_H
#define LHV_CPU_H

#include "arch/cpu.h"
#include "arch/frame.h"
#include "core/base.h"
#include "core/cmdline.h"
#include "core/outcome.h"
#include "x86/seg.h"

#define MAX_CPUS CMDLINE_CPUS
#define STACK_BYTES 16384u /* a power of two; stacks are aligned to it */

/* Who runs on a stack. */
enum level { LEVEL_L1, LEVEL_L2, LEVELS };

/* Interrupts that we know. The vectors are IRQ_VECTOR + kind. */
enum irq { IRQ_TIMER, IRQ_KEYBOARD, IRQ_MOUSE, IRQ_IPI, IRQ_SELF, IRQ_KINDS };
#define IRQ_VECTOR 0x30
#define SPURIOUS_VECTOR 0xff
#define USER_GATE_VECTOR 0x80

/* Task-state segment, as far as it is used (SDM: "Task-State Segment"). Words, since RSP0 is misaligned on amd64. */
struct tss {
	u32 reserved0;
	u32 sp0[2]; /* SP0, on i386 ESP0 and SS0 */
	u32 reserved[22];
	u16 trap;
	u16 io_map;
};
_Static_assert(sizeof(struct tss) == 104, "SDM: the TSS without I/O map has 104 bytes");

struct result;

/* At the bottom of each stack: finds the CPU from the stack pointer, in L1 and L2 alike. */
struct stack_base {
	struct cpu *cpu;
	u32 level;
};

/* One logical processor. Only its own CPU touches this. */
struct cpu {
	u32 number; /* 0..MAX_CPUS-1 */
	u32 apic_id;
	u8 *stack[LEVELS];      /* bottoms */
	u8 *user_stack[LEVELS]; /* for CPL 3 */
	u64 gdt[GDT_ENTRIES] __attribute__((aligned(16)));
	struct tss tss[LEVELS] __attribute__((aligned(16)));
	struct outcome fault;                  /* what the exception table caught last */
	struct result *judging;                /* checks count for this result */
	volatile u32 count[LEVELS][IRQ_KINDS]; /* interrupts taken by handlers */
	volatile u32 spurious;
	volatile u8 ps2_byte;      /* last byte that a keyboard or mouse handler read */
	volatile bool l2_does_eoi; /* interrupts reach L2 without L1's help */
	u64 vmxon_pa;
	bool vmx_on;
	struct vcpu *vcpu;
	struct run *run;
};

/* What other CPUs may touch, by atomic operations only. */
struct cpu_public {
	u32 ipi_sent; /* IPIs sent to this CPU by others, at most one not yet taken */
	u32 ipi_taken;
} __attribute__((aligned(64)));

extern struct cpu cpus[MAX_CPUS];
extern struct cpu_public cpus_public[MAX_CPUS];
extern u32 cpu_count;

struct stack_base *this_stack(void);
struct cpu *this_cpu(void);

/* Allocates stacks. Before any of the CPU's code runs. */
void cpu_prepare(u32 number);
/* Loads GDT, TSS and IDT. On the CPU itself, on its L1 stack, interrupts off. */
void cpu_load_tables(struct cpu *c);
#define CPU_IDT_LIMIT (256u * 2 * sizeof(ulong) - 1)
ulong cpu_idt_base(void);
ulong stack_top(struct cpu *c, enum level l);
ulong user_stack_top(struct cpu *c, enum level l);
/* Runs fn(arg) at CPL 3 of this level; see user_run. */
ulong cpu_user_run(struct cpu *c, enum level l, ulong (*fn)(ulong), ulong arg);

#endif
