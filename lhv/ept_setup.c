// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/ept_setup.h"

#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/mem.h"
#include "lhv/report.h"
#include "lhv/vmx.h"
#include "x86/msr.h"

static struct mtrr_state mtrr;
static u64 identity[2]; /* roots: 4 KiB pages, large pages */

#define MTRRCAP_VARIABLE 0xffu
#define MTRRCAP_FIXED 0x100u

void ept_setup_init(void)
{
	static const u32 fixed[11] = {
		MSR_MTRR_FIX64K_00000,
		MSR_MTRR_FIX16K_80000,
		MSR_MTRR_FIX16K_A0000,
		0x268,
		0x269,
		0x26a,
		0x26b,
		0x26c,
		0x26d,
		0x26e,
		0x26f,
	};
	u32 r[4];

	mtrr.maxphyaddr = 36;
	cpuid_raw(0x80000000, 0, r);
	if (r[0] >= 0x80000008) {
		cpuid_raw(0x80000008, 0, r);
		mtrr.maxphyaddr = r[0] & 0xff;
	}
	if (msr_read_try(MSR_MTRRCAP, &mtrr.cap).kind != OUT_OK) {
		/* A host without MTRRs: everything is write-back, as after "enabled, default type WB". */
		mtrr.def_type = 1u << 11 | MEMTYPE_WB;
		return;
	}
	mtrr.def_type = msr_read(MSR_MTRR_DEF_TYPE);
	if (mtrr.cap & MTRRCAP_FIXED)
		for (u32 i = 0; i < ARRAY_SIZE(fixed); i++)
			mtrr.fixed[i] = msr_read(fixed[i]);
	mtrr.variable_count = mtrr.cap & MTRRCAP_VARIABLE;
	if (mtrr.variable_count > MTRR_VARIABLE_MAX)
		mtrr.variable_count = MTRR_VARIABLE_MAX;
	for (u32 i = 0; i < mtrr.variable_count; i++) {
		mtrr.base[i] = msr_read(MSR_MTRR_PHYSBASE0 + 2 * i);
		mtrr.mask[i] = msr_read(MSR_MTRR_PHYSBASE0 + 2 * i + 1);
	}
}

enum memtype memory_type(u64 pa)
{
	return mtrr_type(&mtrr, pa);
}

void ept_map_page(u64 root, u64 gpa, u64 pa, u64 rights)
{
	u64 entry = rights ? ept_leaf(pa, 1, rights, memory_type(pa)) : 0;

	if (!ept_set(&heap_ept_mem, root, gpa, 1, entry))
		panic("no EPT table for 0x%llx", (unsigned long long)gpa);
}

void ept_prepare_identity(bool large)
{
	int level = !large ? 1 : vmx_caps.ept_vpid & EPT_CAP_1G ? 3 : 2;
	u64 root;

	if (identity[large])
		return;
	root = (ulong)page_alloc();
	if (!ept_identity(&heap_ept_mem, root, 0, IDENTITY_END, level, &mtrr))
		panic("no memory for the identity map");
	ept_map_page(root, APIC_PAGE, APIC_PAGE, EPT_RWX);
	ept_map_page(root, IOAPIC_PAGE, IOAPIC_PAGE, EPT_RWX);
	identity[large] = root;
}

static u64 *copy_table(u64 *entry)
{
	u64 *copy = page_alloc();

	memcpy(copy, (void *)(ulong)(*entry & EPT_ADDR), PAGE_SIZE);
	*entry = (ulong)copy | (*entry & ~EPT_ADDR);
	return copy;
}

/* Down to the page directories; the page tables of the identity map stay shared. */
u64 ept_new_root(bool large)
{
	u64 entry = identity[large];
	u64 *root = copy_table(&entry);
	u64 *pdpt = copy_table(&root[0]);

	for (u32 i = 0; i < 512; i++)
		if (pdpt[i] & EPT_RWX && !(pdpt[i] & EPT_LARGE))
			copy_table(&pdpt[i]);
	return (ulong)root;
}

u64 eptp_for(u64 root)
{
	return root | EPTP_WALK4 | MEMTYPE_WB;
}
