// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/ept_path.h"
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define PTE_FLAGS (PTE_P | PTE_W | PTE_U | 0x60) /* accessed and dirty, too: page walks only read */
#define DATA_OFFSET 0x800u
#define VALUE 0xc0de0001u
/* Table indices 3, 8 and 7; in a leaf of 1 GByte at 0 and in one of 2 MBytes at FRAME_A this is the same place. */
#define GPA_BELOW (3ull << 30 | FRAME_A | 7ull << PAGE_SHIFT)

const u64 path_needs[PATH_ACCESSES] = { EPT_R, EPT_W, EPT_X, EPT_R | EPT_W };

const char *path_access_name(enum path_access a)
{
	static const char *const names[] = { "read", "write", "fetch", "read and write" };

	return names[a];
}

const char *ept_level_name(int level)
{
	static const char *const names[] = { "", "PTE", "PDE", "PDPTE", "PML4E" };

	return names[level];
}

const char *ept_rights_name(u64 rights)
{
	static const char *const names[] = { "---", "R--", "-W-", "RW-", "--X", "R-X", "-WX", "RWX" };

	return names[rights & EPT_RWX];
}

static u32 physical_width(void)
{
	u32 r[4];

	cpuid_raw(0x80000000, 0, r);
	if (r[0] < 0x80000008)
		return 36;
	cpuid_raw(0x80000008, 0, r);
	return r[0] & 0xff;
}

/* A window needs an entry of its own at each level. */
static void make_entries(struct ept_path *p)
{
	u64 *table = (u64 *)(ulong)(p->s.v.eptp & EPT_ADDR);

	for (int level = 4; level >= 1; level--) {
		u64 *e = &table[p->gpa >> (PAGE_SHIFT + 9 * (level - 1)) & 511];

		p->entry[level] = e;
		if (level > 1 && !*e)
			*e = (ulong)page_alloc() | EPT_RWX;
		if (level == 1)
			*e = ept_leaf((ulong)p->page, 1, EPT_RWX, memory_type((ulong)p->page));
		p->full[level] = *e;
		table = (u64 *)(ulong)(*e & EPT_ADDR);
	}
}

void path_begin(struct ept_path *p, struct cpu *c)
{
	memset(p, 0, sizeof(*p));
	snippet_begin(&p->s, c, OPT_ept);
	p->maxphyaddr = physical_width();
	p->top = p->maxphyaddr >= 40 ? 4 : 3;
	p->la = L2_WINDOW;
	path_point(p, (p->top == 4 ? 1ull << 39 : 8ull << 30) | GPA_BELOW, (ulong)page_alloc());
	make_entries(p);
}

void path_point(struct ept_path *p, u64 gpa, u64 pa)
{
	p->gpa = gpa;
	p->page = (u8 *)(ulong)pa;
	p->s.v.l2_window[(p->la - L2_WINDOW) >> PAGE_SHIFT] = gpa | PTE_FLAGS;
}

void path_is_page_table(struct ept_path *p)
{
	u64 *table = (u64 *)(ulong)p->s.v.l2_root;

#ifdef __x86_64__
	table = (u64 *)(ulong)(table[0] & PTE_ADDR);
#endif
	table = (u64 *)(ulong)(table[0] & PTE_ADDR);
	table[L2_WINDOW >> 21] = p->gpa | PTE_P | PTE_W | PTE_U | PTE_A;
	p->full[1] = ept_leaf((ulong)p->s.v.l2_window, 1, EPT_RWX, memory_type((ulong)p->s.v.l2_window));
	path_restore(p);
	p->la = L2_WINDOW + PATH_WALK_INDEX * PAGE_SIZE;
	p->page = page_alloc();
	p->s.v.l2_window[PATH_WALK_INDEX] = (ulong)p->page | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D;
}

void path_set(struct ept_path *p, int level, u64 entry)
{
	*p->entry[level] = entry;
}

void path_restore(struct ept_path *p)
{
	for (int level = p->top; level >= 1; level--)
		*p->entry[level] = p->full[level];
}

void path_synchronize(struct ept_path *p)
{
	ulong type = vmx_caps.ept_vpid & EPT_CAP_INVEPT_SINGLE ? INVEPT_SINGLE : INVEPT_ALL;

	expect_env(invept(type, p->s.v.eptp, 0).kind == OUT_OK);
}

static volatile u32 *word(const struct ept_path *p)
{
	return (volatile u32 *)(p->page + DATA_OFFSET);
}

struct exit path_again(struct ept_path *p)
{
	return snippet_run(&p->s);
}

struct exit path_access(struct ept_path *p, enum path_access a)
{
	/* MOV from and to [DI], JMP DI, ADD to [DI] */
	static const char *const code[] = { "\x8b\x07", "\x89\x07", "\xff\xe7", "\x01\x07" };

	*word(p) = VALUE;
	memcpy(p->page, "\x0f\x01\xc1", 3);
	snippet_code(&p->s, code[a], 2);
	p->s.v.g.di = path_linear(p, a);
	return snippet_run(&p->s);
}

ulong path_linear(const struct ept_path *p, enum path_access a)
{
	return p->la + (a == PATH_FETCH ? 0 : DATA_OFFSET);
}

u64 path_physical(const struct ept_path *p, enum path_access a)
{
	return p->gpa + (a == PATH_FETCH ? 0 : DATA_OFFSET);
}

bool path_passed(const struct ept_path *p, enum path_access a, const struct exit *e)
{
	u32 ax = (u32)p->s.v.g.ax;

	if (e->entry.kind != OUT_OK || e->reason != EXIT_vmcall)
		return false;
	switch (a) {
	case PATH_FETCH:
		return e->ip == p->la;
	case PATH_READ:
		return ax == VALUE;
	case PATH_WRITE:
		return *word(p) == SNIP_REGISTER(0);
	default:
		return *word(p) == VALUE + SNIP_REGISTER(0);
	}
}

bool path_untouched(const struct ept_path *p)
{
	return *word(p) == VALUE && (u32)p->s.v.g.ax == SNIP_REGISTER(0);
}
