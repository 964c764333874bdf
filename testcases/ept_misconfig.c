// SPDX-License-Identifier: BSD-2-Clause
/* EPT misconfigurations: each reserved bit of each kind of entry, and the bits beside them that aren't reserved. */
#include "core/fmt.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"

#define TYPE_MASK EPT_TYPE(7)

/* Kinds of entries; each has its own reserved bits (SDM: "The Extended Page Table Mechanism"). */
enum form { PML4E_TABLE, PDPTE_TABLE, PDPTE_LEAF, PDE_TABLE, PDE_LEAF, PTE_LEAF, FORMS };

static const struct {
	const char *name;
	int level;
	bool leaf;
} forms[] = {
	[PML4E_TABLE] = { "PML4E", 4, false },         [PDPTE_TABLE] = { "PDPTE of a table", 3, false },
	[PDPTE_LEAF] = { "PDPTE of a page", 3, true }, [PDE_TABLE] = { "PDE of a table", 2, false },
	[PDE_LEAF] = { "PDE of a page", 2, true },     [PTE_LEAF] = { "PTE", 1, true },
};

/* Has the path this kind of entry, and the CPU? */
static bool have(const struct ept_path *p, enum form f)
{
	if (f == PDPTE_LEAF)
		return cap_have("1-GByte EPT pages");
	if (f == PDE_LEAF)
		return cap_have("2-MByte EPT pages");
	return forms[f].level <= p->top;
}

/* The entry that's right. The page at the same place in each of the large frames. */
static u64 right_entry(struct ept_path *p, enum form f)
{
	u64 gib = 1ull << 30;

	if (f == PDPTE_LEAF || f == PDE_LEAF) {
		path_point(p, (p->gpa & ~(gib - 1)) | FRAME_A | 7ull << PAGE_SHIFT, FRAME_A | 7u << PAGE_SHIFT);
		return ept_leaf(f == PDE_LEAF ? FRAME_A : 0, forms[f].level, EPT_RWX, MEMTYPE_WB);
	}
	path_point(p, p->gpa, p->full[1] & EPT_ADDR);
	return p->full[forms[f].level];
}

static void about_bits(enum form f, u64 bits)
{
	static char text[40];

	fmt(text, sizeof(text), "0x%llx", (unsigned long long)bits);
	judge_about(forms[f].name, text);
}

static void judge_passes(struct ept_path *p, const char *rule, int level, u64 entry, enum path_access a)
{
	struct exit e;

	path_set(p, level, entry);
	path_synchronize(p);
	e = path_access(p, a);
	judge_equal(WHERE(rule), path_access_name(a), path_passed(p, a, &e), true);
}

/* `right` is what the entry should have been: nothing of the wrong one is cached, so that it needs no INVEPT. */
static void judge_wrong(struct ept_path *p, const char *rule, int level, u64 wrong, u64 right, enum path_access a)
{
	struct exit e;

	path_set(p, level, wrong);
	path_synchronize(p);
	e = path_access(p, a);
	if (!judge_equal(WHERE(rule), path_access_name(a), e.reason, EXIT_ept_misconfiguration))
		return;
	judge_equal(WHERE(rule), "done in spite of the misconfiguration", path_untouched(p), true);
	JUDGE("exit.info.ept-misconfiguration", vmread(VMCS_guest_physical_address), path_physical(p, a));
	JUDGE("ept.misconfiguration-restart", e.ip, a == PATH_FETCH ? p->la : (ulong)p->s.code);
	path_set(p, level, right);
	e = path_again(p);
	JUDGE("ept.misconfiguration-not-cached", path_passed(p, a, &e), true);
}

#define TOLD " exit.info.ept-misconfiguration ept.misconfiguration-restart ept.misconfiguration-not-cached"

static void judge_bits(struct ept_path *p, const char *rule, enum form f, u64 bits)
{
	int level = forms[f].level;
	u64 right = right_entry(p, f);

	for (enum path_access a = PATH_READ; a <= PATH_FETCH; a++) {
		about_bits(f, bits);
		judge_wrong(p, rule, level, right | bits, right, a);
	}
	path_restore(p);
	path_synchronize(p);
}

static void judge_each_bit(struct ept_path *p, const char *rule, enum form f, u32 low, u32 high)
{
	for (u32 bit = low; bit <= high && have(p, f); bit++)
		judge_bits(p, rule, f, 1ull << bit);
}

/* An entry that would be right, were there such pages. */
static void judge_no_large(struct ept_path *p, enum form f)
{
	int level = forms[f].level;
	u64 right = right_entry(p, f);

	for (enum path_access a = PATH_READ; a <= PATH_FETCH; a++) {
		about_bits(f, EPT_LARGE);
		judge_wrong(p, "ept.reserved-bits", level, ept_leaf(0, level, EPT_RWX, MEMTYPE_WB), right, a);
	}
	path_restore(p);
}

TEST(ept, misconfig_reserved_bits, .sdm = "EPT Misconfigurations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.reserved-bits" TOLD)
{
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	judge_each_bit(&p, "ept.reserved-bits", PML4E_TABLE, 3, 7);
	judge_each_bit(&p, "ept.reserved-bits", PDPTE_TABLE, 3, 6);
	judge_each_bit(&p, "ept.reserved-bits", PDE_TABLE, 3, 6);
	judge_each_bit(&p, "ept.reserved-bits", PDPTE_LEAF, 13, 29);
	judge_each_bit(&p, "ept.reserved-bits", PDE_LEAF, 13, 20);
	/* Where there are no such pages, bit 7 is reserved in their level, too. */
	if (!cap_have("1-GByte EPT pages"))
		judge_no_large(&p, PDPTE_TABLE);
	if (!cap_have("2-MByte EPT pages"))
		judge_no_large(&p, PDE_TABLE);
	judge_done();
}

/* Bit 12 is PAT in a large page of ordinary paging; here it's a bit of the address that must be 0. */
TEST(ept, misconfig_large_bit_12, .sdm = "EPT Misconfigurations", .needs = "INVEPT; 2-MByte EPT pages", .opt = OPT_ept,
     .rules = "ept.reserved-bits")
{
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (enum form f = PDPTE_LEAF; f <= PDE_LEAF; f++) {
		u64 right = right_entry(&p, f);

		for (enum path_access a = PATH_READ; a <= PATH_FETCH && forms[f].leaf && have(&p, f); a++) {
			struct exit e;

			about_bits(f, 1u << 12);
			path_set(&p, forms[f].level, right | 1u << 12);
			path_synchronize(&p);
			e = path_access(&p, a);
			JUDGE("ept.reserved-bits", e.reason, EXIT_ept_misconfiguration);
		}
		path_restore(&p);
	}
	judge_done();
}

TEST(ept, misconfig_width, .sdm = "EPT Misconfigurations", .needs = "INVEPT", .opt = OPT_ept, .rules = "ept.width" TOLD)
{
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (enum form f = 0; f < FORMS; f++)
		judge_each_bit(&p, "ept.width", f, p.maxphyaddr, 51);
	judge_done();
}

TEST(ept, misconfig_memory_type, .sdm = "EPT Misconfigurations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.memory-type ept.memory-type-legal" TOLD)
{
	static const bool legal[] = { true, true, false, false, true, true, true, false };
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (enum form f = 0; f < FORMS; f++) {
		int level = forms[f].level;
		u64 right = right_entry(&p, f);

		for (u32 type = 0; type < 16 && forms[f].leaf && have(&p, f); type++) {
			u64 entry = (right & ~TYPE_MASK) | EPT_TYPE(type & 7) | (type & 8 ? EPT_IGNORE_PAT : 0);

			about_bits(f, EPT_TYPE(type));
			for (enum path_access a = PATH_READ; a <= PATH_FETCH; a++) {
				if (legal[type & 7])
					judge_passes(&p, "ept.memory-type-legal", level, entry, a);
				else
					judge_wrong(&p, "ept.memory-type", level, entry, right, a);
			}
		}
		path_restore(&p);
	}
	path_synchronize(&p);
	judge_done();
}

TEST(ept, misconfig_rights, .sdm = "EPT Misconfigurations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.write-only" TOLD)
{
	static const u64 wrong[] = { EPT_W, EPT_W | EPT_X };
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (enum form f = 0; f < FORMS; f++)
		for (u32 i = 0; i < ARRAY_SIZE(wrong) && have(&p, f); i++) {
			u64 right = right_entry(&p, f);

			judge_about(forms[f].name, ept_rights_name(wrong[i]));
			/* It's no matter whether the access is one that the rights would allow. */
			for (enum path_access a = PATH_READ; a <= PATH_FETCH; a++)
				judge_wrong(&p, "ept.write-only", forms[f].level, (right & ~EPT_RWX) | wrong[i], right,
					    a);
			path_restore(&p);
		}
	judge_done();
}

TEST(ept, misconfig_execute_only, .sdm = "EPT Misconfigurations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.execute-only" TOLD)
{
	struct ept_path p;

	if (cap_have("execute-only EPT")) {
		result_set(c->judging, VERDICT_SKIP, "environment: the CPU offers execute-only EPT");
		return;
	}
	judge_begin();
	path_begin(&p, c);
	for (enum form f = 0; f < FORMS; f++) {
		u64 right = right_entry(&p, f);

		judge_about(forms[f].name, ept_rights_name(EPT_X));
		for (enum path_access a = PATH_READ; a <= PATH_FETCH && have(&p, f); a++)
			judge_wrong(&p, "ept.execute-only", forms[f].level, (right & ~EPT_RWX) | EPT_X, right, a);
		path_restore(&p);
	}
	judge_done();
}

/* --- What isn't judged --- */

/* Above, a right is missing that the access needs; below, an entry is wrong. And the other way round. */
TEST(ept, misconfig_before_violation, .sdm = "EPT Violations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.misconfiguration-first ept.absent")
{
	struct ept_path p;
	struct exit e;

	judge_begin();
	path_begin(&p, c);
	for (int rights = p.top; rights >= 1; rights--)
		for (int wrong = p.top; wrong >= 1; wrong--) {
			u64 bad = (p.full[wrong] & ~TYPE_MASK) | EPT_TYPE(3);

			judge_about(ept_level_name(rights), ept_level_name(wrong));
			path_set(&p, rights, p.full[rights] & ~EPT_W);
			path_set(&p, wrong, rights == wrong ? bad & ~EPT_W : bad);
			path_synchronize(&p);
			e = path_access(&p, PATH_WRITE);
			JUDGE("ept.misconfiguration-first", e.reason, EXIT_ept_misconfiguration);
			path_restore(&p);
			if (rights <= wrong)
				continue;
			/* The walk ends at an entry that isn't present. */
			path_set(&p, rights, 0);
			path_set(&p, wrong, bad);
			path_synchronize(&p);
			e = path_access(&p, PATH_WRITE);
			JUDGE("ept.absent", e.reason, EXIT_ept_violation);
			path_restore(&p);
		}
	path_synchronize(&p);
	judge_done();
}

TEST(ept, misconfig_not_present, .sdm = "EPT Misconfigurations", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.not-present-ignored exit.info.ept-rights")
{
	struct ept_path p;
	struct exit e;

	judge_begin();
	path_begin(&p, c);
	for (int level = p.top; level >= 1; level--)
		/* Each bit alone; and at last all of them. */
		for (u32 bit = 3; bit <= 64; bit++) {
			static char text[24];

			fmt(text, sizeof(text), "bit %u", bit);
			judge_about(ept_level_name(level), text);
			path_set(&p, level, bit == 64 ? ~EPT_RWX : 1ull << bit);
			path_synchronize(&p);
			e = path_access(&p, bit % 3);
			if (JUDGE("ept.not-present-ignored", e.reason, EXIT_ept_violation))
				JUDGE("exit.info.ept-rights", e.qualification >> QUAL_RIGHTS_SHIFT & EPT_RWX, 0);
			path_restore(&p);
		}
	path_synchronize(&p);
	judge_done();
}

/*
 * Bits 8 to 11 and 52 to 63 are ignored as long as the controls are 0 that give some of them a meaning; bit 7 of a PTE
 * always. With all of them set, L2 gets at the same page.
 */
TEST(ept, misconfig_ignored_bits, .sdm = "The Extended Page Table Mechanism", .needs = "INVEPT", .opt = OPT_ept,
     .rules = "ept.ignored-bits")
{
	const u64 all = 0xf00ull | 0xfffull << 52;
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	for (enum form f = 0; f < FORMS; f++) {
		u64 right = right_entry(&p, f), ignored = all | (f == PTE_LEAF ? EPT_LARGE : 0);

		for (u32 bit = 7; bit < 64 && have(&p, f); bit++) {
			if (!(ignored >> bit & 1))
				continue;
			about_bits(f, 1ull << bit);
			for (enum path_access a = 0; a < PATH_ACCESSES; a++)
				judge_passes(&p, "ept.ignored-bits", forms[f].level, right | 1ull << bit, a);
		}
		for (enum path_access a = 0; a < PATH_ACCESSES && have(&p, f); a++) {
			about_bits(f, ignored);
			judge_passes(&p, "ept.ignored-bits", forms[f].level, right | ignored, a);
		}
		path_restore(&p);
	}
	path_synchronize(&p);
	judge_done();
}
