// SPDX-License-Identifier: BSD-2-Clause
/* 0x80: a VMCS's and VMX operation's life cycle. Every field must survive VMCLEAR, VMPTRLD and VMXOFF, VMXON. */
#include "lhv/dump.h"
#include "lhv/guest.h"
#include "lhv/run.h"
#include "x86/cr.h"

struct dumps {
	struct vmcs_dump before, after;
};
static struct dumps dumps[MAX_CPUS];

static void expect_same_fields(struct dumps *d)
{
	u32 different;

	dump_read(&d->after);
	if (vmcs_diff(&d->before, &d->after, 0) == vmcs_table_count) {
		expect(true);
		return;
	}
	different = dump_diff(&d->before, &d->after);
	expect_eq(different, 0);
}

static void expect_current(u64 pa)
{
	u64 now = 0x5a5a5a5a5a5a5a5aull;

	expect_out(vmptrst(&now), out_ok());
	expect_eq(now, pa);
}

/* SDM: "VMCLEAR", "VMPTRLD", "VMPTRST": the current-VMCS pointer, and all fields kept. */
static void check_clear_load(struct run *r, struct dumps *d)
{
	ulong value;

	expect_current(r->v.vmcs_pa);
	dump_read(&d->before);
	expect_out(vmclear(r->v.vmcs_pa), out_ok());
	expect_current(~0ull);
	expect_out(vmwrite_raw(VMCS_guest_rip, 0), out_invalid());
	expect_out(vmread_raw(VMCS_guest_rip, &value), out_invalid());
	expect_out(vmx_outcome(vmx_launch_raw()), out_invalid());
	expect_out(vmptrld(r->v.vmcs_pa), out_ok());
	r->v.launched = false;
	expect_current(r->v.vmcs_pa);
	expect_same_fields(d);
}

static ulong l2_add(ulong x)
{
	return x + 1;
}

/* A cleared VMCS needs VMLAUNCH, a launched one VMRESUME (SDM: "VMLAUNCH/VMRESUME"). */
static void check_launch_state(struct run *r)
{
	bool ok;

	guest(&r->v, l2_add, 0);
	irq_off();
	expect_out(vmx_outcome(vmx_resume_raw()), out_valid(VMXERR_vmresume_nonlaunched_vmcs));
	expect_eq(run_l2(r, l2_add, r->i, &ok), r->i + 1);
	guest(&r->v, l2_add, 0);
	irq_off();
	expect_out(vmx_outcome(vmx_launch_raw()), out_valid(VMXERR_vmlaunch_nonclear_vmcs));
	expect_eq(run_l2(r, l2_add, r->i, &ok), r->i + 1);
}

bool run_vmx_pause(struct run *r)
{
	irq_off();
	return expect_out(vmclear(r->v.vmcs_pa), out_ok()) && expect_out(vmx_off(r->v.cpu), out_ok());
}

bool run_vmx_resume(struct run *r)
{
	bool ok = expect_out(vmx_on(r->v.cpu), out_ok()) && expect_out(vmptrld(r->v.vmcs_pa), out_ok());

	r->v.launched = false;
	if (!ok)
		panic("VMX operation can't be entered again");
	if (!r->v.irq_off)
		irq_on();
	return ok;
}

/* Outside of VMX operation the instructions don't exist (SDM: "VMWRITE", "Protected Mode Exceptions"). */
static void check_off_on(struct run *r, struct dumps *d)
{
	ulong value;

	irq_off();
	dump_read(&d->before);
	if (!run_vmx_pause(r))
		return;
	expect_out(vmwrite_raw(VMCS_guest_rip, 0), out_fault(VEC_UD, 0));
	expect_out(vmread_raw(VMCS_guest_rip, &value), out_fault(VEC_UD, 0));
	expect_out(vmxoff(), out_fault(VEC_UD, 0));
	if (!run_vmx_resume(r))
		return;
	irq_off();
	expect_same_fields(d);
	/* VMXON in VMX root operation: VMfail, with the current VMCS. */
	expect_out(vmxon(r->v.cpu->vmxon_pa), out_valid(VMXERR_vmxon_in_vmx_root));
}

static void iterate(struct run *r)
{
	struct dumps *d = &dumps[r->v.cpu->number];
	bool ok;

	/* Interrupts are off between the two dumps: an exit would change fields. */
	irq_off();
	check_clear_load(r, d);
	check_launch_state(r);
	check_off_on(r, d);
	if (!r->v.irq_off)
		irq_on();
	expect_eq(run_l2(r, l2_add, r->i, &ok), r->i + 1);
}

const struct opt_ops opt_vmxoff = {
	.bit = OPT_vmxoff,
	.needs = "",
	.iterate = iterate,
};
