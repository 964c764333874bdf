// SPDX-License-Identifier: BSD-2-Clause
/* SDM: "Checks on VMX Controls": "VM-Execution Control Fields". The other two kinds of controls: entry_control_io.c. */
#include "lhv/mem.h"
#include "testcases/entry_rows.h"
#include "x86/cr.h"

static const struct {
	u32 field;
	enum ctl_word word;
} words[] = {
	{ VMCS_pin_based_controls, CTL_PIN },
	{ VMCS_primary_proc_based_controls, CTL_PROC },
	{ VMCS_vm_exit_controls, CTL_VMEXIT },
	{ VMCS_vm_entry_controls, CTL_VMENTRY },
};

/* Each bit that must be 1 at 0, and each that must be 0 at 1. */
static void rows_reserved(struct entry *t, const struct where *w, u32 field, enum ctl_word word)
{
	u32 must = (u32)vmx_caps.ctl[word], may = (u32)(vmx_caps.ctl[word] >> 32);

	for (u32 bit = 0; bit < 32; bit++) {
		const struct entry_change clear[] = { { field, '-', 1u << bit }, { 0, 0, 0 } };
		const struct entry_change set[] = { { field, '|', 1u << bit }, { 0, 0, 0 } };

		if (must >> bit & 1)
			entry_row(t, w, FAILS_CONTROL, clear);
		if (!(may >> bit & 1))
			entry_row(t, w, FAILS_CONTROL, set);
	}
}

ENTRY(control_reserved, .sdm = "VM-Execution Control Fields", .needs = TIMER,
      .rules = "entry.control.pin-reserved entry.control.proc-reserved entry.control.exit-reserved "
	       "entry.control.entry-reserved")
{
	const struct where *where[] = { WHERE("entry.control.pin-reserved"), WHERE("entry.control.proc-reserved"),
					WHERE("entry.control.exit-reserved"), WHERE("entry.control.entry-reserved") };

	for (u32 i = 0; i < ARRAY_SIZE(words); i++)
		rows_reserved(t, where[i], words[i].field, words[i].word);
}

ENTRY(control_secondary, .sdm = "VM-Execution Control Fields", .needs = TIMER "; activate secondary controls",
      .rules = "entry.control.proc2-reserved entry.control.proc2-inactive")
{
	ROW(t, "entry.control.proc2-inactive", ENTERS, CLR1(PROC_activate_secondary_controls),
	    SET(secondary_proc_based_controls, 0xffffffff));
	vmwrite(VMCS_secondary_proc_based_controls, 0);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, (u32)PROC_activate_secondary_controls);
	ROW_AS_IS(t, "entry.control.proc2-reserved", ENTERS);
	rows_reserved(t, WHERE("entry.control.proc2-reserved"), VMCS_secondary_proc_based_controls, CTL_PROC2);
}

ENTRY(control_cr3_targets, .sdm = "VM-Execution Control Fields", .needs = TIMER,
      .rules = "entry.control.cr3-target-count")
{
	u32 max = (u32)vmx_caps.misc >> 16 & 0x1ff;

	for (u32 n = 0; n <= max && n <= 4; n++)
		ROW(t, "entry.control.cr3-target-count", ENTERS, SET(cr3_target_count, n));
	ROW(t, "entry.control.cr3-target-count", FAILS_CONTROL, SET(cr3_target_count, max + 1));
	ROW(t, "entry.control.cr3-target-count", FAILS_CONTROL, SET(cr3_target_count, 0x80000000));
	ROW(t, "entry.control.cr3-target-count", FAILS_CONTROL, SET(cr3_target_count, ~0u));
}

/* --- Addresses of pages --- */

static void rows_unaligned(struct entry *t, const struct where *w, u32 field, u64 page, u32 align)
{
	for (u32 bit = 1; bit < align; bit <<= 1) {
		const struct entry_change c[] = { { field, '=', page | bit }, { 0, 0, 0 } };

		entry_row(t, w, FAILS_CONTROL, c);
	}
}

static void rows_wide(struct entry *t, const struct where *w, u32 field, u64 page)
{
	for (u32 bit = entry_address_bits(); bit < 64; bit++) {
		const struct entry_change c[] = { { field, '=', page | 1ull << bit }, { 0, 0, 0 } };

		entry_row(t, w, FAILS_CONTROL, c);
	}
}

ENTRY(control_io_bitmaps, .sdm = "VM-Execution Control Fields", .needs = TIMER "; use I/O bitmaps",
      .rules = "entry.control.io-bitmap-aligned entry.control.io-bitmap-width entry.control.io-bitmap-unused")
{
	u64 page = (ulong)page_alloc();

	ROW(t, "entry.control.io-bitmap-unused", ENTERS, SET(io_bitmap_a_address, ~0ull), SET(io_bitmap_b_address, 1));
	vmwrite(VMCS_io_bitmap_a_address, page);
	vmwrite(VMCS_io_bitmap_b_address, page);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, PROC_use_io_bitmaps);
	ROW_AS_IS(t, "entry.control.io-bitmap-aligned", ENTERS);
	for (u32 field = VMCS_io_bitmap_a_address; field <= VMCS_io_bitmap_b_address; field += 2) {
		rows_unaligned(t, WHERE("entry.control.io-bitmap-aligned"), field, page, PAGE_SIZE);
		rows_wide(t, WHERE("entry.control.io-bitmap-width"), field, page);
	}
}

ENTRY(control_msr_bitmaps, .sdm = "VM-Execution Control Fields", .needs = TIMER "; use MSR bitmaps",
      .rules = "entry.control.msr-bitmap-aligned entry.control.msr-bitmap-width entry.control.msr-bitmap-unused")
{
	u64 page = (ulong)page_alloc();

	ROW(t, "entry.control.msr-bitmap-unused", ENTERS, SET(msr_bitmap_address, ~0ull));
	vmwrite(VMCS_msr_bitmap_address, page);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, PROC_use_msr_bitmaps);
	ROW_AS_IS(t, "entry.control.msr-bitmap-aligned", ENTERS);
	rows_unaligned(t, WHERE("entry.control.msr-bitmap-aligned"), VMCS_msr_bitmap_address, page, PAGE_SIZE);
	rows_wide(t, WHERE("entry.control.msr-bitmap-width"), VMCS_msr_bitmap_address, page);
}

#define VTPR 0x80

ENTRY(control_tpr_shadow, .sdm = "VM-Execution Control Fields", .needs = TIMER "; use TPR shadow",
      .rules = "entry.control.virtual-apic-aligned entry.control.virtual-apic-width entry.control.virtual-apic-unused "
	       "entry.control.tpr-threshold-reserved")
{
	u64 page = (ulong)page_alloc();

	ROW(t, "entry.control.virtual-apic-unused", ENTERS, SET(virtual_apic_address, ~0ull), SET(tpr_threshold, ~0u));
	vmwrite(VMCS_virtual_apic_address, page);
	vmwrite(VMCS_tpr_threshold, 0);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, PROC_use_tpr_shadow);
	ROW_AS_IS(t, "entry.control.virtual-apic-aligned", ENTERS);
	rows_unaligned(t, WHERE("entry.control.virtual-apic-aligned"), VMCS_virtual_apic_address, page, PAGE_SIZE);
	rows_wide(t, WHERE("entry.control.virtual-apic-width"), VMCS_virtual_apic_address, page);
	for (u32 bit = 4; bit < 32; bit++)
		ROW(t, "entry.control.tpr-threshold-reserved", FAILS_CONTROL, SET(tpr_threshold, 1u << bit));
}

ENTRY(control_tpr_threshold, .sdm = "VM-Execution Control Fields", .needs = TIMER "; use TPR shadow",
      .rules = "entry.control.tpr-threshold-vtpr")
{
	u8 *page = page_alloc();

	vmwrite(VMCS_virtual_apic_address, (ulong)page);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, PROC_use_tpr_shadow);
	for (u32 vtpr = 0; vtpr < 16; vtpr++) {
		page[VTPR] = (u8)(vtpr << 4);
		ROW(t, "entry.control.tpr-threshold-vtpr", ENTERS, SET(tpr_threshold, vtpr));
		if (vtpr < 15)
			ROW(t, "entry.control.tpr-threshold-vtpr", FAILS_CONTROL, SET(tpr_threshold, vtpr + 1));
	}
	/* The low half doesn't count. */
	page[VTPR] = 0x3f;
	ROW(t, "entry.control.tpr-threshold-vtpr", FAILS_CONTROL, SET(tpr_threshold, 4));
	vmwrite(VMCS_tpr_threshold, 0);
}

/* --- Controls that need others --- */

ENTRY(control_nmi, .sdm = "VM-Execution Control Fields", .needs = TIMER "; NMI exiting; virtual NMIs",
      .rules = "entry.control.virtual-nmis")
{
	ROW(t, "entry.control.virtual-nmis", ENTERS, ADD(pin_based_controls, PIN_nmi_exiting));
	ROW(t, "entry.control.virtual-nmis", ENTERS, ADD(pin_based_controls, PIN_nmi_exiting | PIN_virtual_nmis));
	ROW(t, "entry.control.virtual-nmis", FAILS_CONTROL, ADD(pin_based_controls, PIN_virtual_nmis));
}

ENTRY(control_nmi_window, .sdm = "VM-Execution Control Fields",
      .needs = TIMER "; NMI exiting; virtual NMIs; NMI-window exiting", .rules = "entry.control.nmi-window")
{
	ROW(t, "entry.control.nmi-window", ENTERS, ADD(pin_based_controls, PIN_nmi_exiting | PIN_virtual_nmis),
	    ADD1(PROC_nmi_window_exiting));
	ROW(t, "entry.control.nmi-window", FAILS_CONTROL, ADD(pin_based_controls, PIN_nmi_exiting),
	    ADD1(PROC_nmi_window_exiting));
	ROW(t, "entry.control.nmi-window", FAILS_CONTROL, ADD1(PROC_nmi_window_exiting));
}

ENTRY(control_apic_access, .sdm = "VM-Execution Control Fields", .needs = TIMER "; virtualize APIC accesses",
      .rules = "entry.control.apic-access-aligned entry.control.apic-access-width entry.control.apic-access-unused")
{
	u64 page = (ulong)page_alloc();

	vmwrite(VMCS_secondary_proc_based_controls, 0);
	ROW(t, "entry.control.apic-access-unused", ENTERS, ON2(0), SET(apic_access_address, ~0ull));
	vmwrite(VMCS_apic_access_address, page);
	vmwrite(VMCS_secondary_proc_based_controls, PROC2_virtualize_apic_accesses);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, (u32)PROC_activate_secondary_controls);
	ROW_AS_IS(t, "entry.control.apic-access-aligned", ENTERS);
	rows_unaligned(t, WHERE("entry.control.apic-access-aligned"), VMCS_apic_access_address, page, PAGE_SIZE);
	rows_wide(t, WHERE("entry.control.apic-access-width"), VMCS_apic_access_address, page);
}

/* With a TPR shadow whose page is there. */
static bool begin_with_shadow(struct entry *t, struct cpu *c)
{
	if (!entry_begin(t, c, 0, NULL))
		return false;
	vmwrite(VMCS_virtual_apic_address, (ulong)page_alloc());
	vmwrite(VMCS_tpr_threshold, 0);
	vmwrite(VMCS_secondary_proc_based_controls, 0);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, PROC_use_tpr_shadow | (u32)PROC_activate_secondary_controls);
	return true;
}

TEST(entry, control_x2apic, .sdm = "VM-Execution Control Fields",
     .needs = TIMER "; use TPR shadow; virtualize x2APIC mode", .rules = "entry.control.x2apic-needs-tpr-shadow")
{
	struct entry t;

	if (!begin_with_shadow(&t, c))
		return;
	ROW(&t, "entry.control.x2apic-needs-tpr-shadow", ENTERS, ON2(PROC2_virtualize_x2apic_mode));
	ROW(&t, "entry.control.x2apic-needs-tpr-shadow", FAILS_CONTROL, ON2(PROC2_virtualize_x2apic_mode),
	    CLR1(PROC_use_tpr_shadow));
	entry_done(&t);
}

TEST(entry, control_x2apic_or_accesses, .sdm = "VM-Execution Control Fields",
     .needs = TIMER "; use TPR shadow; virtualize x2APIC mode; virtualize APIC accesses",
     .rules = "entry.control.x2apic-or-accesses")
{
	struct entry t;

	if (!begin_with_shadow(&t, c))
		return;
	vmwrite(VMCS_apic_access_address, (ulong)page_alloc());
	ROW(&t, "entry.control.x2apic-or-accesses", ENTERS, ON2(PROC2_virtualize_apic_accesses));
	ROW(&t, "entry.control.x2apic-or-accesses", FAILS_CONTROL,
	    ON2(PROC2_virtualize_x2apic_mode | PROC2_virtualize_apic_accesses));
	entry_done(&t);
}

TEST(entry, control_apic_registers, .sdm = "VM-Execution Control Fields",
     .needs = TIMER "; use TPR shadow; APIC-register virtualization",
     .rules = "entry.control.register-needs-tpr-shadow")
{
	struct entry t;

	if (!begin_with_shadow(&t, c))
		return;
	ROW(&t, "entry.control.register-needs-tpr-shadow", ENTERS, ON2(PROC2_apic_register_virtualization));
	ROW(&t, "entry.control.register-needs-tpr-shadow", FAILS_CONTROL, ON2(PROC2_apic_register_virtualization),
	    CLR1(PROC_use_tpr_shadow));
	entry_done(&t);
}

TEST(entry, control_delivery, .sdm = "VM-Execution Control Fields",
     .needs = TIMER "; use TPR shadow; virtual-interrupt delivery; external-interrupt exiting",
     .rules = "entry.control.delivery-needs-tpr-shadow entry.control.delivery-needs-external")
{
	struct entry t;

	if (!begin_with_shadow(&t, c))
		return;
	vmwrite(VMCS_guest_interrupt_status, 0);
	ROW(&t, "entry.control.delivery-needs-external", ENTERS, ON2(PROC2_virtual_interrupt_delivery),
	    ADD(pin_based_controls, PIN_external_interrupt_exiting));
	ROW(&t, "entry.control.delivery-needs-external", FAILS_CONTROL, ON2(PROC2_virtual_interrupt_delivery));
	ROW(&t, "entry.control.delivery-needs-tpr-shadow", FAILS_CONTROL, ON2(PROC2_virtual_interrupt_delivery),
	    ADD(pin_based_controls, PIN_external_interrupt_exiting), CLR1(PROC_use_tpr_shadow));
	entry_done(&t);
}

ENTRY(control_vpid, .sdm = "VM-Execution Control Fields", .needs = TIMER "; enable VPID",
      .rules = "entry.control.vpid-zero entry.control.vpid-unused")
{
	vmwrite(VMCS_secondary_proc_based_controls, 0);
	ROW(t, "entry.control.vpid-unused", ENTERS, ON2(0), SET(vpid, 0));
	ROW(t, "entry.control.vpid-zero", FAILS_CONTROL, ON2(PROC2_enable_vpid), SET(vpid, 0));
	ROW(t, "entry.control.vpid-zero", ENTERS, ON2(PROC2_enable_vpid), SET(vpid, 1));
	ROW(t, "entry.control.vpid-zero", ENTERS, ON2(PROC2_enable_vpid), SET(vpid, 0xffff));
}

ENTRY_OF(control_eptp, OPT_ept, NULL, .sdm = "VM-Execution Control Fields", .needs = TIMER, .opt = OPT_ept,
	 .rules =
		 "entry.control.eptp-type entry.control.eptp-walk entry.control.eptp-dirty entry.control.eptp-reserved "
		 "entry.control.eptp-width")
{
	u64 eptp;

	eptp = t->v.eptp;
	for (u32 type = 0; type < 8; type++) {
		bool good = type == 6 || (type == 0 && cap_have("EPT memory type UC"));

		ROW(t, "entry.control.eptp-type", good ? ENTERS : FAILS_CONTROL,
		    SET(ept_pointer, (eptp & ~7ull) | type));
	}
	/* 4: five levels, where IA32_VMX_EPT_VPID_CAP has bit 7. */
	for (u32 walk = 0; walk < 8; walk++)
		if (walk != 3 && (walk != 4 || !(vmx_caps.ept_vpid & 0x80)))
			ROW(t, "entry.control.eptp-walk", FAILS_CONTROL,
			    SET(ept_pointer, (eptp & ~0x38ull) | walk << 3));
	ROW(t, "entry.control.eptp-dirty", cap_have("EPT accessed and dirty flags") ? ENTERS : FAILS_CONTROL,
	    SET(ept_pointer, eptp | 0x40));
	/* 7: supervisor shadow-stack control, where IA32_VMX_EPT_VPID_CAP has bit 23. */
	for (u32 bit = vmx_caps.ept_vpid >> 23 & 1 ? 8 : 7; bit < 12; bit++)
		ROW(t, "entry.control.eptp-reserved", FAILS_CONTROL, SET(ept_pointer, eptp | 1u << bit));
	rows_wide(t, WHERE("entry.control.eptp-width"), VMCS_ept_pointer, eptp);
}

ENTRY(control_no_ept, .sdm = "VM-Execution Control Fields", .needs = TIMER, .opt = OPT_ept | OPT_unrestricted,
      .rules = "entry.control.eptp-unused entry.control.unrestricted-needs-ept")
{
	vmwrite(VMCS_secondary_proc_based_controls, 0);
	ROW(t, "entry.control.eptp-unused", ENTERS, ON2(0), SET(ept_pointer, ~0ull));
	ROW(t, "entry.control.eptp-unused", ENTERS, ON2(0), SET(ept_pointer, 0));
	ROW(t, "entry.control.unrestricted-needs-ept", FAILS_CONTROL, ON2(PROC2_unrestricted_guest));
}

ENTRY(control_tsc_multiplier, .sdm = "VM-Execution Control Fields", .needs = TIMER "; use TSC scaling",
      .rules = "entry.control.tsc-multiplier-zero entry.control.tsc-multiplier-unused")
{
	vmwrite(VMCS_secondary_proc_based_controls, 0);
	ROW(t, "entry.control.tsc-multiplier-unused", ENTERS, ON2(0), SET(tsc_multiplier, 0));
	ROW(t, "entry.control.tsc-multiplier-zero", FAILS_CONTROL, ON2(PROC2_use_tsc_scaling), SET(tsc_multiplier, 0));
	ROW(t, "entry.control.tsc-multiplier-zero", ENTERS, ON2(PROC2_use_tsc_scaling),
	    SET(tsc_multiplier, 1ull << 48));
}

ENTRY_OF(control_pml, OPT_ept, NULL, .sdm = "VM-Execution Control Fields", .needs = TIMER "; enable PML",
	 .opt = OPT_ept, .rules = "entry.control.pml-needs-ept entry.control.pml-aligned entry.control.pml-width")
{
	u64 page = (ulong)page_alloc();

	vmwrite(VMCS_pml_address, page);
	vmwrite(VMCS_pml_index, 511);
	ROW(t, "entry.control.pml-needs-ept", FAILS_CONTROL, ON2(PROC2_enable_pml), CLR2(PROC2_enable_ept));
	vmwrite_bits(VMCS_secondary_proc_based_controls, 0, PROC2_enable_pml);
	ROW_AS_IS(t, "entry.control.pml-aligned", ENTERS);
	rows_unaligned(t, WHERE("entry.control.pml-aligned"), VMCS_pml_address, page, PAGE_SIZE);
	rows_wide(t, WHERE("entry.control.pml-width"), VMCS_pml_address, page);
}

ENTRY_OF(control_vmfunc, OPT_ept, NULL, .sdm = "VM-Execution Control Fields", .needs = TIMER "; enable VM functions",
	 .opt = OPT_ept, .rules = "entry.control.vmfunc-reserved")
{
	vmwrite(VMCS_vm_function_controls, 0);
	vmwrite_bits(VMCS_secondary_proc_based_controls, 0, PROC2_enable_vm_functions);
	ROW_AS_IS(t, "entry.control.vmfunc-reserved", ENTERS);
	for (u32 bit = 0; bit < 64; bit++)
		if (!(msr_read(0x491) >> bit & 1))
			ROW(t, "entry.control.vmfunc-reserved", FAILS_CONTROL, SET(vm_function_controls, 1ull << bit));
}

ENTRY(control_shadowing, .sdm = "VM-Execution Control Fields", .needs = TIMER "; VMCS shadowing",
      .rules = "entry.control.shadow-bitmap-aligned entry.control.shadow-bitmap-width")
{
	u64 page = (ulong)page_alloc();

	vmwrite(VMCS_vmread_bitmap_address, page);
	vmwrite(VMCS_vmwrite_bitmap_address, page);
	vmwrite(VMCS_secondary_proc_based_controls, PROC2_vmcs_shadowing);
	vmwrite_bits(VMCS_primary_proc_based_controls, 0, (u32)PROC_activate_secondary_controls);
	ROW_AS_IS(t, "entry.control.shadow-bitmap-aligned", ENTERS);
	for (u32 field = VMCS_vmread_bitmap_address; field <= VMCS_vmwrite_bitmap_address; field += 2) {
		rows_unaligned(t, WHERE("entry.control.shadow-bitmap-aligned"), field, page, PAGE_SIZE);
		rows_wide(t, WHERE("entry.control.shadow-bitmap-width"), field, page);
	}
}
