// SPDX-License-Identifier: BSD-2-Clause
/* #VE: EPT violations that become exceptions of L2. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define INFO_HARDWARE_EXCEPTION 0x80000300u
#define GATE_PRESENT_INTERRUPT 0x8e00u
#define INDEX 0x1234u /* EPTP index */

/* SDM: "Virtualization-Exception Information" */
struct ve_area {
	u32 reason, busy;
	u64 qualification, linear, physical;
	u16 eptp_index;
};

struct ve {
	struct ept_path p;
	volatile struct ve_area *area;
	u8 *handlers; /* NOP and VMCALL for each vector, at 16 * vector */
};

/* L2's own IDT: what arrives there calls L1. The NOP, since an exit right behind an exception is another test's matter. */
static void make_idt(struct ve *t)
{
	u32 *idt = page_alloc();
	u32 words = sizeof(ulong) / 2; /* of a gate */

	t->handlers = page_alloc();
	for (u32 vector = 0; vector < 32; vector++) {
		u8 *handler = t->handlers + 16 * vector;

		memcpy(handler, "\x90\x0f\x01\xc1", 4);
		idt[vector * words] = (u32)SEL_CODE << 16 | ((u32)(ulong)handler & 0xffff);
		idt[vector * words + 1] = ((u32)(ulong)handler & 0xffff0000) | GATE_PRESENT_INTERRUPT;
	}
	vmwrite(VMCS_guest_idtr_base, (ulong)idt);
	vmwrite(VMCS_guest_idtr_limit, 32 * words * 4 - 1);
}

static void ve_begin(struct ve *t, struct cpu *c)
{
	struct vcpu *v = &t->p.s.v;

	judge_begin();
	path_begin(&t->p, c);
	t->area = page_alloc();
	v->ctl[CTL_PROC2] |= PROC2_ept_violation_ve;
	v->l2_takes = 1u << VEC_VE;
	vcpu_write_controls(v);
	vmwrite(VMCS_virtualization_exception_info_address, (ulong)t->area);
	vmwrite(VMCS_eptp_index, INDEX);
	make_idt(t);
}

#define VE(name_, ...) TEST_WITH(ve, name_, struct ve, t, ve_begin(t, c), judge_done(), __VA_ARGS__)

static void area_is(struct ve *t, u32 busy)
{
	memset((void *)t->area, 0x5a, sizeof(*t->area));
	t->area->busy = busy;
}

static bool area_untouched(const struct ve *t, u32 busy)
{
	return t->area->busy == busy && t->area->reason == 0x5a5a5a5a && t->area->physical == 0x5a5a5a5a5a5a5a5aull &&
	       t->area->eptp_index == 0x5a5a;
}

static bool delivered(const struct ve *t, const struct exit *e, u32 vector)
{
	return e->entry.kind == OUT_OK && e->reason == EXIT_vmcall && e->ip == (ulong)t->handlers + 16 * vector + 1;
}

static void judge_area(struct ve *t, enum path_access a, u64 rights, u64 bits)
{
	/* Others aren't defined for all CPUs; and one that writes what it has read may tell of the read, or not. */
	u64 mask = QUAL_ACCESS | EPT_RWX << QUAL_RIGHTS_SHIFT | QUAL_LINEAR_VALID | QUAL_TRANSLATED;

	mask &= a == PATH_MODIFY ? ~(u64)QUAL_READ : ~0ull;

	JUDGE("ve.information", t->area->reason, EXIT_ept_violation);
	JUDGE("ve.information", t->area->qualification & mask,
	      ((path_needs[a] & EPT_RWX) | rights << QUAL_RIGHTS_SHIFT | bits) & mask);
	JUDGE("ve.information", t->area->physical, path_physical(&t->p, a));
	JUDGE("ve.information", t->area->linear, path_linear(&t->p, a));
	JUDGE("ve.sets-busy", t->area->busy, 0xffffffff);
}

/* The frame that the exception has left. */
static void judge_frame(struct ve *t, enum path_access a)
{
	ulong sp = (ulong)vmread(VMCS_guest_rsp);
	const ulong *frame = (const ulong *)sp;
	ulong words = sizeof(ulong) == 8 ? 5 : 3;

	JUDGE("ve.fault", sp, (SNIP_SP(&t->p.s) & ~15ul) - words * sizeof(ulong));
	JUDGE("ve.fault", frame[0], a == PATH_FETCH ? t->p.la : (ulong)t->p.s.code);
	JUDGE("ve.fault", frame[1] & 0xffff, SEL_CODE);
}

static void judge_delivered(struct ve *t, enum path_access a, u64 rights)
{
	struct exit e;

	area_is(t, 0);
	path_synchronize(&t->p);
	e = path_access(&t->p, a);
	if (!JUDGE("ve.converts", delivered(t, &e, VEC_VE), true))
		return;
	judge_area(t, a, rights, QUAL_LINEAR_VALID | QUAL_TRANSLATED);
	judge_frame(t, a);
	JUDGE("ve.restart", path_untouched(&t->p), true);
	/* What L2's IRET would do. */
	path_restore(&t->p);
	vmwrite(VMCS_guest_rip, *(const ulong *)(ulong)vmread(VMCS_guest_rsp));
	vmwrite(VMCS_guest_rsp, SNIP_SP(&t->p.s));
	e = path_again(&t->p);
	JUDGE("ve.restart", path_passed(&t->p, a, &e), true);
}

#define NEEDS "EPT-violation #VE; INVEPT"

VE(converts, .sdm = "Convertible EPT Violations", .needs = NEEDS, .opt = OPT_ept,
   .rules = "ve.converts ve.information ve.sets-busy ve.fault ve.restart")
{
	static const u64 rights[] = { 0, EPT_R, EPT_R | EPT_X, EPT_R | EPT_W };

	for (int level = t->p.top; level >= 1; level--)
		for (u32 i = 0; i < ARRAY_SIZE(rights); i++)
			for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
				if (!(path_needs[a] & ~rights[i]))
					continue;
				judge_about(ept_level_name(level), path_access_name(a));
				path_set(&t->p, level, (t->p.full[level] & ~EPT_RWX) | rights[i]);
				judge_delivered(t, a, rights[i]);
				path_restore(&t->p);
			}
}

static void judge_exits(struct ve *t, const char *rule, u32 reason, u32 busy, enum path_access a)
{
	struct exit e;

	area_is(t, busy);
	path_synchronize(&t->p);
	e = path_access(&t->p, a);
	judge_equal(WHERE(rule), "exit", e.reason, reason);
	judge_equal(WHERE(rule), "the area is as before", area_untouched(t, busy), true);
	path_restore(&t->p);
}

/* A right is missing in the entry of this level; the leaf has bit 63. */
static void judge_suppressed_leaf(struct ve *t, int level, u64 rights, enum path_access a)
{
	struct ept_path *p = &t->p;
	struct exit e;

	path_set(p, level, (p->full[level] & ~EPT_RWX) | rights);
	path_set(p, 1, *p->entry[1] | EPT_SUPPRESS_VE);
	judge_exits(t, "ve.suppressed", EXIT_ept_violation, 0, a);
	if (level == 1)
		return;
	path_set(p, level, (p->full[level] & ~EPT_RWX) | rights | EPT_SUPPRESS_VE);
	area_is(t, 0);
	path_synchronize(p);
	e = path_access(p, a);
	JUDGE("ve.table-bit-ignored", delivered(t, &e, VEC_VE), true);
	path_restore(p);
}

VE(suppressed, .sdm = "Convertible EPT Violations", .needs = NEEDS, .opt = OPT_ept,
   .rules = "ve.suppressed ve.table-bit-ignored ve.misconfiguration")
{
	for (int level = t->p.top; level >= 1; level--)
		for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
			judge_about(ept_level_name(level), path_access_name(a));
			path_set(&t->p, level, EPT_SUPPRESS_VE);
			judge_exits(t, "ve.suppressed", EXIT_ept_violation, 0, a);
			path_set(&t->p, level, (t->p.full[level] & ~EPT_TYPE(7)) | EPT_TYPE(3));
			judge_exits(t, "ve.misconfiguration", EXIT_ept_misconfiguration, 0, a);
			/* Nothing present lacks the right to read, but where execute-only is offered. */
			if (a != PATH_READ)
				judge_suppressed_leaf(t, level, a == PATH_FETCH ? EPT_R : EPT_R | EPT_X, a);
		}
}

VE(disabled, .sdm = "Convertible EPT Violations", .needs = NEEDS, .opt = OPT_ept, .rules = "ve.disabled")
{
	t->p.s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_ept_violation_ve;
	vcpu_write_controls(&t->p.s.v);
	for (u32 suppress = 0; suppress < 2; suppress++)
		for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
			judge_about(path_access_name(a), suppress ? "bit 63 is 1" : "bit 63 is 0");
			path_set(&t->p, 1, suppress ? EPT_SUPPRESS_VE : 0);
			judge_exits(t, "ve.disabled", EXIT_ept_violation, 0, a);
		}
}

VE(busy, .sdm = "Virtualization Exceptions", .needs = NEEDS, .opt = OPT_ept, .rules = "ve.busy ve.converts")
{
	static const u32 busy[] = { 0xffffffff, 1, 0x100, 0x10000, 0x80000000, 0xfffffffe };
	struct exit e;

	for (u32 i = 0; i < ARRAY_SIZE(busy); i++) {
		path_set(&t->p, 1, 0);
		judge_exits(t, "ve.busy", EXIT_ept_violation, busy[i], PATH_READ);
	}
	/* Twice without anybody who clears it. */
	path_set(&t->p, 1, 0);
	path_synchronize(&t->p);
	area_is(t, 0);
	e = path_access(&t->p, PATH_READ);
	JUDGE("ve.converts", delivered(t, &e, VEC_VE), true);
	e = path_access(&t->p, PATH_READ);
	JUDGE("ve.busy", e.reason, EXIT_ept_violation);
}

VE(intercepted, .sdm = "Delivery of Virtualization Exceptions", .needs = NEEDS, .opt = OPT_ept,
   .rules = "ve.intercepted ve.information ve.sets-busy exit.info.interruption ve.restart")
{
	t->p.s.v.l2_takes = 0;
	vcpu_write_controls(&t->p.s.v);
	for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
		struct exit e;

		judge_about(path_access_name(a), "#VE exits");
		area_is(t, 0);
		path_set(&t->p, 1, 0);
		path_synchronize(&t->p);
		e = path_access(&t->p, a);
		if (!JUDGE("ve.intercepted", e.reason, EXIT_exception_or_nmi))
			continue;
		JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_info), INFO_HARDWARE_EXCEPTION | VEC_VE);
		JUDGE("ve.intercepted", e.ip, a == PATH_FETCH ? t->p.la : (ulong)t->p.s.code);
		judge_area(t, a, 0, QUAL_LINEAR_VALID | QUAL_TRANSLATED);
		JUDGE("ve.restart", path_untouched(&t->p), true);
		path_restore(&t->p);
		e = path_again(&t->p);
		JUDGE("ve.restart", path_passed(&t->p, a, &e), true);
	}
}

VE(page_walk, .sdm = "Convertible EPT Violations", .needs = NEEDS, .opt = OPT_ept,
   .rules = "ve.converts ve.information ve.fault")
{
	path_is_page_table(&t->p);
	for (enum path_access a = 0; a < PATH_ACCESSES; a++) {
		struct exit e;

		judge_about("page walk", path_access_name(a));
		area_is(t, 0);
		path_set(&t->p, 1, 0);
		path_synchronize(&t->p);
		e = path_access(&t->p, a);
		path_restore(&t->p);
		if (!JUDGE("ve.converts", delivered(t, &e, VEC_VE), true))
			continue;
		JUDGE("ve.information", t->area->qualification, QUAL_READ | QUAL_LINEAR_VALID);
		JUDGE("ve.information", t->area->physical, t->p.gpa + PATH_WALK_INDEX * 8);
		JUDGE("ve.information", t->area->linear, path_linear(&t->p, a));
		judge_frame(t, a);
	}
}

/* Delivery of #UD pushes to the path's page, which is absent. */
VE(during_delivery, .sdm = "Virtualization Exceptions", .needs = NEEDS, .opt = OPT_ept,
   .rules = "ve.delivery-exits exit.info.idt-vectoring")
{
	struct exit e;

	t->p.s.v.l2_takes |= 1u << VEC_UD;
	vcpu_write_controls(&t->p.s.v);
	for (u32 again = 0; again < 2; again++) {
		path_set(&t->p, 1, 0);
		path_synchronize(&t->p);
		area_is(t, 0);
		/* UD2; or the same event, injected */
		snippet_code(&t->p.s, "\x0f\x0b", 2);
		vmwrite(VMCS_guest_rsp, t->p.la + PAGE_SIZE);
		if (again)
			vmwrite(VMCS_vm_entry_interruption_info, INFO_HARDWARE_EXCEPTION | VEC_UD);
		judge_about("delivery of #UD", again ? "injected" : "by UD2");
		e = snippet_run(&t->p.s);
		JUDGE("ve.delivery-exits", e.reason, EXIT_ept_violation);
		JUDGE("ve.delivery-exits", area_untouched(t, 0), true);
		JUDGE("exit.info.idt-vectoring", vmread(VMCS_idt_vectoring_info), INFO_HARDWARE_EXCEPTION | VEC_UD);
		path_restore(&t->p);
	}
}

/* What the VMCS says at the entry. */
VE(eptp_index, .sdm = "Virtualization-Exception Information", .needs = NEEDS, .opt = OPT_ept,
   .rules = "ve.eptp-index ve.converts")
{
	static const u16 indices[] = { 0xffff, 0x8001, 511, 1, 0 };

	for (u32 i = 0; i < ARRAY_SIZE(indices); i++) {
		struct exit e;

		vmwrite(VMCS_eptp_index, indices[i]);
		area_is(t, 0);
		path_set(&t->p, 1, 0);
		path_synchronize(&t->p);
		e = path_access(&t->p, PATH_READ);
		JUDGE("ve.converts", delivered(t, &e, VEC_VE), true);
		JUDGE("ve.eptp-index", t->area->eptp_index, indices[i]);
		JUDGE("ve.eptp-index", vmread(VMCS_eptp_index), indices[i]);
	}
}

/* Behind a VMFUNC, in the same run of L2: #VE tells the index that it took. */
VE(eptp_index_of_vmfunc, .sdm = "EPTP Switching", .needs = NEEDS "; EPTP switching", .opt = OPT_ept,
   .rules = "ve.eptp-index-vmfunc ve.converts")
{
	static const u16 indices[] = { 300, 511, 0 };
	u64 *list = page_alloc();
	struct vcpu *v = &t->p.s.v;

	v->ctl[CTL_PROC2] |= PROC2_enable_vm_functions;
	vcpu_write_controls(v);
	vmwrite(VMCS_vm_function_controls, VMFUNC_EPTP_SWITCHING);
	vmwrite(VMCS_eptp_list_address, (ulong)list);
	path_set(&t->p, 1, 0);
	path_synchronize(&t->p);
	for (u32 i = 0; i < ARRAY_SIZE(indices); i++) {
		struct exit e;

		list[indices[i]] = v->eptp;
		area_is(t, 0);
		/* VMFUNC; MOV BX, [DI] */
		snippet_code(&t->p.s, "\x0f\x01\xd4\x8b\x1f", 5);
		v->g.ax = 0;
		v->g.cx = indices[i];
		v->g.di = t->p.la;
		e = snippet_run(&t->p.s);
		JUDGE("ve.converts", delivered(t, &e, VEC_VE), true);
		JUDGE("ve.eptp-index-vmfunc", t->area->eptp_index, indices[i]);
	}
}

/* Real-address mode has no #VE. */
VE(real_mode, .sdm = "Convertible EPT Violations", .needs = NEEDS, .opt = OPT_ept | OPT_unrestricted,
   .rules = "ve.protected-mode")
{
	struct vcpu *v = &t->p.s.v;
	struct exit e;
	u64 gpa;

	v->ctl[CTL_PROC2] |= PROC2_unrestricted_guest;
	vcpu_write_controls(v);
	snippet_mode(&t->p.s, SNIP_REAL, false);
	gpa = (ulong)t->p.s.data;
	/* The last table of the identity map is everybody's. */
	ept_map_page(v->eptp & EPT_ADDR, gpa, 0, 0);
	path_synchronize(&t->p);
	area_is(t, 0);
	snippet_code(&t->p.s, "\x8b\x05", 2);
	v->g.di = (ulong)gpa + 0x100;
	e = snippet_run(&t->p.s);
	ept_map_page(v->eptp & EPT_ADDR, gpa, gpa, EPT_RWX);
	path_synchronize(&t->p);
	judge_about("read", "real-address mode");
	if (JUDGE("ve.protected-mode", e.reason, EXIT_ept_violation))
		JUDGE("ve.protected-mode", vmread(VMCS_guest_physical_address), gpa + 0x100);
	JUDGE("ve.protected-mode", area_untouched(t, 0), true);
}
