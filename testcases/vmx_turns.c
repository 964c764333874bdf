// SPDX-License-Identifier: BSD-2-Clause
/* VMCSs by turns, and what is free again after VMXOFF. */
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define TWO_EACH 3u

/* Two VMCSs by turns: what one has isn't what the other has, nor what the CPU had in between. */
TEST(vmx, two_by_turns, .sdm = "Using VMX Instructions to Manage VMCSs", .needs = "use MSR bitmaps",
     .rules = "vmcs.active-several")
{
	struct snippet s[2];

	judge_begin();
	for (u32 k = 0; k < 2; k++) {
		snippet_begin(&s[k], c, 0);
		s[k].v.ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
		vcpu_write_controls(&s[k].v);
		vmwrite(VMCS_msr_bitmap_address, (ulong)page_alloc());
		vmwrite(VMCS_guest_sysenter_esp, 0x1111000 * (k + 1));
	}
	for (u32 n = 0; n < 2 * TWO_EACH; n++) {
		u32 k = n & 1;

		expect(vmptrld(s[k].v.vmcs_pa).kind == OUT_OK);
		c->vcpu = &s[k].v;
		JUDGE("vmcs.active-several", snippet_rdmsr(&s[k], MSR_SYSENTER_ESP), 0x1111000 * (k + 1));
	}
	vcpu_destroy(&s[1].v);
	expect(vmptrld(s[0].v.vmcs_pa).kind == OUT_OK);
	vcpu_destroy(&s[0].v);
	judge_done();
}

TEST(vmx, free_after_vmxoff, .sdm = "Restrictions on VMX Operation", .rules = "vmcs.free-outside")
{
	const ulong cr0 = read_cr0(), cr4 = read_cr4();
	bool off;

	judge_begin();
	off = expect(vmx_off(c).kind == OUT_OK);
	if (off) {
		JUDGE("vmcs.free-outside", write_cr0_raw(cr0 & ~(ulong)CR0_NE), 0);
		JUDGE("vmcs.free-outside", read_cr0(), cr0 & ~(ulong)CR0_NE);
		write_cr0(cr0);
		JUDGE("vmcs.free-outside", write_cr4_raw(cr4 & ~(ulong)CR4_VMXE), 0);
		JUDGE("vmcs.free-outside", read_cr4(), cr4 & ~(ulong)CR4_VMXE);
		write_cr4(cr4);
		expect(vmx_on(c).kind == OUT_OK);
	}
	judge_done();
}

/* VMCLEAR of a VMCS that isn't the current one makes it clear all the same: VMLAUNCH, not VMRESUME. */
TEST(vmx, clear_another, .sdm = "VMCLEAR-Clear Virtual-Machine Control Structure",
     .rules = "insn.vmclear.state insn.vmclear.other insn.vmresume.err-5")
{
	struct snippet first, second;
	struct exit e;
	u64 current = 0;

	judge_begin();
	snippet_begin(&first, c, 0);
	snippet_code(&first, "", 0);
	e = snippet_run(&first);
	expect(snippet_passed(&first, &e));
	snippet_begin(&second, c, 0);
	expect(vmclear(first.v.vmcs_pa).kind == OUT_OK);
	expect(vmptrst(&current).kind == OUT_OK);
	JUDGE("insn.vmclear.other", current, second.v.vmcs_pa);
	vcpu_destroy(&second.v);
	expect(vmptrld(first.v.vmcs_pa).kind == OUT_OK);
	c->vcpu = &first.v;
	snippet_code(&first, "", 0);
	e = snippet_run(&first);
	JUDGE("insn.vmresume.err-5",
	      e.entry.kind == OUT_FAIL_VALID && e.entry.number == VMXERR_vmresume_nonlaunched_vmcs, true);
	first.v.launched = false;
	e = snippet_run(&first);
	JUDGE("insn.vmclear.state", snippet_passed(&first, &e), true);
	vcpu_destroy(&first.v);
	judge_done();
}
