/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoder of the instructions by which software reads and writes a device's registers: one memory operand, one
 * general register or immediate. Addresses are not computed: who asks knows from the exit where the access went.
 * Pure. SDM: "Instruction Format", "Opcode Map".
 */
#ifndef NEST_DECODE_H
#define NEST_DECODE_H

#include "core/base.h"

#define DECODE_MAX 15u /* bytes of an instruction; longer ones are #GP */

enum decode_mode { DECODE_16, DECODE_32, DECODE_64 }; /* default operand and address size of CS; 64-bit mode */

enum decode_kind {
	DECODE_UNSUPPORTED, /* another instruction, no memory operand, LOCK where it is #UD, more than 15 bytes */
	DECODE_TRUNCATED,   /* the given bytes end within the instruction */
	DECODE_LOAD,        /* memory is read; what is written is a register, or flags only (CMP, TEST) */
	DECODE_STORE,       /* memory is written */
	DECODE_RMW,         /* both */
};

/* ADD to CMP have the numbers that they have in opcodes. MOV: MOVZX, MOVSX and MOVSXD too. */
enum decode_op {
	DECODE_ADD,
	DECODE_OR,
	DECODE_ADC,
	DECODE_SBB,
	DECODE_AND,
	DECODE_SUB,
	DECODE_XOR,
	DECODE_CMP,
	DECODE_TEST,
	DECODE_MOV,
	DECODE_XCHG
};

struct decode_insn {
	u8 kind;        /* enum decode_kind; of DECODE_UNSUPPORTED and DECODE_TRUNCATED nothing else counts */
	u8 length;      /* bytes */
	u8 op;          /* enum decode_op */
	u8 size;        /* bytes in memory: 1, 2, 4, 8 */
	u8 reg_size;    /* bytes of the register; more than size if a load extends */
	u8 reg;         /* 0 to 15 */
	bool high_byte; /* AH, CH, DH, BH: bits 15:8 of reg, which is 0 to 3 */
	bool reg_first; /* the register is the first operand: destination, or minuend of CMP */
	bool sign;      /* the load sign-extends */
	bool lock;
	bool has_imm; /* an immediate instead of a register */
	u64 imm;      /* sign-extended to 64 bits */
};

/* Reads no more than count bytes, and no more than DECODE_MAX. */
struct decode_insn decode(const u8 *bytes, u32 count, enum decode_mode mode);

/*
 * What the instruction does, if its kind is LOAD, STORE or RMW. reg: RAX to R15 in the order of their numbers.
 * memory: what was read (LOAD, RMW), bits beyond i->size ignored. *rflags: the arithmetic flags change as they
 * have to. Returns what is to be written to memory (STORE, RMW; else 0).
 */
u64 decode_execute(const struct decode_insn *i, u64 reg[16], u64 *rflags, u64 memory);

#endif
