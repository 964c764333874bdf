// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/cpu.h"

#include "lhv/mem.h"

struct cpu cpus[MAX_CPUS];
struct cpu_public cpus_public[MAX_CPUS];
u32 cpu_count = 1;

static struct gate idt[256] __attribute__((aligned(16)));

struct stack_base *this_stack(void)
{
	return (struct stack_base *)(read_sp() & ~(ulong)(STACK_BYTES - 1));
}

struct cpu *this_cpu(void)
{
	return this_stack()->cpu;
}

ulong stack_top(struct cpu *c, enum level l)
{
	return (ulong)c->stack[l] + STACK_BYTES;
}

ulong user_stack_top(struct cpu *c, enum level l)
{
	return (ulong)c->user_stack[l] + STACK_BYTES;
}

_Static_assert(sizeof(idt) == CPU_IDT_LIMIT + 1, "size of a gate");

ulong cpu_idt_base(void)
{
	return (ulong)idt;
}

ulong cpu_user_run(struct cpu *c, enum level l, ulong (*fn)(ulong), ulong arg)
{
	return user_run(fn, arg, user_stack_top(c, l), c->tss[l].sp0, RFLAGS_FIXED | RFLAGS_IF);
}

static void idt_set(u32 vector, ulong handler, u32 dpl)
{
	idt[vector] = gate_make(handler, SEL_CODE, dpl);
}

static void idt_fill(void)
{
	for (u32 v = 0; v < 256; v++)
		idt_set(v, (ulong)isr_stubs + v * ISR_STUB_SIZE, 0);
	idt_set(USER_GATE_VECTOR, (ulong)user_return_gate, 3);
}

static u8 *stack_alloc(struct cpu *c, enum level l)
{
	u8 *stack = pages_alloc_aligned(STACK_BYTES / PAGE_SIZE, STACK_BYTES);

	*(struct stack_base *)stack = (struct stack_base){ c, l };
	return stack;
}

void cpu_prepare(u32 number)
{
	struct cpu *c = &cpus[number];

	if (number == 0)
		idt_fill();
	c->number = number;
	for (enum level l = 0; l < LEVELS; l++) {
		c->stack[l] = stack_alloc(c, l);
		c->user_stack[l] = stack_alloc(c, l);
	}
	c->vmxon_pa = (ulong)page_alloc();
}

static void gdt_tss(struct cpu *c, u32 selector, struct tss *t)
{
	u64 base = (ulong)t;
	u32 i = selector / 8;

	c->gdt[i] = (sizeof(*t) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
#ifdef __x86_64__
	c->gdt[i + 1] = base >> 32;
#endif
	t->io_map = sizeof(*t);
}

void cpu_load_tables(struct cpu *c)
{
	struct table_reg gdtr = { sizeof(c->gdt) - 1, (ulong)c->gdt };
	struct table_reg idtr = { sizeof(idt) - 1, (ulong)idt };

#ifdef __x86_64__
	c->gdt[SEL_CODE / 8] = 0x00af9b000000ffffull;
	c->gdt[SEL_USER_CODE / 8] = 0x00affb000000ffffull;
#else
	c->gdt[SEL_CODE / 8] = 0x00cf9b000000ffffull;
	c->gdt[SEL_USER_CODE / 8] = 0x00cffb000000ffffull;
	c->tss[LEVEL_L1].sp0[1] = SEL_DATA;
	c->tss[LEVEL_L2].sp0[1] = SEL_DATA;
#endif
	c->gdt[SEL_DATA / 8] = 0x00cf93000000ffffull;
	c->gdt[SEL_USER_DATA / 8] = 0x00cff3000000ffffull;
	c->gdt[SEL_CODE32 / 8] = 0x00cf9b000000ffffull;
	c->gdt[SEL_DATA32 / 8] = 0x00cf93000000ffffull;
	gdt_tss(c, SEL_TSS1, &c->tss[LEVEL_L1]);
	gdt_tss(c, SEL_TSS2, &c->tss[LEVEL_L2]);
	load_gdt(&gdtr);
	load_idt(&idtr);
	load_tr(SEL_TSS1);
}
