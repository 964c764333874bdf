// SPDX-License-Identifier: BSD-2-Clause
/* SDM: "Checks on the Guest State Area"; segment registers are in check_segments.c. */
#include "x86/seg.h"
#include "xmhf-nest/check_impl.h"

#define QUALIFICATION_LINK_POINTER 4

#define RFLAGS_TF 0x100u
#define DEBUGCTL_BTF 0x2u

#define ACTIVITY_HLT 1u
#define ACTIVITY_SHUTDOWN 2u
#define ACTIVITY_WAIT_SIPI 3u

/* SDM: "Format of Interruptibility State" */
#define BLOCKED_STI 0x1u
#define BLOCKED_MOV_SS 0x2u
#define BLOCKED_SMI 0x4u
#define BLOCKED_NMI 0x8u
#define ENCLAVE 0x10u

/* SDM: "Format of Pending-Debug-Exceptions" */
#define PENDING_BS 0x4000u
#define PENDING_RTM 0x10000u
#define PENDING_ENABLED 0x1000u

#define VEC_MC 18

/* SDM: "Checks on Guest Control Registers, Debug Registers, and MSRs" */
static enum check_rule check_control_registers(const u64 v[VI_COUNT], const struct check_env *e)
{
	u64 cr0 = v[VI_guest_cr0], cr4 = v[VI_guest_cr4];
	bool ia32e = v[VI_vm_entry_controls] & VMENTRY_ia32e_mode_guest;
	/* VM entries don't change NW and CD. */
	const u64 unchanged = CR0_NW | CR0_CD;
	u64 unchecked = unchanged | (check_proc2(v) & PROC2_unrestricted_guest ? CR0_PE | CR0_PG : 0);

	CHECK(guest_cr0, check_fixed(cr0, e->caps->cr0_fixed0 & ~unchecked, e->caps->cr0_fixed1 | unchanged));
	CHECK(guest_pg_pe, !(cr0 & CR0_PG) || cr0 & CR0_PE);
	CHECK(guest_cr4, check_fixed(cr4, e->caps->cr4_fixed0, e->caps->cr4_fixed1 & e->cr4_valid));
	CHECK(guest_cet_wp, !(cr4 & CR4_CET) || cr0 & CR0_WP);
	if (v[VI_vm_entry_controls] & VMENTRY_load_debug_controls)
		CHECK(guest_debugctl, !(v[VI_guest_ia32_debugctl] & e->debugctl_reserved));
	if (!e->cpu64)
		return RULE_none;
	if (ia32e) {
		CHECK(guest_ia32e_pg, cr0 & CR0_PG);
		CHECK(guest_ia32e_pae, cr4 & CR4_PAE);
	} else {
		CHECK(guest_pcide, !(cr4 & CR4_PCIDE));
	}
	CHECK(guest_cr3, !(v[VI_guest_cr3] & (~0ull << e->maxphyaddr)));
	return RULE_none;
}

/* The same section's second half. */
static enum check_rule check_msrs(const u64 v[VI_COUNT], const struct check_env *e)
{
	u32 entry = (u32)v[VI_vm_entry_controls];
	u64 efer = v[VI_guest_ia32_efer];

	if (e->cpu64) {
		CHECK(guest_dr7, !(entry & VMENTRY_load_debug_controls) || !(v[VI_guest_dr7] >> 32));
		CHECK(guest_sysenter,
		      !(check_noncanonical(v[VI_guest_sysenter_esp]) | check_noncanonical(v[VI_guest_sysenter_eip])));
	}
	if (entry & VMENTRY_load_perf_global_ctrl)
		CHECK(guest_perf_global, !(v[VI_guest_ia32_perf_global_ctrl] & e->perf_global_reserved));
	if (entry & VMENTRY_load_ia32_pat)
		CHECK(guest_pat, check_pat(v[VI_guest_ia32_pat]));
	if (entry & VMENTRY_load_ia32_efer) {
		bool lma = efer & EFER_LMA, lme = efer & EFER_LME;

		CHECK(guest_efer_reserved, !(efer & ~e->efer_valid));
		CHECK(guest_efer_lma, lma == !!(entry & VMENTRY_ia32e_mode_guest));
		CHECK(guest_efer_lme, lme == lma || !(v[VI_guest_cr0] & CR0_PG));
	}
	return RULE_none;
}

/* SDM: "Checks on Guest Descriptor-Table Registers", "Checks on Guest RIP, RFLAGS, and SSP" */
static enum check_rule check_tables_rip(const u64 v[VI_COUNT], const struct check_env *e, u32 info)
{
	bool ia32e = v[VI_vm_entry_controls] & VMENTRY_ia32e_mode_guest;
	u64 rip = v[VI_guest_rip], rflags = v[VI_guest_rflags];

	if (e->cpu64)
		CHECK(table_base,
		      !(check_noncanonical(v[VI_guest_gdtr_base]) | check_noncanonical(v[VI_guest_idtr_base])));
	CHECK(table_limit, !((v[VI_guest_gdtr_limit] | v[VI_guest_idtr_limit]) & 0xffff0000));
	if (e->cpu64) {
		if (ia32e && v[VI_guest_cs_access_rights] & 0x2000)
			/* Not the same as canonical: bit 47 may differ. */
			CHECK(rip_64, rip >> 48 == 0 || rip >> 48 == 0xffff);
		else
			CHECK(rip_32, !(rip >> 32));
	}
	CHECK(rflags_reserved, (rflags & 0xffffffffffc0802aull) == RFLAGS_FIXED);
	CHECK(rflags_vm, !(rflags & 0x20000) || (!ia32e && v[VI_guest_cr0] & CR0_PE));
	if (info & EVENT_VALID)
		CHECK(rflags_if, EVENT_TYPE(info) != EVENT_INTERRUPT || rflags & RFLAGS_IF);
	return RULE_none;
}

/* An event that isn't blocked in an activity state other than active. */
static bool event_wakes(u32 activity, u32 info)
{
	u32 type = EVENT_TYPE(info), vector = EVENT_VECTOR(info);
	bool machine_check = type == EVENT_EXCEPTION && vector == VEC_MC;

	if (activity == ACTIVITY_WAIT_SIPI)
		return false;
	if (type == EVENT_NMI || machine_check)
		return true;
	if (activity == ACTIVITY_SHUTDOWN)
		return false;
	return type == EVENT_INTERRUPT || (type == EVENT_EXCEPTION && vector == VEC_DB) ||
	       (type == EVENT_OTHER && vector == 0);
}

/* SDM: "Checks on Guest Non-Register State", activity state */
static enum check_rule check_activity(const u64 v[VI_COUNT], const struct check_env *e, u32 info)
{
	u32 activity = (u32)v[VI_guest_activity_state];

	if (!activity)
		return RULE_none;
	/* IA32_VMX_MISC has a bit for each: 6 HLT, 7 shutdown, 8 wait-for-SIPI. */
	CHECK(activity_supported, activity <= ACTIVITY_WAIT_SIPI && e->caps->misc >> (5 + activity) & 1);
	CHECK(activity_hlt_dpl, activity != ACTIVITY_HLT || !(v[VI_guest_ss_access_rights] & 0x60));
	CHECK(activity_blocking, !(v[VI_guest_interruptibility_state] & (BLOCKED_STI | BLOCKED_MOV_SS)));
	CHECK(activity_event, !(info & EVENT_VALID) || event_wakes(activity, info));
	return RULE_none;
}

/* ... interruptibility state */
static enum check_rule check_blocking(const u64 v[VI_COUNT], const struct check_env *e, u32 info)
{
	u32 blocked = (u32)v[VI_guest_interruptibility_state];
	u32 event = info & EVENT_VALID ? EVENT_TYPE(info) : EVENT_OTHER;

	if (!blocked)
		return RULE_none;
	CHECK(block_reserved, !(blocked & 0xffffffe0));
	CHECK(block_sti_mov_ss, !(blocked & BLOCKED_STI) || !(blocked & BLOCKED_MOV_SS));
	CHECK(block_sti_if, !(blocked & BLOCKED_STI) || v[VI_guest_rflags] & RFLAGS_IF);
	CHECK(block_interrupt, event != EVENT_INTERRUPT || !(blocked & (BLOCKED_STI | BLOCKED_MOV_SS)));
	/* With blocking by STI an NMI may be injected: refusing that is a choice of the CPU. */
	CHECK(block_nmi_mov_ss, event != EVENT_NMI || !(blocked & BLOCKED_MOV_SS));
	/* L1 is never in SMM. */
	CHECK(block_smi, !(blocked & BLOCKED_SMI));
	CHECK(block_virtual_nmi,
	      event != EVENT_NMI || !(blocked & BLOCKED_NMI) || !(v[VI_pin_based_controls] & PIN_virtual_nmis));
	CHECK(block_enclave, !(blocked & ENCLAVE) || (e->sgx && !(blocked & BLOCKED_MOV_SS)));
	return RULE_none;
}

/* ... pending debug exceptions */
static enum check_rule check_pending(const u64 v[VI_COUNT], const struct check_env *e)
{
	u64 pending = v[VI_guest_pending_debug_exceptions];
	u32 blocked = (u32)v[VI_guest_interruptibility_state];

	CHECK(debug_reserved, !(pending & 0xfffffffffffeaff0ull));
	if (blocked & (BLOCKED_STI | BLOCKED_MOV_SS) || v[VI_guest_activity_state] == ACTIVITY_HLT) {
		bool step = v[VI_guest_rflags] & RFLAGS_TF && !(v[VI_guest_ia32_debugctl] & DEBUGCTL_BTF);

		CHECK(debug_bs_set, !step || pending & PENDING_BS);
		CHECK(debug_bs_clear, step || !(pending & PENDING_BS));
	}
	if (pending & PENDING_RTM)
		CHECK(debug_rtm, e->rtm && pending == (PENDING_RTM | PENDING_ENABLED) && !(blocked & BLOCKED_MOV_SS));
	return RULE_none;
}

/* ... link pointer */
static enum check_rule check_link(const u64 v[VI_COUNT], const struct check_env *e)
{
	u64 link = v[VI_vmcs_link_pointer];

	if (link == ~0ull)
		return RULE_none;
	CHECK(link_aligned, !(link & 0xfff));
	CHECK(link_width, !(link & check_beyond(e)));
	return RULE_none;
}

static enum check_rule guest(const u64 v[VI_COUNT], const struct check_env *e)
{
	u32 info = (u32)v[VI_vm_entry_interruption_info];

	CHECK_ALL(check_control_registers(v, e));
	CHECK_ALL(check_msrs(v, e));
	CHECK_ALL(check_guest_segments(v, e));
	CHECK_ALL(check_tables_rip(v, e, info));
	CHECK_ALL(check_activity(v, e, info));
	CHECK_ALL(check_blocking(v, e, info));
	return check_pending(v, e);
}

struct check_result check_guest(const u64 v[VI_COUNT], const struct check_env *e)
{
	struct check_result r = check_done(guest(v, e), CHECK_GUEST);

	if (r.kind == CHECK_OK) {
		r = check_done(check_link(v, e), CHECK_GUEST);
		r.qualification = r.kind == CHECK_OK ? 0 : QUALIFICATION_LINK_POINTER;
	}
	return r;
}

bool check_pdpte(u64 pdpte, u32 maxphyaddr)
{
	return !(pdpte & 1) || !(pdpte & (0x1e6 | ~0ull << maxphyaddr));
}
