// SPDX-License-Identifier: BSD-2-Clause
/* VMX operation itself. */
#include "lhv/guest.h"
#include "lhv/test.h"
#include "x86/cr.h"

static void check_root_fixed(struct cpu *c)
{
	ulong cr0 = read_cr0();
	struct outcome o = vmx_outcome(write_cr0_raw(cr0 & ~(ulong)CR0_PG));

	(void)c;
	write_cr0(cr0);
	expect_out(o, out_fault(VEC_GP, 0));
}

/* PE and PG are 1 in VMX root operation; on amd64 clearing PG in 64-bit mode is #GP anyway. */
TEST(vmx, root_cr0_pg_fixed, .sdm = "Restrictions on VMX Operation")
{
	check_root_fixed(c);
}

/*
 * "Unrestricted guest" frees PE and PG in VMX non-root operation only. Having run such a guest changes nothing in
 * root operation.
 */
static ulong l2_nothing(ulong x)
{
	return x;
}

TEST(vmx, root_cr0_pg_fixed_after_unrestricted, .sdm = "Restrictions on VMX Operation",
     .opt = OPT_ept | OPT_unrestricted)
{
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, OPT_ept | OPT_unrestricted);
	guest(&v, l2_nothing, 5);
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	check_root_fixed(c);
}
