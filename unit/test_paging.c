// SPDX-License-Identifier: BSD-2-Clause
/* paging_walk against the SDM's text written down once more, mode by mode, on small random memories. */
#include "unit/unit.h"
#include "xmhf-nest/paging.h"

#define PAGES 16u
#define BIT(value, n) ((u32)((value) >> (n)) & 1u)

enum mode { NONE, LEGACY, PAE, LONG };

static u64 memory[PAGES * 512];

static bool read_memory(void *ctx, u64 gpa, void *to, u32 bytes)
{
	CHECK(ctx == memory && !(gpa % bytes));
	if (gpa + bytes > sizeof(memory))
		return false;
	memcpy(to, (const u8 *)memory + gpa, bytes);
	return true;
}

static u64 peek(u64 gpa, u32 bytes)
{
	u64 value = 0;

	memcpy(&value, (const u8 *)memory + gpa, bytes);
	return value;
}

/* What an entry says, whatever its mode. */
struct level {
	bool present, reserved, write, user, xd;
};

struct model {
	u32 levels;
	struct level level[4];
	bool unreadable;
	u64 pa, size;
};

static struct level *next(struct model *m, u64 entry, bool reserved, bool xd)
{
	struct level *l = &m->level[m->levels++];

	*l = (struct level){ entry & 1, reserved, BIT(entry, 1), BIT(entry, 2), xd };
	return l;
}

static bool out(struct model *m, u64 gpa)
{
	m->unreadable = gpa >= sizeof(memory);
	return m->unreadable;
}

static bool stop(const struct level *l)
{
	return !l->present || l->reserved;
}

/* SDM: "32-Bit Paging" */
static void model_legacy(const struct paging *p, u32 linear, struct model *m)
{
	u64 pde_at = (p->cr3 & 0xfffff000) | (linear >> 22 << 2), pte_at;
	u32 m40 = p->maxphyaddr > 40 ? 40 : p->maxphyaddr;
	bool reserved = false;
	u64 pde, pte;

	if (out(m, pde_at))
		return;
	pde = peek(pde_at, 4);
	if (BIT(pde, 7) && BIT(p->cr4, 4)) {
		for (u32 b = m40 - 19; b <= 21; b++)
			reserved = reserved || BIT(pde, b);
		next(m, pde, reserved, false);
		m->pa = (pde >> 13 & 0xff) << 32 | (pde & 0xffc00000) | (linear & 0x3fffff);
		m->size = 0x400000;
		return;
	}
	if (stop(next(m, pde, false, false)))
		return;
	pte_at = (pde & 0xfffff000) | (linear >> 12 & 0x3ff) << 2;
	if (out(m, pte_at))
		return;
	pte = peek(pte_at, 4);
	next(m, pte, false, false);
	m->pa = (pte & 0xfffff000) | (linear & 0xfff);
	m->size = 0x1000;
}

/* Of an 8-byte entry: address bits beyond MAXPHYADDR, up to top, and XD. */
static bool wide_reserved(const struct paging *p, u64 entry, u32 top)
{
	for (u32 b = p->maxphyaddr; b <= top; b++)
		if (BIT(entry, b))
			return true;
	return BIT(entry, 63) && !BIT(p->efer, 11);
}

static bool low_reserved(u64 entry, u32 top)
{
	for (u32 b = 13; b <= top; b++)
		if (BIT(entry, b))
			return true;
	return false;
}

/* SDM: "PAE Paging" and "4-Level Paging": PDE and PTE */
static void model_pde(const struct paging *p, u64 table, u64 linear, u32 top, struct model *m)
{
	u64 pde_at = table + (linear >> 21 & 511) * 8, pte_at, pde, pte;

	if (out(m, pde_at))
		return;
	pde = peek(pde_at, 8);
	if (BIT(pde, 7)) {
		next(m, pde, wide_reserved(p, pde, top) || low_reserved(pde, 20), BIT(pde, 63));
		m->pa = (pde & 0xfffffffe00000) | (linear & 0x1fffff);
		m->size = 0x200000;
		return;
	}
	if (stop(next(m, pde, wide_reserved(p, pde, top), BIT(pde, 63))))
		return;
	pte_at = (pde & 0xffffffffff000) + (linear >> 12 & 511) * 8;
	if (out(m, pte_at))
		return;
	pte = peek(pte_at, 8);
	next(m, pte, wide_reserved(p, pte, top), BIT(pte, 63));
	m->pa = (pte & 0xffffffffff000) | (linear & 0xfff);
	m->size = 0x1000;
}

static void model_pae(const struct paging *p, u32 linear, struct model *m)
{
	u64 pdpte = p->pdpte[linear >> 30];

	m->level[m->levels++] = (struct level){ BIT(pdpte, 0), false, true, true, false };
	if (BIT(pdpte, 0))
		model_pde(p, pdpte & 0xffffffffff000, linear, 62, m);
}

static void model_long(const struct paging *p, u64 linear, struct model *m)
{
	u64 pml4e_at = (p->cr3 & 0xffffffffff000) + (linear >> 39 & 511) * 8, pdpte_at, pml4e, pdpte;
	bool reserved;

	if (out(m, pml4e_at))
		return;
	pml4e = peek(pml4e_at, 8);
	if (stop(next(m, pml4e, wide_reserved(p, pml4e, 51) || BIT(pml4e, 7), BIT(pml4e, 63))))
		return;
	pdpte_at = (pml4e & 0xffffffffff000) + (linear >> 30 & 511) * 8;
	if (out(m, pdpte_at))
		return;
	pdpte = peek(pdpte_at, 8);
	reserved = wide_reserved(p, pdpte, 51);
	if (BIT(pdpte, 7)) {
		next(m, pdpte, reserved || p->no_1g || low_reserved(pdpte, 29), BIT(pdpte, 63));
		m->pa = (pdpte & 0xfffffc0000000) | (linear & 0x3fffffff);
		m->size = 0x40000000;
		return;
	}
	if (!stop(next(m, pdpte, reserved, BIT(pdpte, 63))))
		model_pde(p, pdpte & 0xffffffffff000, linear, 51, m);
}

/* SDM: "Determination of Access Rights", item by item */
static bool model_allowed(const struct paging *p, const struct model *m, u32 access)
{
	bool user_address = true, writable = true, xd = false, wp = BIT(p->cr0, 16), smep = BIT(p->cr4, 20);
	bool smap = BIT(p->cr4, 21), ac = access & PAGING_AC, write = access & PAGING_WRITE,
	     fetch = access & PAGING_FETCH;

	for (u32 i = 0; i < m->levels; i++) {
		user_address = user_address && m->level[i].user;
		writable = writable && m->level[i].write;
		xd = xd || m->level[i].xd;
	}
	if (access & PAGING_USER) {
		if (fetch)
			return user_address && !xd;
		return write ? user_address && writable : user_address;
	}
	if (fetch)
		return user_address && smep ? false : !xd;
	if (!write)
		return !user_address || !smap || ac;
	if (!user_address)
		return !wp || writable;
	if (!wp)
		return !smap || ac;
	return writable && (!smap || ac);
}

static void compare(const struct paging *p, enum mode mode, u64 linear, u32 access)
{
	struct paging_walk w = paging_walk(p, linear, access);
	bool present = true, reserved = false;
	struct model m = { .levels = 0 };
	u32 error;

	if (mode == NONE) {
		CHECK(w.end == PAGING_OK && w.pa == (u32)linear && w.level == 0);
		return;
	}
	if (mode == LEGACY)
		model_legacy(p, (u32)linear, &m);
	else if (mode == PAE)
		model_pae(p, (u32)linear, &m);
	else
		model_long(p, linear, &m);
	for (u32 i = 0; i < m.levels; i++) {
		present = present && m.level[i].present;
		reserved = reserved || (m.level[i].present && m.level[i].reserved);
	}
	CHECK((w.end == PAGING_UNREADABLE) == m.unreadable);
	if (m.unreadable) {
		CHECK(w.pa >= sizeof(memory));
		return;
	}
	CHECK(w.level == (mode == LEGACY ? 3 : mode == PAE ? 4 : 5) - m.levels);
	if (present && !reserved && model_allowed(p, &m, access)) {
		CHECK(w.end == PAGING_OK && w.pa == m.pa && w.size == m.size);
		return;
	}
	error = (present ? 1u : 0) | (access & 6) | (reserved ? 8u : 0);
	if (access & PAGING_FETCH && ((mode != LEGACY && BIT(p->efer, 11)) || BIT(p->cr4, 20)))
		error |= 16;
	CHECK(w.end == PAGING_FAULT && w.error == error);
}

static u64 any_entry(enum mode mode)
{
	u64 entry = (unit_random() % PAGES) << 12 | (unit_random() % 8 ? 1 : 0);

	entry |= (unit_random() % 8 ? 2 : 0) | (unit_random() % 8 ? 4 : 0) | (unit_random() & 0xe78);
	if (unit_random() % 6 == 0)
		entry = (entry & 0x1fff) | (unit_random() & 0x3fc0000000) | 0x80;
	if (unit_random() % 16 == 0)
		entry |= 1ull << unit_random() % 64;
	if (mode == LONG && unit_random() % 4 == 0)
		entry |= unit_random() & 0x7ff0000000000000ull;
	if (unit_random() % 16 == 0)
		entry |= 1ull << 63;
	return entry;
}

static void fill(struct paging *p, enum mode mode)
{
	static const u8 widths[] = { 32, 36, 39, 40, 46, 52 };

	memset(memory, 0, sizeof(memory));
	*p = (struct paging){ .read = read_memory, .ctx = memory };
	p->cr0 = 0x1 | (mode == NONE ? 0 : 0x80000000) | (unit_random() & 0x10000);
	p->cr4 = (mode >= PAE ? 0x20 : 0) | (unit_random() & 0x300010);
	p->efer = (mode == LONG ? 0x500 : 0) | (unit_random() & 0x800);
	p->cr3 = (unit_random() % PAGES) << 12 | (unit_random() & 0x18);
	p->maxphyaddr = widths[unit_random() % ARRAY_SIZE(widths)];
	p->no_1g = unit_random() % 4 == 0;
	for (u32 i = 0; i < 4; i++)
		p->pdpte[i] = (unit_random() % PAGES) << 12 | (unit_random() % 8 ? 1 : 0) | (unit_random() & 0xe18);
	/* Few indices, so that few entries do; the linear addresses below have the same. */
	for (u32 page = 0; page < PAGES; page++) {
		for (u32 k = 0; k < 4; k++) {
			u32 index = k < 2 ? k : 510 + k - 2;
			u64 entry = any_entry(mode);

			if (mode == LEGACY) {
				u32 *half = (u32 *)memory;

				half[page * 1024 + k] = (u32)entry;
				half[page * 1024 + 1020 + k] = (u32)any_entry(mode);
			} else {
				memory[page * 512 + index] = entry;
			}
		}
	}
}

static u64 any_linear(enum mode mode)
{
	u64 linear = unit_random() & 0xfff;
	u32 width = mode == LEGACY ? 10 : 9;

	for (u32 i = 0; i < 4; i++) {
		u64 index = unit_random() % 4;

		index = index < 2 ? index : (1u << width) - 1 - index % 2;
		linear |= index << (12 + width * i);
	}
	linear &= mode == LONG ? 0xffffffffffffull : ~0ull; /* the upper half of a 32-bit address doesn't count */
	if (mode == LONG && BIT(linear, 47))
		linear |= 0xffff000000000000ull;
	return linear;
}

static void test_fuzz(void)
{
	static const u32 kind[] = { 0, PAGING_WRITE, PAGING_FETCH };
	struct paging p;

	for (u32 round = 0; round < 6000; round++) {
		enum mode mode = unit_random() % 16 ? (enum mode)(LEGACY + unit_random() % 3) : NONE;

		fill(&p, mode);
		for (u32 i = 0; i < 60; i++)
			compare(&p, mode, any_linear(mode),
				kind[unit_random() % 3] | (u32)(unit_random() & (PAGING_USER | PAGING_AC)));
	}
}

/* Numbers from the SDM's tables. */
static void test_reserved(void)
{
	struct paging p = { .cr4 = 0x30, .efer = 0x500, .maxphyaddr = 39 };

	CHECK(paging_reserved(&p, 4, 0) == 0x800fff8000000080ull);
	CHECK(paging_reserved(&p, 3, 0) == 0x800fff8000000000ull);
	CHECK(paging_reserved(&p, 3, 0x80) == 0x800fff803fffe000ull);
	CHECK(paging_reserved(&p, 2, 0x80) == 0x800fff80001fe000ull);
	CHECK(paging_reserved(&p, 1, 0x80) == 0x800fff8000000000ull);
	p.efer |= 0x800;
	p.maxphyaddr = 52;
	CHECK(paging_reserved(&p, 1, 0) == 0);
	p.efer = 0;
	p.maxphyaddr = 36;
	CHECK(paging_reserved(&p, 2, 0x80) == 0xfffffff0001fe000ull);
	p.cr4 = 0x10;
	CHECK(paging_reserved(&p, 2, 0x80) == 0x3e0000 && paging_reserved(&p, 2, 0) == 0);
	p.maxphyaddr = 46;
	CHECK(paging_reserved(&p, 2, 0x80) == 0x200000);
	p.maxphyaddr = 32;
	CHECK(paging_reserved(&p, 2, 0x80) == 0x3fe000);
	p.cr4 = 0;
	CHECK(paging_reserved(&p, 2, 0x80) == 0 && paging_reserved(&p, 1, 0x80) == 0);
}

const struct unit_case paging_cases[] = {
	{ "paging: fuzz against a model", test_fuzz },
	{ "paging: reserved bits", test_reserved },
	{ NULL, NULL },
};
