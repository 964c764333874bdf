// SPDX-License-Identifier: BSD-2-Clause
/* 0x2000: L2 in real mode, with its own interrupt vector table, and from there to protected mode. */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/run.h"
#include "x86/cr.h"

extern u8 real_code[], real_code_end[], real_int_handler[], real_irq_handlers[];
#define IRQ_HANDLER_BYTES 8u

/* Offsets in the segment; lib/arch/real.asm has them too. */
#define IVT_OFFSET 0x2000u
#define SHARED_OFFSET 0x3000u
#define STACK_OFFSET 0x3ff0u
#define INT_VECTOR 0x40u
#define OPEN_LOOPS 2000u

struct shared {
	u32 a, b, product, int_count, open;
	u16 gdt_limit;
	u32 gdt_base;
	u32 irq_counts[IRQ_KINDS];
} __attribute__((packed));
_Static_assert(offsetof(struct shared, irq_counts) == 26 && IRQ_KINDS == 5, "lib/arch/real.asm");

static u32 base_of(const struct cpu *c)
{
	return LOW_BASE + c->number * LOW_BYTES;
}

static struct shared *shared_of(const struct cpu *c)
{
	return (struct shared *)(ulong)(base_of(c) + SHARED_OFFSET);
}

static void ivt_set(u32 *ivt, u32 vector, const u8 *handler, u32 base)
{
	ivt[vector] = base >> 4 << 16 | (u32)(handler - real_code);
}

static void setup(struct run *r)
{
	struct cpu *c = r->v.cpu;
	u32 base = base_of(c);
	u32 *ivt = (u32 *)(ulong)(base + IVT_OFFSET);

	memset((void *)(ulong)base, 0, LOW_BYTES);
	memcpy((void *)(ulong)base, real_code, (size_t)(real_code_end - real_code));
	ivt_set(ivt, INT_VECTOR, real_int_handler, base);
	for (u32 k = 0; k < IRQ_KINDS; k++)
		ivt_set(ivt, IRQ_VECTOR + k, real_irq_handlers + k * IRQ_HANDLER_BYTES, base);
}

static void write_real_state(struct run *r)
{
	u32 base = base_of(r->v.cpu);

	vmwrite(VMCS_guest_cr0, vmread(VMCS_guest_cr0) & ~(u64)(CR0_PG | CR0_PE));
	vmwrite_bits(VMCS_vm_entry_controls, VMENTRY_ia32e_mode_guest, 0);
	for (u32 i = 0; i < 6; i++) {
		vmwrite(VMCS_guest_es_selector + 2 * i, base >> 4);
		vmwrite(VMCS_guest_es_base + 2 * i, base);
		vmwrite(VMCS_guest_es_limit + 2 * i, 0xffff);
		vmwrite(VMCS_guest_es_access_rights + 2 * i, i == 1 ? AR_CODE16 : AR_DATA16);
	}
	vmwrite(VMCS_guest_idtr_base, base + IVT_OFFSET);
	vmwrite(VMCS_guest_idtr_limit, 0x3ff);
	vmwrite(VMCS_guest_rip, 0);
	vmwrite(VMCS_guest_rsp, STACK_OFFSET);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED);
}

/* Real-mode handlers only count; what they took counts as taken by L2. Returns how many that were. */
static u32 collect_irqs(struct cpu *c, struct shared *s)
{
	u32 n = 0;

	for (u32 k = 0; k < IRQ_KINDS; k++) {
		n += s->irq_counts[k];
		c->count[LEVEL_L2][k] += s->irq_counts[k];
	}
	__atomic_fetch_add(&cpus_public[c->number].ipi_taken, s->irq_counts[IRQ_IPI], __ATOMIC_ACQ_REL);
	for (u32 k = 0; k < IRQ_KINDS; k++)
		s->irq_counts[k] = 0;
	return n;
}

static void check_real(struct run *r, struct shared *s)
{
	u32 base = base_of(r->v.cpu);
	u32 injected = r->v.injected;
	struct exit e = enter(&r->v);

	require_call(&r->v, e, L2_REAL_MODE);
	expect_eq((u32)r->v.g.dx, s->a * s->b);
	expect_eq(s->product, s->a * s->b);
	expect_eq(s->int_count, r->i + 1);
	expect_eq(vmread(VMCS_guest_cr0) & (CR0_PG | CR0_PE), 0);
	expect_eq(vmread(VMCS_guest_cs_selector), base >> 4);
	expect_eq(vmread(VMCS_guest_cs_base), base);
	expect_eq(vmread(VMCS_guest_ss_base), base);
	expect_eq(vmread(VMCS_guest_rsp), STACK_OFFSET);
	expect_eq(vmread(VMCS_guest_rflags) & RFLAGS_IF, 0);
	/* What L1 injected went through the IVT, and nothing else did. */
	expect_eq(collect_irqs(r->v.cpu, s), r->v.injected - injected);
	e = enter(&r->v);
	require_call(&r->v, e, L2_PROTECTED_MODE);
	expect_eq(r->v.g.dx & (CR0_PG | CR0_PE), CR0_PE);
	expect_eq(vmread(VMCS_guest_cr0) & (CR0_PG | CR0_PE), CR0_PE);
	expect_eq(vmread(VMCS_guest_cs_selector), SEL_CODE32);
	expect_eq(vmread(VMCS_guest_cs_base), 0);
	expect_eq(vmread(VMCS_guest_cs_access_rights), AR_CODE32);
}

static void iterate(struct run *r)
{
	struct cpu *c = r->v.cpu;
	struct shared *s = shared_of(c);

	s->a = 0x1234 + r->i;
	s->b = 0x7;
	s->product = 0;
	/* The handlers can't reach the local APIC from real mode, so no interrupts that need an EOI by L2. */
	s->open = r->v.irq_mode == IRQ_TO_L2 ? 0 : OPEN_LOOPS;
	s->gdt_limit = sizeof(c->gdt) - 1;
	s->gdt_base = (u32)(ulong)c->gdt;
	write_real_state(r);
	check_real(r, s);
	vcpu_write_controls(&r->v);
	vcpu_write_guest_state(&r->v);
}

const struct opt_ops opt_real_mode = {
	.bit = OPT_real_mode,
	.needs = "",
	.setup = setup,
	.iterate = iterate,
};
