// SPDX-License-Identifier: BSD-2-Clause
/*
 * The MSR lists of VMCS12, worked through by L0. SDM: "Loading MSRs", "Saving MSRs". MSRs that have a place in the
 * current VMCS are read and written there; L0 itself uses none of the others.
 */
#include "x86/msr.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/vmx.h"

#define MSR_SMBASE 0x9eu
#define LIST_MAX 4096u /* entries; IA32_VMX_MISC recommends 512 to 4096 */

struct entry {
	u32 msr, reserved;
	u64 value;
};

static const struct {
	u32 msr;
	u32 field;
} in_vmcs[] = {
	{ MSR_SYSENTER_CS, VMCS_guest_sysenter_cs },   { MSR_SYSENTER_ESP, VMCS_guest_sysenter_esp },
	{ MSR_SYSENTER_EIP, VMCS_guest_sysenter_eip }, { MSR_EFER, VMCS_guest_ia32_efer },
	{ MSR_DEBUGCTL, VMCS_guest_ia32_debugctl },
};

static int place_of(u32 msr)
{
	for (u32 i = 0; i < ARRAY_SIZE(in_vmcs); i++)
		if (in_vmcs[i].msr == msr)
			return (int)i;
	return -1;
}

static bool x2apic(u32 msr)
{
	return msr >> 8 == 8;
}

static bool may_load(const struct entry *e)
{
	return !e->reserved && e->msr != MSR_FS_BASE && e->msr != MSR_GS_BASE && !x2apic(e->msr) &&
	       e->msr != MSR_SMM_MONITOR_CTL && e->msr != MSR_BIOS_UPDT_TRIG;
}

static bool canonical(u64 value)
{
	return (u64)((int64_t)(value << 16) >> 16) == value;
}

/* Would WRMSR refuse it? For those that aren't written by WRMSR. */
static bool value_ok(u32 msr, u64 value)
{
	if (msr == MSR_EFER) {
		u64 efer = vmcs_read(VMCS_guest_ia32_efer);

		/* LME can't change while paging is on; LMA isn't written. */
		return !(value & ~(u64)EFER_VALID) && !((value ^ efer) & EFER_LME);
	}
	if (msr == MSR_SYSENTER_ESP || msr == MSR_SYSENTER_EIP)
		return canonical(value);
	return true;
}

/* No place in VMCS12 is touched: the next entry starts from L1's values again. */
static bool load(struct cpu *c, const struct entry *e)
{
	int place = place_of(e->msr);
	u64 value = e->value;

	if (!may_load(e))
		return false;
	if (place < 0)
		return msr_emulate_write(c, e->msr, value);
	if (!value_ok(e->msr, value))
		return false;
	if (e->msr == MSR_EFER)
		value = (value & ~(u64)EFER_LMA) | (vmcs_read(VMCS_guest_ia32_efer) & EFER_LMA);
	vmcs_write(in_vmcs[place].field, value);
	return true;
}

/* Number of the entry that failed, or 0. */
static u32 load_list(struct cpu *c, u64 at, u32 count)
{
	for (u32 i = 0; i < count; i++, at += sizeof(struct entry)) {
		struct entry e;

		if (i == LIST_MAX || !gpa_read(at, &e, sizeof(e)) || !load(c, &e))
			return i + 1;
	}
	return 0;
}

u32 msr_list_enter(struct cpu *c)
{
	return load_list(c, c->nested.v[VI_vm_entry_msr_load_address], (u32)c->nested.v[VI_vm_entry_msr_load_count]);
}

bool msr_list_exit(struct cpu *c)
{
	return !load_list(c, c->nested.v[VI_vm_exit_msr_load_address], (u32)c->nested.v[VI_vm_exit_msr_load_count]);
}

static bool store(struct cpu *c, struct entry *e)
{
	int place = place_of(e->msr);

	if (e->reserved || x2apic(e->msr) || e->msr == MSR_SMBASE)
		return false;
	if (place >= 0)
		e->value = vmcs_read(in_vmcs[place].field);
	else if (e->msr == MSR_FS_BASE || e->msr == MSR_GS_BASE)
		e->value = vmcs_read(e->msr == MSR_FS_BASE ? VMCS_guest_fs_base : VMCS_guest_gs_base);
	else
		return msr_emulate_read(c, e->msr, &e->value);
	return true;
}

bool msr_list_store(struct cpu *c)
{
	u64 at = c->nested.v[VI_vm_exit_msr_store_address];
	u32 count = (u32)c->nested.v[VI_vm_exit_msr_store_count];

	for (u32 i = 0; i < count; i++, at += sizeof(struct entry)) {
		struct entry e;

		if (i == LIST_MAX || !gpa_read(at, &e, sizeof(e)) || !store(c, &e) || !gpa_write(at, &e, sizeof(e)))
			return false;
	}
	return true;
}
