// SPDX-License-Identifier: BSD-2-Clause
/* EPT of newer CPUs: what a violation tells of the guest's paging, two execute rights, write permissions for 128 bytes. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define QUAL_USER_X 0x40u
#define QUAL_USER 0x200u
#define QUAL_WRITABLE 0x400u
#define QUAL_NO_EXECUTE 0x800u
#define PTE_XD (1ull << 63)
#define EFER_NXE 0x800u

static u64 *window_entry(struct ept_path *p)
{
	return &p->s.v.l2_window[(p->la - L2_WINDOW) >> PAGE_SHIFT];
}

/* All levels of L2's paging allow all, so that the window's last entry decides. */
static void open_upper_levels(struct ept_path *p)
{
	u64 *table = (u64 *)(ulong)p->s.v.l2_root;

#ifdef __x86_64__
	table[0] |= PTE_W | PTE_U;
	table = (u64 *)(ulong)(table[0] & PTE_ADDR);
	table[0] |= PTE_W | PTE_U;
#endif
	table = (u64 *)(ulong)(table[0] & PTE_ADDR);
	table[L2_WINDOW >> 21] |= PTE_W | PTE_U;
}

TEST(ept, advanced_information, .sdm = "Exit Qualification for EPT Violations",
     .needs = "advanced VM-exit information for EPT violations; INVEPT", .opt = OPT_ept,
     .rules = "exit.info.ept-user exit.info.ept-writable exit.info.ept-no-execute")
{
	u64 efer = msr_read(MSR_EFER);
	struct ept_path p;

	judge_begin();
	path_begin(&p, c);
	open_upper_levels(&p);
	msr_write(MSR_EFER, efer | EFER_NXE);
	for (u32 i = 0; i < 8; i++) {
		u64 bits = PTE_P | PTE_A | PTE_D | (i & 1 ? PTE_U : 0) | (i & 2 ? PTE_W : 0) | (i & 4 ? PTE_XD : 0);
		struct exit e;

		*window_entry(&p) = p.gpa | bits;
		path_set(&p, 1, 0);
		path_synchronize(&p);
		judge_about("read", i & 1 ? "user" : "supervisor");
		e = path_access(&p, PATH_READ);
		if (e.reason != EXIT_ept_violation) {
			JUDGE("exit.info.ept-user", e.reason, EXIT_ept_violation);
			continue;
		}
		JUDGE("exit.info.ept-user", e.qualification & QUAL_USER, i & 1 ? QUAL_USER : 0);
		JUDGE("exit.info.ept-writable", e.qualification & QUAL_WRITABLE, i & 2 ? QUAL_WRITABLE : 0);
		JUDGE("exit.info.ept-no-execute", e.qualification & QUAL_NO_EXECUTE, i & 4 ? QUAL_NO_EXECUTE : 0);
	}
	msr_write(MSR_EFER, efer);
	judge_done();
}

/* --- Mode-based execute control --- */

#define MODE_BASED "mode-based execute control for EPT; INVEPT"

/* L2's own code may run in either mode: the entries down to it are the root's own but for the last. */
static u64 *code_entry(struct ept_path *p)
{
	u64 *table = (u64 *)(ulong)(p->s.v.eptp & EPT_ADDR);

	for (int level = 4; level > 1; level--) {
		u64 *e = &table[(u64)(ulong)p->s.code >> (PAGE_SHIFT + 9 * (level - 1)) & 511];

		*e |= EPT_USER_X;
		table = (u64 *)(ulong)(*e & EPT_ADDR);
	}
	return &table[(ulong)p->s.code >> PAGE_SHIFT & 511];
}

static void mode_based_begin(struct ept_path *p, struct cpu *c)
{
	judge_begin();
	path_begin(p, c);
	open_upper_levels(p);
	p->s.v.ctl[CTL_PROC2] |= PROC2_mode_based_execute_control;
	vcpu_write_controls(&p->s.v);
	for (int level = p->top; level >= 1; level--)
		p->full[level] |= EPT_USER_X;
	path_restore(p);
}

/* A fetch by L2; user: from a user-mode linear address. That's the page's, not CPL's, doing. */
static struct exit fetch(struct ept_path *p, bool user_page, bool cpl3)
{
	*window_entry(p) = p->gpa | PTE_P | PTE_W | PTE_A | PTE_D | (user_page ? PTE_U : 0);
	snippet_mode(&p->s, SNIP_NATIVE, cpl3);
	return path_access(p, PATH_FETCH);
}

static void judge_mode(struct ept_path *p, int level, u64 rights, bool user_page, bool cpl3)
{
	bool allowed = user_page ? rights & EPT_USER_X : rights & EPT_X;
	struct exit e;

	path_set(p, level, (p->full[level] & ~(EPT_RWX | EPT_USER_X)) | rights);
	path_synchronize(p);
	e = fetch(p, user_page, cpl3);
	judge_about(ept_level_name(level), user_page ? "user page" : "supervisor page");
	if (allowed) {
		JUDGE("ept.mode-based", path_passed(p, PATH_FETCH, &e), true);
	} else if (JUDGE("ept.mode-based", e.reason, EXIT_ept_violation)) {
		JUDGE("exit.info.ept-access", e.qualification & QUAL_ACCESS, QUAL_FETCH);
		JUDGE("exit.info.ept-rights", e.qualification >> QUAL_RIGHTS_SHIFT & EPT_RWX, rights & EPT_RWX);
		JUDGE("exit.info.ept-user-execute", e.qualification & QUAL_USER_X,
		      rights & EPT_USER_X ? QUAL_USER_X : 0);
	}
	path_restore(p);
}

TEST(ept, mode_based_execute, .sdm = "EPT Violations", .needs = MODE_BASED, .opt = OPT_ept,
     .rules = "ept.mode-based exit.info.ept-access exit.info.ept-rights exit.info.ept-user-execute")
{
	static const u64 rights[] = { EPT_R, EPT_R | EPT_X, EPT_R | EPT_USER_X, EPT_RWX, EPT_RWX | EPT_USER_X };
	struct ept_path p;
	u64 *code, saved;

	mode_based_begin(&p, c);
	code = code_entry(&p);
	saved = *code;
	*code |= EPT_USER_X;
	for (int level = p.top; level >= 1; level--)
		for (u32 i = 0; i < ARRAY_SIZE(rights); i++) {
			judge_mode(&p, level, rights[i], false, false);
			judge_mode(&p, level, rights[i], true, false);
			judge_mode(&p, level, rights[i], true, true);
		}
	*code = saved;
	judge_done();
}

TEST(ept, mode_based_alone, .sdm = "The Extended Page Table Mechanism", .needs = MODE_BASED "; execute-only EPT",
     .opt = OPT_ept, .rules = "ept.mode-based-present ept.mode-based-off")
{
	struct ept_path p;
	u64 *code, saved;
	struct exit e;

	mode_based_begin(&p, c);
	code = code_entry(&p);
	saved = *code;
	*code |= EPT_USER_X;
	for (int level = p.top; level >= 1; level--) {
		judge_about(ept_level_name(level), "bit 10 alone");
		path_set(&p, level, (p.full[level] & ~EPT_RWX) | EPT_USER_X);
		path_synchronize(&p);
		e = fetch(&p, true, true);
		JUDGE("ept.mode-based-present", path_passed(&p, PATH_FETCH, &e), true);
		path_restore(&p);
	}
	*code = saved;
	p.s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_mode_based_execute_control;
	vcpu_write_controls(&p.s.v);
	judge_about("the control is 0", NULL);
	path_set(&p, 1, (p.full[1] & ~EPT_RWX) | EPT_R | EPT_USER_X);
	path_synchronize(&p);
	e = fetch(&p, true, true);
	JUDGE("ept.mode-based-off", e.reason, EXIT_ept_violation);
	path_set(&p, 1, (p.full[1] & ~EPT_RWX) | EPT_USER_X);
	path_synchronize(&p);
	e = fetch(&p, true, true);
	JUDGE("ept.mode-based-off", e.reason, EXIT_ept_violation);
	judge_done();
}

/* --- Sub-page write permissions --- */

#define SUB_PAGE "sub-page write permissions for EPT; INVEPT"
#define SUB_BYTES 128u
#define QUAL_MISS 0x800u

struct sub {
	struct ept_path p;
	u64 *entry[5]; /* of the table of permissions, by level; level 1 is a vector of 32 bits at even places */
};

static void sub_begin(struct sub *t, struct cpu *c)
{
	u64 table = (ulong)page_alloc();

	judge_begin();
	path_begin(&t->p, c);
	vmwrite(VMCS_sub_page_permission_table_pointer, table);
	for (int level = 4; level >= 1; level--) {
		t->entry[level] = (u64 *)(ulong)table + (t->p.gpa >> (PAGE_SHIFT + 9 * (level - 1)) & 511);
		table = (ulong)page_alloc();
		*t->entry[level] = level > 1 ? table | 1 : 0;
	}
	t->p.s.v.ctl[CTL_PROC2] |= PROC2_sub_page_write_permissions;
	vcpu_write_controls(&t->p.s.v);
	t->p.full[1] = (t->p.full[1] & ~EPT_W) | EPT_SUB_PAGE;
	path_restore(&t->p);
	path_synchronize(&t->p);
}

/* L2 writes a word there. */
static struct exit sub_write(struct sub *t, u32 offset)
{
	*(volatile u32 *)(ulong)(t->p.page + offset) = 0;
	snippet_code(&t->p.s, "\x89\x07", 2);
	t->p.s.v.g.di = t->p.la + offset;
	return snippet_run(&t->p.s);
}

static bool sub_written(struct sub *t, u32 offset)
{
	return *(volatile u32 *)(ulong)(t->p.page + offset) == SNIP_REGISTER(0);
}

TEST(ept, sub_page_writes, .sdm = "Sub-Page Write Permissions", .needs = SUB_PAGE, .opt = OPT_ept,
     .rules = "ept.sub-page ept.sub-page-bit")
{
	static const u64 vectors[] = { 0, 0x5555555555555555, 0x1, 0x4000000000000000, 0x1111111111111111 };
	struct sub t;
	struct exit e;

	sub_begin(&t, c);
	for (u32 i = 0; i < ARRAY_SIZE(vectors); i++) {
		*t.entry[1] = vectors[i];
		path_synchronize(&t.p);
		for (u32 n = 0; n < PAGE_SIZE / SUB_BYTES; n++) {
			u32 offset = n * SUB_BYTES + (n % 2 ? SUB_BYTES - 4 : 0);
			bool may = vectors[i] >> 2 * n & 1;

			e = sub_write(&t, offset);
			judge_about("write", may ? "allowed" : "not allowed");
			JUDGE("ept.sub-page", e.reason, may ? EXIT_vmcall : EXIT_ept_violation);
			JUDGE("ept.sub-page", sub_written(&t, offset), may);
		}
	}
	judge_about("all sub-pages allowed", "bit 61 is 0");
	*t.entry[1] = 0x5555555555555555;
	path_set(&t.p, 1, t.p.full[1] & ~EPT_SUB_PAGE);
	path_synchronize(&t.p);
	e = sub_write(&t, 0);
	JUDGE("ept.sub-page-bit", e.reason, EXIT_ept_violation);
	judge_done();
}

TEST(ept, sub_page_events, .sdm = "Sub-Page Write Permissions", .needs = SUB_PAGE, .opt = OPT_ept,
     .rules = "ept.sub-page-miss ept.sub-page-misconfiguration ept.sub-page")
{
	struct sub t;
	struct exit e;

	sub_begin(&t, c);
	for (int level = 4; level >= 1; level--) {
		u64 right = *t.entry[level];

		judge_about(ept_level_name(level), "not valid");
		if (level > 1) {
			*t.entry[level] = right & ~1ull;
			path_synchronize(&t.p);
			e = sub_write(&t, 0x340);
			if (JUDGE("ept.sub-page-miss", e.reason, EXIT_spp_event)) {
				JUDGE("ept.sub-page-miss", e.qualification & QUAL_MISS, QUAL_MISS);
				JUDGE("ept.sub-page-miss", vmread(VMCS_guest_linear_address), t.p.la + 0x340);
				JUDGE("ept.sub-page-miss", vmread(VMCS_guest_physical_address) & ~0xfffull, t.p.gpa);
				JUDGE("ept.sub-page-miss", e.ip, (ulong)t.p.s.code);
			}
		}
		for (u32 bit = 1; bit < 64; bit += 2) {
			if (level > 1 && bit > 11 && bit < 52)
				continue;
			judge_about(ept_level_name(level), "reserved bit");
			*t.entry[level] = right | 1ull << bit;
			path_synchronize(&t.p);
			e = sub_write(&t, 0);
			if (JUDGE("ept.sub-page-misconfiguration", e.reason, EXIT_spp_event))
				JUDGE("ept.sub-page-misconfiguration", e.qualification & QUAL_MISS, 0);
		}
		*t.entry[level] = right;
		path_synchronize(&t.p);
	}
	*t.entry[1] = 1;
	path_synchronize(&t.p);
	e = sub_write(&t, 0);
	JUDGE("ept.sub-page", e.reason, EXIT_vmcall);
	judge_done();
}
