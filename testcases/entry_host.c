// SPDX-License-Identifier: BSD-2-Clause
/*
 * SDM: "Checks on Host Control Registers, MSRs, and SSP", "Checks on Host Segment and Descriptor-Table Registers", "Checks Related
 * to Address-Space Size". What is legal becomes L1's own state at the exit; only what L1 can live with is tried.
 */
#include "testcases/entry_rows.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define EFER_SCE 0x1ull
/* All but SCE, LME, LMA, NXE */
#define EFER_RESERVED 0xfffffffffffff2feull
#define HIGH_HALF 0xffff800000000000ull

TEST(entry, host_cr0, .sdm = "Checks on Host Control Registers, MSRs, and SSP", .needs = TIMER,
     .rules = "entry.host.cr0-fixed-1 entry.host.cr0-free")
{
	ulong cr0 = read_cr0();
	struct entry t;

	if (!entry_begin(&t, c, 0, NULL))
		return;
	for (u32 bit = 0; bit < 32; bit++)
		if (vmx_caps.cr0_fixed0 >> bit & 1)
			ROW(&t, "entry.host.cr0-fixed-1", FAILS_HOST, CLR(host_cr0, 1ull << bit));
	ROW(&t, "entry.host.cr0-free", ENTERS, FLIP(host_cr0, CR0_WP));
	ROW(&t, "entry.host.cr0-free", ENTERS, FLIP(host_cr0, CR0_MP));
	ROW(&t, "entry.host.cr0-free", ENTERS, FLIP(host_cr0, CR0_EM));
	ROW(&t, "entry.host.cr0-free", ENTERS, FLIP(host_cr0, CR0_TS));
	ROW(&t, "entry.host.cr0-free", ENTERS, FLIP(host_cr0, CR0_CD | CR0_NW));
	entry_done(&t);
	write_cr0(cr0);
}

ENTRY_OF(host_cr0_unrestricted, OPT_ept | OPT_unrestricted, NULL,
	 .sdm = "Checks on Host Control Registers, MSRs, and SSP", .needs = TIMER, .opt = OPT_ept | OPT_unrestricted,
	 .rules = "entry.host.cr0-pg-pe-unrestricted")
{
	ROW(t, "entry.host.cr0-pg-pe-unrestricted", FAILS_HOST, CLR(host_cr0, CR0_PG));
	ROW(t, "entry.host.cr0-pg-pe-unrestricted", FAILS_HOST, CLR(host_cr0, CR0_PE | (u64)CR0_PG));
	ROW(t, "entry.host.cr0-pg-pe-unrestricted", FAILS_HOST, CLR(host_cr0, CR0_PE));
}

ENTRY(host_cr4, .sdm = "Checks on Host Control Registers, MSRs, and SSP", .needs = TIMER,
      .rules = "entry.host.cr4-fixed-1 entry.host.cr4-fixed-0")
{
	for (u32 bit = 0; bit < 32; bit++) {
		if (vmx_caps.cr4_fixed0 >> bit & 1)
			ROW(t, "entry.host.cr4-fixed-1", FAILS_HOST, CLR(host_cr4, 1ull << bit));
		if (!(vmx_caps.cr4_fixed1 >> bit & 1))
			ROW(t, "entry.host.cr4-fixed-0", FAILS_HOST, ADD(host_cr4, 1ull << bit));
	}
}

ENTRY(host_selectors, .sdm = "Checks on Host Segment and Descriptor-Table Registers", .needs = TIMER,
      .rules = "entry.host.selector-rpl entry.host.selector-ti entry.host.cs-null entry.host.tr-null "
	       "entry.host.data-null "
	       "entry.host.selector-limit")
{
	/* ES, CS, SS, DS, FS, GS, TR */
	for (u32 field = VMCS_host_es_selector; field <= VMCS_host_tr_selector; field += 2) {
		for (u32 rpl = 1; rpl < 4; rpl++)
			ROW(t, "entry.host.selector-rpl", FAILS_HOST, { field, '|', rpl });
		ROW(t, "entry.host.selector-ti", FAILS_HOST, { field, '|', 4 });
	}
	ROW(t, "entry.host.cs-null", FAILS_HOST, SET(host_cs_selector, 0));
	ROW(t, "entry.host.tr-null", FAILS_HOST, SET(host_tr_selector, 0));
	ROW(t, "entry.host.data-null", ENTERS, SET(host_fs_selector, 0));
	ROW(t, "entry.host.data-null", ENTERS, SET(host_gs_selector, 0));
	ROW(t, "entry.host.selector-limit", ENTERS, SET(host_fs_selector, 0xfff8));
	ROW(t, "entry.host.selector-limit", ENTERS, SET(host_gs_selector, 0x7ff0));
}

TEST(entry, host_pat, .sdm = "Checks on Host Control Registers, MSRs, and SSP",
     .needs = TIMER "; load IA32_PAT at VM exit", .rules = "entry.host.pat entry.host.pat-unused")
{
	u64 pat = msr_read(MSR_PAT);
	struct entry t;

	if (!entry_begin(&t, c, 0, NULL))
		return;
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_load_ia32_pat);
	vmwrite(VMCS_host_ia32_pat, pat);
	for (u32 byte = 0; byte < 64; byte += 8) {
		static const u8 bad[] = { 2, 3, 8, 0x10, 0x20, 0x40, 0x80 }, good[] = { 0, 1, 4, 5, 6, 7 };
		u64 rest = pat & ~(0xffull << byte);

		for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
			ROW(&t, "entry.host.pat", FAILS_HOST, SET(host_ia32_pat, rest | (u64)bad[i] << byte));
		/* The upper four aren't in use. */
		for (u32 i = 0; i < ARRAY_SIZE(good) && byte >= 32; i++)
			ROW(&t, "entry.host.pat", ENTERS, SET(host_ia32_pat, rest | (u64)good[i] << byte));
	}
	ROW(&t, "entry.host.pat-unused", ENTERS, CLR(vm_exit_controls, VMEXIT_load_ia32_pat),
	    SET(host_ia32_pat, ~0ull));
	entry_done(&t);
	msr_write(MSR_PAT, pat);
}

TEST(entry, host_efer, .sdm = "Checks on Host Control Registers, MSRs, and SSP",
     .needs = TIMER "; load IA32_EFER at VM exit",
     .rules = "entry.host.efer-reserved entry.host.efer-lma entry.host.efer-lme entry.host.efer-unused")
{
	u64 efer = msr_read(MSR_EFER);
	struct entry t;

	if (!entry_begin(&t, c, 0, NULL))
		return;
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_load_ia32_efer);
	vmwrite(VMCS_host_ia32_efer, efer);
	for (u32 bit = 0; bit < 64; bit++)
		if (EFER_RESERVED >> bit & 1)
			ROW(&t, "entry.host.efer-reserved", FAILS_HOST, ADD(host_ia32_efer, 1ull << bit));
	ROW(&t, "entry.host.efer-reserved", ENTERS, FLIP(host_ia32_efer, EFER_SCE));
	ROW(&t, "entry.host.efer-lma", FAILS_HOST, FLIP(host_ia32_efer, EFER_LMA));
	ROW(&t, "entry.host.efer-lme", FAILS_HOST, FLIP(host_ia32_efer, EFER_LME));
	ROW(&t, "entry.host.efer-lma", FAILS_HOST, FLIP(host_ia32_efer, EFER_LMA | EFER_LME));
	ROW(&t, "entry.host.efer-unused", ENTERS, CLR(vm_exit_controls, VMEXIT_load_ia32_efer),
	    SET(host_ia32_efer, ~0ull));
	entry_done(&t);
	msr_write(MSR_EFER, efer);
}

TEST(entry, host_perf_global, .sdm = "Checks on Host Control Registers, MSRs, and SSP",
     .needs = TIMER "; load IA32_PERF_GLOBAL_CTRL at VM exit",
     .rules = "entry.host.perf-global entry.host.perf-global-unused")
{
	struct entry t;
	u64 kept = 0;

	/* Some hosts have the controls and not the MSR. */
	msr_read_try(MSR_PERF_GLOBAL_CTRL, &kept);
	if (!entry_begin(&t, c, 0, NULL))
		return;
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_load_perf_global_ctrl);
	vmwrite(VMCS_host_ia32_perf_global_ctrl, 0);
	ROW(&t, "entry.host.perf-global", ENTERS, SET(host_ia32_perf_global_ctrl, 0));
	ROW(&t, "entry.host.perf-global", FAILS_HOST, SET(host_ia32_perf_global_ctrl, 1ull << 63));
	ROW(&t, "entry.host.perf-global", FAILS_HOST, SET(host_ia32_perf_global_ctrl, 1ull << 31));
	ROW(&t, "entry.host.perf-global-unused", ENTERS, CLR(vm_exit_controls, VMEXIT_load_perf_global_ctrl),
	    SET(host_ia32_perf_global_ctrl, 1ull << 63));
	entry_done(&t);
	msr_write_try(MSR_PERF_GLOBAL_CTRL, kept);
}

#ifdef __x86_64__
/* Linear addresses on both sides of the hole of those that aren't canonical. */
static const u64 not_canonical[] = { 0x0000800000000000, 0xffff7fffffffffff, 1ull << 63, 0x0001000000000000 };
static const u64 canonical[] = { 0x00007fffffffffff, HIGH_HALF, ~0ull };

static void rows_canonical(struct entry *t, const struct where *w, u32 field, bool also_good)
{
	for (u32 i = 0; i < ARRAY_SIZE(not_canonical); i++) {
		const struct entry_change bad[] = { { field, '=', not_canonical[i] }, { 0, 0, 0 } };

		entry_row(t, w, FAILS_HOST, bad);
	}
	for (u32 i = 0; i < ARRAY_SIZE(canonical) && also_good; i++) {
		const struct entry_change good[] = { { field, '=', canonical[i] }, { 0, 0, 0 } };

		entry_row(t, w, ENTERS, good);
	}
}

ENTRY(host_cr0_high, .sdm = "Checks on Host Control Registers, MSRs, and SSP", .needs = TIMER, .flags = TEST_AMD64,
      .rules = "entry.host.cr0-fixed-0")
{
	for (u32 bit = 32; bit < 64; bit++)
		ROW(t, "entry.host.cr0-fixed-0", FAILS_HOST, ADD(host_cr0, 1ull << bit));
}

ENTRY(host_cr4_high, .sdm = "Checks on Host Control Registers, MSRs, and SSP", .needs = TIMER, .flags = TEST_AMD64,
      .rules = "entry.host.cr4-fixed-0")
{
	for (u32 bit = 32; bit < 64; bit++)
		if (!(vmx_caps.cr4_fixed1 >> bit & 1))
			ROW(t, "entry.host.cr4-fixed-0", FAILS_HOST, ADD(host_cr4, 1ull << bit));
}

ENTRY(host_cr3, .sdm = "Checks on Host Control Registers, MSRs, and SSP", .needs = TIMER, .flags = TEST_AMD64,
      .rules = "entry.host.cr3-width")
{
	/* Bits 62:61 have a meaning where there is linear-address masking. */
	for (u32 bit = entry_address_bits(); bit < 64; bit++)
		if (bit != 61 && bit != 62)
			ROW(t, "entry.host.cr3-width", FAILS_HOST, ADD(host_cr3, 1ull << bit));
}

ENTRY(host_canonical, .sdm = "Checks on Host Segment and Descriptor-Table Registers", .needs = TIMER,
      .flags = TEST_AMD64,
      .rules = "entry.host.sysenter-canonical entry.host.fs-gs-canonical entry.host.table-canonical "
	       "entry.host.tr-canonical")
{
	rows_canonical(t, WHERE("entry.host.sysenter-canonical"), VMCS_host_sysenter_esp, true);
	rows_canonical(t, WHERE("entry.host.sysenter-canonical"), VMCS_host_sysenter_eip, true);
	rows_canonical(t, WHERE("entry.host.fs-gs-canonical"), VMCS_host_fs_base, true);
	rows_canonical(t, WHERE("entry.host.fs-gs-canonical"), VMCS_host_gs_base, true);
	rows_canonical(t, WHERE("entry.host.table-canonical"), VMCS_host_gdtr_base, false);
	rows_canonical(t, WHERE("entry.host.table-canonical"), VMCS_host_idtr_base, false);
	rows_canonical(t, WHERE("entry.host.tr-canonical"), VMCS_host_tr_base, false);
}

ENTRY(host_null_64, .sdm = "Checks on Host Segment and Descriptor-Table Registers", .needs = TIMER, .flags = TEST_AMD64,
      .rules = "entry.host.ss-null-64 entry.host.data-null")
{
	ROW(t, "entry.host.ss-null-64", ENTERS, SET(host_ss_selector, 0));
	ROW(t, "entry.host.data-null", ENTERS, SET(host_ds_selector, 0));
	ROW(t, "entry.host.data-null", ENTERS, SET(host_es_selector, 0));
}

ENTRY(host_size_64, .sdm = "Checks Related to Address-Space Size", .needs = TIMER, .flags = TEST_AMD64,
      .rules = "entry.host.size-lma-64 entry.host.size-pae entry.host.size-rip-64")
{
	ROW(t, "entry.host.size-lma-64", FAILS_HOST, CLR(vm_exit_controls, VMEXIT_host_address_space_size));
	ROW(t, "entry.host.size-pae", FAILS_HOST, CLR(host_cr4, CR4_PAE));
	rows_canonical(t, WHERE("entry.host.size-rip-64"), VMCS_host_rip, false);
}
#else
ENTRY(host_null_32, .sdm = "Checks on Host Segment and Descriptor-Table Registers", .needs = TIMER, .flags = TEST_I386,
      .rules = "entry.host.ss-null")
{
	ROW(t, "entry.host.ss-null", FAILS_HOST, SET(host_ss_selector, 0));
}

ENTRY(host_size_32, .sdm = "Checks Related to Address-Space Size",
      .needs = TIMER "; host address-space size; IA-32e mode guest", .flags = TEST_I386,
      .rules = "entry.host.size-lma-32 entry.host.size-guest-32 entry.host.size-pcide")
{
	ROW(t, "entry.host.size-lma-32", FAILS_HOST, ADD(vm_exit_controls, VMEXIT_host_address_space_size));
	ROW(t, "entry.host.size-guest-32", FAILS_HOST, ADD(vm_entry_controls, VMENTRY_ia32e_mode_guest));
	ROW(t, "entry.host.size-pcide", FAILS_HOST, ADD(host_cr4, CR4_PCIDE));
}
#endif
