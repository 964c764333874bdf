// SPDX-License-Identifier: BSD-2-Clause
#include "x86/cr.h"
#include "x86/msr.h"
#include "xmhf-nest/paging.h"

#define EFER_NXE 0x800u
#define PTE_XD (1ull << 63)

/* Bits from low to high, both included. */
static u64 bits(u32 low, u32 high)
{
	return ~0ull >> (63 - high) & ~0ull << low;
}

u64 paging_reserved(const struct paging *p, u32 level, u64 entry)
{
	bool ia32e = p->efer & EFER_LMA, large = entry & PTE_PS;
	u64 reserved;

	if (!(p->cr4 & CR4_PAE)) {
		/* PSE-36: bits 20:13 are the address's bits 39:32, as far as there are that many. */
		u32 wide = p->maxphyaddr < 40 ? p->maxphyaddr : 40;

		return level == 2 && large && p->cr4 & CR4_PSE ? bits(wide - 19, 21) : 0;
	}
	reserved = bits(p->maxphyaddr, ia32e ? 51 : 62); /* none if that is 52 */
	if (!(p->efer & EFER_NXE))
		reserved |= PTE_XD;
	if (level == 4 || (level == 3 && p->no_1g))
		reserved |= PTE_PS;
	if (level == 3 && large)
		reserved |= bits(13, 29);
	if (level == 2 && large)
		reserved |= bits(13, 20);
	return reserved;
}

/* SDM: "Determination of Access Rights". rights: AND of the entries' W and U; xd: OR of their XD bits */
static bool allowed(const struct paging *p, u64 rights, bool xd, u32 access)
{
	bool user_page = rights & PTE_U;

	if (access & PAGING_FETCH && xd)
		return false;
	if (access & PAGING_USER)
		return user_page && (!(access & PAGING_WRITE) || rights & PTE_W);
	if (user_page) {
		if (access & PAGING_FETCH)
			return !(p->cr4 & CR4_SMEP);
		if (p->cr4 & CR4_SMAP && !(access & PAGING_AC))
			return false;
	}
	return !(access & PAGING_WRITE) || rights & PTE_W || !(p->cr0 & CR0_WP);
}

static struct paging_walk fault(const struct paging *p, u32 level, u32 why, u32 access)
{
	bool has_id = (p->cr4 & CR4_PAE && p->efer & EFER_NXE) || p->cr4 & CR4_SMEP;
	u32 error = why | (access & (PAGING_WRITE | PAGING_USER));

	if (access & PAGING_FETCH && has_id)
		error |= PF_FETCH;
	return (struct paging_walk){ .end = PAGING_FAULT, .level = (u8)level, .error = error };
}

static u64 page_address(bool pae, u32 shift, u64 entry)
{
	u64 address = entry & (pae ? PTE_ADDR : 0xfffff000u) & (~0ull << shift);

	if (!pae && shift == 22)
		address |= (entry >> 13 & 0xff) << 32;
	return address;
}

/* From the table at that address, of that level, on. */
static struct paging_walk walk(const struct paging *p, u64 table, u32 level, u64 linear, u32 access)
{
	bool pae = p->cr4 & CR4_PAE, xd = false;
	u32 index_bits = pae ? 9 : 10, entry_size = pae ? 8 : 4;
	u64 rights = PTE_W | PTE_U;

	for (;; level--) {
		u32 shift = PAGE_SHIFT + index_bits * (level - 1);
		u64 entry = 0, at = table + (linear >> shift & ((1u << index_bits) - 1)) * entry_size;

		/* A 32-bit entry fills the low half: x86 is little-endian. */
		if (!p->read(p->ctx, at, &entry, entry_size))
			return (struct paging_walk){ .end = PAGING_UNREADABLE, .level = (u8)level, .pa = at };
		if (!(entry & PTE_P))
			return fault(p, level, 0, access);
		if (entry & paging_reserved(p, level, entry))
			return fault(p, level, PF_P | PF_RSVD, access);
		rights &= entry;
		xd = xd || entry & PTE_XD;
		if (level == 1 || (entry & PTE_PS && (pae || p->cr4 & CR4_PSE))) {
			u64 size = 1ull << shift;

			if (!allowed(p, rights, xd, access))
				return fault(p, level, PF_P, access);
			return (struct paging_walk){ .end = PAGING_OK,
						     .level = (u8)level,
						     .pa = page_address(pae, shift, entry) | (linear & (size - 1)),
						     .size = size };
		}
		table = page_address(pae, PAGE_SHIFT, entry);
	}
}

struct paging_walk paging_walk(const struct paging *p, u64 linear, u32 access)
{
	if (!(p->efer & EFER_LMA))
		linear = (u32)linear;
	if (!(p->cr0 & CR0_PG))
		return (struct paging_walk){ .end = PAGING_OK, .pa = linear, .size = PAGE_SIZE };
	if (!(p->cr4 & CR4_PAE))
		return walk(p, p->cr3 & 0xfffff000u, 2, linear, access);
	if (!(p->efer & EFER_LMA)) {
		u64 pdpte = p->pdpte[linear >> 30 & 3];

		if (!(pdpte & PTE_P))
			return fault(p, 3, 0, access);
		return walk(p, pdpte & PTE_ADDR, 2, linear, access);
	}
	return walk(p, p->cr3 & PTE_ADDR, 4, linear, access);
}
