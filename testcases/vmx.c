// SPDX-License-Identifier: BSD-2-Clause
/* VMX operation itself. */
#include "lhv/guest.h"
#include "lhv/test.h"
#include "x86/cr.h"

#ifndef __x86_64__
/* In 64-bit mode clearing PG is #GP for another reason, so only the i386 image can tell. */

static ulong l2_nothing(ulong x)
{
	return x;
}

/* PE and PG are 1 in VMX root operation, whatever kind of guest ran before. */
static void check_root_fixed(struct cpu *c, u32 opt)
{
	ulong cr0 = read_cr0();
	struct outcome o;
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, opt);
	guest(&v, l2_nothing, 5);
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	o = vmx_outcome(write_cr0_raw(cr0 & ~(ulong)CR0_PG));
	write_cr0(cr0);
	expect_out(o, out_fault(VEC_GP, 0));
}

TEST(vmx, root_cr0_pg_fixed, .sdm = "Restrictions on VMX Operation", .flags = TEST_I386, .rules = "vmcs.root-cr0-fixed")
{
	check_root_fixed(c, 0);
}

/* "Unrestricted guest" frees PE and PG in VMX non-root operation only. */
TEST(vmx, root_cr0_pg_fixed_after_unrestricted, .sdm = "Restrictions on VMX Operation",
     .opt = OPT_ept | OPT_unrestricted, .flags = TEST_I386, .rules = "vmcs.root-cr0-fixed")
{
	check_root_fixed(c, OPT_ept | OPT_unrestricted);
}

static ulong l2_clear_pg(ulong cr0)
{
	struct outcome o = vmx_outcome(write_cr0_raw(cr0 & ~(ulong)CR0_PG));

	write_cr0(cr0);
	return o.kind == OUT_FAULT ? (ulong)o.vector << 16 | o.number : 0;
}

/* Without "unrestricted guest" PE and PG are fixed in VMX non-root operation too: #GP in L2. */
TEST(vmx, guest_cr0_pg_fixed, .sdm = "Restrictions on VMX Operation", .flags = TEST_I386,
     .rules = "vmcs.guest-cr0-fixed")
{
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, 0);
	v.l2_takes = 1u << VEC_GP;
	vcpu_write_controls(&v);
	guest(&v, l2_clear_pg, read_cr0());
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	expect_eq(v.g.dx, VEC_GP << 16);
}
#endif
