/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VMX instructions as bytes, for l1_code_run(). A memory operand is [DI], in code with 16-bit addresses [BX]: both point to
 * the data page. What AX must have is in insn_prepare(). Done in VMX root operation, those with an operand change nothing.
 */
#ifndef TESTCASES_INSN_TABLE_H
#define TESTCASES_INSN_TABLE_H

#include "testcases/l1_code.h"

#define INSN_BYTES_MAX 15u

struct insn_row {
	const char *name;
	u8 bytes[5];
	u8 length;
	u8 operand; /* bytes of the operand in memory; 0: none */
	bool writes;
	bool vmxon;        /* the only one whose place is outside of VMX operation */
	const char *needs; /* capability; NULL: none */
};

extern const struct insn_row insn_rows[];
extern const u32 insn_row_count;

#define for_each_row(i)                                                                 \
	for (const struct insn_row *i = insn_rows; i < insn_rows + insn_row_count; i++) \
		if (!i->needs || cap_have(i->needs))
/* Those that have an operand in memory, and work in VMX root operation. */
#define for_each_operand(i) for_each_row(i) if (i->operand && !i->vmxon)

/* An operand at l->data + offset and AX with which the instruction succeeds, while the VMCS at `vmcs` is current. */
void insn_prepare(struct l1_code *l, const struct insn_row *i, u64 vmcs, u32 offset);
/* Is what a writing instruction wrote there, `offset` behind l->data? True for the others. */
bool insn_wrote(const struct l1_code *l, const struct insn_row *i, u64 vmcs, u32 offset);
/* Has a writing instruction left the same place alone? True for the others. */
bool insn_left(const struct l1_code *l, const struct insn_row *i, u32 offset);
/* With other bytes in front; the number of bytes. */
u32 insn_prefixed(u8 *to, const struct insn_row *i, const void *prefix, u32 length);
/* With another ModRM byte, and what follows it; `prefix` in front and `rex` where it belongs, unless they are 0. */
u32 insn_encode(u8 *to, const struct insn_row *i, u8 prefix, u8 rex, u8 modrm, const void *behind, u32 length);

/* Its ModRM byte, without the part that names another register. */
#define MODRM_REG 0x38u

#endif
