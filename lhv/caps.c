// SPDX-License-Identifier: BSD-2-Clause
/* What the host says that it can do (SDM: "VMX Capability Reporting Facility"). */
#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/cpu.h"
#include "lhv/disk.h"
#include "lhv/ps2.h"
#include "lhv/smram.h"
#include "lhv/vmx.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/nest_call.h"

struct vmx_caps vmx_caps;
bool vmx_present;
static bool x2apic_present;

#define CPUID_1_ECX_MONITOR (1u << 3)
#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_1_ECX_X2APIC (1u << 21)

static void detect_ctl(enum ctl_word w, u32 plain, u32 true_msr)
{
	vmx_caps.ctl[w] = msr_read(vmx_caps.basic & VMX_BASIC_TRUE_CTLS && true_msr ? true_msr : plain);
}

void vmx_detect(void)
{
	u32 r[4];
	u64 fc;

	cpuid_raw(1, 0, r);
	x2apic_present = r[2] & CPUID_1_ECX_X2APIC;
	if (!(r[2] & CPUID_1_ECX_VMX))
		return;
	/* Locked without VMX by the firmware: VMXON would be #GP. */
	if (msr_read_try(MSR_FEATURE_CONTROL, &fc).kind != OUT_OK ||
	    (fc & (FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX)) == FEATURE_CONTROL_LOCK)
		return;
	vmx_present = true;
	vmx_caps.basic = msr_read(MSR_VMX_BASIC);
	vmx_caps.misc = msr_read(MSR_VMX_MISC);
	vmx_caps.cr0_fixed0 = msr_read(MSR_VMX_CR0_FIXED0);
	vmx_caps.cr0_fixed1 = msr_read(MSR_VMX_CR0_FIXED1);
	vmx_caps.cr4_fixed0 = msr_read(MSR_VMX_CR4_FIXED0);
	vmx_caps.cr4_fixed1 = msr_read(MSR_VMX_CR4_FIXED1);
	vmx_caps.vmcs_enum = msr_read(MSR_VMX_VMCS_ENUM);
	detect_ctl(CTL_PIN, MSR_VMX_PINBASED_CTLS, MSR_VMX_TRUE_PINBASED_CTLS);
	detect_ctl(CTL_PROC, MSR_VMX_PROCBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS);
	detect_ctl(CTL_VMEXIT, MSR_VMX_EXIT_CTLS, MSR_VMX_TRUE_EXIT_CTLS);
	detect_ctl(CTL_VMENTRY, MSR_VMX_ENTRY_CTLS, MSR_VMX_TRUE_ENTRY_CTLS);
	if (ctl_allowed(&vmx_caps, CTL_PROC, PROC_activate_secondary_controls))
		detect_ctl(CTL_PROC2, MSR_VMX_PROCBASED_CTLS2, 0);
	if (ctl_allowed(&vmx_caps, CTL_PROC2, PROC2_enable_ept) || ctl_allowed(&vmx_caps, CTL_PROC2, PROC2_enable_vpid))
		vmx_caps.ept_vpid = msr_read(MSR_VMX_EPT_VPID_CAP);
}

/* Capabilities that are no controls. */
static const struct {
	const char *name;
	u64 ept_vpid; /* bits of IA32_VMX_EPT_VPID_CAP, or 0: see special_have */
} specials[] = {
	{ "VMX", 0 },
	{ "execute-only EPT", EPT_CAP_EXECUTE_ONLY },
	{ "EPT page-walk length 4", EPT_CAP_WALK4 },
	{ "EPT memory type UC", EPT_CAP_UC },
	{ "EPT memory type WB", EPT_CAP_WB },
	{ "2-MByte EPT pages", EPT_CAP_2M },
	{ "1-GByte EPT pages", EPT_CAP_1G },
	{ "INVEPT", EPT_CAP_INVEPT },
	{ "EPT accessed and dirty flags", EPT_CAP_AD },
	{ "advanced VM-exit information for EPT violations", EPT_CAP_ADVANCED },
	{ "single-context INVEPT", EPT_CAP_INVEPT_SINGLE },
	{ "all-context INVEPT", EPT_CAP_INVEPT_ALL },
	{ "INVVPID", VPID_CAP_INVVPID },
	{ "individual-address INVVPID", VPID_CAP_ADDRESS },
	{ "single-context INVVPID", VPID_CAP_SINGLE },
	{ "all-context INVVPID", VPID_CAP_ALL },
	{ "single-context-retaining-globals INVVPID", VPID_CAP_SINGLE_GLOBALS },
	{ "EPTP switching", 0 },
	{ "CR3-target values", 0 },
	{ "activity state HLT", 0 },
	{ "activity state shutdown", 0 },
	{ "activity state wait-for-SIPI", 0 },
	{ "SYSCALL MSRs", 0 },
	{ "CR4.VME", 0 },
	{ "CR4.OSXSAVE", 0 },
	{ "CR4.PCIDE", 0 },
	{ "CR4.SMEP", 0 },
	{ "CR4.SMXE", 0 },
	{ "CR4.SMAP", 0 },
	{ "MONITOR and MWAIT", 0 },
	{ "x2APIC", 0 },
	{ "supervisor state components", 0 },
	{ "private pages of xmhf-nest", 0 },
	{ "PS/2 controller", 0 },
	{ "SMRAM that is open", 0 },
	{ "ATA disk", 0 },
};

static bool private_pages_present(void)
{
	u32 r[4];

	cpuid_raw(NEST_LEAF_SIGNATURE, 0, r);
	if (r[1] != NEST_SIGNATURE_EBX || r[2] != NEST_SIGNATURE_ECX || r[3] != NEST_SIGNATURE_EDX)
		return false;
	cpuid_raw(NEST_LEAF_FEATURES, 0, r);
	return r[0] & NEST_FEATURE_PRIVATE;
}

/* CPUs that have long mode have them (SDM: "Fast System Calls in 64-Bit Mode"); a host may hide long mode and keep them. */
static bool syscall_msrs_present(void)
{
	static const u32 msrs[] = { MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_FMASK, MSR_KERNEL_GS_BASE };
	u64 value;

	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++)
		if (msr_read_raw(msrs[i], &value))
			return false;
	return true;
}

static bool monitor_present(void)
{
	u32 r[4];

	cpuid_raw(1, 0, r);
	return r[2] & CPUID_1_ECX_MONITOR;
}

/* Those that IA32_XSS may have. */
static bool supervisor_components_present(void)
{
	u32 r[4];

	cpuid_raw(0, 0, r);
	if (r[0] < 0xd)
		return false;
	cpuid_raw(0xd, 1, r);
	return r[2] | r[3];
}

static bool special_have(const char *name)
{
	if (!strcmp(name, "VMX"))
		return vmx_present;
	if (!strcmp(name, "CR3-target values"))
		return vmx_caps.misc >> 16 & 0x1ff;
	if (!strcmp(name, "activity state HLT"))
		return vmx_caps.misc >> 6 & 1;
	if (!strcmp(name, "activity state shutdown"))
		return vmx_caps.misc >> 7 & 1;
	if (!strcmp(name, "activity state wait-for-SIPI"))
		return vmx_caps.misc >> 8 & 1;
	if (!strcmp(name, "EPTP switching"))
		return cap_have("enable VM functions") && msr_read(MSR_VMX_VMFUNC) & VMFUNC_EPTP_SWITCHING;
	if (!strcmp(name, "SYSCALL MSRs"))
		return syscall_msrs_present();
	/* VMX operation allows the bits of CR4 that the CPU has. */
	if (!strcmp(name, "CR4.VME"))
		return vmx_caps.cr4_fixed1 & CR4_VME;
	if (!strcmp(name, "CR4.OSXSAVE"))
		return vmx_caps.cr4_fixed1 & CR4_OSXSAVE;
	if (!strcmp(name, "CR4.PCIDE"))
		return vmx_caps.cr4_fixed1 & CR4_PCIDE;
	if (!strcmp(name, "CR4.SMEP"))
		return vmx_caps.cr4_fixed1 & CR4_SMEP;
	if (!strcmp(name, "CR4.SMXE"))
		return vmx_caps.cr4_fixed1 & CR4_SMXE;
	if (!strcmp(name, "CR4.SMAP"))
		return vmx_caps.cr4_fixed1 & CR4_SMAP;
	if (!strcmp(name, "MONITOR and MWAIT"))
		return monitor_present();
	if (!strcmp(name, "x2APIC"))
		return x2apic_present;
	if (!strcmp(name, "supervisor state components"))
		return supervisor_components_present();
	if (!strcmp(name, "private pages of xmhf-nest"))
		return private_pages_present();
	if (!strcmp(name, "PS/2 controller"))
		return ps2_present();
	if (!strcmp(name, "SMRAM that is open"))
		return smram_present();
	return disk_present();
}

const char *cap_name(u32 index)
{
	return index < ARRAY_SIZE(specials) ? specials[index].name : NULL;
}

bool cap_have(const char *name)
{
	for (u32 i = 0; i < ARRAY_SIZE(specials); i++) {
		if (strcmp(name, specials[i].name) != 0)
			continue;
		if (specials[i].ept_vpid)
			return vmx_caps.ept_vpid & specials[i].ept_vpid;
		return special_have(name);
	}
	for (u32 i = 0; i < ctl_table_count; i++)
		if (!strcmp(name, ctl_table[i].text))
			return ctl_allowed(&vmx_caps, ctl_table[i].word, 1u << ctl_table[i].bit);
	return false;
}

bool cap_all(const char *names, char *missing, size_t size)
{
	while (*names) {
		size_t n = 0;

		while (names[n] && names[n] != ';')
			n++;
		fmt(missing, size, "%.*s", (int)n, names);
		if (!cap_have(missing))
			return false;
		names += n;
		while (*names == ';' || *names == ' ')
			names++;
	}
	return true;
}
