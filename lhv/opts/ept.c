// SPDX-License-Identifier: BSD-2-Clause
/* 0x4: EPT. An identity map with the MTRRs' types, one page that is somewhere else, one that is nowhere. */
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/run.h"

/* EPT violation's qualification (SDM: "Exit Qualification for EPT Violations"), the bits that every CPU has. */
#define QUAL_READ 0x1u
#define QUAL_WRITE 0x2u
#define QUAL_FETCH 0x4u
#define QUAL_LINEAR_VALID 0x80u
#define QUAL_TRANSLATED 0x100u
#define QUAL_COMMON 0x1bfu /* bit 6 needs mode-based execute control */

struct state {
	u32 *page; /* what GPA_ALIAS and, later, GPA_UNMAPPED are mapped to */
	u32 violations;
};

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_ept);

	s->page = page_alloc();
	r->ept_root[0] = ept_new_root(run_has(r, OPT_ept_large));
	ept_map_page(r->ept_root[0], GPA_ALIAS, (ulong)s->page, EPT_RWX);
	r->v.eptp = eptp_for(r->ept_root[0]);
	r->v.ctl[CTL_PROC2] |= PROC2_enable_ept;
}

static void after_exit(struct run *r, const struct exit *e)
{
	struct state *s = run_state(r, OPT_ept);

	if (e->reason == EXIT_ept_violation)
		s->violations++;
	expect(e->reason != EXIT_ept_misconfiguration);
}

static ulong l2_alias(ulong value)
{
	volatile u32 *p = (volatile u32 *)GPA_ALIAS;

	p[1] = (u32)value;
	return p[0];
}

static ulong l2_read(ulong address)
{
	return *(volatile u32 *)address;
}

static ulong l2_write(ulong address)
{
	*(volatile u32 *)address = 0xc0ffee;
	return *(volatile u32 *)address;
}

static ulong l2_fetch(ulong address)
{
	return ((ulong(*)(void))address)();
}

/* L2 must see what L1 wrote to the page, at another address, and the other way round. */
static void check_alias(struct run *r, struct state *s)
{
	u32 value = 0xa11a5000 + r->i;
	bool ok;

	s->page[0] = value;
	s->page[1] = 0;
	expect_eq((u32)run_l2(r, l2_alias, ~value, &ok), value);
	expect_eq(s->page[1], ~value);
}

/* Exactly one violation, then L1 maps the page and L2 goes on where it was. */
static void check_violation(struct run *r, struct state *s)
{
	static ulong (*const access[])(ulong) = { l2_read, l2_write, l2_fetch };
	static const u32 cause[] = { QUAL_READ, QUAL_WRITE, QUAL_FETCH };
	u32 k = r->i % 3, before = s->violations;
	struct exit e;

	/* mov eax, imm32; ret: so that reading and executing the page both mean something */
	s->page[0] = 0x345678b8;
	s->page[1] = 0xc312;
	guest(&r->v, access[k], GPA_UNMAPPED);
	e = enter(&r->v);
	require_exit(&r->v, e, EXIT_ept_violation);
	expect_eq(e.qualification & QUAL_COMMON, cause[k] | QUAL_LINEAR_VALID | QUAL_TRANSLATED);
	expect_eq(vmread(VMCS_guest_physical_address), GPA_UNMAPPED);
	expect_eq(vmread(VMCS_guest_linear_address), GPA_UNMAPPED);
	run_ept_map(r, GPA_UNMAPPED, (ulong)s->page, EPT_RWX);
	e = enter(&r->v);
	run_ept_map(r, GPA_UNMAPPED, 0, 0);
	run_invept(r);
	require_call(&r->v, e, L2_RETURN);
	expect_eq((u32)r->v.g.dx, k == 0 ? 0x345678b8 : k == 1 ? 0xc0ffee : 0x12345678);
	expect_eq(s->violations, before + 1);
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_ept);

	check_alias(r, s);
	check_violation(r, s);
}

const struct opt_ops opt_ept = {
	.bit = OPT_ept,
	.needs = "enable EPT; EPT page-walk length 4; EPT memory type WB; INVEPT; single-context INVEPT",
	.setup = setup,
	.iterate = iterate,
	.after_exit = after_exit,
};

void run_ept_map(struct run *r, u64 gpa, u64 pa, u64 rights)
{
	for (u32 k = 0; k < 2; k++)
		if (r->ept_root[k])
			ept_map_page(r->ept_root[k], gpa, pa, rights);
}

void run_invept(struct run *r)
{
	for (u32 k = 0; k < 2; k++)
		if (r->ept_root[k])
			expect_out(invept(INVEPT_SINGLE, eptp_for(r->ept_root[k]), 0), out_ok());
}
