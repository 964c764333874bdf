// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/entry_shapes.h"
#include "lhv/mem.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define AR_DPL3 0x60u
#define AR_V86 0xf3u
#define RFLAGS_VM 0x20000u

void shape_user(struct entry *t)
{
	(void)t;
	vmwrite(VMCS_guest_cs_selector, SEL_USER_CODE);
	vmwrite(VMCS_guest_ss_selector, SEL_USER_DATA);
	for (u32 reg = REG_ES; reg <= REG_GS; reg++)
		vmwrite_bits(RIGHTS_OF(reg), 0, AR_DPL3);
}

void shape_32(struct entry *t)
{
#ifdef __x86_64__
	const u64 *four = (const u64 *)(ulong)t->v.l2_root;

	/* The same directories, by entries without the bits that PAE paging reserves. */
	if (!t->pae_root) {
		const u64 *pdpt = (const u64 *)(ulong)(four[0] & PTE_ADDR);
		u64 *pae = page_alloc();

		for (u32 i = 0; i < 4; i++)
			pae[i] = pdpt[i] & PTE_P ? (pdpt[i] & PTE_ADDR) | PTE_P : 0;
		t->pae_root = (ulong)pae;
	}
	vmwrite_bits(VMCS_vm_entry_controls, VMENTRY_ia32e_mode_guest, 0);
	vmwrite(VMCS_guest_cr3, t->pae_root);
	vmwrite(VMCS_guest_cs_access_rights, AR_CODE32);
	for (u32 i = 0; i < 4 && t->v.eptp; i++)
		vmwrite(VMCS_guest_pdpte0 + 2 * i, ((const u64 *)(ulong)t->pae_root)[i]);
#else
	(void)t;
#endif
}

void shape_v86(struct entry *t)
{
	shape_32(t);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_VM);
	for (u32 reg = REG_ES; reg <= REG_GS; reg++) {
		vmwrite(SELECTOR_OF(reg), 0x1000 + reg);
		vmwrite(BASE_OF(reg), (0x1000 + reg) << 4);
		vmwrite(LIMIT_OF(reg), 0xffff);
		vmwrite(RIGHTS_OF(reg), AR_V86);
	}
	vmwrite(VMCS_guest_rip, 0x100);
	vmwrite(VMCS_guest_rsp, 0x1000);
}

void shape_real(struct entry *t)
{
	(void)t;
	vmwrite_bits(VMCS_vm_entry_controls, VMENTRY_ia32e_mode_guest, 0);
	vmwrite(VMCS_guest_cr0, read_cr0() & ~((ulong)CR0_PG | CR0_PE));
	for (u32 reg = REG_ES; reg <= REG_GS; reg++) {
		vmwrite(SELECTOR_OF(reg), 0x1000);
		vmwrite(BASE_OF(reg), 0x10000);
		vmwrite(LIMIT_OF(reg), 0xffff);
		vmwrite(RIGHTS_OF(reg), reg == REG_CS ? AR_CODE16 : AR_DATA16);
	}
	vmwrite(VMCS_guest_rip, 0x100);
	vmwrite(VMCS_guest_rsp, 0x1000);
}
