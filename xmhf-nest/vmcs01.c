// SPDX-License-Identifier: BSD-2-Clause
/* VMXON, host state, and VMCS01: the VMCS that L1 runs on. */
#include "arch/cpu.h"
#include "core/mem.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/poll.h"
#include "xmhf-nest/tables.h"
#include "xmhf-nest/vmx.h"

/* L1's MSR bitmap, one for all CPUs: reads at 0 and 1024, writes at 2048 and 3072 (SDM: "MSR-Bitmap Address"). */
static u8 *msr_bitmap;
/* Words of it with bits in them: what else L2's bitmap gets. */
struct msr_bitmap_words msr_bitmap_words;
u32 entry01;

static void intercept(u32 msr, bool write)
{
	u32 bit = (msr & 0x1fff) + (msr >> 31 ? 8192 : 0) + (write ? 16384 : 0);

	msr_bitmap[bit / 8] |= (u8)(1u << bit % 8);
}

void msr_bitmap_init(void)
{
	msr_bitmap = pages_alloc(1, 4096);
	for (u32 msr = MSR_VMX_BASIC; msr <= MSR_VMX_VMFUNC; msr++)
		intercept(msr, false);
	intercept(MSR_APIC_BASE, true);
	intercept(MSR_X2APIC_ICR, true);
	/* A 32-bit host has no 64-bit guests: L1 mustn't turn long mode on. */
	if (sizeof(ulong) == 4)
		intercept(MSR_EFER, true);
	for (u32 i = 0; i < PAGE_SIZE / sizeof(ulong); i++)
		if (((const ulong *)msr_bitmap)[i]) {
			if (msr_bitmap_words.count == MSR_BITMAP_WORDS)
				panic("MSR_BITMAP_WORDS");
			msr_bitmap_words.word[msr_bitmap_words.count++] = (u16)i;
		}
}

const u8 *msr_bitmap_l1(void)
{
	return msr_bitmap;
}

u64 vmcs_new(u32 indicator)
{
	u32 *page = pages_alloc(1, 4096);
	u64 pa = phys_of(page);

	*page = ((u32)caps_cpu.basic & 0x7fffffffu) | indicator;
	if (vmx_clear_raw(&pa))
		panic("VMCLEAR of a new VMCS failed");
	return pa;
}

static void invept(ulong type, u64 eptp)
{
	u64 descriptor[2] = { eptp, 0 };

	if (vmx_invept_raw(type, descriptor))
		panic("INVEPT type %u of 0x%llx failed", (u32)type, (unsigned long long)eptp);
}

void invept_all(void)
{
	invept(2, 0);
}

void invept_single(u64 eptp)
{
	invept(1, eptp);
}

void invvpid_single(u32 vpid)
{
	u64 descriptor[2] = { vpid, 0 };

	if (cpu_has_vpid && vmx_invvpid_raw(1, descriptor))
		panic("INVVPID of 0x%x failed", vpid);
}

void vmcs_host_state(struct cpu *c)
{
	vmcs_write(VMCS_host_cr0, read_cr0());
	vmcs_write(VMCS_host_cr3, read_cr3());
	vmcs_write(VMCS_host_cr4, read_cr4());
	vmcs_write(VMCS_host_es_selector, SEL_DATA);
	vmcs_write(VMCS_host_cs_selector, SEL_CODE);
	vmcs_write(VMCS_host_ss_selector, SEL_DATA);
	vmcs_write(VMCS_host_ds_selector, SEL_DATA);
	vmcs_write(VMCS_host_fs_selector, SEL_DATA);
	vmcs_write(VMCS_host_gs_selector, SEL_DATA);
	vmcs_write(VMCS_host_tr_selector, SEL_TSS1);
	vmcs_write(VMCS_host_fs_base, 0);
	vmcs_write(VMCS_host_gs_base, 0);
	vmcs_write(VMCS_host_tr_base, tables_tss());
	vmcs_write(VMCS_host_gdtr_base, tables_gdt());
	vmcs_write(VMCS_host_idtr_base, tables_idt());
	vmcs_write(VMCS_host_sysenter_cs, 0);
	vmcs_write(VMCS_host_sysenter_esp, 0);
	vmcs_write(VMCS_host_sysenter_eip, 0);
	vmcs_write(VMCS_host_ia32_efer, msr_get(MSR_EFER));
	vmcs_write(VMCS_host_rsp, (ulong)c + CPU_BLOCK - sizeof(ulong));
	vmcs_write(VMCS_host_rip, (ulong)exit_entry);
}

static u32 control(enum ctl_word w, u32 want)
{
	const char *missing;
	u32 value = ctl_adjust(&caps_cpu, w, want, 0, &missing);

	if (missing)
		panic("VMCS01 can't have %s", missing);
	return value;
}

static void controls01(void)
{
	u32 proc2 = PROC2_enable_ept | PROC2_unrestricted_guest;
	/* Instructions that a guest has only if a control says so. */
	u32 instructions = PROC2_enable_rdtscp | PROC2_enable_invpcid | PROC2_enable_xsaves;

	proc2 |= instructions & (u32)(caps_cpu.ctl[CTL_PROC2] >> 32);
	if (cpu_has_vpid) {
		proc2 |= PROC2_enable_vpid;
		vmcs_write(VMCS_vpid, VPID_L1);
	}
	vmcs_write(VMCS_pin_based_controls, control(CTL_PIN, poll_ticks ? PIN_activate_preemption_timer : 0));
	if (poll_ticks)
		vmcs_write(VMCS_preemption_timer_value, poll_ticks);
	vmcs_write(VMCS_primary_proc_based_controls,
		   control(CTL_PROC, (u32)PROC_activate_secondary_controls | PROC_use_msr_bitmaps));
	vmcs_write(VMCS_secondary_proc_based_controls, control(CTL_PROC2, proc2));
	vmcs_write(VMCS_vm_exit_controls,
		   control(CTL_VMEXIT, VMEXIT_save_ia32_efer | VMEXIT_load_ia32_efer | VMEXIT_save_debug_controls |
					       (sizeof(ulong) == 8 ? VMEXIT_host_address_space_size : 0)));
	entry01 = control(CTL_VMENTRY, VMENTRY_load_ia32_efer | VMENTRY_load_debug_controls);
	vmcs_write(VMCS_vm_entry_controls, entry01);
	if (proc2 & PROC2_enable_xsaves)
		vmcs_write(VMCS_xss_exiting_bitmap, 0);
	vmcs_write(VMCS_exception_bitmap, 0);
	vmcs_write(VMCS_page_fault_error_code_mask, 0);
	vmcs_write(VMCS_page_fault_error_code_match, 0);
	vmcs_write(VMCS_cr3_target_count, 0);
	vmcs_write(VMCS_vm_exit_msr_store_count, 0);
	vmcs_write(VMCS_vm_exit_msr_load_count, 0);
	vmcs_write(VMCS_vm_entry_msr_load_count, 0);
	vmcs_write(VMCS_vm_entry_interruption_info, 0);
	vmcs_write(VMCS_msr_bitmap_address, phys_of(msr_bitmap));
	vmcs_write(VMCS_tsc_offset, 0);
	vmcs_write(VMCS_ept_pointer, ept01_pointer);
	vmcs_write(VMCS_vmcs_link_pointer, ~0ull);
	vmcs_write(VMCS_guest_ia32_debugctl, 0);
	/* L1 sees its own VMXE and NE; the CPU's must stay 1. */
	vmcs_write(VMCS_cr0_guest_host_mask, CR0_NE);
	vmcs_write(VMCS_cr4_guest_host_mask, CR4_VMXE);
}

static void segment(u32 selector_field, u32 selector, u32 base, u32 rights)
{
	u32 n = (selector_field - VMCS_guest_es_selector) / 2;

	vmcs_write(selector_field, selector);
	vmcs_write(VMCS_guest_es_base + 2 * n, base);
	vmcs_write(VMCS_guest_es_limit + 2 * n, 0xffff);
	vmcs_write(VMCS_guest_es_access_rights + 2 * n, rights);
}

/* SDM: "Processor State After Reset", column INIT. */
void vmcs01_init_state(struct cpu *c)
{
	u32 r[4];

	memset(c->regs, 0, sizeof(*c->regs));
	cpuid_raw(1, 0, r);
	c->regs->dx = r[0];
	segment(VMCS_guest_es_selector, 0, 0, AR_DATA16);
	segment(VMCS_guest_cs_selector, 0xf000, 0xffff0000, AR_CODE16);
	segment(VMCS_guest_ss_selector, 0, 0, AR_DATA16);
	segment(VMCS_guest_ds_selector, 0, 0, AR_DATA16);
	segment(VMCS_guest_fs_selector, 0, 0, AR_DATA16);
	segment(VMCS_guest_gs_selector, 0, 0, AR_DATA16);
	segment(VMCS_guest_ldtr_selector, 0, 0, 0x82);
	segment(VMCS_guest_tr_selector, 0, 0, AR_TSS_BUSY);
	vmcs_write(VMCS_guest_gdtr_base, 0);
	vmcs_write(VMCS_guest_gdtr_limit, 0xffff);
	vmcs_write(VMCS_guest_idtr_base, 0);
	vmcs_write(VMCS_guest_idtr_limit, 0xffff);
	vmcs_write(VMCS_guest_cr0, CR0_ET | CR0_NE);
	vmcs_write(VMCS_cr0_read_shadow, CR0_ET);
	vmcs_write(VMCS_guest_cr3, 0);
	vmcs_write(VMCS_guest_cr4, CR4_VMXE);
	vmcs_write(VMCS_cr4_read_shadow, 0);
	vmcs_write(VMCS_guest_ia32_efer, 0);
	vmcs_write(VMCS_guest_dr7, DR7_FIXED);
	vmcs_write(VMCS_guest_rsp, 0);
	vmcs_write(VMCS_guest_rip, 0xfff0);
	vmcs_write(VMCS_guest_rflags, RFLAGS_FIXED);
	vmcs_write(VMCS_guest_sysenter_cs, 0);
	vmcs_write(VMCS_guest_sysenter_esp, 0);
	vmcs_write(VMCS_guest_sysenter_eip, 0);
	vmcs_write(VMCS_guest_pending_debug_exceptions, 0);
	vmcs_write(VMCS_guest_interruptibility_state, 0);
	vmcs_write(VMCS_guest_activity_state, 0);
	vmcs_write(VMCS_vm_entry_interruption_info, 0);
	vmcs_write(VMCS_vm_entry_controls, entry01);
	write_cr2(0);
	c->start01 = true;
}

void vmcs01_sipi(struct cpu *c, u32 vector)
{
	vmcs01_init_state(c);
	segment(VMCS_guest_cs_selector, vector << 8, vector << 12, AR_CODE16);
	vmcs_write(VMCS_guest_rip, 0);
}

void vmx_start(struct cpu *c)
{
	u64 feature = msr_get(MSR_FEATURE_CONTROL);
	u32 *region = pages_alloc(1, 4096);

	if (!(feature & FEATURE_CONTROL_LOCK))
		msr_set(MSR_FEATURE_CONTROL, feature | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
	else if (!(feature & FEATURE_CONTROL_VMX))
		panic("the firmware has turned VMX off (IA32_FEATURE_CONTROL = 0x%llx)", (unsigned long long)feature);
	write_cr0(read_cr0() | CR0_NE);
	write_cr4(read_cr4() | CR4_VMXE);
	*region = (u32)caps_cpu.basic & 0x7fffffffu;
	c->vmxon_region = phys_of(region);
	if (vmx_on_raw(&c->vmxon_region))
		panic("VMXON failed");
	c->vmcs01 = vmcs_new(0);
	c->vmcs02 = vmcs_new(0);
	vmcs_load(&c->vmcs01);
	vmcs_host_state(c);
	controls01();
	vmcs01_init_state(c);
	c->state = L1_WAIT_SIPI;
	invept_all();
}
