/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions with an operand that exit: all forms of the operand, in all modes, and what the exit tells of them in
 * instruction information and qualification. SDM: "Information for VM Exits Due to Instruction Execution", "Basic VM-Exit
 * Information". L1, CPU 0.
 */
#ifndef TESTCASES_OPERAND_H
#define TESTCASES_OPERAND_H

#include "testcases/judge.h"
#include "testcases/snippet.h"

#define NO_REGISTER (-1)
#define REG_CX 1
#define REG_BX 3
#define REG_SP 4
#define REG_BP 5
#define REG_SI 6
#define REG_DI 7

/* What the instruction does at CPL 3. */
enum operand_user { OPERAND_USER_EXITS, OPERAND_USER_GP, OPERAND_USER_ELSEWHERE /* a test of its own */ };

struct operand_insn {
	const char *opcode; /* without mandatory prefix */
	u8 opcode_length;
	u8 prefix;         /* mandatory: 0, 0x66 or 0xf3 */
	u8 reg;            /* ModRM's reg, if it belongs to the opcode */
	bool reg2;         /* otherwise it is another operand: "Reg2" */
	bool registers;    /* the first operand may be a register: "Reg1" */
	bool operand_size; /* the exit tells it, outside of 64-bit mode */
	bool identity;     /* the exit tells `number` in bits 29:28 */
	u8 number;
	u8 reason;
	enum operand_user user;
	bool not_compatibility; /* #UD in compatibility mode */
	u32 proc, proc2;        /* controls that make it exit, if it doesn't always */
	u32 enable;             /* secondary control without which it is #UD */
	u32 cr4;                /* without which it's #UD */
	bool components;        /* EDX:EAX asks for all state components, all of which exit */
};

/* One operand; 0 is [AX] or AX, so name what isn't used. */
struct operand_form {
	u8 address_bits;      /* 16, 32, 64 */
	bool reg;             /* the register `base`, not memory */
	bool rip;             /* relative to RIP */
	bool sib;             /* has a SIB byte although it needs none */
	int8_t base, index;   /* NO_REGISTER */
	u8 scale;             /* exponent */
	u8 displacement_bits; /* 0, 8, or the longest */
	s32 displacement;
	int8_t segment; /* override: 0 ES to 5 GS, in the order of the field; NO_REGISTER: none */
	u8 repeat;      /* so many overrides instead of one */
	u8 reg2;
	bool other_size; /* operand-size prefix */
	bool rex_w;
};

/* What the exit must tell. Bits that the SDM leaves undefined aren't in the masks. */
struct operand_want {
	u32 info, info_mask;
	u64 qualification, qualification_mask;
	u32 length;
};

struct operand_run {
	struct snippet s;
	const struct operand_insn *insn;
	const char *cause; /* rule by which it exits */
};

/* Address bits of the mode, and the number of registers that it has. */
u32 operand_address_bits(enum snip_mode mode);
u32 operand_registers(enum snip_mode mode);
/* Writes the instruction, which L2 will have at `address`. The form must exist in this mode. */
void operand_encode(const struct operand_insn *insn, enum snip_mode mode, const struct operand_form *f, ulong address,
		    u8 *code, struct operand_want *w);
/* L2 stands before the instruction with this operand. DI leads to the data page. */
void operand_put(struct operand_run *r, const struct operand_form *f, struct operand_want *w);
/* Runs it, which must exit, and judges. */
void operand_judge(struct operand_run *r, const struct operand_form *f);
/* All forms that the mode has, by each register. */
void operand_all_forms(struct operand_run *r);
/* The mode, with what the instruction needs there. */
void operand_mode(struct operand_run *r, enum snip_mode mode, bool user);
/* With the controls that make it exit, or without; enabled. */
void operand_controls(struct operand_run *r, bool exiting);
/* [DI], which is in the data page. */
struct operand_form operand_plain(const struct operand_run *r);
/* It must fault instead of exiting. */
void operand_judge_fault(struct operand_run *r, const struct operand_form *f, u32 vector);
/* A whole test: all modes, CPL 3, without the controls, with operands whose access would fault. */
void operand_check(struct cpu *c, const struct operand_insn *insn);

#endif
