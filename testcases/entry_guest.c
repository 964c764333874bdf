// SPDX-License-Identifier: BSD-2-Clause
/* SDM: "Checks on Guest Control Registers, Debug Registers, and MSRs", "Checks on Guest RIP, RFLAGS, and SSP". */
#include "testcases/entry_shapes.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define REGISTERS "Checks on Guest Control Registers, Debug Registers, and MSRs"
#define EFER_SCE 0x1ull
/* All but SCE, LME, LMA, NXE */
#define EFER_RESERVED 0xfffffffffffff2feull
#define RFLAGS_VM 0x20000u
/* 63:22, 15, 5, 3 */
#define RFLAGS_RESERVED 0xffffffffffc08028ull

static void check_cr0(struct cpu *c, void (*shape)(struct entry *t))
{
	struct entry t;

	if (!entry_begin(&t, c, 0, shape))
		return;
	for (u32 bit = 0; bit < 32; bit++)
		if (vmx_caps.cr0_fixed0 >> bit & 1)
			ROW(&t, "entry.guest.cr0-fixed-1", FAILS_GUEST, CLR(guest_cr0, 1ull << bit));
	ROW(&t, "entry.guest.cr0-free", ENTERS, FLIP(guest_cr0, CR0_WP));
	ROW(&t, "entry.guest.cr0-free", ENTERS, FLIP(guest_cr0, CR0_MP));
	ROW(&t, "entry.guest.cr0-free", ENTERS, FLIP(guest_cr0, CR0_EM));
	ROW(&t, "entry.guest.cr0-free", ENTERS, FLIP(guest_cr0, CR0_TS));
	ROW(&t, "entry.guest.cr0-free", ENTERS, FLIP(guest_cr0, CR0_CD | CR0_NW));
	for (u32 bit = 0; bit < 32; bit++) {
		if (vmx_caps.cr4_fixed0 >> bit & 1)
			ROW(&t, "entry.guest.cr4-fixed-1", FAILS_GUEST, CLR(guest_cr4, 1ull << bit));
		if (!(vmx_caps.cr4_fixed1 >> bit & 1))
			ROW(&t, "entry.guest.cr4-fixed-0", FAILS_GUEST, ADD(guest_cr4, 1ull << bit));
	}
	entry_done(&t);
}

#define RULES_CR "entry.guest.cr0-fixed-1 entry.guest.cr0-free entry.guest.cr4-fixed-1 entry.guest.cr4-fixed-0"

TEST(entry, guest_cr, .sdm = REGISTERS, .needs = TIMER, .rules = RULES_CR)
{
	check_cr0(c, NULL);
}

ENTRY_OF(guest_cr_unrestricted, OPT_ept | OPT_unrestricted, shape_32, .sdm = REGISTERS, .needs = TIMER,
	 .opt = OPT_ept | OPT_unrestricted,
	 .rules = "entry.guest.cr0-pg-pe entry.guest.cr0-unrestricted entry.guest.cr0-fixed-1")
{
	ROW(t, "entry.guest.cr0-pg-pe", FAILS_GUEST, CLR(guest_cr0, CR0_PE));
	ROW(t, "entry.guest.cr0-unrestricted", ENTERS, CLR(guest_cr0, CR0_PG));
	/* The other fixed bits stay fixed. */
	ROW(t, "entry.guest.cr0-fixed-1", FAILS_GUEST, CLR(guest_cr0, CR0_NE));
}

/* Where the CPU can do without loading debug controls, what isn't loaded isn't looked at. */
ENTRY(guest_debug, .sdm = REGISTERS, .needs = TIMER "; load debug controls", .rules = "entry.guest.debugctl-reserved")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_debug_controls);
	ROW(t, "entry.guest.debugctl-reserved", ENTERS, SET(guest_ia32_debugctl, 1));
	ROW(t, "entry.guest.debugctl-reserved", ENTERS, SET(guest_ia32_debugctl, 2));
	/* 5:3, 13 and 63:16 are reserved on every CPU, but for bus-lock detection (2) and RTM (15). */
	for (u32 bit = 16; bit < 64; bit++)
		ROW(t, "entry.guest.debugctl-reserved", FAILS_GUEST, SET(guest_ia32_debugctl, 1ull << bit));
}

TEST(entry, guest_debug_unused, .sdm = REGISTERS, .needs = TIMER, .rules = "entry.guest.debugctl-unused")
{
	struct entry t;

	if ((u32)vmx_caps.ctl[CTL_VMENTRY] & VMENTRY_load_debug_controls)
		return result_set(c->judging, VERDICT_SKIP, "environment: debug controls are always loaded");
	if (!entry_begin(&t, c, 0, NULL))
		return;
	vmwrite_bits(VMCS_vm_entry_controls, VMENTRY_load_debug_controls, 0);
	ROW(&t, "entry.guest.debugctl-unused", ENTERS, SET(guest_ia32_debugctl, ~0ull));
	entry_done(&t);
}

#ifdef __x86_64__
TEST(entry, guest_dr7_unused, .sdm = REGISTERS, .needs = TIMER, .flags = TEST_AMD64, .rules = "entry.guest.dr7-unused")
{
	struct entry t;

	if ((u32)vmx_caps.ctl[CTL_VMENTRY] & VMENTRY_load_debug_controls)
		return result_set(c->judging, VERDICT_SKIP, "environment: debug controls are always loaded");
	if (!entry_begin(&t, c, 0, NULL))
		return;
	vmwrite_bits(VMCS_vm_entry_controls, VMENTRY_load_debug_controls, 0);
	ROW(&t, "entry.guest.dr7-unused", ENTERS, SET(guest_dr7, ~0ull));
	ROW(&t, "entry.guest.dr7-unused", ENTERS, SET(guest_dr7, 1ull << 63));
	entry_done(&t);
}
#endif

TEST(entry, guest_pat, .sdm = REGISTERS, .needs = TIMER "; load IA32_PAT",
     .rules = "entry.guest.pat entry.guest.pat-unused")
{
	u64 pat = msr_read(MSR_PAT);
	struct entry t;

	if (!entry_begin(&t, c, 0, NULL))
		return;
	ROW(&t, "entry.guest.pat-unused", ENTERS, CLR(vm_entry_controls, VMENTRY_load_ia32_pat),
	    SET(guest_ia32_pat, ~0ull));
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_ia32_pat);
	vmwrite(VMCS_guest_ia32_pat, pat);
	for (u32 byte = 0; byte < 64; byte += 8) {
		static const u8 bad[] = { 2, 3, 8, 0x10, 0x20, 0x40, 0x80 }, good[] = { 0, 1, 4, 5, 6, 7 };
		u64 rest = pat & ~(0xffull << byte);

		for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
			ROW(&t, "entry.guest.pat", FAILS_GUEST, SET(guest_ia32_pat, rest | (u64)bad[i] << byte));
		/* The upper four aren't in use; if the exit doesn't load IA32_PAT, it stays so for L1. */
		for (u32 i = 0; i < ARRAY_SIZE(good) && byte >= 32; i++)
			ROW(&t, "entry.guest.pat", ENTERS, SET(guest_ia32_pat, rest | (u64)good[i] << byte));
	}
	entry_done(&t);
	msr_write(MSR_PAT, pat);
}

TEST(entry, guest_perf_global, .sdm = REGISTERS, .needs = TIMER "; load IA32_PERF_GLOBAL_CTRL",
     .rules = "entry.guest.perf-global entry.guest.perf-global-unused")
{
	struct entry t;
	u64 kept = 0;

	/* Some hosts have the controls and not the MSR. */
	msr_read_try(MSR_PERF_GLOBAL_CTRL, &kept);
	if (!entry_begin(&t, c, 0, NULL))
		return;
	ROW(&t, "entry.guest.perf-global-unused", ENTERS, SET(guest_ia32_perf_global_ctrl, 1ull << 63));
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_perf_global_ctrl);
	vmwrite(VMCS_guest_ia32_perf_global_ctrl, 0);
	ROW(&t, "entry.guest.perf-global", ENTERS, SET(guest_ia32_perf_global_ctrl, 0));
	ROW(&t, "entry.guest.perf-global", FAILS_GUEST, SET(guest_ia32_perf_global_ctrl, 1ull << 63));
	ROW(&t, "entry.guest.perf-global", FAILS_GUEST, SET(guest_ia32_perf_global_ctrl, 1ull << 31));
	entry_done(&t);
	msr_write_try(MSR_PERF_GLOBAL_CTRL, kept);
}

ENTRY(guest_efer, .sdm = REGISTERS, .needs = TIMER "; load IA32_EFER; load IA32_EFER at VM exit",
      .rules = "entry.guest.efer-reserved entry.guest.efer-lma entry.guest.efer-lme entry.guest.efer-unused")
{
	u64 efer = msr_read(MSR_EFER);

	ROW(t, "entry.guest.efer-unused", ENTERS, SET(guest_ia32_efer, ~0ull));
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_ia32_efer);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_load_ia32_efer);
	vmwrite(VMCS_guest_ia32_efer, efer);
	vmwrite(VMCS_host_ia32_efer, efer);
	for (u32 bit = 0; bit < 64; bit++)
		if (EFER_RESERVED >> bit & 1)
			ROW(t, "entry.guest.efer-reserved", FAILS_GUEST, SET(guest_ia32_efer, efer | 1ull << bit));
	ROW(t, "entry.guest.efer-reserved", ENTERS, SET(guest_ia32_efer, efer ^ EFER_SCE));
	/* LMA and LME together: LMA alone would be wrong by LME too. */
	ROW(t, "entry.guest.efer-lma", FAILS_GUEST, SET(guest_ia32_efer, efer ^ (EFER_LMA | EFER_LME)));
	ROW(t, "entry.guest.efer-lme", FAILS_GUEST, SET(guest_ia32_efer, efer ^ EFER_LME));
}

static void shape_32_efer(struct entry *t)
{
	shape_32(t);
	vmwrite(VMCS_guest_ia32_efer, 0);
}

/* Without paging, LME may wait for it. */
ENTRY_OF(guest_efer_no_paging, OPT_ept | OPT_unrestricted, shape_32_efer, .sdm = REGISTERS,
	 .opt = OPT_ept | OPT_unrestricted,
	 .needs = TIMER "; load IA32_EFER; load IA32_EFER at VM exit; IA-32e mode guest",
	 .rules = "entry.guest.efer-lme-no-paging entry.guest.efer-lma")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_ia32_efer);
	vmwrite_bits(VMCS_vm_exit_controls, 0, VMEXIT_load_ia32_efer);
	vmwrite(VMCS_host_ia32_efer, msr_read(MSR_EFER));
	ROW(t, "entry.guest.efer-lme-no-paging", ENTERS, CLR(guest_cr0, CR0_PG), SET(guest_ia32_efer, EFER_LME));
	ROW(t, "entry.guest.efer-lma", FAILS_GUEST, CLR(guest_cr0, CR0_PG), SET(guest_ia32_efer, EFER_LME | EFER_LMA));
}

/* --- RFLAGS --- */

static void rows_rflags(struct entry *t)
{
	for (u32 bit = 0; bit < sizeof(ulong) * 8; bit++)
		if (RFLAGS_RESERVED >> bit & 1)
			ROW(t, "entry.guest.rflags-reserved", FAILS_GUEST, ADD(guest_rflags, 1ull << bit));
	ROW(t, "entry.guest.rflags-reserved", FAILS_GUEST, CLR(guest_rflags, RFLAGS_FIXED));
	/* CF, PF, AF, ZF, SF, DF, OF, IOPL, NT, RF, AC, ID */
	ROW(t, "entry.guest.rflags-reserved", ENTERS, ADD(guest_rflags, 0x257cd5));
	ROW(t, "entry.guest.rflags-if", FAILS_GUEST, SET(vm_entry_interruption_info, 0x80000020));
	ROW(t, "entry.guest.rflags-if", ENTERS, SET(vm_entry_interruption_info, 0x80000020),
	    ADD(guest_rflags, RFLAGS_IF));
	ROW(t, "entry.guest.rflags-if", ENTERS, SET(vm_entry_interruption_info, 0x80000306));
}

ENTRY(guest_rflags, .sdm = "Checks on Guest RIP, RFLAGS, and SSP", .needs = TIMER,
      .rules = "entry.guest.rflags-reserved entry.guest.rflags-if")
{
	rows_rflags(t);
}

ENTRY_OF(guest_rflags_32, 0, shape_32, .sdm = "Checks on Guest RIP, RFLAGS, and SSP", .needs = TIMER,
	 .rules = "entry.guest.rflags-reserved entry.guest.rflags-if")
{
	rows_rflags(t);
}

/* Real-address mode has no virtual-8086 mode; the segments are what that would ask for. */
ENTRY_OF(guest_rflags_vm_real, OPT_ept | OPT_unrestricted, shape_real, .sdm = "Checks on Guest RIP, RFLAGS, and SSP",
	 .needs = TIMER, .opt = OPT_ept | OPT_unrestricted, .rules = "entry.guest.rflags-vm-real")
{
	for (u32 reg = REG_ES; reg <= REG_GS; reg++)
		vmwrite(RIGHTS_OF(reg), 0xf3);
	ROW(t, "entry.guest.rflags-vm-real", FAILS_GUEST, ADD(guest_rflags, RFLAGS_VM));
	entry_reset(t);
}

#ifdef __x86_64__
static const u64 not_canonical[] = { 0x0000800000000000, 0xffff7fffffffffff, 1ull << 63, 0x0001000000000000 };
static const u64 canonical[] = { 0x00007fffffffffff, 0xffff800000000000, ~0ull };

TEST(entry, guest_cr_32, .sdm = REGISTERS, .needs = TIMER, .flags = TEST_AMD64, .rules = RULES_CR)
{
	check_cr0(c, shape_32);
}

ENTRY(guest_cr_high, .sdm = REGISTERS, .needs = TIMER, .flags = TEST_AMD64,
      .rules = "entry.guest.cr0-fixed-0 entry.guest.cr4-fixed-0 entry.guest.cr3-width")
{
	for (u32 bit = 32; bit < 64; bit++) {
		ROW(t, "entry.guest.cr0-fixed-0", FAILS_GUEST, ADD(guest_cr0, 1ull << bit));
		if (!(vmx_caps.cr4_fixed1 >> bit & 1))
			ROW(t, "entry.guest.cr4-fixed-0", FAILS_GUEST, ADD(guest_cr4, 1ull << bit));
	}
	/* Bits 62:61 have a meaning where there is linear-address masking. */
	for (u32 bit = entry_address_bits(); bit < 64; bit++)
		if (bit != 61 && bit != 62)
			ROW(t, "entry.guest.cr3-width", FAILS_GUEST, ADD(guest_cr3, 1ull << bit));
	ROW(t, "entry.guest.cr3-width", ENTERS, SET(guest_cr3, (1ull << entry_address_bits()) - PAGE_SIZE));
}

ENTRY(guest_ia32e_pae, .sdm = REGISTERS, .needs = TIMER, .flags = TEST_AMD64, .rules = "entry.guest.ia32e-pae")
{
	ROW(t, "entry.guest.ia32e-pae", FAILS_GUEST, CLR(guest_cr4, CR4_PAE));
}

/* As it would be good but for the mode. */
ENTRY_OF(guest_rflags_vm_ia32e, 0, shape_v86, .sdm = "Checks on Guest RIP, RFLAGS, and SSP", .needs = TIMER,
	 .flags = TEST_AMD64, .rules = "entry.guest.rflags-vm-ia32e")
{
	ROW(t, "entry.guest.rflags-vm-ia32e", FAILS_GUEST, ADD(vm_entry_controls, VMENTRY_ia32e_mode_guest),
	    SET(guest_cr3, t->v.l2_root));
}

ENTRY_OF(guest_ia32e_pg, OPT_ept | OPT_unrestricted, NULL, .sdm = REGISTERS, .needs = TIMER,
	 .opt = OPT_ept | OPT_unrestricted, .flags = TEST_AMD64, .rules = "entry.guest.ia32e-pg")
{
	ROW(t, "entry.guest.ia32e-pg", FAILS_GUEST, CLR(guest_cr0, CR0_PG));
}

ENTRY(guest_canonical, .sdm = REGISTERS, .needs = TIMER, .flags = TEST_AMD64, .rules = "entry.guest.sysenter-canonical")
{
	for (u32 i = 0; i < ARRAY_SIZE(not_canonical); i++) {
		ROW(t, "entry.guest.sysenter-canonical", FAILS_GUEST, SET(guest_sysenter_esp, not_canonical[i]));
		ROW(t, "entry.guest.sysenter-canonical", FAILS_GUEST, SET(guest_sysenter_eip, not_canonical[i]));
	}
	for (u32 i = 0; i < ARRAY_SIZE(canonical); i++) {
		ROW(t, "entry.guest.sysenter-canonical", ENTERS, SET(guest_sysenter_esp, canonical[i]));
		ROW(t, "entry.guest.sysenter-canonical", ENTERS, SET(guest_sysenter_eip, canonical[i]));
	}
}

ENTRY(guest_dr7, .sdm = REGISTERS, .needs = TIMER "; load debug controls", .flags = TEST_AMD64,
      .rules = "entry.guest.dr7-high")
{
	vmwrite_bits(VMCS_vm_entry_controls, 0, VMENTRY_load_debug_controls);
	for (u32 bit = 32; bit < 64; bit++)
		ROW(t, "entry.guest.dr7-high", FAILS_GUEST, ADD(guest_dr7, 1ull << bit));
	ROW(t, "entry.guest.dr7-high", ENTERS, SET(guest_dr7, 0x700));
}

/* Canonical or not: that the highest bit of linear addresses equals those above it isn't asked. */
static u32 linear_bits(void)
{
	u32 r[4];

	cpuid_raw(0x80000008, 0, r);
	return r[0] >> 8 & 0xff;
}

ENTRY(guest_rip_64, .sdm = "Checks on Guest RIP, RFLAGS, and SSP", .needs = TIMER, .flags = TEST_AMD64,
      .rules = "entry.guest.rip-64")
{
	for (u32 bit = linear_bits(); bit < 64; bit++) {
		ROW(t, "entry.guest.rip-64", FAILS_GUEST, ADD(guest_rip, 1ull << bit));
		ROW(t, "entry.guest.rip-64", FAILS_GUEST, SET(guest_rip, ~(1ull << bit)));
	}
	ROW(t, "entry.guest.rip-64", ENTERS, SET(guest_rip, 0x00007ffffffffff0));
	ROW(t, "entry.guest.rip-64", ENTERS, SET(guest_rip, 0xffff800000000000));
}

TEST(entry, guest_rip_32, .sdm = "Checks on Guest RIP, RFLAGS, and SSP", .needs = TIMER, .flags = TEST_AMD64,
     .rules = "entry.guest.rip-32")
{
	struct entry t;

	if (!entry_begin(&t, c, 0, shape_32))
		return;
	for (u32 bit = 32; bit < 64; bit++)
		ROW(&t, "entry.guest.rip-32", FAILS_GUEST, ADD(guest_rip, 1ull << bit));
	ROW(&t, "entry.guest.rip-32", ENTERS, SET(guest_rip, 0xffffffff));
	entry_done(&t);
	/* In compatibility mode too. */
	if (!entry_begin(&t, c, 0, NULL))
		return;
	vmwrite(VMCS_guest_cs_access_rights, AR_CODE32);
	ROW(&t, "entry.guest.rip-32", FAILS_GUEST, ADD(guest_rip, 1ull << 32));
	entry_reset(&t);
	entry_done(&t);
}
#endif

/* CR4.PCIDE outside of IA-32e mode. */
TEST(entry, guest_pcide, .sdm = REGISTERS, .needs = TIMER, .rules = "entry.guest.pcide")
{
	struct entry t;

	if (!(vmx_caps.cr4_fixed1 & CR4_PCIDE))
		return result_set(c->judging, VERDICT_SKIP, "environment: no CR4.PCIDE");
	if (!entry_begin(&t, c, 0, shape_32))
		return;
	ROW(&t, "entry.guest.pcide", FAILS_GUEST, ADD(guest_cr4, CR4_PCIDE));
	entry_done(&t);
}
