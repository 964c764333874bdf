// SPDX-License-Identifier: BSD-2-Clause
/* Interrupts and exceptions, of L1 and of L2 alike: the stack tells whose they are. Nothing here prints, but panic. */
#include "lhv/apic.h"
#include "lhv/cpu.h"
#include "lhv/guest.h"
#include "lhv/ps2.h"
#include "lhv/report.h"
#include "x86/cr.h"

void isr_dispatch(struct frame *f);

struct extable_entry {
	ulong ip, fixup;
};
extern const struct extable_entry extable_start[], extable_end[];

static ulong extable_find(ulong ip)
{
	for (const struct extable_entry *e = extable_start; e < extable_end; e++)
		if (e->ip == ip)
			return e->fixup;
	return 0;
}

static void interrupt(struct stack_base *s, u32 vector)
{
	struct cpu *c = s->cpu;
	u32 kind = vector - IRQ_VECTOR;

	if (vector == SPURIOUS_VECTOR) {
		c->spurious++; /* no EOI: SDM, "Spurious Interrupt" */
		return;
	}
	if (kind >= IRQ_KINDS)
		panic("interrupt with vector 0x%x", vector);
	if (kind == IRQ_KEYBOARD || kind == IRQ_MOUSE)
		c->ps2_byte = ps2_take_byte();
	if (kind == IRQ_IPI)
		__atomic_fetch_add(&cpus_public[c->number].ipi_taken, 1, __ATOMIC_ACQ_REL);
	c->count[s->level][kind]++;
	if (s->level == LEVEL_L1 || c->l2_does_eoi)
		apic_eoi();
}

/* Called by isr_common in lib/arch/isr.asm, interrupts off. */
void isr_dispatch(struct frame *f)
{
	struct stack_base *s = this_stack();
	ulong fixup;

	if (f->vector >= 32) {
		interrupt(s, (u32)f->vector);
		return;
	}
	fixup = extable_find(f->ip);
	if (fixup) {
		s->cpu->fault = out_fault((u8)f->vector, (u32)f->error);
		f->ip = fixup;
		return;
	}
	if (s->level == LEVEL_L2) {
		/* L1 judges; if it resumes us anyway, the fault repeats. */
		guest_report_fault((u32)f->vector, (u32)f->error, f->ip);
		return;
	}
	panic("exception %u error 0x%x at 0x%lx, cr2 0x%lx, sp 0x%lx", (u32)f->vector, (u32)f->error,
	      (unsigned long)f->ip, (unsigned long)read_cr2(), (unsigned long)f);
}
