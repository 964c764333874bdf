// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/vapic.h"
#include "core/mem.h"
#include "lhv/mem.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define VECTORS 256u
#define HANDLER_BYTES 4u
#define WATCHDOG 400000u
#define GATE_INTERRUPT 0x8e00u
#define NEEDS_SHADOW \
	(PROC2_virtualize_x2apic_mode | PROC2_apic_register_virtualization | PROC2_virtual_interrupt_delivery)

static void map(struct vapic *a, ulong linear, u64 pa)
{
	a->s.v.l2_window[(linear - L2_WINDOW) >> PAGE_SHIFT] = pa | PTE_P | PTE_W;
}

void vapic_access_page(struct vapic *a, u64 pa)
{
	vmwrite(VMCS_apic_access_address, pa);
	map(a, VAPIC_LINEAR, pa);
}

void vapic_controls(struct vapic *a, u32 proc2)
{
	struct vcpu *v = &a->s.v;

	if (proc2 & NEEDS_SHADOW)
		v->ctl[CTL_PROC] |= PROC_use_tpr_shadow;
	if (proc2 & PROC2_virtual_interrupt_delivery)
		v->irq_mode = IRQ_TO_L1;
	v->ctl[CTL_PROC2] = (v->ctl[CTL_PROC2] & PROC2_enable_ept) | proc2;
	vcpu_write_controls(v);
	if (proc2 & PROC2_virtual_interrupt_delivery) {
		vmwrite(VMCS_guest_interrupt_status, 0);
		for (u32 field = VMCS_eoi_exit_bitmap0; field <= VMCS_eoi_exit_bitmap3; field += 2)
			vmwrite(field, 0);
	}
}

void vapic_shadow(struct vapic *a)
{
	a->s.v.ctl[CTL_PROC] |= PROC_use_tpr_shadow;
	vcpu_write_controls(&a->s.v);
}

void vapic_begin(struct vapic *a, struct cpu *c, u32 opt, u32 proc2)
{
	memset(a, 0, sizeof(*a));
	snippet_begin(&a->s, c, opt);
	a->page = page_alloc();
	a->access = page_alloc();
	a->before = page_alloc();
	a->behind = page_alloc();
	a->bitmap = page_alloc();
	a->s.v.ctl[CTL_PROC] |= (u32)PROC_use_msr_bitmaps;
	vmwrite(VMCS_msr_bitmap_address, (ulong)a->bitmap);
	if (cap_have("use TPR shadow")) {
		vmwrite(VMCS_virtual_apic_address, (ulong)a->page);
		vmwrite(VMCS_tpr_threshold, 0);
	}
	if (proc2 & PROC2_virtualize_apic_accesses)
		vmwrite(VMCS_apic_access_address, (ulong)a->access);
	map(a, VAPIC_BEFORE, (ulong)a->before);
	map(a, VAPIC_LINEAR, (ulong)a->access);
	map(a, VAPIC_BEHIND, (ulong)a->behind);
	vapic_controls(a, proc2);
	vapic_fill(a);
	vapic_set(a, VAPIC_TPR, 0);
}

u32 vapic_get(const struct vapic *a, u32 offset)
{
	return a->page[offset / 4];
}

void vapic_set(struct vapic *a, u32 offset, u32 value)
{
	a->page[offset / 4] = value;
}

void vapic_fill(struct vapic *a)
{
	for (u32 offset = 0; offset < PAGE_SIZE; offset += 4)
		vapic_set(a, offset, VAPIC_PATTERN(offset));
	memset(a->access, VAPIC_HIDDEN, PAGE_SIZE);
}

bool vapic_hidden_untouched(const struct vapic *a)
{
	bool same = true;

	for (u32 i = 0; i < PAGE_SIZE; i++)
		same &= a->access[i] == VAPIC_HIDDEN;
	return same;
}

void vapic_code(struct vapic *a, const char *bytes, u32 length, u32 offset, u32 eax)
{
	snippet_code(&a->s, bytes, length);
	a->s.v.g.ax = eax;
	a->s.v.g.bx = VAPIC_LINEAR + offset;
}

struct exit vapic_run(struct vapic *a, const char *bytes, u32 length, u32 offset, u32 eax)
{
	vapic_code(a, bytes, length, offset, eax);
	return snippet_run(&a->s);
}

struct exit vapic_rdmsr(struct vapic *a, u32 msr)
{
	vapic_code(a, RDMSR, 2, 0, 0);
	a->s.v.g.cx = msr;
	return snippet_run(&a->s);
}

struct exit vapic_wrmsr(struct vapic *a, u32 msr, u64 value)
{
	vapic_code(a, WRMSR, 2, 0, (u32)value);
	a->s.v.g.cx = msr;
	a->s.v.g.dx = (u32)(value >> 32);
	return snippet_run(&a->s);
}

u64 vapic_edx_eax(const struct vapic *a)
{
	return (u32)a->s.v.g.ax | (u64)(u32)a->s.v.g.dx << 32;
}

void vapic_idt(struct vapic *a)
{
	const u32 words = sizeof(ulong) == 8 ? 4 : 2;

	if (!a->idt) {
		a->idt = page_alloc();
		a->handlers = page_alloc();
	}
	for (u32 vector = 0; vector < VECTORS; vector++) {
		u8 *handler = a->handlers + vector * HANDLER_BYTES;
		u32 *gate = (u32 *)(void *)a->idt + vector * words;

		memcpy(handler, "\x90\x0f\x01\xc1", HANDLER_BYTES);
		gate[0] = (u32)SEL_CODE << 16 | ((u32)(ulong)handler & 0xffff);
		gate[1] = ((u32)(ulong)handler & 0xffff0000) | GATE_INTERRUPT;
	}
	vmwrite(VMCS_guest_idtr_base, (ulong)a->idt);
	vmwrite(VMCS_guest_idtr_limit, VECTORS * words * 4 - 1);
}

int vapic_vector(const struct vapic *a, const struct exit *e)
{
	ulong offset = e->ip - (ulong)a->handlers;

	if (e->entry.kind != OUT_OK || e->reason != EXIT_vmcall || offset >= VECTORS * HANDLER_BYTES ||
	    offset % HANDLER_BYTES != 1)
		return -1;
	return (int)(offset / HANDLER_BYTES);
}

ulong vapic_return_address(const struct vapic *a)
{
	(void)a;
	return *(const ulong *)(ulong)vmread(VMCS_guest_rsp);
}

bool vapic_delivered(const struct where *rule, const struct vapic *a, const struct exit *e, u32 vector, u32 offset)
{
	return judge_equal(rule, "vector", (u64)vapic_vector(a, e), vector) &&
	       judge_equal(rule, "return address", vapic_return_address(a), (ulong)a->s.code + offset);
}

bool vapic_bit(const struct vapic *a, u32 base, u32 vector)
{
	return vapic_get(a, base + vector / 32 * 16) >> vector % 32 & 1;
}

void vapic_bit_set(struct vapic *a, u32 base, u32 vector)
{
	u32 offset = base + vector / 32 * 16;

	vapic_set(a, offset, vapic_get(a, offset) | 1u << vector % 32);
}

static void clear_interrupts(struct vapic *a)
{
	for (u32 i = 0; i < 8; i++) {
		vapic_set(a, VAPIC_ISR + 16 * i, 0);
		vapic_set(a, VAPIC_IRR + 16 * i, 0);
	}
	vapic_set(a, VAPIC_PPR, 0);
	vapic_set(a, VAPIC_TPR, 0);
}

void vapic_delivery(struct vapic *a, struct cpu *c, u32 proc2)
{
	vapic_begin(a, c, 0, PROC2_virtual_interrupt_delivery | proc2);
	a->s.v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
	vcpu_write_controls(&a->s.v);
	vmwrite(VMCS_preemption_timer_value, WATCHDOG);
	vapic_idt(a);
	clear_interrupts(a);
}

void vapic_stand(struct vapic *a, const char *bytes, u32 length, u32 flags, u32 status)
{
	vapic_code(a, bytes, length, 0, 0);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | flags);
	vmwrite(VMCS_guest_interrupt_status, status);
	vmwrite(VMCS_preemption_timer_value, WATCHDOG);
	clear_interrupts(a);
	if (status & 0xff)
		vapic_bit_set(a, VAPIC_IRR, status & 0xff);
	if (status >> 8)
		vapic_bit_set(a, VAPIC_ISR, status >> 8);
}
