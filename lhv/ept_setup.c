// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/ept_setup.h"

#include "core/mem.h"
#include "dev/mtrr.h"
#include "lhv/apic.h"
#include "lhv/mem.h"
#include "lhv/report.h"
#include "lhv/vmx.h"
#include "x86/msr.h"

/* SDM: "Accessed and Dirty Flags for EPT" */
#define EPT_ACCESSED_DIRTY 0x300ull

static struct mtrr_state mtrr;
static u64 identity[2]; /* roots: 4 KiB pages, large pages */

void ept_setup_init(void)
{
	mtrr_read(&mtrr);
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

/* Entries of page directories, of which each root has its own copy, but not what they lead to. */
static u64 sum_page_tables(const u64 *pd)
{
	u64 sum = 0;

	for (u32 i = 0; i < 512; i++) {
		const u64 *pt = (const u64 *)(ulong)(pd[i] & EPT_ADDR);

		for (u32 k = 0; k < 512 && pd[i] & EPT_RWX && !(pd[i] & EPT_LARGE); k++)
			sum = (sum << 1 | sum >> 63) + (pt[k] & ~EPT_ACCESSED_DIRTY);
	}
	return sum;
}

u64 ept_identity_sum(void)
{
	const u64 *root = (const u64 *)(ulong)identity[0];
	const u64 *pdpt;
	u64 sum = 0;

	if (!root)
		return 0;
	pdpt = (const u64 *)(ulong)(root[0] & EPT_ADDR);
	for (u32 i = 0; i < 512; i++)
		if (pdpt[i] & EPT_RWX && !(pdpt[i] & EPT_LARGE))
			sum += sum_page_tables((const u64 *)(ulong)(pdpt[i] & EPT_ADDR));
	return sum;
}

void ept_forget_identity(void)
{
	memset(identity, 0, sizeof(identity));
}

u64 eptp_for(u64 root)
{
	return root | EPTP_WALK4 | MEMTYPE_WB;
}
