// SPDX-License-Identifier: BSD-2-Clause
/* Instructions with an operand that exit: one test each (operand.h). */
#include "testcases/operand.h"
#include "x86/cr.h"

#define OPCODE(text) .opcode = (text), .opcode_length = sizeof(text) - 1
#define TOLD                                                                                                       \
	" exit.operand.scaling exit.operand.address-size exit.operand.memory exit.operand.segment "                \
	"exit.operand.index exit.operand.index-invalid exit.operand.base exit.operand.base-invalid "               \
	"exit.operand.displacement exit.operand.rip-relative exit.operand.length exit.operand.memory-fault-later " \
	"exit.operand.no-effect exit.operand.fault-first"
#define REGISTERS " exit.operand.register"
#define IDENTITY " exit.operand.identity"
#define REGISTER2 " exit.operand.register2"

#define EXITS(name_, sdm_, needs_, rules_, ...)                                                  \
	TEST(operand, name_, .sdm = sdm_, .needs = needs_, .rules = "exit.operand." rules_ TOLD) \
	{                                                                                        \
		static const struct operand_insn insn = { __VA_ARGS__ };                         \
                                                                                                 \
		operand_check(c, &insn);                                                         \
	}

#define ALWAYS "Instructions That Cause VM Exits Unconditionally"
#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define TABLE "descriptor-table exiting"

/* --- Descriptor tables --- */

#define GDTR_IDTR(name_, reg_, number_, user_)                                                                   \
	EXITS(name_, CONDITION, TABLE, "gdtr-idtr" IDENTITY, OPCODE("\x0f\x01"), .reg = reg_, .number = number_, \
	      .identity = true, .reason = EXIT_gdtr_idtr_access, .proc2 = PROC2_descriptor_table_exiting,        \
	      .user = user_)
GDTR_IDTR(sgdt, 0, 0, OPERAND_USER_EXITS)
GDTR_IDTR(sidt, 1, 1, OPERAND_USER_EXITS)
GDTR_IDTR(lgdt, 2, 2, OPERAND_USER_GP)
GDTR_IDTR(lidt, 3, 3, OPERAND_USER_GP)

#define LDTR_TR(name_, reg_, number_, user_)                                                          \
	EXITS(name_, CONDITION, TABLE, "ldtr-tr" IDENTITY REGISTERS, OPCODE("\x0f\x00"), .reg = reg_, \
	      .number = number_, .identity = true, .registers = true, .reason = EXIT_ldtr_tr_access,  \
	      .proc2 = PROC2_descriptor_table_exiting, .user = user_)
LDTR_TR(sldt, 0, 0, OPERAND_USER_EXITS)
LDTR_TR(str, 1, 1, OPERAND_USER_EXITS)
LDTR_TR(lldt, 2, 2, OPERAND_USER_GP)
LDTR_TR(ltr, 3, 3, OPERAND_USER_GP)

/* --- VMX instructions --- */

#define POINTER(name_, prefix_, reg_)                                                                               \
	EXITS(name_, ALWAYS, "", "vmx", OPCODE("\x0f\xc7"), .prefix = prefix_, .reg = reg_, .reason = EXIT_##name_, \
	      .not_compatibility = true)
POINTER(vmptrld, 0, 6)
POINTER(vmptrst, 0, 7)
POINTER(vmclear, 0x66, 6)
POINTER(vmxon, 0xf3, 6)

#define FIELD_ACCESS(name_, opcode_)                                                                          \
	EXITS(name_, ALWAYS, "", "vmx" REGISTERS REGISTER2, OPCODE(opcode_), .reg2 = true, .registers = true, \
	      .reason = EXIT_##name_, .not_compatibility = true)
FIELD_ACCESS(vmread, "\x0f\x78")
FIELD_ACCESS(vmwrite, "\x0f\x79")

#define INVALIDATION(name_, needs_, opcode_)                                                         \
	EXITS(name_, ALWAYS, needs_, "vmx" REGISTER2, OPCODE(opcode_), .prefix = 0x66, .reg2 = true, \
	      .reason = EXIT_##name_, .not_compatibility = true)
INVALIDATION(invept, "INVEPT", "\x0f\x38\x80")
INVALIDATION(invvpid, "INVVPID", "\x0f\x38\x81")

EXITS(invpcid, CONDITION, "enable INVPCID; INVLPG exiting", "invpcid" REGISTER2, OPCODE("\x0f\x38\x82"), .prefix = 0x66,
      .reg2 = true, .reason = EXIT_invpcid, .proc = PROC_invlpg_exiting, .enable = PROC2_enable_invpcid,
      .user = OPERAND_USER_ELSEWHERE)

/* --- Where hosts go their own ways --- */

TEST(operand, invpcid_user, .sdm = "Relative Priority of Faults and VM Exits",
     .needs = "enable INVPCID; INVLPG exiting", .rules = "exit.operand.fault-first")
{
	static const struct operand_insn insn = { OPCODE("\x0f\x38\x82"), .prefix = 0x66, .reg2 = true,
						  .proc = PROC_invlpg_exiting, .enable = PROC2_enable_invpcid };
	struct operand_run r = { .insn = &insn };
	struct operand_form f;

	judge_begin();
	snippet_begin(&r.s, c, 0);
	operand_controls(&r, true);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		operand_mode(&r, mode, true);
		f = operand_plain(&r);
		operand_judge_fault(&r, &f, VEC_GP);
	}
	judge_done();
}

/* With the mode's own size and with the other one. In 64-bit mode the bit is undefined. */
TEST(operand, table_operand_size, .sdm = "Information for VM Exits Due to Instruction Execution", .needs = TABLE,
     .rules = "exit.operand.operand-size")
{
	struct operand_insn insn = { OPCODE("\x0f\x01"), .operand_size = true,
				     .proc2 = PROC2_descriptor_table_exiting };
	struct operand_run r = { .insn = &insn };
	struct operand_form f;
	struct operand_want w;

	judge_begin();
	snippet_begin(&r.s, c, 0);
	operand_controls(&r, true);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		if (SNIP_IS_64(mode))
			continue;
		operand_mode(&r, mode, false);
		f = operand_plain(&r);
		for (u32 n = 0; n < 8; n++) {
			insn.reg = (u8)(n & 3);
			f.other_size = n >> 2;
			operand_put(&r, &f, &w);
			if (expect_eq(snippet_run(&r.s).reason, EXIT_gdtr_idtr_access))
				JUDGE("exit.operand.operand-size", vmread(VMCS_exit_instruction_info) >> 11 & 1,
				      w.info >> 11 & 1);
		}
	}
	judge_done();
}

TEST(operand, register_qualification, .sdm = "Basic VM-Exit Information", .needs = TABLE,
     .rules = "exit.operand.no-displacement")
{
	static const char *const opcodes[] = { "\x0f\x78", "\x0f\x79", "\x0f\x00", "\x0f\x00", "\x0f\x00", "\x0f\x00" };
	struct operand_insn insn = { .opcode_length = 2, .registers = true, .proc2 = PROC2_descriptor_table_exiting };
	struct operand_run r = { .insn = &insn };
	struct operand_form f = { .reg = true, .index = NO_REGISTER, .segment = NO_REGISTER };
	struct operand_want w;
	struct exit e;

	judge_begin();
	snippet_begin(&r.s, c, 0);
	operand_controls(&r, true);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		operand_mode(&r, mode, false);
		/* VMREAD, VMWRITE; SLDT, STR, LLDT, LTR */
		for (u32 n = mode == SNIP_COMPAT ? 2 : 0; n < 6; n++) {
			insn.opcode = opcodes[n];
			insn.reg = n < 2 ? 0 : (u8)(n - 2);
			for (u32 base = 0; base < operand_registers(mode); base++) {
				f.base = (int8_t)base;
				operand_put(&r, &f, &w);
				e = snippet_run(&r.s);
				JUDGE("exit.operand.no-displacement", e.qualification & w.qualification_mask, 0);
			}
		}
	}
	judge_done();
}
