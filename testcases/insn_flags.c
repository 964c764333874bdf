// SPDX-License-Identifier: BSD-2-Clause
/* What VMX instructions leave in the flags and in the VM-instruction error field: each instruction, each way it can end. */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/insn_table.h"
#include "testcases/judge.h"
#include "x86/cr.h"

/* Flags that mean nothing to a VMX instruction at CPL 0; IF and TF would let others come in. */
#define OTHERS (FLAGS_DF | FLAGS_IOPL | FLAGS_NT | FLAGS_AC | FLAGS_ID)
#define NO_FIELD 0x6c20u

/* Makes the prepared instruction fail; the error's number. */
static u32 spoil(struct l1_code *l, const struct insn_row *i)
{
	u64 *operand = (u64 *)(ulong)l->data;

	if (!strcmp(i->name, "VMCLEAR")) {
		operand[0] |= 1;
		return VMXERR_vmclear_invalid_address;
	}
	if (!strcmp(i->name, "VMPTRLD")) {
		operand[0] |= 0x800;
		return VMXERR_vmptrld_invalid_address;
	}
	if (!strcmp(i->name, "VMREAD") || !strcmp(i->name, "VMWRITE")) {
		l->in.reg[L1_AX] = NO_FIELD;
		return VMXERR_unsupported_component;
	}
	if (!strcmp(i->name, "INVEPT") || !strcmp(i->name, "INVVPID")) {
		l->in.reg[L1_AX] = 7;
		return VMXERR_invalid_invept_invvpid_operand;
	}
	if (!strcmp(i->name, "VMLAUNCH"))
		return VMXERR_entry_invalid_control_fields;
	if (!strcmp(i->name, "VMRESUME"))
		return VMXERR_vmresume_nonlaunched_vmcs;
	return i->vmxon ? VMXERR_vmxon_in_vmx_root : 0;
}

/* In every combination that matters: the six flags set and clear before, the others set and clear. */
#define CHECK_FLAGS(l, rule, i, status)                                                                           \
	do {                                                                                                      \
		for (u32 how = 0; how < 4; how++) {                                                               \
			(l)->in.flags = RFLAGS_FIXED | (how & 1 ? RFLAGS_ARITH : 0) | (how & 2 ? OTHERS : 0);     \
			l1_code_run((l), (i)->bytes, (i)->length);                                                \
			JUDGE("insn.flags-other", (l)->out.flags & ~RFLAGS_ARITH, (l)->in.flags & ~RFLAGS_ARITH); \
			JUDGE(rule, (l)->out.flags &RFLAGS_ARITH, (status));                                      \
			JUDGE("insn.flags-other", memcmp((l)->out.reg, (l)->in.reg, sizeof((l)->in.reg)), 0);     \
			JUDGE("insn.flags-other", (l)->out.ip, (l)->in.ip + (i)->length + 1);                     \
		}                                                                                                 \
	} while (false)

TEST(insn, flags_each, .sdm = "VMX Instruction Reference: Conventions",
     .rules = "insn.flags-succeed insn.flags-invalid insn.flags-valid insn.flags-other insn.error-field")
{
	struct l1_code l;
	struct vcpu v;
	u32 error;

	judge_begin();
	l1_code_begin(&l, c);
	/* No VMCS is current: errors have no place to go. */
	for_each_row(i)
	{
		insn_prepare(&l, i, 0, 0);
		if (!spoil(&l, i))
			continue;
		judge_about(i->name, "without a VMCS");
		CHECK_FLAGS(&l, "insn.flags-invalid", i, RFLAGS_CF);
	}
	test_vcpu(&v, c, 0);
	vmwrite(VMCS_pin_based_controls, 0);
	for_each_row(i)
	{
		insn_prepare(&l, i, v.vmcs_pa, 0);
		if (i->operand && !i->vmxon) {
			judge_about(i->name, "succeeds");
			CHECK_FLAGS(&l, "insn.flags-succeed", i, 0);
		}
		error = spoil(&l, i);
		if (!error)
			continue;
		judge_about(i->name, "fails");
		CHECK_FLAGS(&l, "insn.flags-valid", i, RFLAGS_ZF);
		JUDGE("insn.error-field", vmread(VMCS_vm_instruction_error), error);
	}
	vcpu_write(&v);
	l1_code_end(&l);
	judge_done();
}

/*
 * Each is one instruction to the single-step trap: behind it, whether it succeeded or failed, comes #DB; a fault comes first.
 * For an L0 that executes them this is a duty.
 */
TEST(insn, single_step, .sdm = "Single-Step Exception Condition", .rules = "insn.single-step")
{
	struct l1_code l;
	struct vcpu v;

	judge_begin();
	l1_code_begin(&l, c);
	l.in.flags |= FLAGS_TF;
	for (u32 round = 0; round < 3; round++) {
		if (round == 1)
			test_vcpu(&v, c, 0);
		for_each_row(i)
		{
			/* Without a VMCS, with one, and wrong. */
			insn_prepare(&l, i, round ? v.vmcs_pa : l.scratch, 0);
			if (i->vmxon || !i->operand || (round == 2 && !spoil(&l, i)))
				continue;
			judge_about(i->name, round == 2 ? "fails" : round ? "with a VMCS" : "without a VMCS");
			l1_code_run(&l, i->bytes, i->length);
			JUDGE("insn.single-step", l.out.vector, VEC_DB);
			JUDGE("insn.single-step", l.out.ip, l.in.ip + i->length);
			judge_about(i->name, "LOCK in front");
			l1_code_run(&l, "\xf0\x0f\x78\x07", 4);
			JUDGE("insn.single-step", l.out.vector, VEC_UD);
			JUDGE("insn.single-step", l1_code_untouched(&l), true);
		}
	}
	l1_code_end(&l);
	judge_done();
}

/* The field is the current VMCS's, and only a failure writes it. */
TEST(insn, error_field, .sdm = "VM-Instruction Error Field", .rules = "insn.error-field")
{
	u64 other = (ulong)page_alloc();
	struct vcpu v;

	judge_begin();
	test_vcpu(&v, c, 0);
	*(volatile u32 *)(ulong)other = (u32)vmx_caps.basic & 0x7fffffff;
	expect_out(vmclear(other), out_ok());
	judge_about("VMPTRLD, misaligned", NULL);
	expect_out(vmptrld(v.vmcs_pa + 1), out_valid(VMXERR_vmptrld_invalid_address));
	JUDGE("insn.error-field", vmread(VMCS_vm_instruction_error), VMXERR_vmptrld_invalid_address);
	expect_out(vmptrld(other), out_ok());
	expect_out(vmclear(other + 1), out_valid(VMXERR_vmclear_invalid_address));
	judge_about("another VMCS's", NULL);
	JUDGE("insn.error-field", vmread(VMCS_vm_instruction_error), VMXERR_vmclear_invalid_address);
	expect_out(vmptrld(v.vmcs_pa), out_ok());
	judge_about("after VMPTRLD", NULL);
	JUDGE("insn.error-field", vmread(VMCS_vm_instruction_error), VMXERR_vmptrld_invalid_address);
	/* Over VMCLEAR, which writes the data to memory. */
	expect_out(vmclear(v.vmcs_pa), out_ok());
	expect_out(vmptrld(v.vmcs_pa), out_ok());
	judge_about("after VMCLEAR", NULL);
	JUDGE("insn.error-field", vmread(VMCS_vm_instruction_error), VMXERR_vmptrld_invalid_address);
	expect_out(vmclear(other), out_ok());
	vcpu_destroy(&v);
	judge_done();
}
