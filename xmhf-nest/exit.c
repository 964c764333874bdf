// SPDX-License-Identifier: BSD-2-Clause
/* Every VM exit of every CPU comes through here. */
#include "xmhf-nest/exit.h"

#include "arch/cpu.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"
#include "xmhf-nest/l1_start.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/nmi.h"
#include "xmhf-nest/private.h"
#include "xmhf-nest/smp.h"
#include "xmhf-nest/vmx.h"

u32 exit_handle(struct gregs *g);
u32 entry_failed(struct gregs *g);
void vmcs_access_failed(u32 field) __attribute__((noreturn));

#define INFO_VALID (1u << 31)
#define INFO_ERROR_CODE (1u << 11)
#define INFO_TYPE 0x700u
#define INFO_NMI 0x200u
#define INFO_EXCEPTION 0x300u
#define INFO_UNDEFINED 0x7ffff000u /* bit 12 of what an exit stores is undefined or another thing */

#define BLOCKING_STI 1u
#define BLOCKING_MOV_SS 2u
#define BLOCKING_NMI 8u
#define PENDING_BS (1u << 14)
#define RFLAGS_TF 0x100u

u32 l1_cpl(void)
{
	return vmcs_get(VMCS_guest_ss_access_rights) >> 5 & 3;
}

bool l1_long_mode(void)
{
	return sizeof(ulong) == 8 && vmcs_read(VMCS_guest_ia32_efer) & EFER_LMA;
}

void l1_skip(struct cpu *c)
{
	(void)c;
	l1_skip_by(vmcs_get(VMCS_exit_instruction_length));
}

void l1_skip_by(ulong bytes)
{
	ulong rip = vmcs_get(VMCS_guest_rip), next = rip + bytes;
	u32 blocking = (u32)vmcs_get(VMCS_guest_interruptibility_state);

	/* Outside 64-bit code EIP has 32 bits. */
	if ((rip ^ next) >> 16 >> 16 && !(rip >> 16 >> 16))
		next = (u32)next;
	vmcs_put(VMCS_guest_rip, next);
	if (blocking & (BLOCKING_STI | BLOCKING_MOV_SS))
		vmcs_put(VMCS_guest_interruptibility_state, blocking & ~(BLOCKING_STI | BLOCKING_MOV_SS));
	if (vmcs_get(VMCS_guest_rflags) & RFLAGS_TF)
		vmcs_put(VMCS_guest_pending_debug_exceptions, PENDING_BS);
}

bool exception_has_error(u32 vector)
{
	return vector == VEC_DF || (vector >= VEC_TS && vector <= VEC_PF) || vector == 17;
}

void l1_fault(struct cpu *c, u32 vector, u32 error)
{
	/* Real mode pushes no error codes. */
	bool code = exception_has_error(vector) && vmcs_get(VMCS_guest_cr0) & CR0_PE;

	(void)c;
	vmcs_put(VMCS_vm_entry_interruption_info, INFO_VALID | INFO_EXCEPTION | vector | (code ? INFO_ERROR_CODE : 0));
	if (code)
		vmcs_put(VMCS_vm_entry_exception_error_code, error);
}

void redeliver_event(void)
{
	u32 info = (u32)vmcs_get(VMCS_idt_vectoring_info), blocking;

	if (!(info & INFO_VALID))
		return;
	vmcs_put(VMCS_vm_entry_interruption_info, info & ~INFO_UNDEFINED);
	if (info & INFO_ERROR_CODE)
		vmcs_put(VMCS_vm_entry_exception_error_code, vmcs_get(VMCS_idt_vectoring_error_code));
	/* Only software events use it; it's valid for them. */
	vmcs_put(VMCS_vm_entry_instruction_length, vmcs_get(VMCS_exit_instruction_length));
	/* With virtual NMIs the injection blocks by itself, and mustn't find the bit set; without them it doesn't block. */
	blocking = (u32)vmcs_get(VMCS_guest_interruptibility_state);
	if ((info & INFO_TYPE) == INFO_NMI && blocking & BLOCKING_NMI &&
	    vmcs_get(VMCS_pin_based_controls) & PIN_virtual_nmis)
		vmcs_put(VMCS_guest_interruptibility_state, blocking & ~BLOCKING_NMI);
}

/* A triple fault of L1 is one of the machine: L0 has nothing to add. */
static void triple_fault(struct cpu *c)
{
	struct table_reg none = { 0, 0 };

	log_line("L1 shut down (triple fault) cpu=%u rip=0x%llx", c->number,
		 (unsigned long long)vmcs_read(VMCS_guest_rip));
	load_idt(&none);
	raise_breakpoint();
	for (;;)
		halt();
}

static void nothing(struct cpu *c)
{
	(void)c; /* a kick, or a look */
}

static void undefined(struct cpu *c)
{
	l1_fault(c, VEC_UD, 0);
}

static void general_protection(struct cpu *c)
{
	l1_fault(c, VEC_GP, 0);
}

static void invd(struct cpu *c)
{
	/* INVD would lose what L0 has in the cache. */
	write_back_caches();
	l1_skip(c);
}

static void xsetbv(struct cpu *c)
{
	struct gregs *g = c->regs;

	if (l1_cpl() || xsetbv_raw((u32)g->cx, (u32)g->ax, (u32)g->dx))
		l1_fault(c, VEC_GP, 0);
	else
		l1_skip(c);
}

static void (*const handlers[])(struct cpu *) = {
	[EXIT_exception_or_nmi] = nothing,
	[EXIT_triple_fault] = triple_fault,
	[EXIT_init] = nothing,
	[EXIT_task_switch] = general_protection, /* docs/xmhf-nest.md, "Limits" */
	[EXIT_cpuid] = l1_cpuid,
	[EXIT_getsec] = undefined,
	[EXIT_invd] = invd,
	[EXIT_vmcall] = l1_vmcall,
	[EXIT_vmclear] = l1_vmclear,
	[EXIT_vmlaunch] = l1_vmlaunch,
	[EXIT_vmptrld] = l1_vmptrld,
	[EXIT_vmptrst] = l1_vmptrst,
	[EXIT_vmread] = l1_vmread,
	[EXIT_vmresume] = l1_vmresume,
	[EXIT_vmwrite] = l1_vmwrite,
	[EXIT_vmxoff] = l1_vmx_off,
	[EXIT_vmxon] = l1_vmx_on,
	[EXIT_cr_access] = l1_cr_access,
	[EXIT_rdmsr] = l1_rdmsr,
	[EXIT_wrmsr] = l1_wrmsr,
	[EXIT_ept_violation] = l1_ept_violation,
	[EXIT_invept] = l1_invept,
	[EXIT_invvpid] = l1_invvpid,
	[EXIT_xsetbv] = xsetbv,
	[EXIT_preemption_timer] = nothing,
};

static void l1_exit(struct cpu *c)
{
	u32 basic = c->reason & 0xffff;

	/* Not L1's doing: L0 wrote something into VMCS01 that the CPU refuses, or let something exit and forgot it. */
	if (c->reason >> 31 || basic >= ARRAY_SIZE(handlers) || !handlers[basic])
		panic("exit of L1 for reason 0x%x (%s)", c->reason, exit_reason_name(basic));
	handlers[basic](c);
}

/* 1 to VMLAUNCH, 0 to VMRESUME the current VMCS. */
static u32 how_to_enter(struct cpu *c)
{
	bool *launched = c->l2 ? &c->launched02 : &c->launched01;

	c->launching = !*launched;
	*launched = true;
	return c->launching;
}

static void before_entry(struct cpu *c)
{
	smp_settle(c);
	smp_wait_to_run(c);
	if (c->nmi_pending)
		nmi_pass(c);
}

u32 exit_handle(struct gregs *g)
{
	struct cpu *c = cpu_of(g);
	c->reason = (u32)vmcs_get(VMCS_exit_reason);
	if (c->l2)
		nested_exit(c);
	else
		l1_exit(c);
	if (__atomic_load_n(&nest_public[c->number].asked, __ATOMIC_ACQUIRE))
		smp_answer(c);
	if (c->before_entry)
		before_entry(c);
	return how_to_enter(c);
}

/*
 * The CPU refuses the controls or the host state of the current VMCS. VMCS02 has controls that L1 chose: if they got
 * through L0's checks, the CPU's judgement is as good as L0's. VMCS01 is L0's alone.
 */
u32 entry_failed(struct gregs *g)
{
	struct cpu *c = cpu_of(g);
	u32 error = (u32)vmcs_get(VMCS_vm_instruction_error);

	if (!c->l2)
		panic("VM entry to L1 failed: VM-instruction error %u", error);
	if (c->launching)
		c->launched02 = false;
	nested_refused(c, error);
	return how_to_enter(c);
}

void vmcs_access_failed(u32 field)
{
	panic("VMREAD, VMWRITE or VMPTRLD failed; field 0x%x (%s)", field, vmcs_name(field));
}
