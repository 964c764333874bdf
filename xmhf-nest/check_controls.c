// SPDX-License-Identifier: BSD-2-Clause
/* SDM: "Checks on VMX Controls" */
#include "xmhf-nest/check_impl.h"

const char *const check_rule_name[RULE_COUNT] = {
#define RULE(name) [RULE_##name] = #name,
	CHECK_RULES_CONTROLS(RULE) CHECK_RULES_HOST(RULE) CHECK_RULES_GUEST(RULE)
#undef RULE
};

/* These controls have rules, which nobody needs while they are hidden. */
enum {
#define CONTROL(word, bit, name, text, nested) HIDE_##word##_##name = NESTED_##nested == NESTED_HIDE,
#include "x86/vmx_controls.def"
#undef CONTROL
};
#define HIDDEN(name) _Static_assert(HIDE_##name, "not hidden any more: its rules are missing")
HIDDEN(PIN_process_posted_interrupts);
HIDDEN(PROC_activate_tertiary_controls);
HIDDEN(PROC2_enable_vm_functions);
HIDDEN(PROC2_vmcs_shadowing);
HIDDEN(PROC2_enable_pml);
HIDDEN(PROC2_ept_violation_ve);
HIDDEN(PROC2_pasid_translation);
HIDDEN(PROC2_mode_based_execute_control);
HIDDEN(PROC2_sub_page_write_permissions);
HIDDEN(PROC2_intel_pt_guest_physical);
HIDDEN(VMEXIT_clear_uinv);
HIDDEN(VMEXIT_load_cet_state);
HIDDEN(VMEXIT_load_pkrs);
HIDDEN(VMEXIT_activate_secondary_controls);
HIDDEN(VMENTRY_entry_to_smm);
HIDDEN(VMENTRY_deactivate_dual_monitor);
HIDDEN(VMENTRY_load_ia32_bndcfgs);
HIDDEN(VMENTRY_load_ia32_rtit_ctl);
HIDDEN(VMENTRY_load_uinv);
HIDDEN(VMENTRY_load_cet_state);
HIDDEN(VMENTRY_load_guest_lbr_ctl);
HIDDEN(VMENTRY_load_pkrs);

#define MISC_INJECT_LENGTH_0 (1ull << 30)
#define BASIC_ANY_ERROR_CODE (1ull << 56) /* hardware exceptions with or without error code, whatever the vector */
/* #DF, #TS, #NP, #SS, #GP, #PF, #AC; #CP is one only where there is CET */
#define VECTORS_WITH_CODE 0x27d00u
#define VECTOR_CP 0x200000u

static bool ctl_good(const struct check_env *e, enum ctl_word w, u32 value)
{
	u32 must = (u32)e->caps->ctl[w], may = (u32)(e->caps->ctl[w] >> 32);

	return ((value & may) | must) == value;
}

static bool page_good(u64 address, u64 beyond)
{
	return !(address & (beyond | 0xfff));
}

/* SDM: "Extended-Page-Table Pointer (EPTP)" */
static enum check_rule check_eptp(u64 eptp, u64 cap, u64 beyond)
{
	u32 type = eptp & 7;

	CHECK(eptp_type, (type == 6 && cap & EPT_CAP_WB) || (type == 0 && cap & EPT_CAP_UC));
	CHECK(eptp_walk, (eptp >> 3 & 7) == 3);
	CHECK(eptp_dirty, !(eptp & 0x40) || cap & EPT_CAP_AD);
	CHECK(eptp_reserved, !(eptp & (beyond | 0xf80)));
	return RULE_none;
}

/* Everything about the local APIC's virtualisation. */
static enum check_rule check_tpr_shadow(const u64 v[VI_COUNT], u32 proc2, u64 beyond)
{
	CHECK(virtual_apic_page, page_good(v[VI_virtual_apic_address], beyond));
	CHECK(tpr_threshold, proc2 & PROC2_virtual_interrupt_delivery || !(v[VI_tpr_threshold] & 0xfffffff0));
	return RULE_none;
}

/* SDM: "VM-Execution Control Fields" */
static enum check_rule check_execution(const u64 v[VI_COUNT], const struct check_env *e, u64 beyond)
{
	u32 pin = (u32)v[VI_pin_based_controls], proc = (u32)v[VI_primary_proc_based_controls], proc2 = check_proc2(v);
	const u32 apic =
		PROC2_virtualize_x2apic_mode | PROC2_apic_register_virtualization | PROC2_virtual_interrupt_delivery;

	CHECK(pin_reserved, ctl_good(e, CTL_PIN, pin));
	CHECK(proc_reserved, ctl_good(e, CTL_PROC, proc));
	if (proc & (u32)PROC_activate_secondary_controls)
		CHECK(proc2_reserved, ctl_good(e, CTL_PROC2, proc2));
	CHECK(cr3_target_count, (u32)v[VI_cr3_target_count] <= ((u32)e->caps->misc >> 16 & 0x1ff));
	if (proc & PROC_use_io_bitmaps) {
		CHECK(io_bitmap_a, page_good(v[VI_io_bitmap_a_address], beyond));
		CHECK(io_bitmap_b, page_good(v[VI_io_bitmap_b_address], beyond));
	}
	if (proc & PROC_use_msr_bitmaps)
		CHECK(msr_bitmap, page_good(v[VI_msr_bitmap_address], beyond));
	if (proc & PROC_use_tpr_shadow)
		CHECK_ALL(check_tpr_shadow(v, proc2, beyond));
	CHECK(virtual_nmis, pin & PIN_nmi_exiting || !(pin & PIN_virtual_nmis));
	CHECK(nmi_window, pin & PIN_virtual_nmis || !(proc & PROC_nmi_window_exiting));
	if (!proc2)
		return RULE_none;
	if (proc2 & PROC2_virtualize_apic_accesses)
		CHECK(apic_access_page, page_good(v[VI_apic_access_address], beyond));
	if (proc2 & apic) {
		CHECK(without_tpr_shadow, proc & PROC_use_tpr_shadow);
		CHECK(x2apic_mode,
		      !(proc2 & PROC2_virtualize_x2apic_mode) || !(proc2 & PROC2_virtualize_apic_accesses));
		CHECK(interrupt_delivery,
		      !(proc2 & PROC2_virtual_interrupt_delivery) || pin & PIN_external_interrupt_exiting);
	}
	CHECK(vpid_zero, !(proc2 & PROC2_enable_vpid) || (u16)v[VI_vpid]);
	if (proc2 & PROC2_enable_ept)
		CHECK_ALL(check_eptp(v[VI_ept_pointer], e->caps->ept_vpid, beyond));
	else
		CHECK(unrestricted_ept, !(proc2 & PROC2_unrestricted_guest));
	CHECK(tsc_multiplier, !(proc2 & PROC2_use_tsc_scaling) || v[VI_tsc_multiplier]);
	return RULE_none;
}

/* The list's first and last byte. The sum doesn't wrap: the address has at most 52 bits, the size 36. */
static bool list_good(u64 address, u32 count, u64 beyond)
{
	return !(address & (beyond | 0xf)) && !((address + (u64)count * 16 - 1) & beyond);
}

/* SDM: "VM-Exit Control Fields" */
static enum check_rule check_exit(const u64 v[VI_COUNT], const struct check_env *e, u64 beyond)
{
	u32 exit = (u32)v[VI_vm_exit_controls], stores = (u32)v[VI_vm_exit_msr_store_count];
	u32 loads = (u32)v[VI_vm_exit_msr_load_count];

	CHECK(exit_reserved, ctl_good(e, CTL_VMEXIT, exit));
	CHECK(exit_save_timer,
	      !(exit & VMEXIT_save_preemption_timer) || v[VI_pin_based_controls] & PIN_activate_preemption_timer);
	if (stores)
		CHECK(exit_store_list, list_good(v[VI_vm_exit_msr_store_address], stores, beyond));
	if (loads)
		CHECK(exit_load_list, list_good(v[VI_vm_exit_msr_load_address], loads, beyond));
	return RULE_none;
}

static bool vector_good(u32 type, u32 vector)
{
	switch (type) {
	case EVENT_NMI:
		return vector == VEC_NMI;
	case EVENT_EXCEPTION:
		return vector <= 31;
	case EVENT_OTHER:
		return vector == 0;
	default:
		return true;
	}
}

static bool deliver_code_good(const u64 v[VI_COUNT], const struct check_env *e, u32 info)
{
	bool deliver = info & 0x800;
	u32 with_code = VECTORS_WITH_CODE | (e->cr4_valid & CR4_CET ? VECTOR_CP : 0);
	/* Real mode pushes no error codes. */
	bool protected_mode = !(check_proc2(v) & PROC2_unrestricted_guest) || v[VI_guest_cr0] & CR0_PE;
	bool may = EVENT_TYPE(info) == EVENT_EXCEPTION && protected_mode;

	if (may && e->caps->basic & BASIC_ANY_ERROR_CODE)
		return true;
	return deliver == (may && with_code >> EVENT_VECTOR(info) & 1);
}

/* SDM: "VM-Entry Control Fields", the part about event injection. Out of line: rare, and it wants many registers. */
static __attribute__((noinline)) enum check_rule check_injection(const u64 v[VI_COUNT], const struct check_env *e,
								 u32 info)
{
	u32 type = EVENT_TYPE(info), length = (u32)v[VI_vm_entry_instruction_length];

	CHECK(inject_type,
	      type != 1 && (type != EVENT_OTHER || ctl_allowed(e->caps, CTL_PROC, PROC_monitor_trap_flag)));
	CHECK(inject_vector, vector_good(type, EVENT_VECTOR(info)));
	CHECK(inject_deliver_code, deliver_code_good(v, e, info));
	CHECK(inject_reserved, !(info & 0x7ffff000));
	CHECK(inject_error_code, !(info & 0x800) || !(v[VI_vm_entry_exception_error_code] & 0xffff0000));
	if (type >= EVENT_SOFTWARE_INTERRUPT && type <= EVENT_SOFTWARE_EXCEPTION)
		CHECK(inject_length, length <= 15 && (length || e->caps->misc & MISC_INJECT_LENGTH_0));
	return RULE_none;
}

static enum check_rule check_entry(const u64 v[VI_COUNT], const struct check_env *e, u64 beyond)
{
	u32 info = (u32)v[VI_vm_entry_interruption_info], loads = (u32)v[VI_vm_entry_msr_load_count];

	CHECK(entry_reserved, ctl_good(e, CTL_VMENTRY, (u32)v[VI_vm_entry_controls]));
	if (info & EVENT_VALID)
		CHECK_ALL(check_injection(v, e, info));
	if (loads)
		CHECK(entry_load_list, list_good(v[VI_vm_entry_msr_load_address], loads, beyond));
	return RULE_none;
}

static enum check_rule controls(const u64 v[VI_COUNT], const struct check_env *e)
{
	u64 beyond = check_beyond(e);

	CHECK_ALL(check_execution(v, e, beyond));
	CHECK_ALL(check_exit(v, e, beyond));
	return check_entry(v, e, beyond);
}

struct check_result check_controls(const u64 v[VI_COUNT], const struct check_env *e)
{
	return check_done(controls(v, e), CHECK_CONTROLS);
}
