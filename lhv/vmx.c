// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/vmx.h"

#include "lhv/report.h"
#include "x86/cr.h"
#include "x86/msr.h"

struct outcome vmx_outcome(u32 raw)
{
	ulong number = 0;

	switch (raw) {
	case 0:
		return out_ok();
	case 1:
		return out_invalid();
	case 2:
		vmx_read_raw(VMCS_vm_instruction_error, &number);
		return out_valid((u32)number);
	default:
		return this_cpu()->fault;
	}
}

struct outcome vmxon(u64 pa)
{
	return vmx_outcome(vmx_on_raw(&pa));
}

struct outcome vmxoff(void)
{
	return vmx_outcome(vmx_off_raw());
}

struct outcome vmclear(u64 pa)
{
	return vmx_outcome(vmx_clear_raw(&pa));
}

struct outcome vmptrld(u64 pa)
{
	return vmx_outcome(vmx_ptrld_raw(&pa));
}

struct outcome vmptrst(u64 *pa)
{
	return vmx_outcome(vmx_ptrst_raw(pa));
}

struct outcome invept(ulong type, u64 eptp, u64 reserved)
{
	struct inv_descriptor d = { eptp, reserved };

	return vmx_outcome(vmx_invept_raw(type, &d));
}

struct outcome invvpid(ulong type, u64 vpid, u64 address)
{
	struct inv_descriptor d = { vpid, address };

	return vmx_outcome(vmx_invvpid_raw(type, &d));
}

struct outcome vmread_raw(u32 field, ulong *value)
{
	return vmx_outcome(vmx_read_raw(field, value));
}

struct outcome vmwrite_raw(u32 field, ulong value)
{
	return vmx_outcome(vmx_write_raw(field, value));
}

/* On i386 a 64-bit field has its high half at encoding + 1 (SDM: "VMREAD, VMWRITE, and Encodings of VMCS Fields"). */
static bool has_high_half(u32 field)
{
	return sizeof(ulong) == 4 && (field >> 13 & 3) == WIDTH_64;
}

u64 vmread(enum vmcs_field field)
{
	ulong low = 0, high = 0;

	if (vmx_read_raw(field, &low) || (has_high_half(field) && vmx_read_raw(field + 1u, &high)))
		panic("VMREAD %s failed", vmcs_name(field));
	return low | (u64)high << 16 << 16;
}

void vmwrite(enum vmcs_field field, u64 value)
{
	if (vmx_write_raw(field, (ulong)value) ||
	    (has_high_half(field) && vmx_write_raw(field + 1u, (ulong)(value >> 32))))
		panic("VMWRITE %s failed", vmcs_name(field));
}

void vmwrite_bits(enum vmcs_field field, u64 clear, u64 set)
{
	vmwrite(field, (vmread(field) & ~clear) | set);
}

struct outcome msr_read_try(u32 msr, u64 *value)
{
	return vmx_outcome(msr_read_raw(msr, value));
}

struct outcome msr_write_try(u32 msr, u64 value)
{
	return vmx_outcome(msr_write_raw(msr, (u32)value, (u32)(value >> 32)));
}

u64 msr_read(u32 msr)
{
	u64 value = 0;

	if (msr_read_raw(msr, &value))
		panic("RDMSR 0x%x faulted", msr);
	return value;
}

void msr_write(u32 msr, u64 value)
{
	if (msr_write_raw(msr, (u32)value, (u32)(value >> 32)))
		panic("WRMSR 0x%x faulted", msr);
}

/* VMXON drops nothing, and our EPT tables are new ones in old places (SDM: "Guidelines for Use of the INVEPT Instruction"). */
static void forget_translations(void)
{
	if (vmx_caps.ept_vpid & EPT_CAP_INVEPT && vmx_caps.ept_vpid & EPT_CAP_INVEPT_ALL)
		invept(INVEPT_ALL, 0, 0);
	if (vmx_caps.ept_vpid & VPID_CAP_INVVPID && vmx_caps.ept_vpid & VPID_CAP_ALL)
		invvpid(INVVPID_ALL, 0, 0);
}

/* SDM: "Enabling and Entering VMX Operation" */
struct outcome vmx_on(struct cpu *c)
{
	struct outcome o;

	if (!(msr_read(MSR_FEATURE_CONTROL) & FEATURE_CONTROL_LOCK))
		msr_write(MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
	write_cr0((read_cr0() | (ulong)vmx_caps.cr0_fixed0) & (ulong)vmx_caps.cr0_fixed1);
	write_cr4((read_cr4() | (ulong)vmx_caps.cr4_fixed0 | CR4_VMXE) & (ulong)vmx_caps.cr4_fixed1);
	*(volatile u32 *)(ulong)c->vmxon_pa = (u32)vmx_caps.basic & 0x7fffffff;
	o = vmxon(c->vmxon_pa);
	c->vmx_on = o.kind == OUT_OK;
	if (c->vmx_on)
		forget_translations();
	return o;
}

struct outcome vmx_off(struct cpu *c)
{
	struct outcome o = vmxoff();

	if (o.kind == OUT_OK)
		c->vmx_on = false;
	return o;
}
