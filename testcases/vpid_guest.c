// SPDX-License-Identifier: BSD-2-Clause
/*
 * What L2 does to its own translations, in one run without an exit: it reads, changes the page-table entry, invalidates and reads
 * again. Without VPIDs, with one, with EPT, and with both.
 */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"

#define PLAIN 3u /* pages of the window */
#define GLOBAL 6u
#define PTE_BITS (PTE_P | PTE_W | PTE_U | PTE_A | PTE_D)
#define PTE_G 0x100ull

struct own {
	struct snippet s;
	u32 *page[2];
	u64 *descriptor; /* of INVPCID */
};

/* MOV AX, [DI]; MOV [SI], CX; the operation; MOV BX, [DI] */
#define BEFORE "\x8b\x07\x89\x0e"
#define AFTER "\x8b\x1f"
#define INVLPG "\x0f\x01\x3f"                                                     /* [DI] */
#define CR3_AGAIN "\x0f\x20\xda\x0f\x22\xda"                                      /* by DX */
#define TOGGLE_PGE "\x0f\x20\xe2\x80\xf2\x80\x0f\x22\xe2\x80\xf2\x80\x0f\x22\xe2" /* by DX */
#define INVPCID "\x66\x0f\x38\x82\x55\x00"                                        /* DX, [BP] */

struct operation {
	const char *name, *rule, *code;
	u32 length;
	bool globals; /* must be gone, too */
	ulong type;   /* of INVPCID */
};

#define OPERATION(name, rule, code, globals, type)                                          \
	{                                                                                   \
		name, rule, BEFORE code AFTER, sizeof(BEFORE code AFTER) - 1, globals, type \
	}

static const struct operation operations[] = {
	OPERATION("INVLPG", "vpid.guest-invlpg", INVLPG, true, 0),
	OPERATION("MOV to CR3", "vpid.guest-cr3", CR3_AGAIN, false, 0),
	OPERATION("CR4.PGE", "vpid.guest-cr4", TOGGLE_PGE, true, 0),
};

static const struct operation invpcid[] = {
	OPERATION("individual-address", "vpid.guest-invpcid", INVPCID, false, 0),
	OPERATION("single-context", "vpid.guest-invpcid", INVPCID, false, 1),
	OPERATION("all-context with globals", "vpid.guest-invpcid", INVPCID, true, 2),
	OPERATION("all-context", "vpid.guest-invpcid", INVPCID, false, 3),
};

static const struct operation nothing = OPERATION("nothing", "vpid.guest-unsynchronized", "", false, 0);

static void own_begin(struct own *t, struct cpu *c, u32 opt)
{
	snippet_begin(&t->s, c, opt);
	for (u32 i = 0; i < 2; i++) {
		t->page[i] = page_alloc();
		t->page[i][0] = 0x09e00000 + i;
	}
	t->descriptor = page_alloc();
	vmwrite(VMCS_guest_cr4, read_cr4() | CR4_PGE);
}

/* Does L2 see the new page? */
static bool sees_new(struct own *t, const struct operation *o, u32 index)
{
	struct vcpu *v = &t->s.v;
	ulong la = L2_WINDOW + index * PAGE_SIZE;
	u32 bits = PTE_BITS | (index == GLOBAL ? PTE_G : 0);
	struct exit e;

	v->l2_window[index] = (ulong)t->page[0] | bits;
	snippet_code(&t->s, o->code, o->length);
	v->g.di = la;
	v->g.si = (ulong)&v->l2_window[index];
	v->g.cx = (u32)(ulong)t->page[1] | bits;
	v->g.dx = o->type;
	v->g.bp = (ulong)t->descriptor;
	t->descriptor[1] = la;
	e = snippet_run(&t->s);
	if (!expect(snippet_passed(&t->s, &e)))
		return false;
	expect_eq((u32)v->g.ax, t->page[0][0]);
	/* One of the two, whatever is kept. */
	JUDGE("vpid.guest-unsynchronized", (u32)v->g.bx == t->page[0][0] || (u32)v->g.bx == t->page[1][0], true);
	return (u32)v->g.bx == t->page[1][0];
}

static void judge_operation(struct own *t, const struct operation *o, const char *where)
{
	judge_about(o->name, where);
	judge_equal(WHERE(o->rule), "sees the new page", sees_new(t, o, PLAIN), true);
	if (o->globals)
		judge_equal(WHERE(o->rule), "sees the new page, which is global", sees_new(t, o, GLOBAL), true);
	else
		sees_new(t, o, GLOBAL);
}

/* Each operation often, without VPID and with one: then translations stay over entries. `ept`: 0 or OPT_ept. */
static void judge_worlds(struct cpu *c, const struct operation *o, u32 count, u32 ept, u32 proc2)
{
	judge_begin();
	for (u32 vpid = 0; vpid < 2; vpid++) {
		const char *where = vpid ? "VPID" : "without VPID";
		bool plain, global;
		struct own t;

		if (vpid && !cap_have("enable VPID"))
			continue;
		own_begin(&t, c, ept | (vpid ? OPT_vpid : 0));
		t.s.v.ctl[CTL_PROC2] |= proc2;
		vcpu_write_controls(&t.s.v);
		for (u32 n = 0; n < 3; n++)
			for (u32 k = 0; k < count; k++)
				judge_operation(&t, &o[k], where);
		plain = sees_new(&t, &nothing, PLAIN);
		global = sees_new(&t, &operations[1], GLOBAL);
		say_note("%s: without invalidation L2 sees the %s page, a global one behind MOV to CR3 the %s", where,
			 plain ? "new" : "old", global ? "new" : "old");
		vcpu_destroy(&t.s.v);
	}
	judge_done();
}

#define RULES "vpid.guest-invlpg vpid.guest-cr3 vpid.guest-cr4 vpid.guest-unsynchronized"

TEST(vpid, guest_invalidates, .sdm = "Operations that Invalidate Cached Mappings", .rules = RULES)
{
	judge_worlds(c, operations, ARRAY_SIZE(operations), 0, 0);
}

TEST(vpid, guest_invalidates_ept, .sdm = "Operations that Invalidate Cached Mappings", .opt = OPT_ept, .rules = RULES)
{
	judge_worlds(c, operations, ARRAY_SIZE(operations), OPT_ept, 0);
}

TEST(vpid, guest_invpcid, .sdm = "Operations that Invalidate Cached Mappings", .needs = "enable INVPCID",
     .rules = "vpid.guest-invpcid vpid.guest-unsynchronized")
{
	judge_worlds(c, invpcid, ARRAY_SIZE(invpcid), 0, PROC2_enable_invpcid);
}

TEST(vpid, guest_invpcid_ept, .sdm = "Operations that Invalidate Cached Mappings", .needs = "enable INVPCID",
     .opt = OPT_ept, .rules = "vpid.guest-invpcid vpid.guest-unsynchronized")
{
	judge_worlds(c, invpcid, ARRAY_SIZE(invpcid), OPT_ept, PROC2_enable_invpcid);
}
