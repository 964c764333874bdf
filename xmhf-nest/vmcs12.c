// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/vmcs12.h"

#include "core/mem.h"
#include "xmhf-nest/cpu.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/vmx.h"

/* Index + 1 by width and area (bits 14:13, 11:10 of the encoding) and number (bits 9:1); 0: L1 has no such field. */
#define NUMBERS 64u
static u8 by_encoding[16][NUMBERS];

/* In place of pages that aren't L1's memory: bitmaps read as ones there, a virtual-APIC page is written to. */
static u8 *ones, *spare;

static u32 comes_back[VI_WORDS]; /* fields that the CPU changes while L2 runs, and that L0 only copies */
static u32 goes_in[VI_WORDS];    /* fields that get into VMCS02 somehow */

static u32 group_of(u32 encoding)
{
	return (encoding >> 13 & 3) * 4 + (encoding >> 10 & 3);
}

/* Exit information that reflect.c brings at each exit, because L1 nearly always reads it. */
static bool fetched_at_once(u32 index)
{
	return index == VI_exit_reason || index == VI_exit_qualification || index == VI_exit_interruption_info ||
	       index == VI_idt_vectoring_info || index == VI_exit_instruction_length ||
	       index == VI_vm_instruction_error;
}

void vmcs12_init(void)
{
	_Static_assert(VI_COUNT < 255, "by_encoding");
	ones = memset(pages_alloc(1, 4096), 0xff, PAGE_SIZE);
	spare = pages_alloc(1, 4096);
	for (u32 i = 0; i < VI_COUNT; i++) {
		const struct vmcs_info *f = &vmcs_table[i];

		if (!caps_have(&caps_l1, f->exists))
			continue;
		by_encoding[group_of(f->encoding)][f->encoding >> 1 & (NUMBERS - 1)] = (u8)(i + 1);
		if (f->back == WAY_COPY && !fetched_at_once(i))
			bit_mark(comes_back, i);
		if (f->in != WAY_NONE)
			bit_mark(goes_in, i);
	}
}

int vmcs12_index(u32 encoding)
{
	/* Reserved bits, number too high, or the high half of what has none (SDM: "Field Encoding in VMCS"). */
	if (encoding & ~0x6c7fu || (encoding & 1 && encoding >> 13 != WIDTH_64))
		return -1;
	return by_encoding[group_of(encoding)][encoding >> 1 & (NUMBERS - 1)] - 1;
}

void vmcs12_fetch_stale(struct cpu *c, u32 index)
{
	if (!bit_test(c->nested.stale, index))
		return;
	bit_clear(c->nested.stale, index);
	c->nested.v[index] = vmcs_read(vmcs_table[index].encoding);
}

void vmcs12_fetch_all(struct cpu *c)
{
	for (u32 w = 0; w < VI_WORDS; w++)
		while (c->nested.stale[w])
			vmcs12_fetch_stale(c, w * 32 + (u32)__builtin_ctz(c->nested.stale[w]));
}

u64 vmcs12_get(struct cpu *c, u32 index)
{
	if (bit_test(c->nested.stale, index)) {
		vmcs_load(&c->vmcs02);
		vmcs12_fetch_stale(c, index);
		vmcs_load(&c->vmcs01);
	}
	return c->nested.v[index];
}

void vmcs12_set(struct cpu *c, u32 index, u64 value)
{
	static const u8 changes[] = { [AREA_CONTROL] = CHANGED_CONTROLS, [AREA_HOST] = CHANGED_HOST };
	struct vmcs12_cpu *n = &c->nested;

	n->v[index] = value;
	n->touched = true;
	bit_clear(n->stale, index);
	if (bit_test(goes_in, index))
		bit_mark(n->dirty, index);
	n->changed |= changes[vmcs_table[index].area & 3];
	if (vmcs_table[index].area == AREA_GUEST && index != VI_guest_rip && index != VI_guest_rsp &&
	    index != VI_guest_rflags)
		n->changed |= CHANGED_GUEST;
}

void vmcs12_flush(struct cpu *c)
{
	struct vmcs12_cpu *n = &c->nested;
	struct vmcs12_page *page;

	if (n->current == VMCS12_NONE)
		return;
	shadow_off(c);
	if (!n->touched) {
		n->current = VMCS12_NONE;
		return;
	}
	vmcs_load(&c->vmcs02);
	vmcs12_fetch_all(c);
	vmcs_load(&c->vmcs01);
	page = gpa_ptr(n->current, PAGE_SIZE);
	/* It was L1's memory at VMPTRLD; it may be private by now. */
	if (page) {
		page->launched = n->launched;
		copy_words(page->v, n->v, sizeof(n->v) / (sizeof(ulong)));
	}
	n->current = VMCS12_NONE;
}

void vmcs12_load(struct cpu *c, u64 gpa)
{
	struct vmcs12_cpu *n = &c->nested;
	const struct vmcs12_page *page = gpa_ptr(gpa, PAGE_SIZE);

	n->current = gpa;
	n->touched = false;
	n->launched = page->launched & 1;
	copy_words(n->v, page->v, sizeof(n->v) / (sizeof(ulong)));
	memcpy(n->dirty, goes_in, sizeof(n->dirty));
	memset(n->stale, 0, sizeof(n->stale));
	n->changed = CHANGED_CONTROLS | CHANGED_HOST | CHANGED_GUEST | CHANGED_HANDLER;
}

/* A page that L1 names: in its own memory, else one of L0's that is there for it. */
static u64 page_for_l2(u32 index, u64 gpa)
{
	if (gpa_ptr(gpa & ~(u64)(PAGE_SIZE - 1), PAGE_SIZE))
		return gpa;
	/* Only compared with, never accessed; but L0's own memory it mustn't name. */
	if (index == VI_apic_access_address && (gpa < mem_l0.start || gpa >= mem_l0.end))
		return gpa;
	return index == VI_virtual_apic_address || index == VI_apic_access_address ? phys_of(spare) : phys_of(ones);
}

void vmcs12_bring(struct cpu *c)
{
	struct vmcs12_cpu *n = &c->nested;

	for (u32 w = 0; w < VI_WORDS; w++) {
		u32 bits = n->dirty[w];

		n->dirty[w] = 0;
		for (; bits; bits &= bits - 1) {
			u32 i = w * 32 + (u32)__builtin_ctz(bits);
			const struct vmcs_info *f = &vmcs_table[i];

			if (f->in == WAY_COPY)
				vmcs_write(f->encoding, n->v[i]);
			else if (f->in == WAY_GPA)
				vmcs_write(f->encoding, page_for_l2(i, n->v[i]));
			else if (f->area == AREA_CONTROL)
				n->changed |= CHANGED_HANDLER;
		}
	}
}

void vmcs12_ran(struct cpu *c)
{
	c->nested.touched = true;
	for (u32 w = 0; w < VI_WORDS; w++)
		c->nested.stale[w] |= comes_back[w];
}
