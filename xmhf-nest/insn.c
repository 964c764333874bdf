// SPDX-License-Identifier: BSD-2-Clause
/*
 * The VMX instructions but VMLAUNCH and VMRESUME, executed by L1. SDM: "VMX Instruction Reference". The CPU has
 * checked CR0.PE, virtual-8086 and compatibility mode before it exited; the rest, in the SDM's order, is done here.
 */
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"
#include "xmhf-nest/ept12.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/guest.h"
#include "xmhf-nest/l1_start.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/private.h"
#include "xmhf-nest/vmx.h"

#define RFLAGS_STATUS (RFLAGS_CF | 0x4u | 0x10u | RFLAGS_ZF | 0x80u | 0x800u)
#define RFLAGS_VM 0x20000u
#define INFO_REGISTER (1u << 10)

static void status(struct cpu *c, u32 flags)
{
	vmcs_put(VMCS_guest_rflags, (vmcs_get(VMCS_guest_rflags) & ~(ulong)RFLAGS_STATUS) | flags);
	l1_skip(c);
}

/* SDM: "Conventions": VMsucceed, VMfailInvalid, VMfailValid. */
void vm_succeed(struct cpu *c)
{
	status(c, 0);
}

void vm_fail_invalid(struct cpu *c)
{
	status(c, RFLAGS_CF);
}

void vm_fail(struct cpu *c, u32 error)
{
	if (c->nested.current == VMCS12_NONE) {
		status(c, RFLAGS_CF);
		return;
	}
	c->nested.v[VI_vm_instruction_error] = error;
	c->nested.touched = true;
	status(c, RFLAGS_ZF);
}

/* What comes before everything else. False: a fault was raised. */
bool vmx_allowed(struct cpu *c)
{
	if (!c->nested.vmxon)
		l1_fault(c, VEC_UD, 0);
	else if (l1_cpl())
		l1_fault(c, VEC_GP, 0);
	else
		return true;
	return false;
}

/* The 64-bit operand of VMXON, VMCLEAR, VMPTRLD. */
static bool pointer_operand(struct cpu *c, u64 *pa)
{
	u64 linear;

	return l1_operand(c, (u32)vmcs_get(VMCS_exit_instruction_info), 8, false, &linear) && l1_read(c, linear, pa, 8);
}

static bool bad_pointer(u64 pa)
{
	return pa & 0xfff || pa >> cpu_maxphyaddr;
}

/* The revision identifier at pa; where there's no memory of L1's, ones. */
static u32 revision_at(u64 pa)
{
	u32 revision = ~0u;

	gpa_read(pa, &revision, 4);
	return revision;
}

void l1_vmx_on(struct cpu *c)
{
	u64 pa, cr0 = l1_cr0(), feature = msr_get(MSR_FEATURE_CONTROL);

	if (!(l1_cr4() & CR4_VMXE)) {
		l1_fault(c, VEC_UD, 0);
		return;
	}
	if (c->nested.vmxon) {
		if (l1_cpl())
			l1_fault(c, VEC_GP, 0);
		else
			vm_fail(c, VMXERR_vmxon_in_vmx_root);
		return;
	}
	if (l1_cpl() || (cr0 & caps_l1.cr0_fixed0) != (caps_l1.cr0_fixed0 & 0xffffffffu) ||
	    (l1_cr4() & caps_l1.cr4_fixed0) != caps_l1.cr4_fixed0 || !(feature & FEATURE_CONTROL_LOCK) ||
	    !(feature & FEATURE_CONTROL_VMX)) {
		l1_fault(c, VEC_GP, 0);
		return;
	}
	if (!pointer_operand(c, &pa))
		return;
	if (bad_pointer(pa) || revision_at(pa) != VMCS12_REVISION) {
		vm_fail_invalid(c);
		return;
	}
	c->nested.vmxon = true;
	c->nested.vmxon_pointer = pa;
	c->nested.current = VMCS12_NONE;
	l1_cr_fixed(true);
	vm_succeed(c);
}

void l1_vmx_off(struct cpu *c)
{
	if (!vmx_allowed(c))
		return;
	vmcs12_flush(c);
	/* Nothing has to be forgotten here, but nothing will be used again either, and tables are few. */
	ept02_drop_all(&c->ept02);
	vpid02_invalidate(c, 2, 0, 0);
	c->nested.vmxon = false;
	l1_cr_fixed(false);
	vm_succeed(c);
}

void l1_vmclear(struct cpu *c)
{
	struct vmcs12_page *page;
	u64 pa;

	if (!vmx_allowed(c) || !pointer_operand(c, &pa))
		return;
	if (bad_pointer(pa)) {
		vm_fail(c, VMXERR_vmclear_invalid_address);
		return;
	}
	if (pa == c->nested.vmxon_pointer) {
		vm_fail(c, VMXERR_vmclear_vmxon_pointer);
		return;
	}
	if (pa == c->nested.current) {
		c->nested.launched = false;
		c->nested.touched = true;
		vmcs12_flush(c);
	} else {
		page = gpa_ptr(pa, PAGE_SIZE);
		if (page)
			page->launched = 0;
	}
	vm_succeed(c);
}

void l1_vmptrld(struct cpu *c)
{
	u64 pa;

	if (!vmx_allowed(c) || !pointer_operand(c, &pa))
		return;
	if (bad_pointer(pa)) {
		vm_fail(c, VMXERR_vmptrld_invalid_address);
	} else if (pa == c->nested.vmxon_pointer) {
		vm_fail(c, VMXERR_vmptrld_vmxon_pointer);
	} else if (!gpa_ptr(pa, PAGE_SIZE) || revision_at(pa) != VMCS12_REVISION) {
		vm_fail(c, VMXERR_vmptrld_wrong_revision);
	} else {
		if (pa != c->nested.current) {
			vmcs12_flush(c);
			vmcs12_load(c, pa);
		}
		vm_succeed(c);
	}
}

void l1_vmptrst(struct cpu *c)
{
	u64 linear;

	if (!vmx_allowed(c) || !l1_operand(c, (u32)vmcs_get(VMCS_exit_instruction_info), 8, true, &linear) ||
	    !l1_write(c, linear, &c->nested.current, 8))
		return;
	vm_succeed(c);
}

/* In 32-bit code, registers of 32 bits. */
static ulong register_value(struct cpu *c, u32 number, bool code64)
{
	ulong value = l1_register(c, number);

	return code64 ? value : (u32)value;
}

/* Table index for the encoding in a register, or -1 after VMfail. */
static int field_operand(struct cpu *c, ulong encoding)
{
	int index = encoding >> 16 >> 16 ? -1 : vmcs12_index((u32)encoding);

	if (index < 0)
		vm_fail(c, VMXERR_unsupported_component);
	return index;
}

void l1_vmread(struct cpu *c)
{
	u32 info = (u32)vmcs_get(VMCS_exit_instruction_info);
	bool code64 = l1_code64();
	ulong encoding;
	u64 value, linear;
	int index;

	if (!vmx_allowed(c))
		return;
	if (c->nested.current == VMCS12_NONE) {
		vm_fail_invalid(c);
		return;
	}
	encoding = register_value(c, info >> 28, code64);
	index = field_operand(c, encoding);
	if (index < 0)
		return;
	if (bit_test(shadow_fields, (u32)index))
		shadow_asked(c, false);
	value = vmcs12_get(c, (u32)index);
	if (encoding & 1)
		value >>= 32;
	if (!code64)
		value = (u32)value;
	if (info & INFO_REGISTER) {
		l1_register_set(c, info >> 3 & 15, (ulong)value);
	} else if (!l1_operand(c, info, code64 ? 8 : 4, true, &linear) ||
		   !l1_write(c, linear, &value, code64 ? 8 : 4)) {
		return;
	}
	vm_succeed(c);
}

/* A field holds as many bits as it's wide; what the instruction doesn't give is 0 (SDM: "VMWRITE"). */
static u64 narrowed(u32 index, u64 value)
{
	switch (vmcs_table[index].width) {
	case WIDTH_16:
		return (u16)value;
	case WIDTH_32:
		return (u32)value;
	case WIDTH_NAT:
		return sizeof(ulong) == 8 ? value : (u32)value;
	default:
		return value;
	}
}

void l1_vmwrite(struct cpu *c)
{
	u32 info = (u32)vmcs_get(VMCS_exit_instruction_info);
	bool code64 = l1_code64();
	u64 value = 0, linear;
	ulong encoding;
	int index;

	if (!vmx_allowed(c))
		return;
	if (c->nested.current == VMCS12_NONE) {
		vm_fail_invalid(c);
		return;
	}
	if (info & INFO_REGISTER)
		value = register_value(c, info >> 3 & 15, code64);
	else if (!l1_operand(c, info, code64 ? 8 : 4, false, &linear) || !l1_read(c, linear, &value, code64 ? 8 : 4))
		return;
	encoding = register_value(c, info >> 28, code64);
	index = field_operand(c, encoding);
	if (index < 0)
		return;
	if (vmcs_table[index].area == AREA_EXIT && !(caps_l1.misc >> 29 & 1)) {
		vm_fail(c, VMXERR_vmwrite_readonly_component);
		return;
	}
	if (bit_test(shadow_fields, (u32)index))
		shadow_asked(c, true);
	if (encoding & 1)
		value = (vmcs12_get(c, (u32)index) & 0xffffffffu) | value << 32;
	else
		value = narrowed((u32)index, value);
	vmcs12_set(c, (u32)index, value);
	vm_succeed(c);
}

/* Type and descriptor of INVEPT and INVVPID. False: done already. */
static bool invalidation(struct cpu *c, u64 cap, u64 first_cap, ulong types, ulong *type, u64 descriptor[2])
{
	u32 info = (u32)vmcs_get(VMCS_exit_instruction_info);
	u64 linear;

	/* An instruction that the CPU lacks: it wouldn't have exited below L1. */
	if (!(caps_l1.ept_vpid & cap)) {
		l1_fault(c, VEC_UD, 0);
		return false;
	}
	if (!vmx_allowed(c))
		return false;
	*type = register_value(c, info >> 28, l1_code64());
	if (*type >= types || !(caps_l1.ept_vpid & first_cap << *type)) {
		vm_fail(c, VMXERR_invalid_invept_invvpid_operand);
		return false;
	}
	return l1_operand(c, info, 16, false, &linear) && l1_read(c, linear, descriptor, 16);
}

void l1_invept(struct cpu *c)
{
	u64 d[2];
	ulong type;

	/* Types count from 1: bit 24 would be type 0, which there is none of. */
	if (!invalidation(c, EPT_CAP_INVEPT, EPT_CAP_INVEPT_SINGLE >> 1, 3, &type, d))
		return;
	if (type == 1 && ept12_pointer_wrong(&caps_l1, cpu_maxphyaddr, d[0])) {
		vm_fail(c, VMXERR_invalid_invept_invvpid_operand);
		return;
	}
	if (type == 1)
		ept02_invept_single(&c->ept02, d[0]);
	else
		ept02_invept_all(&c->ept02);
	vm_succeed(c);
}

/* Virtual-8086 and compatibility mode. VMCALL alone exits before the CPU has looked at that. */
static bool mode_without_vmx(void)
{
	return vmcs_get(VMCS_guest_rflags) & RFLAGS_VM ||
	       (vmcs_read(VMCS_guest_ia32_efer) & EFER_LMA && !(vmcs_get(VMCS_guest_cs_access_rights) >> 13 & 1));
}

/* L0's own calls first: the code in real mode that L0 put there, the hypercall. */
void l1_vmcall(struct cpu *c)
{
	if (l1_disk_vmcall(c) || private_hypercall(c))
		l1_skip(c);
	else if (mode_without_vmx())
		l1_fault(c, VEC_UD, 0);
	else if (vmx_allowed(c))
		vm_fail(c, VMXERR_vmcall_in_vmx_root);
}

static bool canonical(u64 address)
{
	return (u64)((int64_t)(address << 16) >> 16) == address;
}

void l1_invvpid(struct cpu *c)
{
	u64 d[2];
	ulong type;

	if (!invalidation(c, VPID_CAP_INVVPID, VPID_CAP_ADDRESS, 4, &type, d))
		return;
	if (d[0] >> 16 || (type != 2 && !d[0]) || (type == 0 && !canonical(d[1]))) {
		vm_fail(c, VMXERR_invalid_invept_invvpid_operand);
		return;
	}
	vpid02_invalidate(c, (u32)type, (u16)d[0], d[1]);
	vm_succeed(c);
}
