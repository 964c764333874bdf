// SPDX-License-Identifier: BSD-2-Clause
/*
 * Where VMX instructions in L1 find their operand in memory: every form of address, and on i386 the segments. The CPU tells L0
 * the parts of the address; L0 puts them together and judges the result as the CPU would.
 */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/insn_table.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define OFFSET 0x100u /* of the operand in the data page */
#define NONE 0xffu    /* no register */
#define IP 0xfeu      /* relative to RIP */
#define INDEX 0x123u
#define UPPER_GARBAGE (0xabcdull << 48 | 0x5678ull << 32)
#define ADDRESS_PREFIX 0x67u

/* --- Addresses --- */

struct form {
	const char *what;
	u8 prefix, rex, modrm;
	u8 sib;        /* 0: none */
	u8 disp_bytes; /* without a base register, the displacement is what is missing */
	u8 base, index, scale;
	long disp;
	u32 bits; /* of the address, if not all; registers have other bits above */
};

static const struct form forms[] = {
	{ "[di]", 0, 0, 0x07, 0, 0, L1_DI, NONE, 0, 0, 0 },
	{ "[di + disp8]", 0, 0, 0x47, 0, 1, L1_DI, NONE, 0, 0x7f, 0 },
	{ "[di - disp8]", 0, 0, 0x47, 0, 1, L1_DI, NONE, 0, -0x80, 0 },
	{ "[di - disp32]", 0, 0, 0x87, 0, 4, L1_DI, NONE, 0, -0x12345678, 0 },
	{ "[bp + disp8]", 0, 0, 0x45, 0, 1, L1_BP, NONE, 0, 0x10, 0 },
	{ "[bx + si * 8]", 0, 0, 0x04, 0xf3, 0, L1_BX, L1_SI, 3, 0, 0 },
	{ "[bx + si * 4 + disp8]", 0, 0, 0x44, 0xb3, 1, L1_BX, L1_SI, 2, 0x7f, 0 },
	{ "[bx + bp + disp32]", 0, 0, 0x84, 0x2b, 4, L1_BX, L1_BP, 0, 0x7fffffff, 0 },
	{ "[si] by SIB", 0, 0, 0x04, 0x26, 0, L1_SI, NONE, 0, 0, 0 },
	{ "[si * 2 + disp32]", 0, 0, 0x04, 0x75, 4, NONE, L1_SI, 1, 0, 0 },
	{ "[disp32] by SIB", 0, 0, 0x04, 0x25, 4, NONE, NONE, 0, 0, 0 },
#ifdef __x86_64__
	{ "[rip + disp32]", 0, 0, 0x05, 0, 4, IP, NONE, 0, 0, 0 },
	{ "[r15]", 0, 0x41, 0x07, 0, 0, 15, NONE, 0, 0, 0 },
	{ "[r13 + r12 * 4 + disp8]", 0, 0x43, 0x44, 0xa5, 1, 13, 12, 2, -1, 0 },
	{ "[r12 + r9]", 0, 0x43, 0x04, 0x0c, 0, 12, 9, 0, 0, 0 },
	{ "[edi]", ADDRESS_PREFIX, 0, 0x07, 0, 0, L1_DI, NONE, 0, 0, 32 },
	{ "[ebx + esi * 4 + disp32]", ADDRESS_PREFIX, 0, 0x84, 0xb3, 4, L1_BX, L1_SI, 2, 0x7fffffff, 32 },
	{ "[eip + disp32]", ADDRESS_PREFIX, 0, 0x05, 0, 4, IP, NONE, 0, 0, 0 },
#else
	{ "[disp32]", 0, 0, 0x05, 0, 4, NONE, NONE, 0, 0, 0 },
	{ "[bx]", ADDRESS_PREFIX, 0, 0x07, 0, 0, L1_BX, NONE, 0, 0, 16 },
	{ "[bx + si]", ADDRESS_PREFIX, 0, 0x00, 0, 0, L1_BX, L1_SI, 0, 0, 16 },
	{ "[bp + di - disp8]", ADDRESS_PREFIX, 0, 0x43, 0, 1, L1_BP, L1_DI, 0, -3, 16 },
	{ "[di + disp16]", ADDRESS_PREFIX, 0, 0x85, 0, 2, L1_DI, NONE, 0, 0x7fff, 16 },
	{ "[disp16]", ADDRESS_PREFIX, 0, 0x06, 0, 2, NONE, NONE, 0, 0, 16 },
#endif
};

/* The instruction with this form, and the registers that lead to `target`. */
static u32 assemble(struct l1_code *l, const struct insn_row *i, const struct form *f, ulong target, u8 *bytes)
{
	ulong index = f->index == NONE ? 0 : (ulong)INDEX << f->scale, garbage = 0;
	long disp = f->disp;
	u8 behind[5];
	u32 n = 0;

	if (f->bits)
		garbage = f->bits == 16 ? 0x6bad0000u : (ulong)UPPER_GARBAGE;
	if (f->base == NONE)
		disp = (long)(target - index);
	if (f->base == IP)
		disp = (long)(target - (ulong)l->code - i->length - 4u - (f->prefix != 0));
	if (f->sib)
		behind[n++] = f->sib;
	memcpy(behind + n, &disp, f->disp_bytes);
	if (f->index != NONE)
		l->in.reg[f->index] = INDEX | garbage;
	if (f->base < IP) {
		ulong base = target - index - (ulong)disp;

		/* Sums are cut to the address's width, so what is above may be anything. */
		if (f->bits == 16)
			base = (u16)base;
		if (f->bits == 32)
			base = (u32)base;
		l->in.reg[f->base] = base | garbage;
	}
	return insn_encode(bytes, i, f->prefix, f->rex, f->modrm, behind, n + f->disp_bytes);
}

static void check_form(struct l1_code *l, const struct where *rule, const struct insn_row *i, const struct form *f,
		       u64 vmcs)
{
	u8 bytes[INSN_BYTES_MAX], *data = l->data;
	u32 length;

	/* What 16 bits can reach: behind the code. */
	if (f->bits == 16)
		l->data = l->code + 0x700;
	l1_code_reset(l);
	insn_prepare(l, i, vmcs, OFFSET);
	length = assemble(l, i, f, (ulong)l->data + OFFSET, bytes);
	judge_about(i->name, f->what);
	judge_equal(rule, "kind of outcome", l1_code_run(l, bytes, length).kind, OUT_OK);
	judge_equal(rule, "what is in memory", insn_wrote(l, i, vmcs, OFFSET), true);
	if (!memcmp(i->name, "VMWRITE", 8))
		judge_equal(rule, "field", vmread(VMCS_guest_sysenter_eip), 0x12345678);
	vmwrite(VMCS_guest_sysenter_eip, 0x00e1e1e0);
	l->data = data;
}

L1_TEST(insn, operand_forms, .sdm = "VM-Exit Instruction-Information Field",
	.rules = "insn.operand-forms insn.operand-address-size")
{
	for_each_operand(i)
	{
		for (const struct form *f = forms; f < forms + ARRAY_SIZE(forms); f++)
			check_form(l, f->prefix ? WHERE("insn.operand-address-size") : WHERE("insn.operand-forms"), i,
				   f, v->vmcs_pa);
	}
	expect(vmptrld(v->vmcs_pa).kind == OUT_OK);
}

/* VMREAD to a register and VMWRITE from one: each of them, RSP too. */
L1_TEST(insn, operand_registers, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure",
	.rules = "insn.operand-register")
{
	u8 bytes[INSN_BYTES_MAX];

	for (u32 n = 0; n < ARRAY_SIZE(l->in.reg); n++) {
		const u32 other = n == L1_CX ? L1_DX : L1_CX;
		const ulong value = (ulong)0x1122334455667788 + n;
		u8 rex = (u8)(0x40 | n >> 3), modrm = (u8)(0xc0 | other << 3 | (n & 7)), k = 0;

		l1_code_reset(l);
		l->in.reg[other] = VMCS_guest_sysenter_eip;
		vmwrite(VMCS_guest_sysenter_eip, value);
		if (n == L1_SP)
			vmwrite(VMCS_guest_sysenter_eip, (read_sp() & ~(ulong)15) - 1024);
		if (n > 7)
			bytes[k++] = rex;
		memcpy(bytes + k, "\x0f\x78", 2);
		bytes[k + 2] = modrm;
		judge_about("VMREAD", NULL);
		JUDGE("insn.operand-register", l1_code_run(l, bytes, k + 3).kind, OUT_OK);
		JUDGE("insn.operand-register", l->out.reg[n], vmread(VMCS_guest_sysenter_eip));
		l1_code_reset(l);
		l->in.reg[other] = VMCS_guest_sysenter_eip;
		bytes[k + 1] = 0x79;
		judge_about("VMWRITE", NULL);
		JUDGE("insn.operand-register", l1_code_run(l, bytes, k + 3).kind, OUT_OK);
		JUDGE("insn.operand-register", vmread(VMCS_guest_sysenter_eip), l->in.reg[n]);
	}
}

/* --- Segments --- */

#define SEL(n) (L1_SEL_FREE + 8 * (n))
#define AR_EXECUTE_ONLY 0xc099u
#define AR_READ_ONLY 0xc091u
#define AR_EXPAND_DOWN 0xc097u
#define AR_GRANULARITY 0x8000u

static const struct {
	u8 prefix;
	const char *name;
} overrides[] = { { 0, "DS" }, { 0x26, "ES" }, { 0x64, "FS" }, { 0x65, "GS" } };

/* The selector in the register that this override is about; the others stay flat. */
static void use_selector(struct l1_code *l, u32 n, ulong selector)
{
	ulong *regs[] = { &l->in.ds, &l->in.es, &l->in.fs, &l->in.gs };

	l1_code_reset(l);
	*regs[n] = selector;
}

#ifdef __x86_64__
#define BASE 0x00345000u

/* FS and GS have a base; DS, ES and SS have none, whatever the descriptor says. Null selectors are no matter. */
L1_TEST(insn, operand_segments_64, .sdm = "Segmentation in 64-Bit Mode", .flags = TEST_AMD64,
	.rules = "insn.operand-segment-base insn.operand-null-64")
{
	u8 bytes[INSN_BYTES_MAX];

	l->gdt[SEL(0) / 8] = l1_descriptor(AR_READ_ONLY & ~AR_GRANULARITY, BASE, 0);
	for_each_operand(i)
	{
		for (u32 n = 0; n < ARRAY_SIZE(overrides); n++) {
			bool has_base = n >= 2;

			judge_about(i->name, overrides[n].name);
			use_selector(l, n, SEL(0));
			insn_prepare(l, i, v->vmcs_pa, 0);
			if (has_base)
				l->in.reg[L1_DI] -= BASE;
			insn_encode(bytes, i, overrides[n].prefix, 0, 0x07, "", 0);
			JUDGE("insn.operand-segment-base",
			      l1_code_run(l, bytes, i->length + (overrides[n].prefix != 0)).kind, OUT_OK);
			JUDGE("insn.operand-segment-base", insn_wrote(l, i, v->vmcs_pa, 0), true);
			use_selector(l, n, 0);
			insn_prepare(l, i, v->vmcs_pa, 0);
			JUDGE("insn.operand-null-64",
			      l1_code_run(l, bytes, i->length + (overrides[n].prefix != 0)).kind, OUT_OK);
			JUDGE("insn.operand-null-64", insn_wrote(l, i, v->vmcs_pa, 0), true);
		}
	}
}

/* A sum that isn't canonical: #GP(0), by way of RSP or RBP #SS(0). */
L1_TEST(insn, operand_stack_not_canonical, .sdm = "Canonical Addressing", .flags = TEST_AMD64,
	.rules = "insn.operand-canonical")
{
	static const struct {
		const char *what;
		u8 prefix, modrm;
		u8 behind[2];
		u8 length, vector;
	} rows[] = {
		{ "[rdi]", 0, 0x07, "", 0, VEC_GP },
		{ "[rbp]", 0, 0x45, { 0 }, 1, VEC_SS },
		{ "[rbp + rdi]", 0, 0x44, { 0x3d, 0 }, 2, VEC_SS },
		{ "DS:[rbp]", 0x3e, 0x45, { 0 }, 1, VEC_SS },
		{ "SS:[rdi]", 0x36, 0x07, "", 0, VEC_GP },
		{ "FS:[rdi]", 0x64, 0x07, "", 0, VEC_GP },
		{ "FS:[rbp]", 0x64, 0x45, { 0 }, 1, VEC_GP },
	};
	u8 bytes[INSN_BYTES_MAX];

	for_each_operand(i)
	{
		for (u32 k = 0; k < ARRAY_SIZE(rows); k++) {
			struct outcome o;
			u32 n;

			insn_prepare(l, i, v->vmcs_pa, 0);
			l->in.reg[L1_DI] = 0x8000000000000000 >> (k & 1 ? 16 : 0);
			l->in.reg[L1_BP] = l->in.reg[L1_DI] + 0x10000;
			if (!memcmp(rows[k].what, "[rbp + rdi]", 12))
				l->in.reg[L1_BP] = 0;
			n = insn_encode(bytes, i, rows[k].prefix, 0, rows[k].modrm, rows[k].behind, rows[k].length);
			judge_about(i->name, rows[k].what);
			o = l1_code_run(l, bytes, n);
			l1_code_faulted(l, WHERE("insn.operand-canonical"), o, rows[k].vector, 0);
		}
	}
}
#else
struct segment_row {
	const char *what;
	u32 rights;
	int from_end;       /* the limit, from the operand's last byte; for expand-down segments from its first */
	bool reads, writes; /* are allowed */
};

static const struct segment_row segment_rows[] = {
	{ "limit at its end", AR_DATA32, 0, true, true },
	{ "limit inside of it", AR_DATA32, -1, false, false },
	{ "limit before it", AR_DATA32, -16, false, false },
	{ "limit 1 before its end, readable code", AR_CODE32, -1, false, false },
	{ "read-only", AR_READ_ONLY, 0, true, false },
	{ "readable code", AR_CODE32, 0, true, false },
};

static const struct segment_row expand_down_rows[] = {
	{ "limit before it", AR_EXPAND_DOWN, -1, true, true },
	{ "limit at its first byte", AR_EXPAND_DOWN, 0, false, false },
	{ "limit behind it", AR_EXPAND_DOWN, 0x1000, false, false },
};

/* The operand is at OFFSET in a segment that begins at the data page. */
static void check_segment(struct l1_code *l, const struct insn_row *i, const struct segment_row *r, u32 n, u64 vmcs)
{
	bool down = (r->rights & 0xc) == 4, allowed = i->writes ? r->writes : r->reads;
	u32 limit = OFFSET + (down ? 0 : i->operand - 1u) + (u32)r->from_end;
	bool type = r->rights == AR_READ_ONLY || r->rights == AR_CODE32;
	const struct where *rule = type ? WHERE("insn.operand-segment-type") : WHERE("insn.operand-segment-limit");
	u8 bytes[INSN_BYTES_MAX];
	struct outcome o;

	l->gdt[SEL(0) / 8] = l1_descriptor(r->rights & ~AR_GRANULARITY, (u32)(ulong)l->data, limit);
	use_selector(l, n, SEL(0));
	insn_prepare(l, i, vmcs, OFFSET);
	l->in.reg[L1_DI] = OFFSET;
	judge_about(i->name, r->what);
	o = l1_code_run(l, bytes, insn_encode(bytes, i, overrides[n].prefix, 0, 0x07, "", 0));
	if (allowed) {
		judge_equal(rule, "kind of outcome", o.kind, OUT_OK);
		judge_equal(rule, "written", insn_wrote(l, i, vmcs, OFFSET), true);
		return;
	}
	l1_code_faulted(l, rule, o, VEC_GP, 0);
	judge_equal(rule, "memory as before", insn_left(l, i, OFFSET), true);
}

static void check_null(struct l1_code *l, const struct insn_row *i, u32 n, u64 vmcs)
{
	u8 bytes[INSN_BYTES_MAX];
	struct outcome o;

	use_selector(l, n, n & 1 ? 3 : 0);
	insn_prepare(l, i, vmcs, OFFSET);
	judge_about(i->name, overrides[n].name);
	o = l1_code_run(l, bytes, insn_encode(bytes, i, overrides[n].prefix, 0, 0x07, "", 0));
	l1_code_faulted(l, WHERE("insn.operand-segment-unusable"), o, VEC_GP, 0);
}

/* By way of CS, the only register that can hold an execute-only segment. */
static void check_code_segment(struct l1_code *l, const struct insn_row *i, bool readable, u64 vmcs)
{
	u8 bytes[INSN_BYTES_MAX];
	struct outcome o;

	l->gdt[SEL(0) / 8] = l1_descriptor(readable ? AR_CODE32 : AR_EXECUTE_ONLY, 0, 0xfffff);
	l1_code_reset(l);
	l->in.cs = SEL(0);
	insn_prepare(l, i, vmcs, 0);
	judge_about(i->name, readable ? "CS" : "CS, execute-only");
	o = l1_code_run(l, bytes, insn_encode(bytes, i, 0x2e, 0, 0x07, "", 0));
	if (readable && !i->writes) {
		JUDGE("insn.operand-segment-type", o.kind, OUT_OK);
		return;
	}
	l1_code_faulted(l, WHERE("insn.operand-segment-type"), o, VEC_GP, 0);
	JUDGE("insn.operand-segment-type", insn_left(l, i, 0), true);
}

L1_TEST(insn, operand_segments, .sdm = "Limit Checking", .flags = TEST_I386,
	.rules = "insn.operand-segment-limit insn.operand-segment-type insn.operand-segment-unusable")
{
	for_each_operand(i)
	{
		for (u32 n = 0; n < ARRAY_SIZE(overrides); n++) {
			for (u32 k = 0; k < ARRAY_SIZE(segment_rows); k++)
				check_segment(l, i, &segment_rows[k], n, v->vmcs_pa);
			check_null(l, i, n, v->vmcs_pa);
		}
		check_code_segment(l, i, true, v->vmcs_pa);
		check_code_segment(l, i, false, v->vmcs_pa);
	}
}

L1_TEST(insn, operand_expand_down, .sdm = "Limit Checking", .flags = TEST_I386, .rules = "insn.operand-segment-limit")
{
	for_each_operand(i)
	{
		for (u32 k = 0; k < ARRAY_SIZE(expand_down_rows); k++)
			check_segment(l, i, &expand_down_rows[k], 0, v->vmcs_pa);
	}
}

/* The operand begins in the last bytes of the stack segment or in the first ones behind it: #SS(0). */
L1_TEST(insn, operand_stack_limit, .sdm = "Limit Checking", .flags = TEST_I386, .rules = "insn.operand-segment-limit")
{
	u8 bytes[INSN_BYTES_MAX];
	struct outcome o;

	/* The data page is the segment's last one. */
	l->gdt[SEL(0) / 8] = l1_descriptor(AR_DATA32, 0, (u32)(ulong)l->data >> PAGE_SHIFT);
	for_each_operand(i)
	{
		for (u32 over = 0; over < 3; over++) {
			ulong at = PAGE_SIZE - i->operand + over;

			l1_code_reset(l);
			l->in.ss = SEL(0);
			insn_prepare(l, i, v->vmcs_pa, 0);
			memcpy(l->data + PAGE_SIZE - i->operand, l->data, i->operand);
			l->in.reg[L1_BP] = (ulong)l->data + at;
			judge_about(i->name, over ? "behind the limit" : "up to the limit");
			o = l1_code_run(l, bytes, insn_encode(bytes, i, 0, 0, 0x45, "", 1));
			if (over)
				l1_code_faulted(l, WHERE("insn.operand-segment-limit"), o, VEC_SS, 0);
			else
				JUDGE("insn.operand-segment-limit", o.kind, OUT_OK);
		}
	}
}

/* In a 16-bit code segment addresses have 16 bits without a prefix, and 32 with one; the operand's size is 32 all the same. */
L1_TEST(insn, operand_code16, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure", .flags = TEST_I386,
	.rules = "insn.operand-address-size insn.operand-segment-base")
{
	static const struct form rows[] = {
		{ "[bx]", 0, 0, 0x07, 0, 0, L1_BX, NONE, 0, 0, 16 },
		{ "[bp + di + disp16]", 0, 0, 0x83, 0, 2, L1_BP, L1_DI, 0, 0x1234, 16 },
		{ "[edi]", ADDRESS_PREFIX, 0, 0x07, 0, 0, L1_DI, NONE, 0, 0, 0 },
	};
	u8 bytes[INSN_BYTES_MAX];

	l->gdt[SEL(0) / 8] = l1_descriptor(AR_DATA32 & ~AR_GRANULARITY, (u32)(ulong)l->data - 0x30, PAGE_SIZE + 0x30);
	for_each_operand(i)
	{
		for (u32 k = 0; k < ARRAY_SIZE(rows); k++) {
			u32 length;

			l1_code_reset(l);
			l->in.cs = L1_SEL_CODE16;
			l->in.ds = SEL(0);
			insn_prepare(l, i, v->vmcs_pa, OFFSET);
			length = assemble(l, i, &rows[k], OFFSET + 0x30, bytes);
			/* By way of BP it would be the stack segment. */
			if (rows[k].base == L1_BP) {
				memmove(bytes + 1, bytes, length++);
				bytes[0] = 0x3e;
			}
			judge_about(i->name, rows[k].what);
			JUDGE("insn.operand-address-size", l1_code_run(l, bytes, length).kind, OUT_OK);
			JUDGE("insn.operand-segment-base", insn_wrote(l, i, v->vmcs_pa, OFFSET), true);
		}
	}
}
#endif
