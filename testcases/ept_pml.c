// SPDX-License-Identifier: BSD-2-Clause
/* Page-modification logging. */
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define FLAGS (EPT_A | EPT_D)
#define EMPTY 0xe3e3e3e3e3e3e3e3ull
#define LAST 511u

struct pml {
	struct ept_path p;
	u64 *log;
};

static void log_empty(struct pml *t, u32 index)
{
	for (u32 i = 0; i < 512; i++)
		t->log[i] = EMPTY;
	vmwrite(VMCS_pml_index, index);
}

/* All that L2 touches but the path's page has its flags set already, so that nothing else is logged. */
static void pml_begin(struct pml *t, struct cpu *c)
{
	struct ept_path *p = &t->p;

	judge_begin();
	path_begin(p, c);
	t->log = page_alloc();
	p->s.v.eptp |= EPTP_AD;
	p->s.v.ctl[CTL_PROC2] |= PROC2_enable_pml;
	vcpu_write_controls(&p->s.v);
	vmwrite(VMCS_ept_pointer, p->s.v.eptp);
	vmwrite(VMCS_pml_address, (ulong)t->log);
	/* Two runs: the log may become full in the first. */
	for (u32 i = 0; i < 2; i++) {
		struct exit e;

		log_empty(t, LAST);
		e = path_access(p, PATH_WRITE);
		expect_env(path_passed(p, PATH_WRITE, &e));
	}
}

#define PML(name_, ...) TEST_WITH(ept, name_, struct pml, t, pml_begin(t, c), judge_done(), __VA_ARGS__)

/* Entries of the path with these flags. */
static void path_flags(struct pml *t, u64 tables, u64 page)
{
	struct ept_path *p = &t->p;

	for (int level = p->top; level >= 1; level--)
		path_set(p, level, (p->full[level] & ~FLAGS) | (level == 1 ? page : tables));
	path_synchronize(p);
}

static u32 entries_used(const struct pml *t)
{
	u32 n = 0;

	for (u32 i = 0; i < 512; i++)
		n += t->log[i] != EMPTY;
	return n;
}

#define NEEDS "INVEPT; EPT accessed and dirty flags; enable PML"

PML(pml_writes, .sdm = "Page-Modification Logging", .needs = NEEDS, .opt = OPT_ept,
    .rules = "ept.pml ept.pml-index ept.pml-aligned ept.pml-clean")
{
	static const u16 indices[] = { LAST, 300, 1 };

	for (u32 i = 0; i < ARRAY_SIZE(indices); i++)
		for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
			bool writes = a == PATH_WRITE || a == PATH_MODIFY;
			struct exit e;

			judge_about(path_access_name(a), "the dirty flag was 0");
			log_empty(t, indices[i]);
			path_flags(t, EPT_A, EPT_A);
			e = path_access(&t->p, a);
			JUDGE("ept.pml", path_passed(&t->p, a, &e), true);
			JUDGE("ept.pml", entries_used(t), writes);
			JUDGE("ept.pml-index", vmread(VMCS_pml_index), indices[i] - writes);
			if (writes)
				/* The access was to the middle of the page. */
				JUDGE("ept.pml-aligned", t->log[indices[i]], t->p.gpa);
			judge_about(path_access_name(a), "the dirty flag was 1");
			log_empty(t, indices[i]);
			path_flags(t, 0, EPT_D);
			e = path_access(&t->p, a);
			JUDGE("ept.pml-clean", path_passed(&t->p, a, &e), true);
			JUDGE("ept.pml-clean", entries_used(t), 0);
			JUDGE("ept.pml-clean", vmread(VMCS_pml_index), indices[i]);
		}
}

/* The address that is logged is the access's own page, not the large page's beginning. */
PML(pml_large_page, .sdm = "Page-Modification Logging", .needs = NEEDS "; 2-MByte EPT pages", .opt = OPT_ept,
    .rules = "ept.pml ept.pml-aligned")
{
	struct exit e;

	path_set(&t->p, 2, ept_leaf(FRAME_A, 2, EPT_RWX, MEMTYPE_WB));
	path_point(&t->p, (t->p.gpa & ~(u64)(LARGE_BYTES - 1)) | 0x9000, FRAME_A | 0x9000);
	path_synchronize(&t->p);
	log_empty(t, LAST);
	judge_about("write", "2-MByte page");
	e = path_access(&t->p, PATH_WRITE);
	JUDGE("ept.pml", path_passed(&t->p, PATH_WRITE, &e), true);
	JUDGE("ept.pml", entries_used(t), 1);
	JUDGE("ept.pml-aligned", t->log[LAST], t->p.gpa);
}

/* Page walks count as writes, so their pages are logged, too. */
PML(pml_page_walk, .sdm = "Page-Modification Logging", .needs = NEEDS, .opt = OPT_ept,
    .rules = "ept.pml-walk ept.pml-index")
{
	struct exit e;

	path_is_page_table(&t->p);
	path_flags(t, EPT_A, EPT_A);
	/* Where it leads to is in L2's identity map, which has all flags. */
	path_synchronize(&t->p);
	e = path_access(&t->p, PATH_WRITE);
	path_flags(t, EPT_A, EPT_A);
	log_empty(t, LAST);
	judge_about("page walk of a read", NULL);
	e = path_access(&t->p, PATH_READ);
	JUDGE("ept.pml-walk", path_passed(&t->p, PATH_READ, &e), true);
	JUDGE("ept.pml-walk", entries_used(t), 1);
	JUDGE("ept.pml-walk", t->log[LAST], t->p.gpa);
	JUDGE("ept.pml-index", vmread(VMCS_pml_index), LAST - 1);
}

PML(pml_full, .sdm = "Page-Modification Logging", .needs = NEEDS, .opt = OPT_ept,
    .rules = "ept.pml-full ept.pml-full-restart ept.pml-index")
{
	static const u16 full[] = { 0xffff, 512, 0x8000 };
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(full); i++) {
		judge_about("write", "the index is above 511");
		log_empty(t, full[i]);
		path_flags(t, EPT_A, EPT_A);
		e = path_access(&t->p, PATH_WRITE);
		if (!JUDGE("ept.pml-full", e.reason, EXIT_pml_full))
			continue;
		JUDGE("ept.pml-full", path_untouched(&t->p), true);
		JUDGE("ept.pml-full", *t->p.entry[1] & EPT_D, 0);
		JUDGE("ept.pml-full", entries_used(t), 0);
		JUDGE("ept.pml-index", vmread(VMCS_pml_index), full[i]);
		JUDGE("ept.pml-full-restart", e.ip, (ulong)t->p.s.code);
		/* The last place, and then none. */
		vmwrite(VMCS_pml_index, 0);
		e = path_again(&t->p);
		JUDGE("ept.pml-full-restart", path_passed(&t->p, PATH_WRITE, &e), true);
		JUDGE("ept.pml-full-restart", t->log[0], t->p.gpa);
		JUDGE("ept.pml-index", vmread(VMCS_pml_index), 0xffff);
	}
}

/* The index is looked at where a flag must be set; where all are, L2 may go on with a full log. */
PML(pml_full_nothing_to_log, .sdm = "Page-Modification Logging", .needs = NEEDS, .opt = OPT_ept,
    .rules = "ept.pml-full-unneeded")
{
	log_empty(t, 0xffff);
	for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
		struct exit e;

		path_flags(t, EPT_A, EPT_A | EPT_D);
		e = path_access(&t->p, a);
		judge_about(path_access_name(a), "all flags are set");
		JUDGE("ept.pml-full-unneeded", path_passed(&t->p, a, &e), true);
		if (a == PATH_WRITE || a == PATH_MODIFY)
			continue;
		path_flags(t, EPT_A, EPT_A);
		e = path_access(&t->p, a);
		judge_about(path_access_name(a), "no flag must be set");
		JUDGE("ept.pml-full-unneeded", path_passed(&t->p, a, &e), true);
	}
}

/* Nothing would be logged for an accessed flag, but it isn't set when there would be no room. */
PML(pml_full_accessed, .sdm = "Page-Modification Logging", .needs = NEEDS, .opt = OPT_ept,
    .rules = "ept.pml-full-accessed")
{
	struct exit e;

	for (int level = t->p.top; level >= 1; level--) {
		log_empty(t, 0xffff);
		path_flags(t, EPT_A, EPT_A);
		path_set(&t->p, level, *t->p.entry[level] & ~EPT_A);
		e = path_access(&t->p, PATH_READ);
		judge_about("read", ept_level_name(level));
		JUDGE("ept.pml-full-accessed", e.reason, EXIT_pml_full);
		JUDGE("ept.pml-full-accessed", *t->p.entry[level] & EPT_A, 0);
	}
}
