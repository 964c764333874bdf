// SPDX-License-Identifier: BSD-2-Clause
/* Entry checks of controls that no CPU model at hand has yet, or only one. SDM: "VM-Execution Control Fields", "Checks on
 * Guest Control Registers, Debug Registers, and MSRs". */
#include "testcases/entry_rows.h"

#define GUEST_REGISTERS "Checks on Guest Control Registers, Debug Registers, and MSRs"

ENTRY(guest_bndcfgs, .sdm = GUEST_REGISTERS, .needs = TIMER "; load IA32_BNDCFGS; clear IA32_BNDCFGS",
      .rules = "entry.guest.bndcfgs-reserved entry.guest.bndcfgs-canonical")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_ia32_bndcfgs);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_clear_ia32_bndcfgs);
	ROW(t, "entry.guest.bndcfgs-canonical", ENTERS, SET(guest_ia32_bndcfgs, 0x12345000));
	ROW(t, "entry.guest.bndcfgs-canonical", FAILS_GUEST, SET(guest_ia32_bndcfgs, 1ull << 62));
	for (u32 bit = 2; bit < 12; bit++)
		ROW(t, "entry.guest.bndcfgs-reserved", FAILS_GUEST, SET(guest_ia32_bndcfgs, 1u << bit));
}

ENTRY(guest_rtit_ctl, .sdm = GUEST_REGISTERS, .needs = TIMER "; load IA32_RTIT_CTL; clear IA32_RTIT_CTL",
      .rules = "entry.guest.rtit-ctl")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_ia32_rtit_ctl);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_clear_ia32_rtit_ctl);
	ROW(t, "entry.guest.rtit-ctl", ENTERS, SET(guest_ia32_rtit_ctl, 0));
	/* 63:60, reserved on every CPU. */
	for (u32 bit = 60; bit < 64; bit++)
		ROW(t, "entry.guest.rtit-ctl", FAILS_GUEST, SET(guest_ia32_rtit_ctl, 1ull << bit));
}

ENTRY(guest_lbr_ctl, .sdm = GUEST_REGISTERS, .needs = TIMER "; load guest IA32_LBR_CTL; clear IA32_LBR_CTL",
      .rules = "entry.guest.lbr-ctl")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_guest_lbr_ctl);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_clear_ia32_lbr_ctl);
	ROW(t, "entry.guest.lbr-ctl", ENTERS, SET(guest_ia32_lbr_ctl, 0));
	/* 63:23, and 15:4. */
	for (u32 bit = 4; bit < 64; bit++)
		if (bit < 16 || bit > 22)
			ROW(t, "entry.guest.lbr-ctl", FAILS_GUEST, SET(guest_ia32_lbr_ctl, 1ull << bit));
}

ENTRY(guest_uinv, .sdm = GUEST_REGISTERS, .needs = TIMER "; load UINV; clear UINV", .rules = "entry.guest.uinv")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_uinv);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_clear_uinv);
	ROW(t, "entry.guest.uinv", ENTERS, SET(guest_uinv, 0xff));
	for (u32 bit = 8; bit < 16; bit++)
		ROW(t, "entry.guest.uinv", FAILS_GUEST, SET(guest_uinv, 1u << bit));
}

#define PT_NEEDS TIMER "; Intel PT uses guest physical addresses; load IA32_RTIT_CTL; clear IA32_RTIT_CTL"

ENTRY_OF(control_pt_gpa, OPT_ept, NULL, .sdm = "VM-Execution Control Fields", .needs = PT_NEEDS, .opt = OPT_ept,
	 .rules = "entry.control.pt-gpa-needs-ept entry.control.pt-gpa-needs-load")
{
	vmwrite(VMCS_guest_ia32_rtit_ctl, 0);
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_ia32_rtit_ctl);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_clear_ia32_rtit_ctl);
	ROW(t, "entry.control.pt-gpa-needs-load", ENTERS, ON2(PROC2_intel_pt_guest_physical));
	ROW(t, "entry.control.pt-gpa-needs-load", FAILS_CONTROL, ON2(PROC2_intel_pt_guest_physical),
	    CLR(vm_entry_controls, VMENTRY_load_ia32_rtit_ctl));
	ROW(t, "entry.control.pt-gpa-needs-load", FAILS_CONTROL, ON2(PROC2_intel_pt_guest_physical),
	    CLR(vm_exit_controls, VMEXIT_clear_ia32_rtit_ctl));
	ROW(t, "entry.control.pt-gpa-needs-ept", FAILS_CONTROL, ON2(PROC2_intel_pt_guest_physical),
	    CLR2(PROC2_enable_ept));
}
