// SPDX-License-Identifier: BSD-2-Clause
/* 0x8: two EPTs in turn, entries changed under L2, INVEPT single-context and global. */
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/run.h"

#define QUAL_WRITE 0x2u
#define QUAL_ENTRY_RX 0x28u
#define QUAL_LINEAR 0x180u
#define QUAL_COMMON 0x1bfu

struct state {
	u32 *page[2];
};

static void map(struct run *r, u32 root, u32 *page, u64 rights)
{
	ept_map_page(r->ept_root[root], GPA_SWITCH, (ulong)page, rights);
}

/* Runs after opt_ept's setup, which made the first root. */
static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_ept_switch);
	struct ept_walk alias = ept_lookup(&heap_ept_mem, r->ept_root[0], GPA_ALIAS);

	r->ept_root[1] = ept_new_root(run_has(r, OPT_ept_large));
	ept_map_page(r->ept_root[1], GPA_ALIAS, alias.pa, EPT_RWX);
	for (u32 k = 0; k < 2; k++) {
		s->page[k] = page_alloc();
		s->page[k][0] = 0x50170000 + k;
		map(r, k, s->page[k], EPT_RWX);
	}
}

static ulong l2_read(ulong unused)
{
	(void)unused;
	return *(volatile u32 *)GPA_SWITCH;
}

static ulong l2_write(ulong value)
{
	*(volatile u32 *)(GPA_SWITCH + 4) = (u32)value;
	return 0;
}

static void invalidate(struct run *r, u32 root)
{
	if (r->i & 2)
		expect_out(invept(INVEPT_ALL, 0, 0), out_ok());
	else
		expect_out(invept(INVEPT_SINGLE, eptp_for(r->ept_root[root]), 0), out_ok());
}

/* A read-only page: reading is no exit, writing is a violation that tells the entry's rights. */
static void check_read_only(struct run *r, struct state *s, u32 k)
{
	struct exit e;
	bool ok;

	map(r, k, s->page[k], EPT_R | EPT_X);
	invalidate(r, k);
	expect_eq(run_l2(r, l2_read, 0, &ok), s->page[k][0]);
	guest(&r->v, l2_write, 0x77);
	e = enter(&r->v);
	map(r, k, s->page[k], EPT_RWX);
	invalidate(r, k);
	require_exit(&r->v, e, EXIT_ept_violation);
	expect_eq(e.qualification & QUAL_COMMON, QUAL_WRITE | QUAL_ENTRY_RX | QUAL_LINEAR);
	expect_eq(vmread(VMCS_guest_physical_address), GPA_SWITCH + 4);
	s->page[k][1] = 0;
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
	expect_eq(s->page[k][1], 0x77);
}

/* SDM: "INVEPT": unsupported types, and an EPTP that VM entry would refuse. */
static void check_errors(struct run *r)
{
	expect_out(invept(0, eptp_for(r->ept_root[0]), 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
	expect_out(invept(3, eptp_for(r->ept_root[0]), 0), out_valid(VMXERR_invalid_invept_invvpid_operand));
	expect_out(invept(INVEPT_SINGLE, eptp_for(r->ept_root[0]) | 7, 0),
		   out_valid(VMXERR_invalid_invept_invvpid_operand));
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_ept_switch);
	u32 k = r->i & 1;
	bool ok;

	/* Another EPTP is another set of translations: nothing needs to be invalidated. */
	r->v.eptp = eptp_for(r->ept_root[k]);
	vmwrite(VMCS_ept_pointer, r->v.eptp);
	expect_eq(run_l2(r, l2_read, 0, &ok), s->page[k][0]);
	map(r, k, s->page[!k], EPT_RWX);
	invalidate(r, k);
	expect_eq(run_l2(r, l2_read, 0, &ok), s->page[!k][0]);
	check_read_only(r, s, k);
	check_errors(r);
}

const struct opt_ops opt_ept_switch = {
	.bit = OPT_ept_switch,
	.needs = "INVEPT; single-context INVEPT; all-context INVEPT",
	.setup = setup,
	.iterate = iterate,
};
