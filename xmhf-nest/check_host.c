// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/check_impl.h"

/* SDM: "Checks on Host Control Registers, MSRs, and SSP" */
static enum check_rule check_registers(const u64 v[VI_COUNT], const struct check_env *e)
{
	u32 exit = (u32)v[VI_vm_exit_controls];
	u64 cr0 = v[VI_host_cr0], cr4 = v[VI_host_cr4], efer = v[VI_host_ia32_efer];
	/* VM exits don't change NW and CD. */
	const u64 unchecked = CR0_NW | CR0_CD;

	CHECK(host_cr0, check_fixed(cr0, e->caps->cr0_fixed0, e->caps->cr0_fixed1 | unchecked));
	CHECK(host_cr4, check_fixed(cr4, e->caps->cr4_fixed0, e->caps->cr4_fixed1 & e->cr4_valid));
	CHECK(host_cet_wp, !(cr4 & CR4_CET) || cr0 & CR0_WP);
	if (e->cpu64) {
		CHECK(host_cr3, !(v[VI_host_cr3] & (~0ull << e->maxphyaddr)));
		CHECK(host_sysenter,
		      !(check_noncanonical(v[VI_host_sysenter_esp]) | check_noncanonical(v[VI_host_sysenter_eip])));
	}
	if (exit & VMEXIT_load_perf_global_ctrl)
		CHECK(host_perf_global, !(v[VI_host_ia32_perf_global_ctrl] & e->perf_global_reserved));
	if (exit & VMEXIT_load_ia32_pat)
		CHECK(host_pat, check_pat(v[VI_host_ia32_pat]));
	if (exit & VMEXIT_load_ia32_efer) {
		u64 mode = exit & VMEXIT_host_address_space_size ? EFER_LMA | EFER_LME : 0;

		CHECK(host_efer_reserved, !(efer & ~e->efer_valid));
		CHECK(host_efer_mode, (efer & (EFER_LMA | EFER_LME)) == mode);
	}
	return RULE_none;
}

/* SDM: "Checks on Host Segment and Descriptor-Table Registers" */
static enum check_rule check_segments(const u64 v[VI_COUNT], const struct check_env *e)
{
	u64 all = v[VI_host_cs_selector] | v[VI_host_ss_selector] | v[VI_host_ds_selector] | v[VI_host_es_selector] |
		  v[VI_host_fs_selector] | v[VI_host_gs_selector] | v[VI_host_tr_selector];

	CHECK(host_selectors, !(all & 7));
	CHECK(host_cs_null, (u16)v[VI_host_cs_selector]);
	CHECK(host_tr_null, (u16)v[VI_host_tr_selector]);
	CHECK(host_ss_null, v[VI_vm_exit_controls] & VMEXIT_host_address_space_size || (u16)v[VI_host_ss_selector]);
	if (e->cpu64)
		CHECK(host_bases, !(check_noncanonical(v[VI_host_fs_base]) | check_noncanonical(v[VI_host_gs_base]) |
				    check_noncanonical(v[VI_host_gdtr_base]) |
				    check_noncanonical(v[VI_host_idtr_base]) | check_noncanonical(v[VI_host_tr_base])));
	return RULE_none;
}

/* SDM: "Checks Related to Address-Space Size" */
static enum check_rule check_size(const u64 v[VI_COUNT], const struct check_env *e)
{
	bool host64 = v[VI_vm_exit_controls] & VMEXIT_host_address_space_size;
	bool guest64 = v[VI_vm_entry_controls] & VMENTRY_ia32e_mode_guest;
	u64 cr4 = v[VI_host_cr4], rip = v[VI_host_rip];

	if (!e->cpu64) {
		CHECK(size_no_intel64, !host64 && !guest64);
		return RULE_none;
	}
	if (e->l1_lma)
		CHECK(size_l1_is_64, host64);
	else
		CHECK(size_l1_is_32, !host64 && !guest64);
	if (host64) {
		CHECK(size_pae, cr4 & CR4_PAE);
		CHECK(size_rip_64, !check_noncanonical(rip));
	} else { /* a 64-bit guest is ruled out already */
		CHECK(size_pcide, !(cr4 & CR4_PCIDE));
		CHECK(size_rip_32, !(rip >> 32));
	}
	return RULE_none;
}

static enum check_rule host(const u64 v[VI_COUNT], const struct check_env *e)
{
	CHECK_ALL(check_registers(v, e));
	CHECK_ALL(check_segments(v, e));
	return check_size(v, e);
}

struct check_result check_host(const u64 v[VI_COUNT], const struct check_env *e)
{
	return check_done(host(v, e), CHECK_HOST);
}
