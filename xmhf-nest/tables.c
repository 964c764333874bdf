// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/tables.h"

#include "arch/cpu.h"
#include "arch/frame.h"
#include "x86/seg.h"
#include "xmhf-nest/cpu.h"
#include "xmhf-nest/lock.h"
#include "xmhf-nest/log.h"

void isr_dispatch(struct frame *f);

struct extable_entry {
	ulong ip, fixup;
};
extern const struct extable_entry extable_start[], extable_end[];

static u64 gdt[GDT_ENTRIES] __attribute__((aligned(16)));
static struct gate idt[256] __attribute__((aligned(16)));
static u32 lock;
static u8 tss[104] __attribute__((aligned(16)));

ulong tables_gdt(void)
{
	return (ulong)gdt;
}

ulong tables_idt(void)
{
	return (ulong)idt;
}

ulong tables_tss(void)
{
	return (ulong)tss;
}

static void gate_set(u32 vector, ulong handler)
{
	idt[vector] = gate_make(handler, SEL_CODE, 0);
}

void tables_init(void)
{
	u64 base = (ulong)tss;

	gdt[SEL_CODE / 8] = sizeof(ulong) == 8 ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull;
	gdt[SEL_DATA / 8] = 0x00cf93000000ffffull;
	gdt[SEL_CODE32 / 8] = 0x00cf9b000000ffffull;
	gdt[SEL_TSS1 / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[SEL_TSS1 / 8 + 1] = base >> 32;
	for (u32 v = 0; v < 256; v++)
		gate_set(v, (ulong)isr_stubs + v * ISR_STUB_SIZE);
	gate_set(2, (ulong)nmi_entry);
}

void tables_load(void)
{
	struct table_reg g = { sizeof(gdt) - 1, (ulong)gdt }, i = { sizeof(idt) - 1, (ulong)idt };

	load_gdt(&g);
	load_idt(&i);
	/* LTR wants it available and makes it busy; all CPUs use this one, for nothing, and they come at once. */
	lock_take(&lock);
	gdt[SEL_TSS1 / 8] &= ~(2ull << 40);
	load_tr(SEL_TSS1);
	lock_release(&lock);
}

/* Exceptions of L0: those that an instruction may have, by lib/arch's table; anything else is the end. */
void isr_dispatch(struct frame *f)
{
	for (const struct extable_entry *e = extable_start; e < extable_end; e++)
		if (e->ip == f->ip) {
			f->ip = e->fixup;
			return;
		}
	panic("exception %u error 0x%x at 0x%lx, cr2 0x%lx", (u32)f->vector, (u32)f->error, (unsigned long)f->ip,
	      (unsigned long)read_cr2());
}
