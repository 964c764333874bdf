// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/decode.h"

/* REX prefix (SDM: "REX Prefixes") */
#define REX_R 0x4u
#define REX_W 0x8u

struct decoder {
	const u8 *bytes;
	u32 at, end;
	enum decode_mode mode;
	bool ended; /* a byte beyond the end was wanted */
	bool operand_prefix, address_prefix, has_rex;
	u8 rex;
	u8 operand; /* bytes: 2, 4, 8 */
	u8 address;
	u8 digit; /* ModRM.reg */
};

/* The next n bytes, little-endian; 0 if there are fewer. n: 1 to 8 */
static u64 fetch(struct decoder *d, u32 n)
{
	u64 value = 0;

	if (n > d->end - d->at) {
		d->ended = true;
		return 0;
	}
	for (u32 i = 0; i < n; i++)
		value |= (u64)d->bytes[d->at + i] << 8 * i;
	d->at += n;
	return value;
}

static u64 sign_extend(u64 value, u32 bytes)
{
	u64 sign = 1ull << (8 * bytes - 1);

	return bytes == 8 ? value : ((value & (2 * sign - 1)) ^ sign) - sign;
}

/* SDM: "Instruction Prefixes". Returns the first byte that isn't one. */
static u8 prefixes(struct decoder *d, struct decode_insn *i)
{
	for (;;) {
		u8 byte = (u8)fetch(d, 1);

		switch (byte) {
		case 0x26: /* segments: part of the address, thus nothing here */
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64:
		case 0x65:
		case 0xf2: /* mean nothing to these instructions */
		case 0xf3:
			break;
		case 0x66:
			d->operand_prefix = true;
			break;
		case 0x67:
			d->address_prefix = true;
			break;
		case 0xf0:
			i->lock = true;
			break;
		default:
			if (d->mode != DECODE_64 || (byte & 0xf0) != 0x40)
				return byte;
			d->has_rex = true;
			d->rex = byte;
			continue;
		}
		/* A REX prefix counts if it is the last one. */
		d->has_rex = false;
		d->rex = 0;
	}
}

static void sizes(struct decoder *d)
{
	bool narrow = (d->mode == DECODE_16) != d->operand_prefix;

	d->operand = d->rex & REX_W ? 8 : narrow ? 2 : 4;
	if (d->mode == DECODE_64)
		d->address = d->address_prefix ? 4 : 8;
	else
		d->address = (d->mode == DECODE_16) != d->address_prefix ? 2 : 4;
}

/* SDM: "Addressing-Mode Encoding of ModR/M and SIB Bytes": skips a memory operand. False if it is a register. */
static bool modrm(struct decoder *d)
{
	u32 byte = (u32)fetch(d, 1), mod = byte >> 6, rm = byte & 7, displacement = 0;

	d->digit = byte >> 3 & 7;
	if (mod == 3)
		return false;
	if (d->address == 2) {
		displacement = mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
	} else {
		/* With a SIB byte its base stands for r/m in this. */
		if (rm == 4)
			rm = fetch(d, 1) & 7;
		displacement = mod == 1 ? 1 : mod == 2 || rm == 5 ? 4 : 0;
	}
	if (displacement)
		fetch(d, displacement);
	return true;
}

static void set_register(const struct decoder *d, struct decode_insn *i, u32 digit)
{
	i->high_byte = i->reg_size == 1 && !d->has_rex && digit >= 4;
	i->reg = (u8)(i->high_byte ? digit - 4 : digit | (d->rex & REX_R ? 8 : 0));
}

/* A memory operand and a register. */
static bool with_register(struct decoder *d, struct decode_insn *i)
{
	if (!modrm(d))
		return false;
	set_register(d, i, d->digit);
	return true;
}

/* A memory operand, already decoded, and an immediate of that many bytes. */
static bool with_immediate(struct decoder *d, struct decode_insn *i, u32 bytes)
{
	i->has_imm = true;
	i->imm = sign_extend(fetch(d, bytes), bytes);
	return true;
}

/* MOV between the accumulator and an address in the instruction. */
static bool with_offset(struct decoder *d, struct decode_insn *i)
{
	fetch(d, d->address);
	i->reg = 0;
	return true;
}

static void mov(struct decode_insn *i, enum decode_kind kind)
{
	i->op = DECODE_MOV;
	i->kind = (u8)kind;
	i->reg_first = kind == DECODE_LOAD;
}

static void arithmetic(struct decode_insn *i, u32 op, bool reg_first)
{
	i->op = (u8)op;
	i->reg_first = reg_first;
	i->kind = reg_first || op == DECODE_CMP || op == DECODE_TEST ? DECODE_LOAD : DECODE_RMW;
}

/* SDM: "One-byte Opcode Map". False: not one of ours. */
static bool one_byte(struct decoder *d, struct decode_insn *i, u8 opcode)
{
	u32 full = d->operand == 2 ? 2 : 4; /* bytes of an immediate that isn't a byte */

	i->size = i->reg_size = opcode & 1 ? d->operand : 1;
	if (opcode < 0x40 && (opcode & 7) < 4) {
		arithmetic(i, opcode >> 3, opcode & 2);
		return with_register(d, i);
	}
	switch (opcode) {
	case 0x63: /* MOVSXD; another instruction outside of 64-bit mode */
		mov(i, DECODE_LOAD);
		i->sign = true;
		i->size = d->operand == 2 ? 2 : 4;
		return d->mode == DECODE_64 && with_register(d, i);
	case 0x80:
	case 0x81:
	case 0x83:
		if (!modrm(d))
			return false;
		arithmetic(i, d->digit, false);
		return with_immediate(d, i, opcode == 0x81 ? full : 1);
	case 0x84:
	case 0x85:
		arithmetic(i, DECODE_TEST, false);
		return with_register(d, i);
	case 0x86:
	case 0x87:
		i->op = DECODE_XCHG;
		i->kind = DECODE_RMW;
		return with_register(d, i);
	case 0x88:
	case 0x89:
		mov(i, DECODE_STORE);
		return with_register(d, i);
	case 0x8a:
	case 0x8b:
		mov(i, DECODE_LOAD);
		return with_register(d, i);
	case 0xa0:
	case 0xa1:
		mov(i, DECODE_LOAD);
		return with_offset(d, i);
	case 0xa2:
	case 0xa3:
		mov(i, DECODE_STORE);
		return with_offset(d, i);
	case 0xc6:
	case 0xc7:
		mov(i, DECODE_STORE);
		return modrm(d) && d->digit == 0 && with_immediate(d, i, opcode & 1 ? full : 1);
	case 0xf6:
	case 0xf7:
		arithmetic(i, DECODE_TEST, false);
		return modrm(d) && d->digit == 0 && with_immediate(d, i, opcode & 1 ? full : 1);
	default:
		return false;
	}
}

/* SDM: "Two-byte Opcode Map": MOVZX and MOVSX. */
static bool two_bytes(struct decoder *d, struct decode_insn *i, u8 opcode)
{
	if ((opcode & 0xf6) != 0xb6)
		return false;
	mov(i, DECODE_LOAD);
	i->sign = opcode & 8;
	i->size = opcode & 1 ? 2 : 1;
	i->reg_size = d->operand;
	return with_register(d, i);
}

struct decode_insn decode(const u8 *bytes, u32 count, enum decode_mode mode)
{
	struct decoder d = { .bytes = bytes, .mode = mode, .end = count < DECODE_MAX ? count : DECODE_MAX };
	struct decode_insn i = { .kind = DECODE_UNSUPPORTED };
	u8 opcode = prefixes(&d, &i);
	bool ours;

	sizes(&d);
	ours = opcode == 0x0f ? two_bytes(&d, &i, (u8)fetch(&d, 1)) : one_byte(&d, &i, opcode);
	if (d.ended) {
		i.kind = count < DECODE_MAX ? DECODE_TRUNCATED : DECODE_UNSUPPORTED;
		return i;
	}
	/* SDM: "LOCK": only with a memory destination; none of these is one of the exceptions. */
	if (!ours || (i.lock && i.kind != DECODE_RMW))
		i.kind = DECODE_UNSUPPORTED;
	i.length = (u8)d.at;
	return i;
}
