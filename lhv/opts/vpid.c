// SPDX-License-Identifier: BSD-2-Clause
/* 0x10: VPID, another one each iteration; the four types of INVVPID with an oracle, and their error cases. */
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/run.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define WINDOW_INDEX 7u
#define WINDOW_ADDRESS (L2_WINDOW + WINDOW_INDEX * PAGE_SIZE)

struct state {
	u32 *page[2];
	u32 vpid;
};

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_vpid);

	for (u32 k = 0; k < 2; k++) {
		s->page[k] = page_alloc();
		s->page[k][0] = 0x77140000 + k;
	}
	s->vpid = 1;
	vmwrite(VMCS_vpid, s->vpid);
	r->v.ctl[CTL_PROC2] |= PROC2_enable_vpid;
}

static ulong l2_read(ulong unused)
{
	(void)unused;
	return *(volatile u32 *)WINDOW_ADDRESS;
}

static void map(struct run *r, u32 *page)
{
	r->v.l2_window[WINDOW_INDEX] = (ulong)page | PTE_P | PTE_W | PTE_U;
}

/* What each type needs in the descriptor to hit this VPID's translation of the window. */
static struct outcome invalidate(u32 type, u32 vpid)
{
	return invvpid(type, type == INVVPID_ALL ? 0 : vpid, type == INVVPID_ADDRESS ? WINDOW_ADDRESS : 0);
}

/* L2's translation is cached, the page table changes, INVVPID: L2 must see the change. */
static void check_oracle(struct run *r, struct state *s, u32 type)
{
	bool ok;

	map(r, s->page[0]);
	expect_out(invalidate(type, s->vpid), out_ok());
	expect_eq(run_l2(r, l2_read, 0, &ok), s->page[0][0]);
	map(r, s->page[1]);
	expect_out(invalidate(type, s->vpid), out_ok());
	expect_eq(run_l2(r, l2_read, 0, &ok), s->page[1][0]);
}

#define BAD_OPERAND out_valid(VMXERR_invalid_invept_invvpid_operand)

/* SDM: "INVVPID": type, VPID 0, reserved bits of the descriptor, canonical address. */
static void check_errors(const struct state *s)
{
	expect_out(invvpid(4, s->vpid, 0), BAD_OPERAND);
	expect_out(invvpid(INVVPID_ADDRESS, 0, WINDOW_ADDRESS), BAD_OPERAND);
	expect_out(invvpid(INVVPID_SINGLE, 0, 0), BAD_OPERAND);
	expect_out(invvpid(INVVPID_SINGLE_GLOBALS, 0, 0), BAD_OPERAND);
	expect_out(invvpid(INVVPID_SINGLE, s->vpid | 0x10000, 0), BAD_OPERAND);
	expect_out(invvpid(INVVPID_ADDRESS, s->vpid, 0x0000800000000000ull), BAD_OPERAND);
	expect_out(invvpid(INVVPID_ADDRESS, s->vpid, 0xffff800000000000ull), out_ok());
}

/* SDM: "Checks on VM-Execution Control Fields": with VPIDs enabled, 0 is L1's own. */
static void check_vpid_zero(struct run *r, const struct state *s)
{
	struct exit e;

	vmwrite(VMCS_vpid, 0);
	e = enter_once(&r->v);
	vmwrite(VMCS_vpid, s->vpid);
	expect_out(e.entry, out_valid(VMXERR_entry_invalid_control_fields));
	if (!r->v.irq_off)
		irq_on();
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_vpid);

	s->vpid = 1 + rng_below(&r->rng, 0xffff);
	vmwrite(VMCS_vpid, s->vpid);
	check_oracle(r, s, r->i % 4);
	check_errors(s);
	if (r->i % 8 == 0)
		check_vpid_zero(r, s);
}

const struct opt_ops opt_vpid = {
	.bit = OPT_vpid,
	.needs = "enable VPID; INVVPID; individual-address INVVPID; single-context INVVPID; all-context INVVPID; "
		 "single-context-retaining-globals INVVPID",
	.setup = setup,
	.iterate = iterate,
};
