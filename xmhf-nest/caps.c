// SPDX-License-Identifier: BSD-2-Clause
/* What the CPU offers, and what of it L1 gets to see. The tables say what is hidden (lib/x86/vmx_controls.def). */
#include "arch/cpu.h"
#include "core/mem.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/vmx.h"

struct vmx_caps caps_cpu, caps_l1;
u32 cpu_maxphyaddr;
bool cpu_has_vpid;

/* IA32_VMX_MISC (SDM: "Miscellaneous Data"): what L0 has no part in, or has done. */
#define MISC_TIMER_RATE 0x1full
#define MISC_STORE_LMA (1ull << 5)
#define MISC_ACTIVITY_HLT (1ull << 6)
#define MISC_ACTIVITY_SHUTDOWN (1ull << 7)
#define MISC_CR3_TARGETS (0x1ffull << 16)
#define MISC_MSR_LIST_MAX (7ull << 25)
#define MISC_VMWRITE_ANY (1ull << 29)
#define MISC_INJECT_LENGTH_0 (1ull << 30)
#define MISC_SHOWN                                                                                          \
	(MISC_TIMER_RATE | MISC_STORE_LMA | MISC_ACTIVITY_HLT | MISC_ACTIVITY_SHUTDOWN | MISC_CR3_TARGETS | \
	 MISC_MSR_LIST_MAX | MISC_VMWRITE_ANY | MISC_INJECT_LENGTH_0)

#define EPT_VPID_SHOWN                                                                                               \
	(EPT_CAP_EXECUTE_ONLY | EPT_CAP_WALK4 | EPT_CAP_UC | EPT_CAP_WB | EPT_CAP_2M | EPT_CAP_1G | EPT_CAP_INVEPT | \
	 EPT_CAP_INVEPT_SINGLE | EPT_CAP_INVEPT_ALL | VPID_CAP_INVVPID | VPID_CAP_ADDRESS | VPID_CAP_SINGLE |        \
	 VPID_CAP_ALL | VPID_CAP_SINGLE_GLOBALS)

/* IA32_VMX_BASIC: region size 4096, write-back, and what the CPU says about INS/OUTS and the TRUE MSRs. */
#define BASIC_SIZE (4096ull << 32)
#define BASIC_32BIT (1ull << 48)
#define BASIC_WB (6ull << 50)
#define BASIC_INS_OUTS (1ull << 54)

bool msr_try(u32 msr, u64 *value)
{
	return !msr_read_raw(msr, value);
}

u64 msr_get(u32 msr)
{
	u64 value = 0;

	if (!msr_try(msr, &value))
		panic("no MSR 0x%x", msr);
	return value;
}

bool msr_set(u32 msr, u64 value)
{
	return !msr_write_raw(msr, (u32)value, (u32)(value >> 32));
}

static void read_caps(struct vmx_caps *c)
{
	static const u32 plain[] = { MSR_VMX_PINBASED_CTLS, MSR_VMX_PROCBASED_CTLS, 0, MSR_VMX_EXIT_CTLS,
				     MSR_VMX_ENTRY_CTLS };
	static const u32 exact[] = { MSR_VMX_TRUE_PINBASED_CTLS, MSR_VMX_TRUE_PROCBASED_CTLS, 0, MSR_VMX_TRUE_EXIT_CTLS,
				     MSR_VMX_TRUE_ENTRY_CTLS };

	c->basic = msr_get(MSR_VMX_BASIC);
	c->misc = msr_get(MSR_VMX_MISC);
	c->cr0_fixed0 = msr_get(MSR_VMX_CR0_FIXED0);
	c->cr0_fixed1 = msr_get(MSR_VMX_CR0_FIXED1);
	c->cr4_fixed0 = msr_get(MSR_VMX_CR4_FIXED0);
	c->cr4_fixed1 = msr_get(MSR_VMX_CR4_FIXED1);
	c->vmcs_enum = msr_get(MSR_VMX_VMCS_ENUM);
	for (enum ctl_word w = 0; w < CTL_WORDS; w++)
		if (w != CTL_PROC2)
			c->ctl[w] = msr_get(c->basic & VMX_BASIC_TRUE_CTLS ? exact[w] : plain[w]);
	if (ctl_allowed(c, CTL_PROC, (u32)PROC_activate_secondary_controls))
		c->ctl[CTL_PROC2] = msr_get(MSR_VMX_PROCBASED_CTLS2);
	if (ctl_allowed(c, CTL_PROC2, PROC2_enable_ept) || ctl_allowed(c, CTL_PROC2, PROC2_enable_vpid))
		c->ept_vpid = msr_get(MSR_VMX_EPT_VPID_CAP);
}

static void require(bool have, const char *what)
{
	if (!have)
		panic("the CPU lacks %s", what);
}

static void require_cpu(void)
{
	static const struct {
		enum ctl_word word;
		u32 bit;
		const char *name;
	} needed[] = {
		{ CTL_PROC, (u32)PROC_activate_secondary_controls, "secondary controls" },
		{ CTL_PROC, PROC_use_msr_bitmaps, "MSR bitmaps" },
		{ CTL_PROC2, PROC2_enable_ept, "EPT" },
		{ CTL_PROC2, PROC2_unrestricted_guest, "unrestricted guest" },
		{ CTL_VMEXIT, VMEXIT_save_ia32_efer, "save IA32_EFER" },
		{ CTL_VMEXIT, VMEXIT_load_ia32_efer, "load IA32_EFER at VM exit" },
		{ CTL_VMENTRY, VMENTRY_load_ia32_efer, "load IA32_EFER" },
	};

	for (u32 i = 0; i < ARRAY_SIZE(needed); i++)
		require(ctl_allowed(&caps_cpu, needed[i].word, needed[i].bit), needed[i].name);
	require(caps_cpu.ept_vpid & EPT_CAP_WALK4 && caps_cpu.ept_vpid & EPT_CAP_WB && caps_cpu.ept_vpid & EPT_CAP_2M,
		"4-level EPT with write-back tables and 2 MiB pages");
	require(caps_cpu.ept_vpid & EPT_CAP_INVEPT && caps_cpu.ept_vpid & EPT_CAP_INVEPT_SINGLE &&
			caps_cpu.ept_vpid & EPT_CAP_INVEPT_ALL,
		"INVEPT");
	cpu_has_vpid = ctl_allowed(&caps_cpu, CTL_PROC2, PROC2_enable_vpid) && (caps_cpu.ept_vpid & VPID_CAP_INVVPID) &&
		       (caps_cpu.ept_vpid & VPID_CAP_SINGLE);
}

static void hide(struct vmx_caps *c)
{
	for (u32 i = 0; i < ctl_table_count; i++)
		if (ctl_table[i].nested == NESTED_HIDE) {
			u64 bit = 1ull << ctl_table[i].bit;

			/* A control that must be 1 on this CPU can't be hidden. */
			if (!(c->ctl[ctl_table[i].word] & bit))
				c->ctl[ctl_table[i].word] &= ~(bit << 32);
		}
	/* Controls without a name in the table are nobody's. */
	for (enum ctl_word w = 0; w < CTL_WORDS; w++) {
		u64 known = c->ctl[w] & 0xffffffffu;

		for (u32 i = 0; i < ctl_table_count; i++)
			if (ctl_table[i].word == w)
				known |= 1ull << ctl_table[i].bit;
		c->ctl[w] &= known << 32 | 0xffffffffu;
	}
	if (!cpu_has_vpid)
		c->ctl[CTL_PROC2] &= ~((u64)PROC2_enable_vpid << 32);
	/* A host in 32-bit mode has no 64-bit guests and no 64-bit hosts (SDM: "Checks Related to Address-Space Size"). */
	if (sizeof(ulong) == 4) {
		c->ctl[CTL_VMEXIT] &= ~((u64)VMEXIT_host_address_space_size << 32);
		c->ctl[CTL_VMENTRY] &= ~((u64)VMENTRY_ia32e_mode_guest << 32);
	}
}

void caps_init(void)
{
	u32 r[4];

	cpuid_raw(1, 0, r);
	require(r[2] >> 5 & 1, "VMX");
	read_caps(&caps_cpu);
	require_cpu();
	cpuid_raw(0x80000008, 0, r);
	cpu_maxphyaddr = r[0] & 0xff;
	caps_l1 = caps_cpu;
	hide(&caps_l1);
	caps_l1.basic = VMCS12_REVISION | BASIC_SIZE | BASIC_WB |
			(caps_cpu.basic & (BASIC_32BIT | BASIC_INS_OUTS | VMX_BASIC_TRUE_CTLS));
	caps_l1.misc &= MISC_SHOWN;
	caps_l1.ept_vpid &= EPT_VPID_SHOWN;
	caps_l1.vmfunc = 0;
}

/* The plain capability MSRs report bits as "must be 1" that the TRUE ones free (SDM: "Reserved Controls and Default Settings"). */
static u64 with_defaults(enum ctl_word w, u32 msr)
{
	u64 must = msr_get(msr) & 0xffffffffu;

	return caps_l1.ctl[w] | (must & caps_l1.ctl[w] >> 32);
}

u64 caps_l1_msr(u32 msr)
{
	switch (msr) {
	case MSR_VMX_BASIC:
		return caps_l1.basic;
	case MSR_VMX_PINBASED_CTLS:
		return with_defaults(CTL_PIN, msr);
	case MSR_VMX_PROCBASED_CTLS:
		return with_defaults(CTL_PROC, msr);
	case MSR_VMX_EXIT_CTLS:
		return with_defaults(CTL_VMEXIT, msr);
	case MSR_VMX_ENTRY_CTLS:
		return with_defaults(CTL_VMENTRY, msr);
	case MSR_VMX_TRUE_PINBASED_CTLS:
		return caps_l1.ctl[CTL_PIN];
	case MSR_VMX_TRUE_PROCBASED_CTLS:
		return caps_l1.ctl[CTL_PROC];
	case MSR_VMX_TRUE_EXIT_CTLS:
		return caps_l1.ctl[CTL_VMEXIT];
	case MSR_VMX_TRUE_ENTRY_CTLS:
		return caps_l1.ctl[CTL_VMENTRY];
	case MSR_VMX_MISC:
		return caps_l1.misc;
	case MSR_VMX_PROCBASED_CTLS2:
		return caps_l1.ctl[CTL_PROC2];
	case MSR_VMX_EPT_VPID_CAP:
		return caps_l1.ept_vpid;
	default: /* CR0/CR4 fixed bits, VMCS_ENUM */
		return msr_get(msr);
	}
}

bool caps_l1_have_msr(u32 msr)
{
	u64 value;

	return msr >= MSR_VMX_BASIC && msr < MSR_VMX_VMFUNC && msr_try(msr, &value);
}

bool caps_have(const struct vmx_caps *c, const char *exists)
{
	if (!*exists)
		return true;
	for (u32 i = 0; i < ctl_table_count; i++)
		if (!strcmp(ctl_table[i].text, exists))
			return c->ctl[ctl_table[i].word] >> 32 >> ctl_table[i].bit & 1;
	return false;
}
