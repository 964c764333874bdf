// SPDX-License-Identifier: BSD-2-Clause
/* L2's page tables under EPT: at each level of each paging mode one of them is in a page that EPT protects. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/seg.h"

/* Paging modes of L2. */
enum paging { PAGING_LONG, PAGING_PAE, PAGING_32, PAGINGS };

static const struct {
	const char *name;
	int levels;     /* of tables in memory that a walk reads */
	u32 index_bits; /* of the linear address for each level */
	u32 entry_bytes;
} modes[] = { { "4-level", 4, 9, 8 }, { "PAE", 2, 9, 8 }, { "32-bit", 2, 10, 4 } };

struct walk {
	struct ept_path p;
	enum paging paging;
	ulong tables[5]; /* guest-physical addresses, which are L1's too, by level; 4 or 2 is the root */
};

static enum paging paging_first(void)
{
	return sizeof(ulong) == 8 ? PAGING_LONG : PAGING_PAE;
}

/* 32-bit paging: 4-MByte pages, but for the window's page table. */
static void make_32(struct walk *t)
{
	u32 *directory = page_alloc(), *table = page_alloc();

	for (u32 i = 0; i < 1024; i++)
		directory[i] = i << 22 | 0xe7; /* P, W, U, A, D, PS */
	directory[L2_WINDOW >> 22] = (u32)(ulong)table | 0x27;
	/* Beyond 4 GiB this mode can't reach: the window shows a page of the identity map. */
	table[L2_WINDOW >> 12 & 1023] = (u32)(ulong)t->p.page | 0x67;
	t->tables[2] = (ulong)directory;
	t->tables[1] = (ulong)table;
	vmwrite(VMCS_guest_cr3, (ulong)directory);
	vmwrite(VMCS_guest_cr4, (read_cr4() & ~(ulong)CR4_PAE) | CR4_PSE);
}

/* Accessed flags on the whole way of the window and of L2's code: walks only read. */
static void make_8_bytes(struct walk *t)
{
	int top = modes[t->paging].levels;
	u64 root = vmread(VMCS_guest_cr3);

	if (t->paging == PAGING_PAE)
		root = vmread(VMCS_guest_pdpte0) & PTE_ADDR;
	for (int level = top; level >= 1; level--) {
		u64 *table = (u64 *)(ulong)root;
		u32 shift = 12 + 9 * ((u32)level - 1);

		t->tables[level] = (ulong)root;
		if (level > 1)
			table[(ulong)t->p.s.code >> shift & 511] |= PTE_A;
		table[t->p.la >> shift & 511] |= PTE_A;
		root = table[t->p.la >> shift & 511] & PTE_ADDR;
	}
}

static void walk_begin(struct walk *t, struct cpu *c, enum paging m)
{
	memset(t, 0, sizeof(*t));
	path_begin(&t->p, c);
	t->paging = m;
	if (m == PAGING_LONG) {
		make_8_bytes(t);
		return;
	}
	snippet_mode(&t->p.s, sizeof(ulong) == 8 ? SNIP_32 : SNIP_NATIVE, false);
	if (m == PAGING_PAE)
		make_8_bytes(t);
	else
		make_32(t);
}

/* EPT maps the table's page with these rights. */
static void protect(struct walk *t, int level, u64 rights)
{
	ept_map_page(t->p.s.v.eptp & EPT_ADDR, t->tables[level], t->tables[level], rights);
	path_synchronize(&t->p);
}

static u32 shift_of(const struct walk *t, int level)
{
	return 12 + modes[t->paging].index_bits * ((u32)level - 1);
}

/* Where the entry for this linear address is in the table. */
static u64 entry_at(const struct walk *t, int level, ulong linear)
{
	u32 index = linear >> shift_of(t, level) & ((1u << modes[t->paging].index_bits) - 1);

	return t->tables[level] + index * modes[t->paging].entry_bytes;
}

/* Tables that L2's code needs, too, are met by its fetch. */
static ulong met_first(const struct walk *t, int level, enum path_access a)
{
	return level > 1 ? (ulong)t->p.s.code : path_linear(&t->p, a);
}

static void judge_walk(struct walk *t, int level, u64 rights, enum path_access a)
{
	struct ept_path *p = &t->p;
	ulong linear = met_first(t, level, a);
	struct exit e;

	protect(t, level, rights);
	e = path_access(p, a);
	if (rights & EPT_R) {
		JUDGE("ept.walk-read", path_passed(p, a, &e), true);
		protect(t, level, EPT_RWX);
		return;
	}
	if (JUDGE("ept.walk-read", e.reason, EXIT_ept_violation)) {
		JUDGE("exit.info.ept-access", e.qualification & QUAL_ACCESS, QUAL_READ);
		JUDGE("exit.info.ept-rights", e.qualification >> QUAL_RIGHTS_SHIFT & EPT_RWX, rights);
		JUDGE("exit.info.ept-translated", e.qualification & (QUAL_LINEAR_VALID | QUAL_TRANSLATED),
		      QUAL_LINEAR_VALID);
		JUDGE("exit.info.ept-physical", vmread(VMCS_guest_physical_address), entry_at(t, level, linear));
		JUDGE("exit.info.ept-linear", vmread(VMCS_guest_linear_address), linear);
		JUDGE("ept.walk-read", path_untouched(p), true);
	}
	protect(t, level, EPT_RWX);
	e = path_again(p);
	JUDGE("ept.walk-restart", path_passed(p, a, &e), true);
}

TEST(ept, walk_tables, .sdm = "EPT Violations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.walk-read ept.walk-restart exit.info.ept-access exit.info.ept-rights exit.info.ept-translated "
	      "exit.info.ept-physical exit.info.ept-linear")
{
	static const u64 rights[] = { 0, EPT_R, EPT_R | EPT_X };
	struct walk t;

	judge_begin();
	for (enum paging m = paging_first(); m < PAGINGS; m++) {
		walk_begin(&t, c, m);
		for (int level = modes[m].levels; level >= 1; level--)
			for (u32 i = 0; i < ARRAY_SIZE(rights); i++)
				for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
					judge_about(modes[m].name, ept_level_name(level));
					judge_walk(&t, level, rights[i], a);
				}
		vcpu_destroy(&t.p.s.v);
	}
	judge_done();
}

/* Setting L2's own accessed and dirty flags is a write to its page tables, by any access. */
static void judge_flag(struct walk *t, int level, enum path_access a, bool dirty)
{
	struct ept_path *p = &t->p;
	ulong linear = met_first(t, level, a);
	volatile u32 *entry = (volatile u32 *)(ulong)entry_at(t, level, linear);
	u32 flag = dirty ? PTE_D : PTE_A;
	struct exit e;

	*entry &= ~flag;
	protect(t, level, EPT_R);
	e = path_access(p, a);
	if (JUDGE("exit.info.ept-walk-accessed", e.reason, EXIT_ept_violation)) {
		JUDGE("exit.info.ept-walk-accessed", e.qualification & (QUAL_WRITE | QUAL_FETCH | QUAL_TRANSLATED),
		      QUAL_WRITE);
		JUDGE("exit.info.ept-physical", vmread(VMCS_guest_physical_address) & ~7ull,
		      entry_at(t, level, linear) & ~7ull);
		JUDGE("ept.walk-flag-untouched", *entry & flag, 0);
		JUDGE("ept.walk-flag-untouched", path_untouched(p), true);
	}
	protect(t, level, EPT_RWX);
	e = path_again(p);
	JUDGE("ept.walk-restart", path_passed(p, a, &e), true);
	JUDGE("ept.walk-restart", *entry & flag, flag);
	*entry |= flag;
}

TEST(ept, walk_flags, .sdm = "EPT Violations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "exit.info.ept-walk-accessed exit.info.ept-physical ept.walk-flag-untouched ept.walk-restart")
{
	struct walk t;

	judge_begin();
	for (enum paging m = paging_first(); m < PAGINGS; m++) {
		walk_begin(&t, c, m);
		for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
			for (int level = modes[m].levels; level >= 1; level--) {
				judge_about(modes[m].name, "accessed");
				judge_flag(&t, level, a, false);
			}
			judge_about(modes[m].name, "dirty");
			if (a == PATH_WRITE || a == PATH_MODIFY)
				judge_flag(&t, 1, a, true);
		}
		vcpu_destroy(&t.p.s.v);
	}
	judge_done();
}

/* PAE paging: MOV to CR3 reads the PDPTEs; there is no linear address that it's for. */
TEST(ept, walk_pdpte_load, .sdm = "Exit Qualification for EPT Violations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "exit.info.ept-pdpte-load exit.info.ept-linear-valid exit.info.ept-access exit.info.ept-rights "
	      "exit.info.ept-physical ept.walk-restart")
{
	u32 offset = 0x560;
	struct ept_path p;
	struct exit e;
	u64 root;

	judge_begin();
	path_begin(&p, c);
	snippet_mode(&p.s, sizeof(ulong) == 8 ? SNIP_32 : SNIP_NATIVE, false);
	root = p.s.v.eptp & EPT_ADDR;
	memcpy(p.page + offset, (const void *)(ulong)vmread(VMCS_guest_cr3), 32);
	judge_about("MOV to CR3", "PAE paging");
	for (u32 i = 0; i < 2; i++) {
		u64 rights = i && cap_have("execute-only EPT") ? EPT_X : 0;

		ept_map_page(root, GPA_ALIAS, (ulong)p.page, rights);
		path_synchronize(&p);
		snippet_code(&p.s, "\x0f\x22\xdf", 3);
		p.s.v.g.di = GPA_ALIAS + offset;
		e = snippet_run(&p.s);
		if (!JUDGE("exit.info.ept-pdpte-load", e.reason, EXIT_ept_violation))
			continue;
		JUDGE("exit.info.ept-pdpte-load", e.ip, (ulong)p.s.code);
		JUDGE("exit.info.ept-linear-valid", e.qualification & QUAL_LINEAR_VALID, 0);
		JUDGE("exit.info.ept-access", e.qualification & QUAL_ACCESS, QUAL_READ);
		JUDGE("exit.info.ept-rights", e.qualification >> QUAL_RIGHTS_SHIFT & EPT_RWX, rights);
		JUDGE("exit.info.ept-physical", vmread(VMCS_guest_physical_address) & ~0x1full, GPA_ALIAS + offset);
		ept_map_page(root, GPA_ALIAS, (ulong)p.page, EPT_R);
		e = path_again(&p);
		JUDGE("ept.walk-restart", snippet_passed(&p.s, &e), true);
	}
	judge_done();
}
