// SPDX-License-Identifier: BSD-2-Clause
#include "unit/check_good.h"
#include "unit/unit.h"

static void make_caps(struct vmx_caps *c, bool cpu64)
{
	static const u32 must[CTL_WORDS] = { 0x16, 0x4006172, 0, 0x36dfb, 0x11fb };

	for (u32 w = 0; w < CTL_WORDS; w++) {
		u64 may = must[w];

		for (u32 i = 0; i < ctl_table_count; i++)
			if (ctl_table[i].word == w && ctl_table[i].nested != NESTED_HIDE)
				may |= 1u << ctl_table[i].bit;
		c->ctl[w] = may << 32 | must[w];
	}
	if (!cpu64) {
		c->ctl[CTL_VMEXIT] &= ~((u64)VMEXIT_host_address_space_size << 32);
		c->ctl[CTL_VMENTRY] &= ~((u64)VMENTRY_ia32e_mode_guest << 32);
	}
	c->basic = 0x12345;
	c->misc = 4 << 16 | 7 << 6;
	c->cr0_fixed0 = 0x80000021;
	c->cr0_fixed1 = 0xffffffff;
	c->cr4_fixed0 = 0x2000;
	c->cr4_fixed1 = 0xb727ff;
	c->ept_vpid = 0x4041ull; /* execute-only, 4 levels, WB */
}

static void make_controls(struct good *g, bool host64, bool guest64)
{
	u64 *v = g->v;

	v[VI_pin_based_controls] = 0x16 | PIN_external_interrupt_exiting | PIN_nmi_exiting | PIN_virtual_nmis |
				   PIN_activate_preemption_timer;
	v[VI_primary_proc_based_controls] = 0x4006172 | PROC_use_io_bitmaps | PROC_use_msr_bitmaps |
					    PROC_use_tpr_shadow | PROC_nmi_window_exiting |
					    (u32)PROC_activate_secondary_controls;
	v[VI_secondary_proc_based_controls] = PROC2_virtualize_apic_accesses | PROC2_enable_ept | PROC2_enable_vpid |
					      PROC2_apic_register_virtualization | PROC2_use_tsc_scaling;
	v[VI_cr3_target_count] = 4;
	v[VI_io_bitmap_a_address] = 0x10000;
	v[VI_io_bitmap_b_address] = 0x11000;
	v[VI_msr_bitmap_address] = 0x12000;
	v[VI_virtual_apic_address] = 0x13000;
	v[VI_apic_access_address] = 0x14000;
	v[VI_tpr_threshold] = 15;
	v[VI_vpid] = 1;
	v[VI_ept_pointer] = 0x1501e;
	v[VI_tsc_multiplier] = 1;
	v[VI_vm_exit_controls] = 0x36dfb | VMEXIT_save_preemption_timer | VMEXIT_load_ia32_efer | VMEXIT_load_ia32_pat |
				 VMEXIT_load_perf_global_ctrl | (host64 ? VMEXIT_host_address_space_size : 0);
	v[VI_vm_entry_controls] = 0x11fb | VMENTRY_load_debug_controls | VMENTRY_load_ia32_efer |
				  VMENTRY_load_ia32_pat | VMENTRY_load_perf_global_ctrl |
				  (guest64 ? VMENTRY_ia32e_mode_guest : 0);
	v[VI_vm_exit_msr_store_count] = v[VI_vm_exit_msr_load_count] = v[VI_vm_entry_msr_load_count] = 2;
	v[VI_vm_exit_msr_store_address] = 0x16010;
	v[VI_vm_exit_msr_load_address] = 0x17020;
	v[VI_vm_entry_msr_load_address] = 0x18030;
	v[VI_vm_entry_interruption_info] = 0x80000b0e; /* #PF with error code */
	v[VI_vm_entry_exception_error_code] = 0xffff;
}

static void make_host(u64 *v, bool host64)
{
	u64 high = host64 ? 0xffff800000000000ull : 0;

	v[VI_host_cr0] = 0x80010031;
	v[VI_host_cr3] = 0x20000;
	v[VI_host_cr4] = 0x2020;
	v[VI_host_ia32_efer] = host64 ? 0xd01 : 0x801;
	v[VI_host_ia32_pat] = 0x0007040600070406ull;
	v[VI_host_cs_selector] = 0x8;
	v[VI_host_ss_selector] = 0x10;
	v[VI_host_tr_selector] = 0x18;
	v[VI_host_tr_base] = v[VI_host_gs_base] = v[VI_host_gdtr_base] = v[VI_host_idtr_base] = high + 0x21000;
	v[VI_host_sysenter_eip] = v[VI_host_sysenter_esp] = v[VI_host_rip] = high + 0x22000;
}

static void make_guest(u64 *v, bool guest64)
{
	u64 high = guest64 ? 0xffff800000000000ull : 0;

	v[VI_guest_cr0] = 0x80010031;
	v[VI_guest_cr3] = 0x30000;
	v[VI_guest_cr4] = 0x2020;
	v[VI_guest_dr7] = 0x400;
	v[VI_guest_ia32_efer] = guest64 ? 0xd01 : 0x801;
	v[VI_guest_ia32_pat] = 0x0705040100060406ull;
	v[VI_guest_cs_selector] = 0x8;
	v[VI_guest_ss_selector] = v[VI_guest_ds_selector] = v[VI_guest_es_selector] = 0x10;
	v[VI_guest_tr_selector] = 0x18;
	v[VI_guest_cs_access_rights] = guest64 ? 0xa09b : 0xc09b;
	v[VI_guest_ss_access_rights] = v[VI_guest_ds_access_rights] = v[VI_guest_es_access_rights] = 0xc093;
	v[VI_guest_cs_limit] = v[VI_guest_ss_limit] = v[VI_guest_ds_limit] = v[VI_guest_es_limit] = 0xffffffff;
	v[VI_guest_fs_access_rights] = 0x1c093;
	v[VI_guest_gs_access_rights] = 0x4093;
	v[VI_guest_gs_limit] = 0xfffff;
	v[VI_guest_tr_access_rights] = 0x8b;
	v[VI_guest_tr_limit] = 0x67;
	v[VI_guest_ldtr_access_rights] = 0x82;
	v[VI_guest_ldtr_limit] = 0xfff;
	v[VI_guest_gs_base] = v[VI_guest_tr_base] = v[VI_guest_ldtr_base] = high + 0x31000;
	v[VI_guest_gdtr_base] = v[VI_guest_idtr_base] = high + 0x32000;
	v[VI_guest_gdtr_limit] = v[VI_guest_idtr_limit] = 0xffff;
	v[VI_guest_rip] = v[VI_guest_sysenter_eip] = v[VI_guest_sysenter_esp] = high + 0x33000;
	v[VI_guest_rflags] = 0x202;
	v[VI_vmcs_link_pointer] = ~0ull;
}

static void make_v86(u64 *v)
{
	for (u32 i = 0; i < 6; i++) { /* ES, CS, SS, DS, FS, GS: the fields are in this order */
		v[VI_guest_es_selector + i] = 0x1230 + i;
		v[VI_guest_es_base + i] = (0x1230 + i) << 4;
		v[VI_guest_es_limit + i] = 0xffff;
		v[VI_guest_es_access_rights + i] = 0xf3;
	}
	v[VI_guest_rflags] = 0x20202;
	v[VI_guest_rip] = 0x1234;
}

void good_make(struct good *g, enum good_kind kind)
{
	bool host64 = kind == GOOD_64 || kind == GOOD_V86, guest64 = kind == GOOD_64, cpu64 = kind != GOOD_32;

	memset(g, 0, sizeof(*g));
	make_caps(&g->caps, cpu64);
	make_controls(g, host64, guest64);
	make_host(g->v, host64);
	make_guest(g->v, guest64);
	if (kind == GOOD_V86)
		make_v86(g->v);
	g->env = (struct check_env){ .caps = &g->caps,
				     .maxphyaddr = cpu64 ? 39 : 36,
				     .cpu64 = cpu64,
				     .l1_lma = host64,
				     .efer_valid = cpu64 ? 0xd01 : 0x801,
				     .cr4_valid = 0xb7ffff,
				     .perf_global_reserved = 0xfffffff8fffffff0ull,
				     .debugctl_reserved = ~0x3ull };
}

struct check_result good_check(const struct good *g)
{
	struct check_result r = check_controls(g->v, &g->env);

	if (r.kind == CHECK_OK)
		r = check_host(g->v, &g->env);
	if (r.kind == CHECK_OK)
		r = check_guest(g->v, &g->env);
	return r;
}
