// SPDX-License-Identifier: BSD-2-Clause
/*
 * Entry checks of what only newer CPUs offer: SDM "VM-Execution Control Fields", "Checks on Guest Control Registers, Debug Registers,
 * and MSRs", "Checks on Host Control Registers, MSRs, and SSP". Bochs' models up to arrow_lake have most of it.
 */
#include "lhv/mem.h"
#include "testcases/entry_rows.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define CONTROLS "VM-Execution Control Fields"
#define GUEST_REGISTERS "Checks on Guest Control Registers, Debug Registers, and MSRs"
#define HOST_REGISTERS "Checks on Host Control Registers, MSRs, and SSP"

/* An address field: each low bit below `align`, and each bit beyond the physical-address width. */
static void rows_address(struct entry *t, const struct where *aligned, const struct where *width, u32 field, u64 good,
			 u32 align)
{
	for (u32 bit = 1; bit < align; bit <<= 1) {
		const struct entry_change c[] = { { field, '=', good | bit }, { 0, 0, 0 } };

		entry_row(t, aligned, FAILS_CONTROL, c);
	}
	for (u32 bit = entry_address_bits(); bit < 64; bit++) {
		const struct entry_change c[] = { { field, '=', good | 1ull << bit }, { 0, 0, 0 } };

		entry_row(t, width, FAILS_CONTROL, c);
	}
}

/* --- Posted interrupts --- */

#define POSTED TIMER "; process posted interrupts"

/* With posted interrupts and all that they need; the descriptor is at the beginning of a page. */
static bool begin_posted(struct entry *t, struct cpu *c, u64 *descriptor)
{
	if (!entry_begin(t, c, 0, NULL))
		return false;
	*descriptor = (ulong)page_alloc();
	vmwrite(VMCS_virtual_apic_address, (ulong)page_alloc());
	vmwrite(VMCS_guest_interrupt_status, 0);
	for (u32 field = VMCS_eoi_exit_bitmap0; field <= VMCS_eoi_exit_bitmap3; field += 2)
		vmwrite(field, 0);
	vmwrite(VMCS_posted_interrupt_descriptor_address, *descriptor);
	vmwrite(VMCS_posted_interrupt_notification_vector, 0xf1);
	vmwrite(VMCS_tpr_threshold, 0);
	vmwrite(VMCS_secondary_proc_based_controls, PROC2_virtual_interrupt_delivery);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, PROC_use_tpr_shadow | (u32)PROC_activate_secondary_controls);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_acknowledge_interrupt_on_exit);
	vmwrite_bits(VMCS_pin_based_controls, 0, PIN_external_interrupt_exiting | PIN_process_posted_interrupts);
	return true;
}

TEST(entry, control_posted, .sdm = CONTROLS, .needs = POSTED,
     .rules = "entry.control.posted-needs-delivery entry.control.posted-needs-acknowledge entry.control.posted-vector")
{
	struct entry t;
	u64 descriptor;

	if (!begin_posted(&t, c, &descriptor))
		return;
	ROW_AS_IS(&t, "entry.control.posted-needs-delivery", ENTERS);
	ROW(&t, "entry.control.posted-needs-delivery", FAILS_CONTROL, CLR2(PROC2_virtual_interrupt_delivery));
	ROW(&t, "entry.control.posted-needs-acknowledge", FAILS_CONTROL,
	    CLR(vm_exit_controls, VMEXIT_acknowledge_interrupt_on_exit));
	ROW(&t, "entry.control.posted-vector", ENTERS, SET(posted_interrupt_notification_vector, 0xff));
	for (u32 bit = 8; bit < 16; bit++)
		ROW(&t, "entry.control.posted-vector", FAILS_CONTROL,
		    ADD(posted_interrupt_notification_vector, 1u << bit));
	entry_done(&t);
}

TEST(entry, control_posted_descriptor, .sdm = CONTROLS, .needs = POSTED,
     .rules = "entry.control.posted-aligned entry.control.posted-width")
{
	struct entry t;
	u64 descriptor;

	if (!begin_posted(&t, c, &descriptor))
		return;
	rows_address(&t, WHERE("entry.control.posted-aligned"), WHERE("entry.control.posted-width"),
		     VMCS_posted_interrupt_descriptor_address, descriptor, 64);
	for (u32 bit = 64; bit < PAGE_SIZE; bit <<= 1)
		ROW(&t, "entry.control.posted-aligned", ENTERS,
		    SET(posted_interrupt_descriptor_address, descriptor | bit));
	entry_done(&t);
}

/* --- More of EPT, and VM functions --- */

ENTRY(control_mode_based, .sdm = CONTROLS, .needs = TIMER "; mode-based execute control for EPT", .opt = OPT_ept,
      .rules = "entry.control.mode-based-needs-ept")
{
	vmwrite(VMCS_secondary_proc_based_controls, 0);
	ROW(t, "entry.control.mode-based-needs-ept", FAILS_CONTROL, ON2(PROC2_mode_based_execute_control));
}

ENTRY_OF(control_sub_page, OPT_ept, NULL, .sdm = CONTROLS, .needs = TIMER "; sub-page write permissions for EPT",
	 .opt = OPT_ept,
	 .rules = "entry.control.sub-page-needs-ept entry.control.sub-page-aligned entry.control.sub-page-width")
{
	u64 page = (ulong)page_alloc();

	vmwrite(VMCS_sub_page_permission_table_pointer, page);
	vmwrite_bits(VMCS_secondary_proc_based_controls, 0, PROC2_sub_page_write_permissions);
	ROW_AS_IS(t, "entry.control.sub-page-needs-ept", ENTERS);
	ROW(t, "entry.control.sub-page-needs-ept", FAILS_CONTROL, CLR2(PROC2_enable_ept));
	rows_address(t, WHERE("entry.control.sub-page-aligned"), WHERE("entry.control.sub-page-width"),
		     VMCS_sub_page_permission_table_pointer, page, PAGE_SIZE);
}

ENTRY_OF(control_ve, OPT_ept, NULL, .sdm = CONTROLS, .needs = TIMER "; EPT-violation #VE", .opt = OPT_ept,
	 .rules = "entry.control.ve-aligned entry.control.ve-width")
{
	u64 page = (ulong)page_alloc();

	vmwrite(VMCS_virtualization_exception_info_address, page);
	vmwrite_bits(VMCS_secondary_proc_based_controls, 0, PROC2_ept_violation_ve);
	ROW_AS_IS(t, "entry.control.ve-aligned", ENTERS);
	rows_address(t, WHERE("entry.control.ve-aligned"), WHERE("entry.control.ve-width"),
		     VMCS_virtualization_exception_info_address, page, PAGE_SIZE);
}

ENTRY_OF(
	control_eptp_switching, OPT_ept, NULL, .sdm = CONTROLS, .needs = TIMER "; enable VM functions; EPTP switching",
	.opt = OPT_ept,
	.rules = "entry.control.eptp-switching-needs-ept entry.control.eptp-list-aligned entry.control.eptp-list-width")
{
	u64 page = (ulong)page_alloc();

	vmwrite(VMCS_eptp_list_address, page);
	vmwrite(VMCS_vm_function_controls, VMFUNC_EPTP_SWITCHING);
	vmwrite_bits(VMCS_secondary_proc_based_controls, 0, PROC2_enable_vm_functions);
	ROW_AS_IS(t, "entry.control.eptp-switching-needs-ept", ENTERS);
	ROW(t, "entry.control.eptp-switching-needs-ept", FAILS_CONTROL, CLR2(PROC2_enable_ept));
	rows_address(t, WHERE("entry.control.eptp-list-aligned"), WHERE("entry.control.eptp-list-width"),
		     VMCS_eptp_list_address, page, PAGE_SIZE);
}

/* --- Third and fourth words of controls: 64 bits, all of them may be 0 --- */

static void rows_forbidden(struct entry *t, const struct where *w, u32 field, u32 capability_msr)
{
	u64 may = msr_read(capability_msr);

	entry_row(t, w, ENTERS, (const struct entry_change[]){ { 0, 0, 0 } });
	for (u32 bit = 0; bit < 64; bit++) {
		const struct entry_change set[] = { { field, '=', 1ull << bit }, { 0, 0, 0 } };

		if (!(may >> bit & 1))
			entry_row(t, w, FAILS_CONTROL, set);
	}
}

ENTRY(control_tertiary, .sdm = CONTROLS, .needs = TIMER "; activate tertiary controls",
      .rules = "entry.control.proc3-reserved")
{
	ROW(t, "entry.control.proc3-reserved", ENTERS, SET(tertiary_proc_based_controls, ~0ull));
	vmwrite(VMCS_tertiary_proc_based_controls, 0);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, PROC_activate_tertiary_controls);
	rows_forbidden(t, WHERE("entry.control.proc3-reserved"), VMCS_tertiary_proc_based_controls,
		       MSR_VMX_PROCBASED_CTLS3);
}

ENTRY(control_exit_secondary, .sdm = "VM-Exit Control Fields",
      .needs = TIMER "; activate secondary controls of VM exit", .rules = "entry.control.exit2-reserved")
{
	ROW(t, "entry.control.exit2-reserved", ENTERS, SET(secondary_vm_exit_controls, ~0ull));
	vmwrite(VMCS_secondary_vm_exit_controls, 0);
	vmwrite_bits(VMCS_vm_exit_controls, 0, (u32)VMEXIT_activate_secondary_controls);
	rows_forbidden(t, WHERE("entry.control.exit2-reserved"), VMCS_secondary_vm_exit_controls, MSR_VMX_EXIT_CTLS2);
}

/* --- CET, protection keys: guest and host alike --- */

#define CET TIMER "; load CET state; load CET state at VM exit"
#define PKRS TIMER "; load PKRS; load PKRS at VM exit"
/* Bits 9:6, and both SUPPRESS and TRACKER (11:10) (SDM: "MSRs That Control CET") */
#define S_CET_RESERVED 0x3c0u

static bool begin_cet(struct entry *t, struct cpu *c)
{
	if (!entry_begin(t, c, 0, NULL))
		return false;
	for (u32 field = VMCS_guest_ia32_s_cet; field <= VMCS_guest_ia32_interrupt_ssp_table_address; field += 2)
		vmwrite(field, 0);
	for (u32 field = VMCS_host_ia32_s_cet; field <= VMCS_host_ia32_interrupt_ssp_table_address; field += 2)
		vmwrite(field, 0);
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_cet_state);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_load_cet_state);
	return true;
}

TEST(entry, guest_cet, .sdm = GUEST_REGISTERS, .needs = CET, .rules = "entry.guest.cet-wp entry.guest.ssp")
{
	struct entry t;

	if (!begin_cet(&t, c))
		return;
	ROW(&t, "entry.guest.cet-wp", ENTERS, ADD(guest_cr4, CR4_CET), ADD(guest_cr0, CR0_WP));
	ROW(&t, "entry.guest.cet-wp", FAILS_GUEST, ADD(guest_cr4, CR4_CET), CLR(guest_cr0, CR0_WP));
	ROW(&t, "entry.guest.ssp", ENTERS, SET(guest_ssp, 0x1000));
	ROW(&t, "entry.guest.ssp", ENTERS, SET(guest_ssp, 0x1004));
	for (u32 low = 1; low < 4; low++)
		ROW(&t, "entry.guest.ssp", FAILS_GUEST, SET(guest_ssp, 0x1000 | low));
	if (sizeof(ulong) == 8)
		ROW(&t, "entry.guest.ssp", FAILS_GUEST, SET(guest_ssp, 1ull << 63));
	entry_done(&t);
}

TEST(entry, guest_s_cet, .sdm = GUEST_REGISTERS, .needs = CET, .rules = "entry.guest.s-cet")
{
	struct entry t;

	if (!begin_cet(&t, c))
		return;
	ROW(&t, "entry.guest.s-cet", ENTERS, SET(guest_ia32_s_cet, 0x3f));
	for (u32 bit = 6; bit < 10; bit++)
		ROW(&t, "entry.guest.s-cet", FAILS_GUEST, SET(guest_ia32_s_cet, 1u << bit));
	entry_done(&t);
}

TEST(entry, host_cet, .sdm = HOST_REGISTERS, .needs = CET, .rules = "entry.host.cet-wp entry.host.ssp entry.host.s-cet")
{
	struct entry t;

	if (!begin_cet(&t, c))
		return;
	/* The legal one would be L1's own. */
	ROW(&t, "entry.host.cet-wp", FAILS_HOST, ADD(host_cr4, CR4_CET), CLR(host_cr0, CR0_WP));
	ROW(&t, "entry.host.ssp", ENTERS, SET(host_ssp, 0x1004));
	for (u32 low = 1; low < 4; low++)
		ROW(&t, "entry.host.ssp", FAILS_HOST, SET(host_ssp, 0x1000 | low));
	if (sizeof(ulong) == 8)
		ROW(&t, "entry.host.ssp", FAILS_HOST, SET(host_ssp, 1ull << 63));
	for (u32 bit = 6; bit < 10; bit++)
		ROW(&t, "entry.host.s-cet", FAILS_HOST, SET(host_ia32_s_cet, 1u << bit));
	entry_done(&t);
}

ENTRY(pkrs, .sdm = GUEST_REGISTERS, .needs = PKRS, .rules = "entry.guest.pkrs entry.host.pkrs")
{
	vmwrite(VMCS_guest_ia32_pkrs, 0);
	vmwrite(VMCS_host_ia32_pkrs, 0);
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_pkrs);
	vmwrite_bits(VMCS_vm_exit_controls, 0, (u32)VMEXIT_load_pkrs);
	ROW(t, "entry.guest.pkrs", ENTERS, SET(guest_ia32_pkrs, 0xffffffff));
	for (u32 bit = 32; bit < 64; bit++) {
		ROW(t, "entry.guest.pkrs", FAILS_GUEST, SET(guest_ia32_pkrs, 1ull << bit));
		ROW(t, "entry.host.pkrs", FAILS_HOST, SET(host_ia32_pkrs, 1ull << bit));
	}
}
