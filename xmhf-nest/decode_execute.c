// SPDX-License-Identifier: BSD-2-Clause
#include "x86/seg.h"
#include "xmhf-nest/decode.h"

#define FLAG_PF 0x4u
#define FLAG_AF 0x10u
#define FLAG_SF 0x80u
#define FLAG_OF 0x800u

/* All ones in that many bytes. */
static u64 ones(u32 bytes)
{
	return ~0ull >> (64 - 8 * bytes);
}

static u64 read_register(const struct decode_insn *i, const u64 reg[16])
{
	return (i->high_byte ? reg[i->reg] >> 8 : reg[i->reg]) & ones(i->reg_size);
}

/* SDM: "General-Purpose Registers in 64-Bit Mode": 32 bits clear the upper half, fewer leave the rest alone. */
static void write_register(const struct decode_insn *i, u64 reg[16], u64 value)
{
	u64 mask = ones(i->reg_size);

	value &= mask;
	if (i->high_byte)
		reg[i->reg] = (reg[i->reg] & ~0xff00ull) | value << 8;
	else if (i->reg_size >= 4)
		reg[i->reg] = value;
	else
		reg[i->reg] = (reg[i->reg] & ~mask) | value;
}

static bool even_parity(u64 value)
{
	value ^= value >> 4;
	return !(0x6996u >> (value & 15) & 1);
}

/*
 * a op b, all within size bytes, and the flags (SDM: "EFLAGS Cross-Reference"). AF, undefined after logical
 * operations, becomes 0 as CPUs have it.
 */
static u64 compute(enum decode_op op, u64 a, u64 b, u32 size, u64 *rflags)
{
	u64 sign = 1ull << (8 * size - 1), carry = op == DECODE_ADC || op == DECODE_SBB ? *rflags & RFLAGS_CF : 0;
	u64 result, carries = 0, overflow = 0, flags;

	switch (op) {
	case DECODE_ADD:
	case DECODE_ADC:
		result = a + b + carry;
		carries = (a & b) | ((a | b) & ~result); /* out of each bit */
		overflow = (a ^ result) & (b ^ result);
		break;
	case DECODE_SUB:
	case DECODE_SBB:
	case DECODE_CMP:
		result = a - b - carry;
		carries = (~a & b) | ((~a | b) & result); /* borrows */
		overflow = (a ^ b) & (a ^ result);
		break;
	case DECODE_OR:
		result = a | b;
		break;
	case DECODE_XOR:
		result = a ^ b;
		break;
	default: /* AND, TEST */
		result = a & b;
		break;
	}
	result &= ones(size);
	flags = *rflags & ~(u64)RFLAGS_ARITH;
	flags |= carries & sign ? RFLAGS_CF : 0;
	flags |= even_parity(result & 0xff) ? FLAG_PF : 0;
	flags |= carries & 8 ? FLAG_AF : 0;
	flags |= result ? 0 : RFLAGS_ZF;
	flags |= result & sign ? FLAG_SF : 0;
	flags |= overflow & sign ? FLAG_OF : 0;
	*rflags = flags;
	return result;
}

static u64 extended(const struct decode_insn *i, u64 memory)
{
	u64 sign = 1ull << (8 * i->size - 1);

	return i->sign ? (memory ^ sign) - sign : memory;
}

u64 decode_execute(const struct decode_insn *i, u64 reg[16], u64 *rflags, u64 memory)
{
	u64 other = i->has_imm ? i->imm & ones(i->size) : read_register(i, reg), result;

	memory &= ones(i->size);
	if (i->op == DECODE_MOV && i->kind == DECODE_STORE)
		return other;
	if (i->op == DECODE_MOV || i->op == DECODE_XCHG) {
		write_register(i, reg, extended(i, memory));
		return i->kind == DECODE_RMW ? other : 0;
	}
	if (i->reg_first)
		result = compute(i->op, other, memory, i->size, rflags);
	else
		result = compute(i->op, memory, other, i->size, rflags);
	if (i->kind == DECODE_RMW)
		return result;
	if (i->op != DECODE_CMP && i->op != DECODE_TEST)
		write_register(i, reg, result);
	return 0;
}
