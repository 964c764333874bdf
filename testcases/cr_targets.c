// SPDX-License-Identifier: BSD-2-Clause
/*
 * CR3: its target values, and what PDPTEs do with it. SDM: "CR3-Target Controls", "Loading Page-Directory-Pointer-Table
 * Entries", "Saving Control Registers, Debug Registers, and MSRs".
 */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define TARGETS 4u
#define CODE(text) (text), sizeof(text) - 1
#define GIB 0x40000000ul
#define PAE_SIZE 32u

static void begin(struct snippet *s, struct cpu *c, u32 opt, enum snip_mode mode)
{
	judge_begin();
	snippet_begin(s, c, opt);
	snippet_mode(s, mode, false);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

/* ---- CR3-target values ---- */

static void judge_target(struct snippet *s, ulong value, bool exits)
{
	snippet_mov(s, TO_CR, 3, 1);
	s->v.g.cx = value;
	if (exits)
		judge_access(s, WHERE("cr.cr3-target"), EXIT_cr_access, QUAL_TO_CR(3) | QUAL_REGISTER(1));
	else if (judge_runs(s, WHERE("cr.cr3-target")))
		JUDGE("cr.cr3-target-loaded", vmread(VMCS_guest_cr3), value);
}

TEST(cr, cr3_targets, .sdm = "CR3-Target Controls", .needs = "CR3-load exiting; CR3-target values",
     .rules = "cr.cr3-target cr.cr3-target-loaded exit.info.cr-access" CR_TOLD)
{
	const u32 offered = vmx_caps.misc >> 16 & 0x1ff, max = offered < TARGETS ? offered : TARGETS;
	static const char *const counts[] = { "0", "1", "2", "3", "4" };
	ulong roots[TARGETS + 1];
	struct snippet s;

	begin(&s, c, 0, SNIP_NATIVE);
	s.v.ctl[CTL_PROC] |= PROC_cr3_load_exiting;
	vcpu_write_controls(&s.v);
	for (u32 i = 0; i <= TARGETS; i++) {
		void *copy = page_alloc();

		memcpy(copy, (void *)(ulong)s.v.l2_root, sizeof(ulong) == 8 ? PAGE_SIZE : PAE_SIZE);
		roots[i] = (ulong)copy;
	}
	for (u32 i = 0; i < max; i++)
		vmwrite(VMCS_cr3_target_value0 + 2 * i, roots[i]);
	for (u32 count = 0; count <= max; count++) {
		vmwrite(VMCS_cr3_target_count, count);
		judge_about("CR3-target count", counts[count]);
		for (u32 i = 0; i <= max; i++)
			judge_target(&s, roots[i], i >= count);
		/* All bits count, also those that say nothing about where the table is. */
		judge_target(&s, roots[0] | PTE_PCD, true);
	}
	end(&s);
}

/* ---- PDPTEs ---- */

#ifdef __x86_64__
#define PAE_MODE SNIP_32
#else
#define PAE_MODE SNIP_NATIVE
#endif

/* PDPTEs like those that CR3 has, but for the fourth; at the end of a page, since 32 bytes are all that they need. */
static u64 *pae_root(u64 fourth)
{
	u64 *root = (u64 *)((u8 *)page_alloc() + PAGE_SIZE - PAE_SIZE);

	memcpy(root, (void *)(ulong)vmread(VMCS_guest_cr3), PAE_SIZE);
	root[3] = fourth;
	return root;
}

/* Does L2 read what is at this linear address? Otherwise it must be a page fault. MOV EAX, [EBX]. */
static bool reads(struct snippet *s, ulong address, u32 *value)
{
	struct exit e;

	snippet_code(s, CODE("\x8b\x03"));
	s->v.g.bx = address;
	e = snippet_run(s);
	*value = (u32)s->v.g.ax;
	return snippet_passed(s, &e);
}

/* The marker at the data page's beginning, seen in the fourth GiB. */
#define MARKER 0x5eed1234u
static bool fourth_is_first(struct snippet *s)
{
	u32 value;

	*(u32 *)s->data = MARKER;
	return reads(s, 3 * GIB + (ulong)s->data, &value) && value == MARKER;
}

static u64 pdpte(u32 i)
{
	return vmread(VMCS_guest_pdpte0 + 2 * i);
}

/* L2 executes MOV to CRn, CX, and nothing is done with memory besides. */
static bool moves(struct snippet *s, u32 number, ulong value)
{
	struct exit e;

	snippet_mov(s, TO_CR, number, 1);
	s->v.g.cx = value;
	e = snippet_run(s);
	return snippet_passed(s, &e);
}

/* With EPT, an entry takes PDPTEs from the VMCS, and doesn't look at what CR3 points to. */
TEST(cr, pdptes_entry, .sdm = "Loading Page-Directory-Pointer-Table Entries", .opt = OPT_ept,
     .rules = "entry.load.pdptes cr.pdptes-saved")
{
	const u64 absent = 0;
	struct snippet s;
	u64 first;

	begin(&s, c, OPT_ept, PAE_MODE);
	first = pdpte(0);
	vmwrite(VMCS_guest_cr3, (ulong)pae_root(absent));
	vmwrite(VMCS_guest_pdpte3, first);
	JUDGE("entry.load.pdptes", fourth_is_first(&s), true);
	for (u32 i = 0; i < 4; i++)
		JUDGE("cr.pdptes-saved", pdpte(i), i == 3 ? first : ((u64 *)(ulong)vmread(VMCS_guest_cr3))[i]);
	vmwrite(VMCS_guest_cr3, (ulong)pae_root(first));
	vmwrite(VMCS_guest_pdpte3, absent);
	JUDGE("entry.load.pdptes", fourth_is_first(&s), false);
	JUDGE("cr.pdptes-saved", pdpte(3), absent);
	end(&s);
}

/* Without EPT, they come from memory. */
TEST(cr, pdptes_entry_memory, .sdm = "Loading Page-Directory-Pointer-Table Entries",
     .rules = "entry.load.pdptes-memory")
{
	struct snippet s;
	u64 *root;
	u64 first;

	begin(&s, c, 0, PAE_MODE);
	first = *(u64 *)(ulong)vmread(VMCS_guest_cr3);
	root = pae_root(0);
	vmwrite(VMCS_guest_cr3, (ulong)root);
	JUDGE("entry.load.pdptes-memory", fourth_is_first(&s), false);
	root[3] = first;
	JUDGE("entry.load.pdptes-memory", fourth_is_first(&s), true);
	root[3] = 0;
	JUDGE("entry.load.pdptes-memory", fourth_is_first(&s), false);
	end(&s);
}

/*
 * What makes a guest with PAE paging load PDPTEs: MOV to CR3, and to CR0 and CR4 if certain bits change. The SDM doesn't say that
 * nothing else does ("PDPTE Registers").
 */
static void judge_loads(struct snippet *s, u32 opt)
{
	const struct {
		const char *name;
		u32 number;
		ulong flips;
		bool loads;
	} rows[] = {
		{ "MOV to CR3", 3, 0, true },
		{ "MOV to CR4: PGE", 4, CR4_PGE, true },
		{ "MOV to CR4: PSE", 4, CR4_PSE, true },
		{ "MOV to CR4: TSD", 4, CR4_TSD, false },
		{ "MOV to CR0: CD", 0, CR0_CD, true },
		{ "MOV to CR0: TS", 0, CR0_TS, false },
	};
	const u64 cr3 = vmread(VMCS_guest_cr3), first = *(u64 *)(ulong)cr3;
	const ulong cr0 = read_cr0();

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		u64 *root = pae_root(0);
		ulong value;

		judge_about(rows[i].name, opt ? "EPT" : NULL);
		vmwrite(VMCS_guest_cr3, (ulong)root);
		if (opt)
			vmwrite(VMCS_guest_pdpte3, 0);
		value = rows[i].number == 3 ?
				(ulong)root :
				(ulong)vmread(rows[i].number ? VMCS_guest_cr4 : VMCS_guest_cr0) ^ rows[i].flips;
		/* MOV to CRn and MOV EAX, [EBX]; before that L2 itself sets the fourth: MOV [ESI], EDI; MOV [ESI + 4], EDX. */
		const u8 code[] = { 0x89, 0x3e, 0x89, 0x56, 4, 0x0f, TO_CR, (u8)(0xc1 | rows[i].number << 3), 0x8b, 3 };
		struct exit e;

		snippet_code(s, code, sizeof(code));
		s->v.g.si = (ulong)&root[3];
		s->v.g.di = (u32)first;
		s->v.g.dx = (u32)(first >> 32);
		s->v.g.cx = value;
		s->v.g.bx = 3 * GIB + (ulong)s->data;
		*(u32 *)s->data = MARKER;
		e = snippet_run(s);
		if (!rows[i].loads) {
			say_note("%s %s PDPTEs", rows[i].name, snippet_passed(s, &e) ? "loads" : "doesn't load");
		} else {
			JUDGE("cr.pdptes-loaded", snippet_passed(s, &e), true);
			JUDGE("cr.pdptes-loaded", (u32)s->v.g.ax, MARKER);
		}
		if (opt && rows[i].loads)
			JUDGE("cr.pdptes-saved", pdpte(3), first);
		/* L2's CR0.CD is L1's, too. */
		write_cr0(cr0);
		snippet_mode(s, PAE_MODE, false);
	}
}

TEST(cr, pdptes_loads, .sdm = "Loading Page-Directory-Pointer-Table Entries", .opt = OPT_ept,
     .rules = "cr.pdptes-loaded cr.pdptes-saved")
{
	struct snippet s;

	begin(&s, c, OPT_ept, PAE_MODE);
	judge_loads(&s, OPT_ept);
	end(&s);
}

TEST(cr, pdptes_loads_memory, .sdm = "Loading Page-Directory-Pointer-Table Entries", .rules = "cr.pdptes-loaded")
{
	struct snippet s;

	begin(&s, c, 0, PAE_MODE);
	judge_loads(&s, 0);
	end(&s);
}

/* A PDPTE with reserved bits is #GP(0), and CR3 and the PDPTEs stay. */
static void judge_reserved(struct snippet *s, u32 opt)
{
	static const u64 wrong[] = { PTE_W, PTE_U, PTE_PS, 1ull << 63 };
	const u64 cr3 = vmread(VMCS_guest_cr3);
	u32 value;

	for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
		u64 *root = pae_root(0);

		judge_about("MOV to CR3, reserved bit of a PDPTE", opt ? "EPT" : NULL);
		root[3] = root[0] | wrong[i];
		snippet_mov(s, TO_CR, 3, 1);
		s->v.g.cx = (ulong)root;
		judge_fault(s, WHERE("cr.pdptes-reserved"), VEC_GP);
		JUDGE("cr.pdptes-reserved", vmread(VMCS_guest_cr3), cr3);
		vmwrite(VMCS_guest_cr3, cr3);
		/* Not present, it may have any. */
		root[3] &= ~PTE_P;
		JUDGE("cr.pdptes-reserved", moves(s, 3, (ulong)root), true);
		if (opt)
			JUDGE("cr.pdptes-saved", pdpte(3), root[3]);
		JUDGE("cr.pdptes-reserved", reads(s, 3 * GIB, &value), false);
		vmwrite(VMCS_guest_cr3, cr3);
		if (opt)
			vmwrite(VMCS_guest_pdpte3, ((u64 *)(ulong)cr3)[3]);
	}
}

TEST(cr, pdptes_reserved, .sdm = "Loading Page-Directory-Pointer-Table Entries", .opt = OPT_ept,
     .rules = "cr.pdptes-reserved cr.pdptes-saved")
{
	struct snippet s;

	begin(&s, c, OPT_ept, PAE_MODE);
	judge_reserved(&s, OPT_ept);
	end(&s);
}

TEST(cr, pdptes_reserved_memory, .sdm = "Loading Page-Directory-Pointer-Table Entries", .rules = "cr.pdptes-reserved")
{
	struct snippet s;

	begin(&s, c, 0, PAE_MODE);
	judge_reserved(&s, 0);
	end(&s);
}
