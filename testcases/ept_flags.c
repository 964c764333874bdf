// SPDX-License-Identifier: BSD-2-Clause
/* EPT: accessed and dirty flags. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define FLAGS (EPT_A | EPT_D)

/* What the entry at each level of the path should have of the two flags afterwards: same for all but the leaf. */
static void judge_flags(struct ept_path *p, const char *rule_a, const char *rule_d, int leaf, u64 tables, u64 page)
{
	for (int level = p->top; level >= leaf; level--) {
		u64 want = level == leaf ? page : tables, got = *p->entry[level];

		judge_equal(WHERE(rule_a), ept_level_name(level), got & EPT_A, want & EPT_A);
		judge_equal(WHERE(rule_d), ept_level_name(level), got & EPT_D, want & EPT_D);
		judge_equal(WHERE(rule_a), "the rest of the entry", got & ~FLAGS, p->full[level] & ~FLAGS);
	}
}

static void path_flags_begin(struct ept_path *p, struct cpu *c)
{
	path_begin(p, c);
	p->s.v.eptp |= EPTP_AD;
	vmwrite(VMCS_ept_pointer, p->s.v.eptp);
}

/* The flags that an access leaves if the entries had `before`. */
static void judge_access(struct ept_path *p, int leaf, enum path_access a, u64 before_tables, u64 before_page)
{
	struct exit e;
	u64 wrote = a == PATH_WRITE || a == PATH_MODIFY ? EPT_D : 0;

	for (int level = p->top; level >= leaf; level--)
		path_set(p, level, p->full[level] | (level == leaf ? before_page : before_tables));
	path_synchronize(p);
	e = path_access(p, a);
	if (JUDGE("ept.accessed", path_passed(p, a, &e), true))
		judge_flags(p, "ept.accessed", "ept.dirty", leaf, before_tables | EPT_A, before_page | EPT_A | wrote);
}

static void judge_accesses(struct ept_path *p, int leaf)
{
	for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
		judge_about(path_access_name(a), "flags were 0");
		judge_access(p, leaf, a, 0, 0);
		judge_about(path_access_name(a), "accessed flags were 1");
		judge_access(p, leaf, a, EPT_A, EPT_A);
		judge_about(path_access_name(a), "all flags were 1");
		/* In an entry that isn't a leaf the bit means nothing: it stays as it is. */
		judge_access(p, leaf, a, EPT_A | EPT_D, EPT_A | EPT_D);
		judge_about(path_access_name(a), "dirty flag alone was 1");
		judge_access(p, leaf, a, 0, EPT_D);
	}
}

#define NEEDS "INVEPT; EPT accessed and dirty flags"

TEST(ept, flags_4_kbytes, .sdm = "Accessed and Dirty Flags for EPT", .needs = NEEDS, .opt = OPT_ept,
     .rules = "ept.accessed ept.dirty")
{
	struct ept_path p;

	judge_begin();
	path_flags_begin(&p, c);
	judge_accesses(&p, 1);
	judge_done();
}

static void flags_of_large(struct cpu *c, int level, u64 frame)
{
	u64 span = (1ull << (PAGE_SHIFT + 9 * (level - 1))) - 1;
	struct ept_path p;

	judge_begin();
	path_flags_begin(&p, c);
	p.full[level] = ept_leaf(frame, level, EPT_RWX, MEMTYPE_WB);
	path_point(&p, (p.gpa & ~span) | (FRAME_A & span) | 0x7000, FRAME_A | 0x7000);
	judge_accesses(&p, level);
	judge_done();
}

TEST(ept, flags_2_mbytes, .sdm = "Accessed and Dirty Flags for EPT", .needs = NEEDS "; 2-MByte EPT pages",
     .opt = OPT_ept, .rules = "ept.accessed ept.dirty")
{
	flags_of_large(c, 2, FRAME_A);
}

TEST(ept, flags_1_gbyte, .sdm = "Accessed and Dirty Flags for EPT", .needs = NEEDS "; 1-GByte EPT pages",
     .opt = OPT_ept, .rules = "ept.accessed ept.dirty")
{
	flags_of_large(c, 3, 0);
}

/* Bit 6 of the EPTP enables them, not the capability. */
TEST(ept, flags_disabled, .sdm = "Accessed and Dirty Flags for EPT", .needs = NEEDS, .opt = OPT_ept,
     .rules = "ept.flags-disabled")
{
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
		struct exit e = path_access(&p, a);

		judge_about(path_access_name(a), NULL);
		JUDGE("ept.flags-disabled", path_passed(&p, a, &e), true);
		judge_flags(&p, "ept.flags-disabled", "ept.flags-disabled", 1, 0, 0);
	}
	judge_done();
}

/* A write that isn't allowed writes nothing: no flag tells that it did. */
TEST(ept, flags_violation, .sdm = "Accessed and Dirty Flags for EPT", .needs = NEEDS, .opt = OPT_ept,
     .rules = "ept.violation-clean")
{
	struct ept_path p;
	u64 accessed = 0;

	judge_begin();
	path_flags_begin(&p, c);
	for (int level = p.top; level >= 1; level--) {
		struct exit e;

		for (int k = p.top; k >= 1; k--)
			path_set(&p, k, p.full[k]);
		path_set(&p, level, p.full[level] & ~EPT_W);
		path_synchronize(&p);
		e = path_access(&p, PATH_WRITE);
		judge_about("write", ept_level_name(level));
		JUDGE("ept.violation-clean", e.reason, EXIT_ept_violation);
		for (int k = p.top; k >= 1; k--) {
			JUDGE("ept.violation-clean", *p.entry[k] & EPT_D, 0);
			accessed |= *p.entry[k] & EPT_A;
		}
	}
	if (accessed)
		say_note("a violation has set accessed flags (the SDM leaves it open)");
	judge_done();
}

/* --- L2's page walks --- */

/* Each access to an entry of L2's page tables counts as a write, whatever it's for. */
TEST(ept, flags_page_walk, .sdm = "Accessed and Dirty Flags for EPT", .needs = NEEDS, .opt = OPT_ept,
     .rules = "ept.walk-dirty ept.accessed")
{
	struct ept_path p;

	judge_begin();
	path_flags_begin(&p, c);
	path_is_page_table(&p);
	for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
		struct exit e;

		path_restore(&p);
		path_synchronize(&p);
		judge_about("page walk", path_access_name(a));
		e = path_access(&p, a);
		JUDGE("ept.walk-dirty", path_passed(&p, a, &e), true);
		judge_flags(&p, "ept.accessed", "ept.walk-dirty", 1, EPT_A, EPT_A | EPT_D);
	}
	judge_done();
}

/* Reads of a page table without write access violate. `qualify`: judge the qualification's two bits, and nothing else. */
static void walk_without_write(struct cpu *c, bool qualify)
{
	struct ept_path p;

	judge_begin();
	path_flags_begin(&p, c);
	path_is_page_table(&p);
	for (int level = p.top; level >= 1; level--)
		for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
			struct exit e;

			judge_about(ept_level_name(level), path_access_name(a));
			path_set(&p, level, p.full[level] & ~EPT_W);
			path_synchronize(&p);
			e = path_access(&p, a);
			if (qualify) {
				JUDGE("exit.info.ept-walk-write", e.qualification & QUAL_ACCESS,
				      QUAL_READ | QUAL_WRITE);
			} else if (JUDGE("ept.walk-write", e.reason, EXIT_ept_violation)) {
				JUDGE("exit.info.ept-access", e.qualification & (QUAL_WRITE | QUAL_FETCH), QUAL_WRITE);
				JUDGE("exit.info.ept-rights", e.qualification >> QUAL_RIGHTS_SHIFT & EPT_RWX,
				      EPT_R | EPT_X);
				JUDGE("exit.info.ept-translated",
				      e.qualification & (QUAL_LINEAR_VALID | QUAL_TRANSLATED), QUAL_LINEAR_VALID);
				JUDGE("ept.violation-clean", *p.entry[1] & EPT_D, 0);
			}
			path_restore(&p);
		}
	judge_done();
}

TEST(ept, flags_walk_write, .sdm = "EPT Violations", .needs = NEEDS, .opt = OPT_ept,
     .rules = "ept.walk-write exit.info.ept-access exit.info.ept-rights exit.info.ept-translated ept.violation-clean")
{
	walk_without_write(c, false);
}

TEST(ept, flags_walk_qualification, .sdm = "Exit Qualification for EPT Violations", .needs = NEEDS, .opt = OPT_ept,
     .rules = "exit.info.ept-walk-write")
{
	walk_without_write(c, true);
}

/* MOV to CR3 with PAE paging reads PDPTEs: that's no page walk. */
TEST(ept, flags_pdpte_load, .sdm = "Accessed and Dirty Flags for EPT", .needs = NEEDS, .opt = OPT_ept,
     .rules = "ept.pdpte-load-clean ept.accessed")
{
	enum snip_mode mode = sizeof(ulong) == 8 ? SNIP_32 : SNIP_NATIVE;
	struct ept_path p;
	struct exit e;

	judge_begin();
	path_flags_begin(&p, c);
	snippet_mode(&p.s, mode, false);
	memcpy(p.page, (const void *)(ulong)vmread(VMCS_guest_cr3), 32);
	/* The path's page must have an address that CR3 of PAE paging can hold. */
	ept_map_page(p.s.v.eptp & EPT_ADDR, GPA_ALIAS, (ulong)p.page, EPT_RWX);
	path_synchronize(&p);
	snippet_code(&p.s, "\x0f\x22\xdf", 3);
	p.s.v.g.di = GPA_ALIAS;
	e = snippet_run(&p.s);
	judge_about("MOV to CR3", "PAE paging");
	if (JUDGE("ept.pdpte-load-clean", snippet_passed(&p.s, &e), true)) {
		struct ept_walk w = ept_lookup(&heap_ept_mem, p.s.v.eptp & EPT_ADDR, GPA_ALIAS);

		JUDGE("ept.accessed", w.entry & EPT_A, EPT_A);
		JUDGE("ept.pdpte-load-clean", w.entry & EPT_D, 0);
	}
	judge_done();
}
