// SPDX-License-Identifier: BSD-2-Clause
/* 0x20: paging off and on again, in L1 (outside of VMX operation, where CR0.PG is not fixed) and in L2. */
#include "lhv/guest.h"
#include "lhv/run.h"
#include "x86/cr.h"

static void setup(struct run *r)
{
	r->v.ctl[CTL_PROC2] |= PROC2_unrestricted_guest;
}

/* Sets *done if L2 is in its mode again at the end. */
static void check_l2(struct run *r, bool *done)
{
	u64 cr3 = vmread(VMCS_guest_cr3);
	u32 mode = (u32)vmread(VMCS_vm_entry_controls) & VMENTRY_ia32e_mode_guest;
	struct exit e;

	guest(&r->v, paging_off_on, 1);
	e = enter(&r->v);
	require_call(&r->v, e, L2_PAGING_OFF);
	expect_eq(r->v.g.dx & (CR0_PG | CR0_PE), CR0_PE);
	expect_eq(vmread(VMCS_guest_cr0) & (CR0_PG | CR0_PE), CR0_PE);
	/* SDM: "Saving Control Registers, Debug Registers, and MSRs": the control follows EFER.LMA. */
	expect_eq(vmread(VMCS_vm_entry_controls) & VMENTRY_ia32e_mode_guest, 0);
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
	*done = true;
	expect_eq(vmread(VMCS_guest_cr0) & (CR0_PG | CR0_PE), CR0_PG | CR0_PE);
	expect_eq(vmread(VMCS_guest_cr3), cr3);
	expect_eq(vmread(VMCS_vm_entry_controls) & VMENTRY_ia32e_mode_guest, mode);
}

static void check_l1(struct run *r)
{
	ulong cr0 = read_cr0();

	if (!run_vmx_pause(r))
		return;
	expect_eq(paging_off_on(0) & (CR0_PG | CR0_PE), CR0_PE);
	expect_eq(read_cr0(), cr0);
	run_vmx_resume(r);
}

static void iterate(struct run *r)
{
	bool done = false;

	check_l2(r, &done);
	/* What others check mustn't fail by it. */
	if (!done) {
		vcpu_write_controls(&r->v);
		vcpu_write_guest_state(&r->v);
	}
	if (r->i % 4 == 0)
		check_l1(r);
}

const struct opt_ops opt_unrestricted = {
	.bit = OPT_unrestricted,
	.needs = "unrestricted guest",
	.setup = setup,
	.iterate = iterate,
};
