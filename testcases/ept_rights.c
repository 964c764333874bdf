// SPDX-License-Identifier: BSD-2-Clause
/* EPT: what the rights of each level allow, and what a violation tells. */
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"

/* Combinations of rights that are no misconfiguration, for any CPU. */
static const u64 legal[] = { 0, EPT_R, EPT_R | EPT_W, EPT_R | EPT_X, EPT_RWX };

/* What the qualification tells; bit 0 of a read that is followed by a write isn't fixed. */
static void judge_access(const struct exit *e, enum path_access a)
{
	u32 mask = a == PATH_MODIFY ? QUAL_WRITE | QUAL_FETCH : QUAL_ACCESS;

	JUDGE("exit.info.ept-access", e->qualification & mask, path_needs[a] & mask);
}

static void judge_violation(struct ept_path *p, const char *rule, enum path_access a, u64 rights)
{
	struct exit e = path_access(p, a);

	if (!judge_equal(WHERE(rule), path_access_name(a), e.reason, EXIT_ept_violation))
		return;
	judge_access(&e, a);
	JUDGE("exit.info.ept-rights", e.qualification >> QUAL_RIGHTS_SHIFT & EPT_RWX, rights);
	JUDGE("exit.info.ept-linear-valid", e.qualification & QUAL_LINEAR_VALID, QUAL_LINEAR_VALID);
	JUDGE("exit.info.ept-translated", e.qualification & QUAL_TRANSLATED, QUAL_TRANSLATED);
	JUDGE("exit.info.ept-physical", vmread(VMCS_guest_physical_address), path_physical(p, a));
	JUDGE("exit.info.ept-linear", vmread(VMCS_guest_linear_address), path_linear(p, a));
	judge_equal(WHERE(rule), "done in spite of the violation", path_untouched(p), true);
	JUDGE("ept.violation", e.ip, a == PATH_FETCH ? p->la : (ulong)p->s.code);
	/* More rights than before, and the violation itself has invalidated what was cached: no INVEPT. */
	path_restore(p);
	e = path_again(p);
	JUDGE("ept.violation-invalidates", path_passed(p, a, &e), true);
}

/* All accesses, with these rights in the entry or entries that differ from the full ones. */
static void judge_rights(struct ept_path *p, const char *rule, u64 rights, int level1, u64 entry1, int level2,
			 u64 entry2)
{
	for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
		path_set(p, level1, entry1);
		path_set(p, level2, entry2);
		path_synchronize(p);
		if (path_needs[a] & ~rights) {
			judge_violation(p, rule, a, rights);
		} else {
			struct exit e = path_access(p, a);

			judge_equal(WHERE(rule), path_access_name(a), path_passed(p, a, &e), true);
		}
		path_restore(p);
	}
}

static u64 with(const struct ept_path *p, int level, u64 rights)
{
	return (p->full[level] & ~EPT_RWX) | rights;
}

#define TOLD                                                                     \
	" exit.info.ept-access exit.info.ept-rights exit.info.ept-linear-valid " \
	"exit.info.ept-translated exit.info.ept-physical exit.info.ept-linear ept.violation-invalidates"

TEST(ept, rights_of_a_level, .sdm = "EPT Violations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.violation ept.absent ept.walk" TOLD)
{
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (int level = p.top; level >= 1; level--)
		for (u32 i = 0; i < ARRAY_SIZE(legal); i++) {
			u64 entry = with(&p, level, legal[i]);
			/* With all rights it's about the way. */
			const char *rule = i == 0 ? "ept.absent" : legal[i] == EPT_RWX ? "ept.walk" : "ept.violation";

			judge_about(ept_level_name(level), ept_rights_name(legal[i]));
			judge_rights(&p, rule, legal[i], level, entry, level, entry);
		}
	judge_done();
}

TEST(ept, rights_of_two_levels, .sdm = "EPT Violations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.rights-anded ept.violation" TOLD)
{
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (int above = p.top; above >= 2; above--)
		for (int below = above - 1; below >= 1; below--)
			for (u32 i = 1; i < ARRAY_SIZE(legal); i++)
				for (u32 k = 1; k < ARRAY_SIZE(legal); k++) {
					judge_about(ept_level_name(above), ept_level_name(below));
					judge_rights(&p, "ept.rights-anded", legal[i] & legal[k], above,
						     with(&p, above, legal[i]), below, with(&p, below, legal[k]));
				}
	judge_done();
}

TEST(ept, rights_execute_only, .sdm = "EPT Violations", .needs = "INVEPT; execute-only EPT", .opt = OPT_ept,
     .rules = "ept.execute-only-offered ept.rights-anded ept.violation" TOLD)
{
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (int level = p.top; level >= 1; level--) {
		u64 entry = with(&p, level, EPT_X);

		judge_about(ept_level_name(level), "execute-only");
		judge_rights(&p, "ept.execute-only-offered", EPT_X, level, entry, level, entry);
		if (level > 1) {
			judge_about(ept_level_name(level), "execute-only, PTE without X");
			judge_rights(&p, "ept.rights-anded", 0, level, entry, 1, with(&p, 1, EPT_R | EPT_W));
		}
	}
	judge_done();
}

/* --- Large pages --- */

/* The leaf maps what it should wherever in it the page lies, and its rights hold. */
static void check_large(struct cpu *c, int level, u64 frame)
{
	u64 span = (1ull << (PAGE_SHIFT + 9 * (level - 1))) - 1;
	u64 at[] = { FRAME_A & span, (FRAME_A & span) + LARGE_BYTES - PAGE_SIZE, (FRAME_A & span) + 0x7000 };
	struct ept_path p;
	u64 base;

	judge_begin();
	path_begin(&p, c);
	base = p.gpa & ~span;
	p.full[level] = ept_leaf(frame, level, EPT_RWX, MEMTYPE_WB);
	path_restore(&p);
	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		path_point(&p, base + at[i], frame + at[i]);
		for (u32 k = 0; k < ARRAY_SIZE(legal); k++) {
			u64 entry = with(&p, level, legal[k]);

			judge_about(ept_level_name(level), ept_rights_name(legal[k]));
			judge_rights(&p, "ept.large-page", legal[k], level, entry, level, entry);
		}
	}
	judge_done();
}

TEST(ept, rights_2_mbytes, .sdm = "EPT Translation Mechanism", .needs = "INVEPT; 2-MByte EPT pages", .opt = OPT_ept,
     .rules = "ept.large-page ept.violation" TOLD)
{
	check_large(c, 2, FRAME_A);
}

TEST(ept, rights_1_gbyte, .sdm = "EPT Translation Mechanism", .needs = "INVEPT; 1-GByte EPT pages", .opt = OPT_ept,
     .rules = "ept.large-page ept.violation" TOLD)
{
	check_large(c, 3, 0);
}

/* --- L2's page tables --- */

static void judge_walk(struct ept_path *p, enum path_access a, u64 rights)
{
	struct exit e;

	path_synchronize(p);
	e = path_access(p, a);
	if (rights & EPT_R) {
		JUDGE("ept.violation", path_passed(p, a, &e), true);
		return;
	}
	if (!JUDGE("ept.violation", e.reason, EXIT_ept_violation))
		return;
	/* Whatever L2 does, its walk reads. */
	JUDGE("exit.info.ept-access", e.qualification & QUAL_ACCESS, QUAL_READ);
	JUDGE("exit.info.ept-rights", e.qualification >> QUAL_RIGHTS_SHIFT & EPT_RWX, rights);
	JUDGE("exit.info.ept-linear-valid", e.qualification & QUAL_LINEAR_VALID, QUAL_LINEAR_VALID);
	JUDGE("exit.info.ept-translated", e.qualification & QUAL_TRANSLATED, 0);
	JUDGE("exit.info.ept-physical", vmread(VMCS_guest_physical_address),
	      p->gpa + (p->la - L2_WINDOW) / PAGE_SIZE * 8);
	JUDGE("exit.info.ept-linear", vmread(VMCS_guest_linear_address), path_linear(p, a));
	path_restore(p);
	e = path_again(p);
	JUDGE("ept.violation-invalidates", path_passed(p, a, &e), true);
}

TEST(ept, rights_of_page_walks, .sdm = "Exit Qualification for EPT Violations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.violation" TOLD)
{
	/* The last where it's offered. */
	static const u64 rights[] = { 0, EPT_R, EPT_R | EPT_W, EPT_R | EPT_X, EPT_X };
	u32 count = ARRAY_SIZE(rights) - !cap_have("execute-only EPT");
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	path_is_page_table(&p);
	for (int level = p.top; level >= 1; level--)
		for (u32 i = 0; i < count; i++)
			for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
				judge_about(ept_level_name(level), path_access_name(a));
				path_set(&p, level, with(&p, level, rights[i]));
				judge_walk(&p, a, rights[i]);
				path_restore(&p);
			}
	judge_done();
}
