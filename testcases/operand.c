// SPDX-License-Identifier: BSD-2-Clause
/* Operands: how they are written, and what an exit tells of them. */
#include "testcases/operand.h"
#include "core/mem.h"
#include "x86/seg.h"

#define INFO_REGISTER 0x400u
#define INFO_INDEX_INVALID 0x400000u
#define INFO_BASE_INVALID 0x8000000u
#define REX 0x40u

u32 operand_address_bits(enum snip_mode mode)
{
	return SNIP_IS_64(mode) ? 64 : mode == SNIP_16 ? 16 : 32;
}

u32 operand_registers(enum snip_mode mode)
{
	return SNIP_IS_64(mode) ? 16 : 8;
}

static u32 field(int reg, u32 shift)
{
	return (u32)(reg & 15) << shift;
}

static void put(u8 *code, u32 *n, u64 value, u32 bytes)
{
	for (u32 i = 0; i < bytes; i++)
		code[(*n)++] = (u8)(value >> 8 * i);
}

static void put_prefixes(const struct operand_insn *insn, enum snip_mode mode, const struct operand_form *f, u8 *code,
			 u32 *n)
{
	static const u8 overrides[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	u32 rex = (f->rex_w ? 8 : 0) | (insn->reg2 && f->reg2 > 7 ? 4 : 0) | (f->index > 7 ? 2 : 0) |
		  (f->base > 7 ? 1 : 0);

	for (u32 i = 0; f->segment >= 0 && i < (f->repeat ? f->repeat : 1u); i++)
		code[(*n)++] = overrides[f->segment];
	if (f->address_bits != operand_address_bits(mode) && !f->reg)
		code[(*n)++] = 0x67;
	if (f->other_size)
		code[(*n)++] = 0x66;
	if (insn->prefix)
		code[(*n)++] = insn->prefix;
	if (rex)
		code[(*n)++] = (u8)(REX | rex);
}

/* SDM: "16-Bit Addressing Forms with the ModR/M Byte" */
static u32 rm_16(const struct operand_form *f)
{
	static const struct {
		int8_t base, index;
	} forms[] = {
		{ REG_BX, REG_SI },      { REG_BX, REG_DI },      { REG_BP, REG_SI },      { REG_BP, REG_DI },
		{ REG_SI, NO_REGISTER }, { REG_DI, NO_REGISTER }, { REG_BP, NO_REGISTER }, { REG_BX, NO_REGISTER },
	};

	if (f->base == NO_REGISTER)
		return 6;
	for (u32 i = 0; i < ARRAY_SIZE(forms); i++)
		if (forms[i].base == f->base && forms[i].index == f->index)
			return i;
	panic("no 16-bit form of base %d index %d", f->base, f->index);
}

static bool needs_sib(enum snip_mode mode, const struct operand_form *f)
{
	if (f->rip)
		return false;
	return f->sib || f->index >= 0 || (f->base >= 0 && (f->base & 7) == 4) || (f->base < 0 && SNIP_IS_64(mode));
}

/* SDM: "Addressing-Mode Encoding of ModR/M and SIB Bytes" */
static void put_operand(const struct operand_insn *insn, enum snip_mode mode, const struct operand_form *f, u8 *code,
			u32 *n)
{
	u32 reg = (insn->reg2 ? f->reg2 : insn->reg) & 7, longest = f->address_bits == 16 ? 2 : 4;
	u32 bytes = f->displacement_bits == 8 ? 1 : f->displacement_bits ? longest : 0;
	u32 mod = bytes == 1 ? 1 : bytes ? 2 : 0, rm, base;

	if (f->reg) {
		code[(*n)++] = (u8)(0xc0 | reg << 3 | (f->base & 7));
		return;
	}
	if (f->base < 0)
		mod = 0;
	if (f->address_bits == 16) {
		code[(*n)++] = (u8)(mod << 6 | reg << 3 | rm_16(f));
	} else {
		base = f->base < 0 ? 5 : (u32)f->base & 7;
		rm = needs_sib(mode, f) ? 4 : base;
		code[(*n)++] = (u8)(mod << 6 | reg << 3 | rm);
		if (needs_sib(mode, f))
			code[(*n)++] = (u8)(f->scale << 6 | (f->index < 0 ? 4 : (u32)f->index & 7) << 3 | base);
	}
	put(code, n, (u32)f->displacement, bytes);
}

/* SDM: "Default Segment Selection": the stack's by ESP or EBP as base; R12 and R13 aren't these. */
static u32 segment_of(const struct operand_form *f)
{
	if (f->segment >= 0)
		return (u32)f->segment;
	return f->base == REG_SP || f->base == REG_BP ? 2 : 3;
}

static void want_memory(enum snip_mode mode, const struct operand_form *f, struct operand_want *w)
{
	w->info = (f->address_bits / 32u) << 7 | segment_of(f) << 15;
	w->info_mask = INFO_REGISTER | 7u << 7 | 7u << 15 | INFO_INDEX_INVALID | INFO_BASE_INVALID;
	/* Overrides by these do nothing in 64-bit mode. Which of the four is told then, the SDM doesn't say. */
	if (SNIP_IS_64(mode) && f->segment >= 0 && f->segment < 4) {
		w->info_mask &= ~(3u << 15);
		w->info &= ~(3u << 15);
	}
	if (f->index >= 0) {
		w->info |= field(f->index, 18) | f->scale;
		w->info_mask |= 15u << 18 | 3;
	} else {
		w->info |= INFO_INDEX_INVALID;
	}
	if (f->base >= 0 && !f->rip) {
		w->info |= field(f->base, 23);
		w->info_mask |= 15u << 23;
	} else {
		w->info |= INFO_BASE_INVALID;
	}
}

void operand_encode(const struct operand_insn *insn, enum snip_mode mode, const struct operand_form *f, ulong address,
		    u8 *code, struct operand_want *w)
{
	u32 n = 0, bits = f->reg ? operand_address_bits(mode) : f->address_bits;

	put_prefixes(insn, mode, f, code, &n);
	for (u32 i = 0; i < insn->opcode_length; i++)
		code[n++] = (u8)insn->opcode[i];
	put_operand(insn, mode, f, code, &n);
	w->length = n;
	if (f->reg) {
		w->info = INFO_REGISTER | field(f->base, 3);
		w->info_mask = INFO_REGISTER | 15u << 3;
		w->qualification = 0;
	} else {
		want_memory(mode, f, w);
		w->qualification = (u64)(int64_t)f->displacement + (f->rip ? address + n : 0);
	}
	/* Bits beyond the address size are undefined. */
	w->qualification_mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
	if (insn->operand_size && !SNIP_IS_64(mode)) {
		w->info |= ((mode == SNIP_16) == f->other_size ? 1u : 0) << 11;
		w->info_mask |= 1u << 11;
	}
	if (insn->identity) {
		w->info |= (u32)insn->number << 28;
		w->info_mask |= 3u << 28;
	}
	if (insn->reg2) {
		w->info |= (u32)f->reg2 << 28;
		w->info_mask |= 15u << 28;
	}
}

/* Parts of the instruction information, and the rules about them. */
static const struct {
	const char *rule, *text;
	u32 mask;
} parts[] = {
	{ "exit.operand.scaling", "scaling", 3 },
	{ "exit.operand.register", "Reg1", 15u << 3 },
	{ "exit.operand.address-size", "address size", 7u << 7 },
	{ "exit.operand.memory", "register or memory", INFO_REGISTER },
	{ "exit.operand.operand-size", "operand size", 1u << 11 },
	{ "exit.operand.segment", "segment", 7u << 15 },
	{ "exit.operand.index", "index", 15u << 18 },
	{ "exit.operand.index-invalid", "index invalid", INFO_INDEX_INVALID },
	{ "exit.operand.base", "base", 15u << 23 },
	{ "exit.operand.base-invalid", "base invalid", INFO_BASE_INVALID },
};

static void judge_info(const struct operand_insn *insn, u32 info, const struct operand_want *w)
{
	for (u32 i = 0; i < ARRAY_SIZE(parts); i++) {
		const struct where where = { __FILE__, __LINE__, parts[i].rule };
		u32 mask = parts[i].mask & w->info_mask;

		if (mask)
			judge_equal(&where, parts[i].text, info & mask, w->info & mask);
	}
	if (insn->identity)
		JUDGE("exit.operand.identity", info >> 28 & 3, insn->number);
	if (insn->reg2)
		JUDGE("exit.operand.register2", info >> 28, w->info >> 28);
}

static bool unchanged(const struct gregs *a, const struct gregs *b)
{
	const ulong *x = &a->ax, *y = &b->ax;
	bool same = true;

	for (u32 n = 0; n < sizeof(*a) / sizeof(ulong); n++)
		same &= x[n] == y[n];
	return same;
}

void operand_put(struct operand_run *r, const struct operand_form *f, struct operand_want *w)
{
	u8 code[64];

	operand_encode(r->insn, r->s.mode, f, (ulong)r->s.code, code, w);
	snippet_code(&r->s, code, w->length);
	r->s.v.g.di = (ulong)r->s.data;
	if (r->insn->components)
		r->s.v.g.ax = r->s.v.g.dx = ~0u;
}

void operand_judge(struct operand_run *r, const struct operand_form *f)
{
	struct operand_want w;
	struct gregs before;
	struct exit e;

	operand_put(r, f, &w);
	before = r->s.v.g;
	e = snippet_run(&r->s);
	if (!judge_equal(&(const struct where){ __FILE__, __LINE__, r->cause }, "reason", e.reason, r->insn->reason))
		return;
	judge_info(r->insn, (u32)vmread(VMCS_exit_instruction_info), &w);
	if (f->rip)
		JUDGE("exit.operand.rip-relative", e.qualification & w.qualification_mask,
		      w.qualification & w.qualification_mask);
	else if (!f->reg)
		JUDGE("exit.operand.displacement", e.qualification & w.qualification_mask,
		      w.qualification & w.qualification_mask);
	JUDGE("exit.operand.length", e.length, w.length);
	JUDGE("exit.operand.no-effect", unchanged(&before, &r->s.v.g), true);
	JUDGE("exit.operand.no-effect", e.ip, (ulong)r->s.code);
}
