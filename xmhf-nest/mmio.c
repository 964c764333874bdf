// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/mmio.h"

#include "x86/cr.h"
#include "xmhf-nest/apic.h"
#include "xmhf-nest/ept01.h"
#include "xmhf-nest/exit.h"
#include "xmhf-nest/fetch.h"
#include "xmhf-nest/guest.h"
#include "xmhf-nest/log.h"
#include "xmhf-nest/nested.h"
#include "xmhf-nest/private.h"
#include "xmhf-nest/smp.h"

#define INFO_VALID (1u << 31)
#define BLOCKING_NMI 8u
#define QUAL_NMI_UNBLOCKED (1u << 12)
#define REGISTERS 16u

void resume_interrupted(u64 qualification)
{
	if (vmcs_get(VMCS_idt_vectoring_info) & INFO_VALID)
		redeliver_event();
	/* The bit is undefined where IRET doesn't unblock (SDM: "Exit Qualification for EPT Violations"). */
	else if (qualification & QUAL_NMI_UNBLOCKED &&
		 (vmcs_get(VMCS_pin_based_controls) & (PIN_nmi_exiting | PIN_virtual_nmis)) != PIN_nmi_exiting)
		vmcs_put(VMCS_guest_interruptibility_state, vmcs_get(VMCS_guest_interruptibility_state) | BLOCKING_NMI);
}

/* Anything but a plain store of a register or a constant. */
static u64 execute(struct cpu *c, const struct decode_insn *insn, const volatile u32 *reg)
{
	u64 r[REGISTERS] = { 0 }, flags = vmcs_get(VMCS_guest_rflags), value;
	u32 n = sizeof(ulong) == 8 ? REGISTERS : 8;

	for (u32 i = 0; i < n; i++)
		r[i] = l1_register(c, i);
	value = decode_execute(insn, r, &flags, insn->kind == DECODE_RMW ? *reg : 0);
	for (u32 i = 0; i < n; i++)
		l1_register_set(c, i, (ulong)r[i]);
	vmcs_put(VMCS_guest_rflags, (ulong)flags);
	return value;
}

/* One instruction that writes a register of the local APIC. False: it's none that L0 can read. */
static bool apic_instruction(struct cpu *c, u64 gpa1)
{
	struct decode_insn insn = fetch_insn(c);
	u64 value;

	if (insn.kind != DECODE_STORE && insn.kind != DECODE_RMW)
		return false;
	if (insn.op != DECODE_MOV || insn.kind != DECODE_STORE)
		value = execute(c, &insn, (volatile u32 *)(ulong)(gpa1 & ~3ull));
	else
		value = insn.has_imm ? insn.imm : l1_register(c, insn.reg);
	/* Other sizes and places are undefined (SDM: "Local APIC Register Address Map"); some hosts don't survive them. */
	if (insn.size == 4 && !(gpa1 & 15))
		apic_l1_write(c, gpa1 & 0xfff, (u32)value);
	l1_skip_by(insn.length);
	return true;
}

static void apic_write(struct cpu *c, u64 gpa1)
{
	if (apic_instruction(c, gpa1))
		return;
	/* Rather than guess: L1 gets the page, and INIT is seen only as an exit of the CPU that it reaches. */
	log_line("an instruction at 0x%llx writes to the APIC in a way that L0 can't follow: no longer guarded",
		 (unsigned long long)vmcs_read(VMCS_guest_rip));
	ept01_set_apic(0);
	smp_flush_all(c);
}

void mmio_violation(struct cpu *c, u64 gpa1, u32 access)
{
	u64 page = gpa1 & ~(u64)(PAGE_SIZE - 1);

	if (ept01_apic && page == ept01_apic && access & EPT_W && !(vmcs_get(VMCS_idt_vectoring_info) & INFO_VALID)) {
		apic_write(c, gpa1);
		return;
	}
	/* A private page isn't there, but nothing in the architecture says so: the access is refused. */
	if (private_overlaps(page, page + PAGE_SIZE) || !ept01_fill(page)) {
		if (c->l2)
			l2_fault(c, VEC_GP, 0);
		else
			l1_fault(c, VEC_GP, 0);
		return;
	}
	resume_interrupted(vmcs_read(VMCS_exit_qualification));
}

void l1_ept_violation(struct cpu *c)
{
	mmio_violation(c, vmcs_read(VMCS_guest_physical_address), (u32)vmcs_get(VMCS_exit_qualification) & EPT_RWX);
}
