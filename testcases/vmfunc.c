// SPDX-License-Identifier: BSD-2-Clause
/* VMFUNC: EPTP switching. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/ept_path.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define VMFUNC "\x0f\x01\xd4"
#define OTHER 3u /* index of the other EPTP */

struct func {
	struct ept_path p;
	u64 *list;
	u64 eptp[2]; /* the path's page is another one in the second */
	u32 *page[2];
};

/* List entries 0, OTHER and 511 are right: the EPTP that L2 starts with, and the other. */
static void func_begin(struct func *t, struct cpu *c)
{
	struct ept_path *p = &t->p;
	struct vcpu *v = &p->s.v;

	judge_begin();
	path_begin(p, c);
	t->eptp[0] = v->eptp;
	t->eptp[1] = eptp_for(ept_new_root(false));
	for (u32 i = 0; i < 2; i++) {
		t->page[i] = page_alloc();
		t->page[i][0] = 0xfc000001 + i;
		ept_map_page(t->eptp[i] & EPT_ADDR, p->gpa, (ulong)t->page[i], EPT_RWX);
	}
	t->list = page_alloc();
	t->list[0] = t->eptp[0];
	t->list[OTHER] = t->list[511] = t->eptp[1];
	v->ctl[CTL_PROC2] |= PROC2_enable_vm_functions;
	vcpu_write_controls(v);
	vmwrite(VMCS_vm_function_controls, VMFUNC_EPTP_SWITCHING);
	vmwrite(VMCS_eptp_list_address, (ulong)t->list);
	path_synchronize(p);
}

static struct exit func_run(struct func *t, ulong function, ulong index)
{
	struct snippet *s = &t->p.s;

	vmwrite(VMCS_ept_pointer, t->eptp[0]);
	snippet_code(s, VMFUNC, 3);
	s->v.g.ax = function;
	s->v.g.cx = index;
	return snippet_run(s);
}

static void judge_exit(struct func *t, const char *rule, ulong function, ulong index)
{
	struct exit e = func_run(t, function, index);

	if (!judge_equal(WHERE(rule), "exit", e.reason, EXIT_vmfunc))
		return;
	JUDGE("vmfunc.exit-length", e.ip, (ulong)t->p.s.code);
	JUDGE("vmfunc.exit-length", e.length, 3);
	JUDGE("vmfunc.exit-keeps", vmread(VMCS_ept_pointer), t->eptp[0]);
}

/* L2 reads before and after, so that what it has cached would show. */
TEST(vmfunc, switches, .sdm = "EPTP Switching", .needs = "EPTP switching; INVEPT", .opt = OPT_ept,
     .rules = "vmfunc.switches vmfunc.eptp-field vmfunc.registers vmfunc.list-in-memory")
{
	static const u32 indices[] = { OTHER, 511, 0, 200 };
	static const ulong flags[] = { RFLAGS_FIXED, RFLAGS_FIXED | RFLAGS_ARITH };
	struct func t;
	struct vcpu *v = &t.p.s.v;

	func_begin(&t, c);
	for (u32 i = 0; i < ARRAY_SIZE(indices); i++)
		for (u32 k = 0; k < ARRAY_SIZE(flags); k++) {
			u32 index = indices[i], now = index != 0;
			struct gregs before;
			struct exit e;

			judge_about("EPTP switching", index == 200 ? "an entry that was written just now" : NULL);
			if (index == 200)
				t.list[200] = t.eptp[1];
			vmwrite(VMCS_ept_pointer, t.eptp[0]);
			/* MOV BX, [DI]; VMFUNC; MOV SI, [DI] */
			snippet_code(&t.p.s, "\x8b\x1f" VMFUNC "\x8b\x37", 7);
			vmwrite(VMCS_guest_rflags, flags[k]);
			v->g.ax = 0;
			v->g.cx = index;
			v->g.di = t.p.la;
			before = v->g;
			e = snippet_run(&t.p.s);
			t.list[200] = 0;
			if (!JUDGE("vmfunc.switches", snippet_passed(&t.p.s, &e), true))
				continue;
			JUDGE("vmfunc.switches", v->g.bx, t.page[0][0]);
			JUDGE(index == 200 ? "vmfunc.list-in-memory" : "vmfunc.switches", v->g.si, t.page[now][0]);
			JUDGE("vmfunc.eptp-field", vmread(VMCS_ept_pointer), t.eptp[now]);
			before.bx = v->g.bx;
			before.si = v->g.si;
			JUDGE("vmfunc.registers", memcmp(&before, &v->g, sizeof(before)), 0);
			JUDGE("vmfunc.registers", vmread(VMCS_guest_rflags), flags[k]);
			JUDGE("vmfunc.registers", vmread(VMCS_guest_rsp), SNIP_SP(&t.p.s));
		}
	judge_done();
}

TEST(vmfunc, index_field, .sdm = "EPTP Switching", .needs = "EPTP switching; EPT-violation #VE; INVEPT", .opt = OPT_ept,
     .rules = "vmfunc.index-field")
{
	static const u16 indices[] = { OTHER, 511, 0 };
	struct func t;

	func_begin(&t, c);
	for (u32 i = 0; i < ARRAY_SIZE(indices); i++) {
		vmwrite(VMCS_eptp_index, 0x1234);
		func_run(&t, 0, indices[i]);
		JUDGE("vmfunc.index-field", vmread(VMCS_eptp_index), indices[i]);
	}
	judge_done();
}

TEST(vmfunc, modes, .sdm = "EPTP Switching", .needs = "EPTP switching; INVEPT", .opt = OPT_ept,
     .rules = "vmfunc.any-privilege")
{
	struct func t;

	func_begin(&t, c);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode))
		for (u32 user = 0; user < 2; user++) {
			struct exit e;

			snippet_mode(&t.p.s, mode, user);
			judge_about(snippet_name(mode), user ? "CPL 3" : "CPL 0");
			e = func_run(&t, 0, OTHER);
			JUDGE("vmfunc.any-privilege", snippet_passed(&t.p.s, &e), true);
			JUDGE("vmfunc.any-privilege", vmread(VMCS_ept_pointer), t.eptp[1]);
		}
	judge_done();
}

TEST(vmfunc, exits, .sdm = "EPTP Switching", .needs = "EPTP switching; INVEPT", .opt = OPT_ept,
     .rules = "vmfunc.index vmfunc.eptp-wrong vmfunc.disabled vmfunc.exit-length vmfunc.exit-keeps")
{
	static const u32 indices[] = { 512, 513, 0x10000, 0x80000000, 0xffffffff };
	struct func t;

	func_begin(&t, c);
	judge_about("index above 511", NULL);
	for (u32 i = 0; i < ARRAY_SIZE(indices); i++)
		judge_exit(&t, "vmfunc.index", 0, indices[i]);
	const u64 wrong[] = {
		0,
		t.eptp[1] ^ EPTP_WALK4, /* walks of one level */
		t.eptp[1] | 7,
		(t.eptp[1] & ~7ull) | MEMTYPE_WC,
		(t.eptp[1] & ~7ull) | MEMTYPE_WT,
		t.eptp[1] | 0x100,
		t.eptp[1] | 0x800,
		t.eptp[1] | 1ull << t.p.maxphyaddr,
		t.eptp[1] | 1ull << 63,
		cap_have("EPT accessed and dirty flags") ? 0 : t.eptp[1] | EPTP_AD,
	};

	judge_about("an entry that's no EPTP", NULL);
	for (u32 i = 0; i < ARRAY_SIZE(wrong); i++) {
		t.list[7] = wrong[i];
		judge_exit(&t, "vmfunc.eptp-wrong", 0, 7);
	}
	judge_about("a function that there isn't", NULL);
	for (u32 n = 1; n < 64; n++)
		judge_exit(&t, "vmfunc.disabled", n, OTHER);
	judge_about("no function at all", NULL);
	vmwrite(VMCS_vm_function_controls, 0);
	judge_exit(&t, "vmfunc.disabled", 0, OTHER);
	/* Which comes first doesn't show; but it's no switch. */
	judge_exit(&t, "vmfunc.disabled", 0, 512);
	judge_done();
}

static void judge_ud(struct func *t, const char *rule, ulong function)
{
	struct exit e = func_run(t, function, OTHER);

	judge_equal(WHERE(rule), "#UD", snippet_faulted(&e, VEC_UD), true);
	judge_equal(WHERE(rule), "RIP", e.ip, (ulong)t->p.s.code);
	judge_equal(WHERE(rule), "EPTP", vmread(VMCS_ept_pointer), t->eptp[0]);
}

TEST(vmfunc, undefined, .sdm = "General Operation of the VMFUNC Instruction", .needs = "EPTP switching; INVEPT",
     .opt = OPT_ept, .rules = "vmfunc.ud-control vmfunc.ud-number")
{
	static const u32 numbers[] = { 64, 65, 128, 0x10000, 0x80000000, 0xffffffff };
	struct func t;

	func_begin(&t, c);
	judge_about("EAX above 63", NULL);
	for (u32 i = 0; i < ARRAY_SIZE(numbers); i++)
		judge_ud(&t, "vmfunc.ud-number", numbers[i]);
	t.p.s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_enable_vm_functions;
	vcpu_write_controls(&t.p.s.v);
	judge_about("VM functions are off", NULL);
	judge_ud(&t, "vmfunc.ud-control", 0);
	judge_ud(&t, "vmfunc.ud-control", 1);
	judge_ud(&t, "vmfunc.ud-control", 64);
	judge_done();
}

TEST(vmfunc, prefixes, .sdm = "VMFUNC-Invoke VM function", .needs = "EPTP switching; INVEPT", .opt = OPT_ept,
     .rules = "vmfunc.ud-prefix")
{
	static const char *const codes[] = { "\x66" VMFUNC, "\xf2" VMFUNC, "\xf3" VMFUNC, "\xf0" VMFUNC };
	static const char *const names[] = { "66", "F2", "F3", "LOCK" };
	struct func t;

	func_begin(&t, c);
	for (u32 i = 0; i < ARRAY_SIZE(codes); i++) {
		struct exit e;

		snippet_code(&t.p.s, codes[i], 4);
		t.p.s.v.g.ax = 0;
		t.p.s.v.g.cx = OTHER;
		vmwrite(VMCS_ept_pointer, t.eptp[0]);
		e = snippet_run(&t.p.s);
		judge_about(names[i], NULL);
		JUDGE("vmfunc.ud-prefix", snippet_faulted(&e, VEC_UD), true);
	}
	judge_done();
}

#ifdef __x86_64__
TEST(vmfunc, high_halves, .sdm = "EPTP Switching", .needs = "EPTP switching; INVEPT", .opt = OPT_ept,
     .flags = TEST_AMD64, .rules = "vmfunc.32-bits")
{
	struct func t;
	struct exit e;

	func_begin(&t, c);
	judge_about("bits 63:32 are set", "RAX");
	e = func_run(&t, 0xffffffffull << 32, OTHER);
	JUDGE("vmfunc.32-bits", snippet_passed(&t.p.s, &e), true);
	JUDGE("vmfunc.32-bits", vmread(VMCS_ept_pointer), t.eptp[1]);
	judge_about("bits 63:32 are set", "RCX");
	e = func_run(&t, 0, 0xffffffffull << 32 | OTHER);
	JUDGE("vmfunc.32-bits", snippet_passed(&t.p.s, &e), true);
	JUDGE("vmfunc.32-bits", vmread(VMCS_ept_pointer), t.eptp[1]);
	judge_done();
}
#endif

TEST(vmfunc, root, .sdm = "VMFUNC-Invoke VM function", .rules = "insn.vmfunc.ud-root")
{
	struct vcpu v;

	/* With a VMCS that has VM functions, where there are any. */
	test_vcpu(&v, c, 0);
	expect_out(vmx_outcome(vmx_func_raw()), out_fault(VEC_UD, 0));
	if (!cap_have("EPTP switching"))
		return;
	v.ctl[CTL_PROC2] |= PROC2_enable_vm_functions;
	vcpu_write_controls(&v);
	vmwrite(VMCS_vm_function_controls, VMFUNC_EPTP_SWITCHING);
	expect_out(vmx_outcome(vmx_func_raw()), out_fault(VEC_UD, 0));
}
