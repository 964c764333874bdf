// SPDX-License-Identifier: BSD-2-Clause
/*
 * L1's writes to CR0 and CR4 that change a bit which isn't the CPU's own: NE and VMXE, which must stay 1 below L1,
 * and while L1 is in VMX operation the bits that are fixed then. SDM: "MOV-Move to/from Control Registers".
 */
#include "arch/cpu.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/guest.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/vmx.h"

#define QUAL_CR 0xfu
#define QUAL_TYPE 0x30u
#define TYPE_MOV_TO 0x00u
#define TYPE_CLTS 0x20u
#define TYPE_LMSW 0x30u
#define CR0_DEFINED \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | (1u << 18) | CR0_NW | CR0_CD | CR0_PG)
/* A change of these makes the CPU load the PDPTEs again (SDM: "PDPTE Registers"). */
#define CR4_PDPTE (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
#define CR4_TLB (CR4_PDPTE | CR4_PCIDE | CR4_SMAP)

u64 l1_cr0(void)
{
	u64 mask = vmcs_read(VMCS_cr0_guest_host_mask);

	return (vmcs_read(VMCS_guest_cr0) & ~mask) | (vmcs_read(VMCS_cr0_read_shadow) & mask);
}

u64 l1_cr4(void)
{
	u64 mask = vmcs_read(VMCS_cr4_guest_host_mask);

	return (vmcs_read(VMCS_guest_cr4) & ~mask) | (vmcs_read(VMCS_cr4_read_shadow) & mask);
}

void l1_cr_fixed(bool on)
{
	u64 cr0 = l1_cr0(), fixed = on ? caps_cpu.cr0_fixed0 : 0;

	vmcs_write(VMCS_cr0_read_shadow, cr0);
	vmcs_write(VMCS_cr0_guest_host_mask, (fixed | CR0_NE) & CR0_DEFINED);
}

bool pdptes_load(u64 cr3)
{
	const u64 *p = gpa_ptr(cr3 & 0xffffffe0u, 32);
	u64 reserved = 0x1e6u | (~0ull << cpu_maxphyaddr);

	for (u32 i = 0; i < 4; i++)
		if (p && p[i] & PTE_P && p[i] & reserved)
			return false;
	/* Not memory: as if it read as zeros; L1 can't get anywhere from there. */
	for (u32 i = 0; i < 4; i++)
		vmcs_write(VMCS_guest_pdpte0 + 2 * i, p ? p[i] : 0);
	return true;
}

static bool pae(u64 cr0, u64 cr4, u64 efer)
{
	return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA);
}

/* Would MOV to CR0 raise #GP(0)? */
static bool cr0_wrong(struct cpu *c, u64 value, u64 efer)
{
	u64 cr4 = l1_cr4(), old = l1_cr0();
	bool long_code = vmcs_get(VMCS_guest_cs_access_rights) >> 13 & 1;

	if (value >> 16 >> 16 || (value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
		return true;
	if (c->nested.vmxon && (value & caps_cpu.cr0_fixed0) != (caps_cpu.cr0_fixed0 & 0xffffffffu))
		return true;
	if (!(old & CR0_PG) && value & CR0_PG && efer & EFER_LME && (!(cr4 & CR4_PAE) || long_code))
		return true;
	return old & CR0_PG && !(value & CR0_PG) && ((efer & EFER_LMA && long_code) || cr4 & CR4_PCIDE);
}

static bool cr0_write(struct cpu *c, u64 value)
{
	u64 old = l1_cr0(), efer = vmcs_read(VMCS_guest_ia32_efer), changed;
	u32 entry = (u32)vmcs_get(VMCS_vm_entry_controls);

	value = (value & (CR0_DEFINED | ~0xffffffffull)) | CR0_ET;
	if (cr0_wrong(c, value, efer))
		return false;
	changed = old ^ value;
	if (changed & CR0_PG && efer & EFER_LME) {
		efer = value & CR0_PG ? efer | EFER_LMA : efer & ~(u64)EFER_LMA;
		entry = value & CR0_PG ? entry | VMENTRY_ia32e_mode_guest : entry & ~(u32)VMENTRY_ia32e_mode_guest;
	}
	if (changed & (CR0_PG | CR0_CD | CR0_NW) && pae(value, l1_cr4(), efer) &&
	    !pdptes_load(vmcs_read(VMCS_guest_cr3)))
		return false;
	vmcs_write(VMCS_guest_ia32_efer, efer);
	vmcs_write(VMCS_vm_entry_controls, entry);
	vmcs_write(VMCS_guest_cr0, value | CR0_NE);
	vmcs_write(VMCS_cr0_read_shadow, value);
	/* VM entries don't load CD and NW: they are the CPU's, through all layers. */
	if (changed & (CR0_CD | CR0_NW))
		write_cr0((read_cr0() & ~(ulong)(CR0_CD | CR0_NW)) | (value & (CR0_CD | CR0_NW)));
	if (changed & (CR0_PG | CR0_WP | CR0_PE))
		invvpid_single(VPID_L1);
	return true;
}

static bool cr4_write(struct cpu *c, u64 value)
{
	u64 old = l1_cr4(), efer = vmcs_read(VMCS_guest_ia32_efer), cr0 = l1_cr0(), changed = old ^ value;

	if (value & ~caps_cpu.cr4_fixed1 || (c->nested.vmxon && !(value & CR4_VMXE)))
		return false;
	if (efer & EFER_LMA && (!(value & CR4_PAE) || changed & CR4_LA57))
		return false;
	if (changed & value & CR4_PCIDE && (!(efer & EFER_LMA) || vmcs_read(VMCS_guest_cr3) & 0xfff))
		return false;
	if (pae(cr0, value, efer) && changed & CR4_PDPTE && !pdptes_load(vmcs_read(VMCS_guest_cr3)))
		return false;
	vmcs_write(VMCS_guest_cr4, value | CR4_VMXE);
	vmcs_write(VMCS_cr4_read_shadow, value);
	if (changed & CR4_TLB)
		invvpid_single(VPID_L1);
	return true;
}

void l1_cr_access(struct cpu *c)
{
	u32 qual = (u32)vmcs_get(VMCS_exit_qualification);
	u64 value = l1_register(c, qual >> 8 & 15);
	bool ok = false;

	/* 32-bit code moves 32 bits. */
	if (!(vmcs_get(VMCS_guest_cs_access_rights) >> 13 & 1))
		value = (u32)value;
	if ((qual & QUAL_TYPE) == TYPE_LMSW)
		/* LMSW can set PE but not clear it. */
		ok = cr0_write(c, (l1_cr0() & ~0xeull) | (qual >> 16 & 0xf));
	else if ((qual & QUAL_TYPE) == TYPE_CLTS)
		ok = cr0_write(c, l1_cr0() & ~(u64)CR0_TS);
	else if ((qual & QUAL_TYPE) == TYPE_MOV_TO)
		ok = (qual & QUAL_CR) == 0 ? cr0_write(c, value) : cr4_write(c, value);
	if (ok)
		l1_skip(c);
	else
		l1_fault(c, VEC_GP, 0);
}
