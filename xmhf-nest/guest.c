// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/guest.h"

#include "arch/cpu.h"
#include "core/mem.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/paging.h"
#include "xmhf-nest/vmx.h"

/* Bits of exit_instruction_info that all instructions with a memory operand share. */
#define INFO_SCALE 3u
#define INFO_ADDRESS_SIZE(info) ((info) >> 7 & 7) /* 0: 16, 1: 32, 2: 64 bits */
#define INFO_SEGMENT(info) ((info) >> 15 & 7)
#define INFO_INDEX(info) ((info) >> 18 & 15)
#define INFO_NO_INDEX (1u << 22)
#define INFO_BASE(info) ((info) >> 23 & 15)
#define INFO_NO_BASE (1u << 27)

#define PTE_ACCESSED 0x20u
#define PTE_DIRTY 0x40u

#define SEG_SS 2u
#define SEG_FS 4u
#define AR_TYPE(ar) ((ar)&15)
#define AR_CODE 8u
#define AR_EXPAND_DOWN 4u
#define AR_RW 2u /* data: writable; code: readable */
#define AR_BIG (1u << 14)

bool l1_code64(void)
{
	return sizeof(ulong) == 8 && vmcs_get(VMCS_guest_cs_access_rights) >> 13 & 1 &&
	       vmcs_read(VMCS_guest_ia32_efer) & EFER_LMA;
}

ulong l1_register(struct cpu *c, u32 number)
{
	const ulong *g = (const ulong *)c->regs;

	if (number == 4)
		return vmcs_get(VMCS_guest_rsp);
	return number < 4 ? g[number] : g[number - 1];
}

void l1_register_set(struct cpu *c, u32 number, ulong value)
{
	ulong *g = (ulong *)c->regs;

	if (number == 4)
		vmcs_put(VMCS_guest_rsp, value);
	else
		g[number < 4 ? number : number - 1] = value;
}

static bool canonical(u64 address)
{
	return (u64)((int64_t)(address << 16) >> 16) == address;
}

/* SDM: "Limit Checking", "Type Checking". */
static bool segment_allows(u32 n, u64 offset, u32 bytes, bool write)
{
	u32 ar = (u32)vmcs_get(VMCS_guest_es_access_rights + 2 * n);
	u64 limit = (u32)vmcs_get(VMCS_guest_es_limit + 2 * n), last = offset + bytes - 1;

	if (ar & 0x10000)
		return false;
	if (write && (AR_TYPE(ar) & (AR_CODE | AR_RW)) != AR_RW)
		return false;
	if (!write && (AR_TYPE(ar) & (AR_CODE | AR_RW)) == AR_CODE)
		return false;
	if ((AR_TYPE(ar) & (AR_CODE | AR_EXPAND_DOWN)) == AR_EXPAND_DOWN)
		return offset > limit && last <= (ar & AR_BIG ? 0xffffffffu : 0xffffu);
	return last <= limit;
}

bool l1_operand(struct cpu *c, u32 info, u32 bytes, bool write, u64 *linear)
{
	u32 segment = INFO_SEGMENT(info), vector = segment == SEG_SS ? VEC_SS : VEC_GP;
	u64 offset = vmcs_read(VMCS_exit_qualification);
	bool ok;

	/* On i386 the displacement is 32 bits wide; wider sums are cut below. */
	if (!(info & INFO_NO_BASE))
		offset += l1_register(c, INFO_BASE(info));
	if (!(info & INFO_NO_INDEX))
		offset += (u64)l1_register(c, INFO_INDEX(info)) << (info & INFO_SCALE);
	if (INFO_ADDRESS_SIZE(info) == 0)
		offset = (u16)offset;
	else if (INFO_ADDRESS_SIZE(info) == 1)
		offset = (u32)offset;
	if (l1_code64()) {
		*linear = offset + (segment >= SEG_FS ? vmcs_read(VMCS_guest_es_base + 2 * segment) : 0);
		ok = canonical(*linear) && canonical(*linear + bytes - 1);
	} else {
		*linear = (u32)(offset + vmcs_read(VMCS_guest_es_base + 2 * segment));
		ok = segment_allows(segment, offset, bytes, write);
	}
	if (!ok)
		l1_fault(c, vector, 0);
	return ok;
}

void guest_paging(struct paging *s)
{
	s->cr0 = vmcs_read(VMCS_guest_cr0);
	s->cr3 = vmcs_read(VMCS_guest_cr3);
	s->cr4 = vmcs_read(VMCS_guest_cr4);
	s->efer = vmcs_read(VMCS_guest_ia32_efer);
	s->maxphyaddr = cpu_maxphyaddr;
	if (s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !(s->efer & EFER_LMA))
		for (u32 i = 0; i < 4; i++)
			s->pdpte[i] = vmcs_read(VMCS_guest_pdpte0 + 2 * i);
}

static u64 word_at(const void *p, u32 bytes)
{
	return bytes == 8 ? *(const volatile u64 *)p : *(const volatile u32 *)p;
}

/* Tables that aren't in L1's memory read as ones, like everything where there is no memory. */
static bool read_l1(void *ctx, u64 gpa, void *to, u32 bytes)
{
	struct walked *w = ctx;
	const void *p = gpa_ptr(gpa, bytes);
	u64 value = p ? word_at(p, bytes) : ~0ull;

	if (p && w->reads < WALKED_READS) {
		w->read[w->reads].at = p;
		w->read[w->reads].value = value;
		w->read[w->reads++].bytes = bytes;
	} else {
		w->page = 0;
	}
	memcpy(to, &value, bytes);
	return true;
}

static bool still_true(const struct walked *w)
{
	for (u32 i = 0; i < w->reads; i++)
		if (word_at(w->read[i].at, w->read[i].bytes) != w->read[i].value)
			return false;
	return true;
}

/* Sets the flags as the CPU does (SDM: "Accessed and Dirty Flags"), but not in an entry that has changed meanwhile. */
static void mark_used(struct walked *w, bool write)
{
	for (u32 i = 0; i < w->reads; i++) {
		u32 flags = PTE_ACCESSED | (write && i == w->reads - 1 ? PTE_DIRTY : 0), old = (u32)w->read[i].value;

		if ((old & flags) == flags)
			continue;
		/* Both are in the entry's low half. */
		if (__atomic_compare_exchange_n((u32 *)(ulong)w->read[i].at, &old, old | flags, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			w->read[i].value |= flags;
		else
			w->page = 0;
	}
}

/* The bits of CR0, CR4, EFER and RFLAGS that the walk of a supervisor access depends on; L1's CPL is 0 here. */
static u64 walk_state(u64 linear)
{
	u64 cr0 = vmcs_get(VMCS_guest_cr0), cr4 = vmcs_get(VMCS_guest_cr4);

	u64 efer = vmcs_read(VMCS_guest_ia32_efer) & EFER_VALID, pdpte = 0;

	/* These are registers: what memory says proves nothing. */
	if (cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA))
		pdpte = vmcs_read(VMCS_guest_pdpte0 + 2 * ((u32)linear >> 30));
	return pdpte << 12 ^ (cr0 & (CR0_PG | CR0_WP)) ^ cr4 << 32 ^ efer ^
	       (vmcs_get(VMCS_guest_rflags) & PAGING_AC) << 1;
}

/* Physical address in L1's memory, or a page fault raised. */
static bool translate(struct cpu *c, u64 linear, bool write, u64 *gpa)
{
	u64 page = (linear & ~(u64)(PAGE_SIZE - 1)) | write, cr3 = vmcs_read(VMCS_guest_cr3),
	    state = walk_state(linear);
	struct walked *line = &c->walked[(linear >> PAGE_SHIFT) % WALKED_LINES];
	struct paging s = { .read = read_l1, .ctx = line };
	struct paging_walk w;

	if (line->page == page && line->cr3 == cr3 && line->state == state && still_true(line)) {
		*gpa = line->gpa | (linear & (PAGE_SIZE - 1));
		return true;
	}
	line->page = page;
	line->cr3 = cr3;
	line->state = state;
	line->reads = 0;
	guest_paging(&s);
	/* Operands of VMX instructions are supervisor accesses: CPL is 0. */
	w = paging_walk(&s, linear, (write ? PAGING_WRITE : 0) | ((u32)vmcs_get(VMCS_guest_rflags) & PAGING_AC));
	if (w.end != PAGING_OK) {
		line->page = 0;
		write_cr2((ulong)linear);
		l1_fault(c, VEC_PF, w.error);
		return false;
	}
	mark_used(line, write);
	*gpa = w.pa;
	line->gpa = w.pa & ~(u64)(PAGE_SIZE - 1);
	return true;
}

/* In pieces that don't cross a page; what isn't L1's memory reads as ones and drops what is written. */
static bool access(struct cpu *c, u64 linear, u8 *data, u32 bytes, bool write)
{
	u32 first = PAGE_SIZE - (u32)(linear & (PAGE_SIZE - 1));
	u64 gpa[2] = { 0 };

	if (first > bytes)
		first = bytes;
	if (!translate(c, linear, write, &gpa[0]) || (first < bytes && !translate(c, linear + first, write, &gpa[1])))
		return false;
	if (write) {
		gpa_write(gpa[0], data, first);
		if (first < bytes)
			gpa_write(gpa[1], data + first, bytes - first);
		return true;
	}
	if (!gpa_read(gpa[0], data, first))
		memset(data, 0xff, first);
	if (first < bytes && !gpa_read(gpa[1], data + first, bytes - first))
		memset(data + first, 0xff, bytes - first);
	return true;
}

bool l1_read(struct cpu *c, u64 linear, void *to, u32 bytes)
{
	return access(c, linear, to, bytes, false);
}

bool l1_write(struct cpu *c, u64 linear, const void *from, u32 bytes)
{
	u8 copy[16];

	memcpy(copy, from, bytes);
	return access(c, linear, copy, bytes, true);
}
