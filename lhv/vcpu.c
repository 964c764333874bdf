// SPDX-License-Identifier: BSD-2-Clause
/* Setting up a VMCS. Entering and leaving is in enter.c. */
#include "lhv/vcpu.h"

#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/report.h"
#include "x86/cr.h"
#include "x86/msr.h"

#ifdef __x86_64__
#define MODE_VMEXIT VMEXIT_host_address_space_size
#define MODE_VMENTRY VMENTRY_ia32e_mode_guest
#define AR_CODE AR_CODE64
#else
#define MODE_VMEXIT 0
#define MODE_VMENTRY 0
#define AR_CODE AR_CODE32
#endif

/* Copies L1's page tables as far as needed to have a private window of 4 KiB pages. */
static void make_l2_tables(struct vcpu *v)
{
	u64 *top = (u64 *)(ulong)(read_cr3() & PTE_ADDR);
	u64 *pdpt, *pd, *copy;

#ifdef __x86_64__
	copy = page_alloc();
	v->l2_root = (ulong)copy;
	memcpy(copy, top, PAGE_SIZE);
	top = (u64 *)(ulong)(top[0] & PTE_ADDR);
	pdpt = page_alloc();
	memcpy(pdpt, top, PAGE_SIZE);
	copy[0] = (ulong)pdpt | PTE_P | PTE_W | PTE_U;
#else
	pdpt = page_alloc();
	memcpy(pdpt, top, 32);
	v->l2_root = (ulong)pdpt;
#endif
	pd = (u64 *)(ulong)(pdpt[0] & PTE_ADDR);
	copy = page_alloc();
	memcpy(copy, pd, PAGE_SIZE);
	pdpt[0] = (ulong)copy | (pdpt[0] & ~PTE_ADDR);
	v->l2_window = page_alloc();
	copy[L2_WINDOW >> 21] = (ulong)v->l2_window | PTE_P | PTE_W | PTE_U;
}

/* VMCLEAR leaves a new VMCS's fields undefined. */
static void write_defaults(void)
{
	vmwrite(VMCS_exception_bitmap, ~0u);
	vmwrite(VMCS_page_fault_error_code_mask, 0);
	vmwrite(VMCS_page_fault_error_code_match, 0);
	vmwrite(VMCS_cr3_target_count, 0);
	vmwrite(VMCS_cr0_guest_host_mask, 0);
	vmwrite(VMCS_cr4_guest_host_mask, 0);
	vmwrite(VMCS_cr0_read_shadow, 0);
	vmwrite(VMCS_cr4_read_shadow, 0);
	vmwrite(VMCS_vm_exit_msr_store_count, 0);
	vmwrite(VMCS_vm_exit_msr_load_count, 0);
	vmwrite(VMCS_vm_entry_msr_load_count, 0);
	vmwrite(VMCS_vm_entry_interruption_info, 0);
	vmwrite(VMCS_vm_entry_exception_error_code, 0);
	vmwrite(VMCS_vm_entry_instruction_length, 0);
}

void vcpu_create(struct vcpu *v, struct cpu *c)
{
	memset(v, 0, sizeof(*v));
	v->cpu = c;
	v->vmcs_pa = (ulong)page_alloc();
	v->ctl[CTL_VMEXIT] = MODE_VMEXIT;
	v->ctl[CTL_VMENTRY] = MODE_VMENTRY;
	*(volatile u32 *)(ulong)v->vmcs_pa = (u32)vmx_caps.basic & 0x7fffffff;
	if (vmclear(v->vmcs_pa).kind != OUT_OK || vmptrld(v->vmcs_pa).kind != OUT_OK)
		panic("a fresh VMCS at 0x%llx is refused", (unsigned long long)v->vmcs_pa);
	write_defaults();
	make_l2_tables(v);
	c->vcpu = v;
}

void vcpu_destroy(struct vcpu *v)
{
	v->cpu->vcpu = NULL;
	if (vmclear(v->vmcs_pa).kind != OUT_OK)
		panic("VMCLEAR of the current VMCS failed");
}

static void write_word(struct vcpu *v, enum ctl_word w, enum vmcs_field field, u32 want)
{
	const char *missing;

	vmwrite(field, ctl_adjust(&vmx_caps, w, want, 0, &missing));
	if (missing)
		panic("control \"%s\" is not offered, nobody asked before", missing);
	v->ctl[w] = want;
}

void vcpu_write_controls(struct vcpu *v)
{
	u32 pin = v->ctl[CTL_PIN] & ~(u32)PIN_external_interrupt_exiting;
	u32 vmexit = v->ctl[CTL_VMEXIT] & ~(u32)VMEXIT_acknowledge_interrupt_on_exit;
	u32 proc = v->ctl[CTL_PROC];

	if (v->irq_mode != IRQ_TO_L2)
		pin |= PIN_external_interrupt_exiting;
	if (v->irq_mode == IRQ_REINJECT)
		vmexit |= VMEXIT_acknowledge_interrupt_on_exit;
	if (v->ctl[CTL_PROC2])
		proc |= PROC_activate_secondary_controls;
	v->cpu->l2_does_eoi = v->irq_mode == IRQ_TO_L2;
	write_word(v, CTL_PIN, VMCS_pin_based_controls, pin);
	write_word(v, CTL_PROC, VMCS_primary_proc_based_controls, proc);
	if (proc & PROC_activate_secondary_controls)
		write_word(v, CTL_PROC2, VMCS_secondary_proc_based_controls, v->ctl[CTL_PROC2]);
	write_word(v, CTL_VMEXIT, VMCS_vm_exit_controls, vmexit);
	write_word(v, CTL_VMENTRY, VMCS_vm_entry_controls, v->ctl[CTL_VMENTRY]);
	vmwrite(VMCS_exception_bitmap, ~v->l2_takes);
}

void vcpu_write_host_state(struct vcpu *v)
{
	struct cpu *c = v->cpu;

	vmwrite(VMCS_host_cr0, read_cr0());
	vmwrite(VMCS_host_cr3, read_cr3());
	vmwrite(VMCS_host_cr4, read_cr4());
	vmwrite(VMCS_host_cs_selector, SEL_CODE);
	vmwrite(VMCS_host_ss_selector, SEL_DATA);
	vmwrite(VMCS_host_ds_selector, SEL_DATA);
	vmwrite(VMCS_host_es_selector, SEL_DATA);
	vmwrite(VMCS_host_fs_selector, SEL_DATA);
	vmwrite(VMCS_host_gs_selector, SEL_DATA);
	vmwrite(VMCS_host_tr_selector, SEL_TSS1);
	vmwrite(VMCS_host_fs_base, 0);
	vmwrite(VMCS_host_gs_base, 0);
	vmwrite(VMCS_host_tr_base, (ulong)&c->tss[LEVEL_L1]);
	vmwrite(VMCS_host_gdtr_base, (ulong)c->gdt);
	vmwrite(VMCS_host_idtr_base, cpu_idt_base());
	vmwrite(VMCS_host_sysenter_cs, 0);
	vmwrite(VMCS_host_sysenter_esp, 0);
	vmwrite(VMCS_host_sysenter_eip, 0);
	vmwrite(VMCS_host_rip, (ulong)vmx_exit_entry);
}

static void write_segment(u32 index, u16 selector, u32 rights)
{
	/* ES CS SS DS FS GS LDTR TR stand in this order in each group of fields. */
	vmwrite(VMCS_guest_es_selector + 2 * index, selector);
	vmwrite(VMCS_guest_es_base + 2 * index, 0);
	vmwrite(VMCS_guest_es_limit + 2 * index, 0xffffffff);
	vmwrite(VMCS_guest_es_access_rights + 2 * index, rights);
}

void vcpu_write_guest_state(struct vcpu *v)
{
	struct cpu *c = v->cpu;

	vmwrite(VMCS_guest_cr0, read_cr0());
	vmwrite(VMCS_guest_cr3, v->l2_root);
	vmwrite(VMCS_guest_cr4, read_cr4());
	vmwrite(VMCS_guest_dr7, 0x400);
	for (u32 i = 0; i < 6; i++)
		write_segment(i, i == 1 ? SEL_CODE : SEL_DATA, i == 1 ? AR_CODE : AR_DATA32);
	write_segment(6, 0, AR_UNUSABLE);
	write_segment(7, SEL_TSS2, AR_TSS_BUSY);
	vmwrite(VMCS_guest_tr_base, (ulong)&c->tss[LEVEL_L2]);
	vmwrite(VMCS_guest_tr_limit, sizeof(struct tss) - 1);
	vmwrite(VMCS_guest_gdtr_base, (ulong)c->gdt);
	vmwrite(VMCS_guest_gdtr_limit, sizeof(c->gdt) - 1);
	vmwrite(VMCS_guest_idtr_base, cpu_idt_base());
	vmwrite(VMCS_guest_idtr_limit, CPU_IDT_LIMIT);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED);
	vmwrite(VMCS_guest_sysenter_cs, 0);
	vmwrite(VMCS_guest_sysenter_esp, 0);
	vmwrite(VMCS_guest_sysenter_eip, 0);
	vmwrite(VMCS_guest_ia32_debugctl, 0);
	vmwrite(VMCS_guest_interruptibility_state, 0);
	vmwrite(VMCS_guest_activity_state, 0);
	vmwrite(VMCS_guest_pending_debug_exceptions, 0);
	vmwrite(VMCS_vmcs_link_pointer, ~0ull);
#ifndef __x86_64__
	/* SDM: "Loading Page-Directory-Pointer-Table Entries": with EPT they come from the VMCS. */
	if (v->eptp) {
		const u64 *pdpt = (const u64 *)(ulong)v->l2_root;

		for (u32 i = 0; i < 4; i++)
			vmwrite(VMCS_guest_pdpte0 + 2 * i, pdpt[i]);
	}
#endif
}

void vcpu_write(struct vcpu *v)
{
	vcpu_write_controls(v);
	if (v->eptp)
		vmwrite(VMCS_ept_pointer, v->eptp);
	vcpu_write_host_state(v);
	vcpu_write_guest_state(v);
}

void guest(struct vcpu *v, ulong (*fn)(ulong), ulong arg)
{
	v->g.ax = (ulong)fn;
	v->g.dx = arg;
	vmwrite(VMCS_guest_rip, (ulong)l2_start);
	vmwrite(VMCS_guest_rsp, stack_top(v->cpu, LEVEL_L2));
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED);
	vmwrite(VMCS_guest_activity_state, 0);
	vmwrite(VMCS_guest_interruptibility_state, 0);
}
