// SPDX-License-Identifier: BSD-2-Clause
/* From L2 to L1: exit information into VMCS12, L1's state from its host-state area. SDM: "VM Exits". */
#include "arch/cpu.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/mem.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/poll.h"
#include "xmhf-nest/smp.h"
#include "xmhf-nest/vmx.h"

#define ENTRY_FAILURE (1u << 31)
#define INFO_VALID (1u << 31)
#define INFO_TYPE 0x700u
#define INFO_NMI 0x200u
#define INFO_EXCEPTION 0x300u
#define INFO_ERROR_CODE 0x800u
#define RFLAGS_RF 0x10000u
#define BLOCKING_NMI 8u
#define ABORT_STORE_MSRS 1u
#define ABORT_HOST_PDPTES 2u
#define ABORT_LOAD_MSRS 4u

/* VMCS01's guest state that comes from VMCS12's host state as it is. */
#define SLOT(name)                                              \
	{                                                       \
		VMCS_guest_##name, VI_host_##name * sizeof(u64) \
	}
static const struct vmcs_slot host_slots[] = {
	SLOT(es_selector), SLOT(cs_selector), SLOT(ss_selector), SLOT(ds_selector),  SLOT(fs_selector),
	SLOT(gs_selector), SLOT(tr_selector), SLOT(fs_base),     SLOT(gs_base),      SLOT(tr_base),
	SLOT(gdtr_base),   SLOT(idtr_base),   SLOT(sysenter_cs), SLOT(sysenter_esp), SLOT(sysenter_eip),
	SLOT(cr0),         SLOT(cr3),         SLOT(cr4),         SLOT(rsp),          SLOT(rip),
};

/* What is the same after every exit (SDM: "Loading Host Segment and Descriptor-Table Registers" and around it). */
enum { K_0, K_LIMIT, K_TR_LIMIT, K_TABLE_LIMIT, K_DATA, K_TR, K_UNUSABLE, K_DR7, K_RFLAGS, K_COUNT };
static const ulong constants[K_COUNT] = {
	[K_LIMIT] = 0xffffffffu, [K_TR_LIMIT] = 0x67,        [K_TABLE_LIMIT] = 0xffff, [K_DATA] = AR_DATA32,
	[K_TR] = AR_TSS_BUSY,    [K_UNUSABLE] = AR_UNUSABLE, [K_DR7] = DR7_FIXED,      [K_RFLAGS] = RFLAGS_FIXED,
};
#define CONST(field, k)                                 \
	{                                               \
		VMCS_guest_##field, (k) * sizeof(ulong) \
	}
static const struct vmcs_slot constant_slots[] = {
	CONST(es_base, K_0),
	CONST(cs_base, K_0),
	CONST(ss_base, K_0),
	CONST(ds_base, K_0),
	CONST(es_limit, K_LIMIT),
	CONST(cs_limit, K_LIMIT),
	CONST(ss_limit, K_LIMIT),
	CONST(ds_limit, K_LIMIT),
	CONST(fs_limit, K_LIMIT),
	CONST(gs_limit, K_LIMIT),
	CONST(tr_limit, K_TR_LIMIT),
	CONST(gdtr_limit, K_TABLE_LIMIT),
	CONST(idtr_limit, K_TABLE_LIMIT),
	CONST(tr_access_rights, K_TR),
	CONST(ss_access_rights, K_DATA),
	CONST(ldtr_selector, K_0),
	CONST(ldtr_access_rights, K_UNUSABLE),
	CONST(dr7, K_DR7),
	CONST(ia32_debugctl, K_0),
	CONST(rflags, K_RFLAGS),
	CONST(activity_state, K_0),
	CONST(pending_debug_exceptions, K_0),
};

_Static_assert(ARRAY_SIZE(host_slots) % 2 == 0 && ARRAY_SIZE(constant_slots) % 2 == 0, "vmcs_put_list");

/* What L1's state takes over from L2, read while VMCS02 is current. */
struct from_l2 {
	u64 efer;
	bool nmi_blocked;
};

/* SDM: "VMX Abort": to the region's abort indicator, then the CPU shuts down. */
static void vmx_abort(struct cpu *c, u32 number)
{
	struct vmcs12_page *page = gpa_ptr(c->nested.current, PAGE_SIZE);

	/* Whoever waits for the indicator may want COM1 next. */
	log_line("L1: VMX abort %u cpu=%u", number, c->number);
	if (page)
		page->abort = number;
	vmcs01_init_state(c);
	c->state = L1_SHUTDOWN;
}

/* Segments that the exit makes usable or not by their selector. */
static void data_segments(const u64 *v)
{
	vmcs_put(VMCS_guest_es_access_rights, v[VI_host_es_selector] ? AR_DATA32 : AR_UNUSABLE);
	vmcs_put(VMCS_guest_ds_access_rights, v[VI_host_ds_selector] ? AR_DATA32 : AR_UNUSABLE);
	vmcs_put(VMCS_guest_fs_access_rights, v[VI_host_fs_selector] ? AR_DATA32 : AR_UNUSABLE);
	vmcs_put(VMCS_guest_gs_access_rights, v[VI_host_gs_selector] ? AR_DATA32 : AR_UNUSABLE);
}

/* VMCS01 is current. */
static void load_host_state(struct cpu *c, const struct from_l2 *l2)
{
	const u64 *v = c->nested.v;
	u32 exit = (u32)v[VI_vm_exit_controls];
	bool long_mode = exit & VMEXIT_host_address_space_size;
	u64 efer = exit & VMEXIT_load_ia32_efer ?
			   v[VI_host_ia32_efer] :
			   (l2->efer & ~(u64)(EFER_LMA | EFER_LME)) | (long_mode ? EFER_LMA | EFER_LME : 0);

	vmcs_put_list(host_slots, ARRAY_SIZE(host_slots), v);
	vmcs_put_list(constant_slots, ARRAY_SIZE(constant_slots), constants);
	data_segments(v);
	vmcs_put(VMCS_guest_cs_access_rights, long_mode ? AR_CODE64 : AR_CODE32);
	vmcs_write(VMCS_guest_ia32_efer, efer);
	vmcs_put(VMCS_vm_entry_controls, long_mode ? entry01 | VMENTRY_ia32e_mode_guest : entry01);
	vmcs_put(VMCS_guest_interruptibility_state, l2->nmi_blocked ? BLOCKING_NMI : 0);
	/* The read shadows stay: what is masked in VMX operation is 1 in them and in every host CR0 and CR4. */
	c->l2 = false;
	/* Without VPID, transitions drop L1's translations as well (SDM: "Operations that Invalidate Cached Mappings"). */
	if (!nested_vpid(c))
		invvpid_single(VPID_L1);
	if (!long_mode && v[VI_host_cr4] & CR4_PAE && !pdptes_load(v[VI_host_cr3]))
		vmx_abort(c, ABORT_HOST_PDPTES);
	else if (v[VI_vm_exit_msr_load_count] && !msr_list_exit(c))
		vmx_abort(c, ABORT_LOAD_MSRS);
}

/*
 * SDM: "Information for VM Exits". What L1 nearly always reads is fetched now; the rest stays in VMCS02 until L1 asks,
 * also where an exit leaves it undefined. VMCS02 is current.
 */
static void exit_information(struct cpu *c, u32 reason, u64 qualification)
{
	u64 *v = c->nested.v;

	v[VI_exit_reason] = reason;
	v[VI_exit_qualification] = qualification;
	v[VI_exit_interruption_info] = vmcs_get(VMCS_exit_interruption_info);
	v[VI_idt_vectoring_info] = vmcs_get(VMCS_idt_vectoring_info);
	v[VI_exit_instruction_length] = vmcs_get(VMCS_exit_instruction_length);
}

/* Fields that come back in a way of their own. */
static void bring_back(struct cpu *c)
{
	struct vmcs12_cpu *n = &c->nested;
	u32 exit = (u32)n->v[VI_vm_exit_controls];

	vmcs12_ran(c);
	if (exit & VMEXIT_save_ia32_efer)
		bit_mark(n->stale, VI_guest_ia32_efer);
	if (exit & VMEXIT_save_debug_controls) {
		bit_mark(n->stale, VI_guest_dr7);
		bit_mark(n->stale, VI_guest_ia32_debugctl);
	}
	if (poll_ticks)
		poll_save(c);
	else if (exit & VMEXIT_save_preemption_timer)
		bit_mark(n->stale, VI_preemption_timer_value);
	n->v[VI_vm_entry_interruption_info] &= ~(u64)INFO_VALID;
	/* The CPU stores LMA there (SDM: "Saving Control Registers, Debug Registers, and MSRs"). */
	if (n->proc2 & PROC2_unrestricted_guest) {
		u64 bit = vmcs_get(VMCS_vm_entry_controls) & VMENTRY_ia32e_mode_guest;

		n->v[VI_vm_entry_controls] = (n->v[VI_vm_entry_controls] & ~(u64)VMENTRY_ia32e_mode_guest) | bit;
	}
}

void reflect_exit(struct cpu *c, u32 reason, u64 qualification)
{
	struct vmcs12_cpu *n = &c->nested;
	u32 info;
	struct from_l2 l2 = { 0 };

	exit_information(c, reason, qualification);
	bring_back(c);
	if (!(n->v[VI_vm_exit_controls] & VMEXIT_load_ia32_efer))
		l2.efer = vmcs_read(VMCS_guest_ia32_efer);
	/* SDM: "Updating Non-Register State": an NMI's exit blocks; with virtual NMIs, L2's blocking is its own. */
	info = (u32)n->v[VI_exit_interruption_info];
	if (reason == EXIT_exception_or_nmi && (info & (INFO_VALID | INFO_TYPE)) == (INFO_VALID | INFO_NMI))
		l2.nmi_blocked = true;
	else if (!(n->v[VI_pin_based_controls] & PIN_virtual_nmis))
		l2.nmi_blocked = vmcs_get(VMCS_guest_interruptibility_state) & BLOCKING_NMI;
	if (n->v[VI_vm_exit_msr_store_count] && !msr_list_store(c)) {
		vmcs_load(&c->vmcs01);
		c->l2 = false;
		vmx_abort(c, ABORT_STORE_MSRS);
		return;
	}
	if (c->shadow.trips)
		shadow_exit(c);
	else
		vmcs_load(&c->vmcs01);
	load_host_state(c, &l2);
}

/* What an exception's exit saves is what its delivery would have pushed, with RF set (SDM: "Saving RIP, RSP, RFLAGS, and SSP"). */
void reflect_exception(struct cpu *c, u32 vector, u32 error)
{
	struct vmcs12_cpu *n = &c->nested;

	vmcs_put(VMCS_guest_rflags, vmcs_get(VMCS_guest_rflags) | RFLAGS_RF);
	reflect_exit(c, EXIT_exception_or_nmi, 0);
	/* The CPU's exit was another; what it tells has been copied already. */
	shadow_off(c);
	n->v[VI_exit_interruption_info] =
		INFO_VALID | INFO_EXCEPTION | vector | (exception_has_error(vector) ? INFO_ERROR_CODE : 0);
	n->v[VI_exit_interruption_error_code] = error;
	bit_clear(n->stale, VI_exit_interruption_error_code);
}

/* MSRs that an exit of VMCS02 would have loaded for L1; there was none if L0 itself refuses the entry. */
static void load_host_msrs(const u64 *v)
{
	u32 exit = (u32)v[VI_vm_exit_controls];
	u64 pat = v[VI_host_ia32_pat], perf = v[VI_host_ia32_perf_global_ctrl];

	if (exit & VMEXIT_load_ia32_pat)
		msr_write_raw(MSR_PAT, (u32)pat, (u32)(pat >> 32));
	if (exit & VMEXIT_load_perf_global_ctrl)
		msr_write_raw(MSR_PERF_GLOBAL_CTRL, (u32)perf, (u32)(perf >> 32));
}

/* SDM: "VM-Entry Failures During or After Loading Guest State": no guest state is saved, no MSRs stored. */
void reflect_failure(struct cpu *c, u32 reason, u64 qualification)
{
	struct vmcs12_cpu *n = &c->nested;
	struct from_l2 l2 = { 0 };

	n->touched = true;
	n->v[VI_exit_reason] = reason | ENTRY_FAILURE;
	n->v[VI_exit_qualification] = qualification;
	load_host_msrs(n->v);
	if (!(n->v[VI_vm_exit_controls] & VMEXIT_load_ia32_efer))
		l2.efer = vmcs_read(VMCS_guest_ia32_efer);
	vmcs_load(&c->vmcs01);
	shadow_off(c);
	l2.nmi_blocked = vmcs_get(VMCS_guest_interruptibility_state) & BLOCKING_NMI;
	load_host_state(c, &l2);
}
