// SPDX-License-Identifier: BSD-2-Clause
/* All forms of an operand, and whole tests of an instruction with one. */
#include "core/mem.h"
#include "testcases/operand.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define INSN_MAX 15u
#define PATTERN 0x5a
#define CR0_OFF (CR0_TS | CR0_EM) /* XSAVES would fault by TS */

static const struct operand_form none = { .base = NO_REGISTER, .index = NO_REGISTER, .segment = NO_REGISTER };

/* Displacements by turns: none, of 8 bits, of all bits; of both signs. */
static void displace(struct operand_form *f, u32 turn)
{
	static const s32 values[] = { 0, 0x7f, 0x12345678, -0x80, (s32)0x80000000, -1 };
	static const u8 bits[] = { 0, 8, 32, 8, 32, 8 };
	u32 k = turn % ARRAY_SIZE(values);

	/* [EBP] doesn't exist without, and in 16-bit forms neither does [BP]. */
	if (!bits[k] && f->base >= 0 && (f->base & 7) == REG_BP && (f->address_bits != 16 || f->index < 0))
		k = 1;
	f->displacement = f->address_bits == 16 && bits[k] == 32 ? (int16_t)(values[k] >> 16) : values[k];
	f->displacement_bits = bits[k];
}

static void judge_at(struct operand_run *r, struct operand_form *f, u32 turn)
{
	displace(f, turn);
	f->reg2 = (u8)(turn % operand_registers(r->s.mode));
	operand_judge(r, f);
}

static void forms_16(struct operand_run *r)
{
	static const int8_t forms[][2] = { { REG_BX, REG_SI },      { REG_BX, REG_DI },      { REG_BP, REG_SI },
					   { REG_BP, REG_DI },      { REG_SI, NO_REGISTER }, { REG_DI, NO_REGISTER },
					   { REG_BP, NO_REGISTER }, { REG_BX, NO_REGISTER } };
	struct operand_form f = none;

	f.address_bits = 16;
	for (u32 i = 0; i < ARRAY_SIZE(forms); i++) {
		f.base = forms[i][0];
		f.index = forms[i][1];
		for (u32 turn = 0; turn < 6; turn++)
			judge_at(r, &f, turn);
	}
	f.base = f.index = NO_REGISTER;
	judge_at(r, &f, 2);
	judge_at(r, &f, 4);
}

/* Without a base. */
static void forms_no_base(struct operand_run *r, u32 bits)
{
	struct operand_form f = none;

	f.address_bits = (u8)bits;
	for (f.scale = 0; f.scale < 4; f.scale++) {
		f.index = (int8_t)(f.scale + 5);
		if (f.index >= (int8_t)operand_registers(r->s.mode))
			f.index = REG_CX;
		judge_at(r, &f, f.scale & 1 ? 2 : 4);
	}
	f.index = NO_REGISTER;
	f.scale = 0;
	f.sib = true;
	judge_at(r, &f, 2);
	f.sib = false;
	judge_at(r, &f, 4);
	if (!SNIP_IS_64(r->s.mode))
		return;
	f.rip = true;
	judge_at(r, &f, 2);
	judge_at(r, &f, 4);
}

static void forms_wide(struct operand_run *r, u32 bits)
{
	u32 count = operand_registers(r->s.mode), turn = 0;
	struct operand_form f = none;

	f.address_bits = (u8)bits;
	for (u32 base = 0; base < count; base++) {
		f.base = (int8_t)base;
		judge_at(r, &f, turn++);
		judge_at(r, &f, turn++);
		judge_at(r, &f, turn++);
	}
	f.base = REG_BX;
	f.sib = true;
	judge_at(r, &f, 1);
	f.sib = false;
	for (u32 index = 0; index < count; index++) {
		if (index == REG_SP)
			continue;
		f.index = (int8_t)index;
		f.base = (int8_t)((index + turn) % count);
		f.scale = (u8)(turn & 3);
		judge_at(r, &f, turn++);
	}
	forms_no_base(r, bits);
}

/* Each override, with bases whose segment is DS and SS otherwise; many of them; all lengths that this gives. */
static void forms_segments(struct operand_run *r)
{
	struct operand_form f = none;
	struct operand_want w;
	u8 code[64];

	f.address_bits = (u8)operand_address_bits(r->s.mode);
	for (f.segment = 0; f.segment < 6; f.segment++) {
		f.base = REG_BX;
		judge_at(r, &f, 0);
		f.base = REG_BP;
		judge_at(r, &f, 1);
	}
	f.base = REG_BX;
	f.segment = 4;
	displace(&f, 0);
	f.repeat = 1;
	operand_encode(r->insn, r->s.mode, &f, 0, code, &w);
	f.repeat = (u8)(INSN_MAX + 1 - w.length);
	operand_judge(r, &f);
}

static void forms_registers(struct operand_run *r)
{
	struct operand_form f = none;
	u32 count = operand_registers(r->s.mode);

	f.reg = true;
	for (u32 n = 0; n < count; n++) {
		f.base = (int8_t)n;
		f.reg2 = (u8)((n * 5 + 3) % count);
		operand_judge(r, &f);
	}
}

void operand_all_forms(struct operand_run *r)
{
	struct operand_form f = none;
	u32 bits = operand_address_bits(r->s.mode);

	if (bits == 64)
		forms_wide(r, 64);
	forms_wide(r, 32);
	if (bits != 64)
		forms_16(r);
	forms_segments(r);
	if (r->insn->registers)
		forms_registers(r);
	f.address_bits = (u8)bits;
	f.base = REG_BX;
	if (bits == 64) {
		f.other_size = false;
		f.rex_w = true;
		operand_judge(r, &f);
	}
}

void operand_controls(struct operand_run *r, bool exiting)
{
	r->s.v.ctl[CTL_PROC] = exiting ? r->insn->proc : 0;
	r->s.v.ctl[CTL_PROC2] = (exiting ? r->insn->proc2 : 0) | r->insn->enable;
	vcpu_write_controls(&r->s.v);
}

void operand_mode(struct operand_run *r, enum snip_mode mode, bool user)
{
	snippet_mode(&r->s, mode, user);
	vmwrite_bits(VMCS_guest_cr0, CR0_OFF, 0);
	vmwrite_bits(VMCS_guest_cr4, 0, r->insn->cr4);
	judge_about(snippet_name(mode), user ? "CPL 3" : "CPL 0");
}

struct operand_form operand_plain(const struct operand_run *r)
{
	struct operand_form f = none;

	f.address_bits = (u8)operand_address_bits(r->s.mode);
	f.base = REG_DI;
	return f;
}

void operand_judge_fault(struct operand_run *r, const struct operand_form *f, u32 vector)
{
	struct operand_want w;
	struct exit e;

	operand_put(r, f, &w);
	e = snippet_run(&r->s);
	JUDGE("exit.operand.fault-first", snippet_faulted(&e, vector), true);
}

static void judge_locked(struct operand_run *r, const struct operand_form *f)
{
	struct operand_want w;
	struct exit e;
	u8 code[64] = { 0xf0 };

	operand_encode(r->insn, r->s.mode, f, (ulong)r->s.code, code + 1, &w);
	snippet_code(&r->s, code, w.length + 1);
	e = snippet_run(&r->s);
	JUDGE("exit.operand.fault-first", snippet_faulted(&e, VEC_UD), true);
}

static void judge_mode(struct operand_run *r, enum snip_mode mode)
{
	struct operand_form f;

	operand_mode(r, mode, false);
	f = operand_plain(r);
	if (r->insn->not_compatibility && mode == SNIP_COMPAT) {
		operand_judge_fault(r, &f, VEC_UD);
		return;
	}
	operand_all_forms(r);
	judge_about(snippet_name(mode), "LOCK");
	judge_locked(r, &f);
	operand_mode(r, mode, true);
	if (r->insn->user == OPERAND_USER_GP)
		operand_judge_fault(r, &f, VEC_GP);
	else if (r->insn->user == OPERAND_USER_EXITS)
		operand_judge(r, &f);
}

/* Memory that it would write to, or read, stays as it is. */
static void judge_memory(struct operand_run *r)
{
	struct operand_form f;
	u32 changed = 0;

	operand_mode(r, SNIP_NATIVE, false);
	judge_about("in memory", NULL);
	f = operand_plain(r);
	memset(r->s.data, PATTERN, PAGE_SIZE);
	operand_judge(r, &f);
	for (u32 i = 0; i < PAGE_SIZE; i++)
		changed += r->s.data[i] != PATTERN;
	JUDGE("exit.operand.no-effect", changed, 0);
}

static void judge_later(struct operand_run *r, const struct operand_form *f, ulong di)
{
	struct operand_want w;
	struct exit e;

	operand_put(r, f, &w);
	r->s.v.g.di = di;
	e = snippet_run(&r->s);
	JUDGE("exit.operand.memory-fault-later", e.reason, r->insn->reason);
}

/* Accesses that would be page faults, or beyond the segment, or in none. */
static void judge_faults_later(struct operand_run *r)
{
	struct operand_form f;

	operand_mode(r, SNIP_NATIVE, false);
	judge_about("page not present", NULL);
	f = operand_plain(r);
	judge_later(r, &f, L2_WINDOW);
#ifdef __x86_64__
	judge_about("address not canonical", NULL);
	judge_later(r, &f, 1ul << 63);
#endif
	operand_mode(r, SNIP_32, false);
	f = operand_plain(r);
	judge_about("beyond the segment", NULL);
	vmwrite(VMCS_guest_ds_limit, 0);
	vmwrite(VMCS_guest_ds_access_rights, AR_DATA32 & ~0x8000u);
	judge_later(r, &f, (ulong)r->s.data);
	operand_mode(r, SNIP_32, false);
	judge_about("segment not usable", NULL);
	f.segment = 5;
	vmwrite(VMCS_guest_gs_selector, 0);
	vmwrite(VMCS_guest_gs_access_rights, AR_UNUSABLE);
	judge_later(r, &f, (ulong)r->s.data);
}

/* With the control at 0; then without what makes it an instruction. */
static void judge_without(struct operand_run *r)
{
	struct operand_form f;
	struct operand_want w;
	struct exit e;

	operand_mode(r, SNIP_NATIVE, false);
	f = operand_plain(r);
	if (r->insn->proc | r->insn->proc2) {
		judge_about("without the control", NULL);
		operand_controls(r, false);
		operand_put(r, &f, &w);
		e = snippet_run(&r->s);
		/* It may fault for reasons of its own. */
		judge_equal(&(const struct where){ __FILE__, __LINE__, r->cause }, "exits", e.reason == r->insn->reason,
			    false);
		operand_controls(r, true);
	}
	operand_mode(r, SNIP_NATIVE, false);
	if (r->insn->enable) {
		judge_about("not enabled", NULL);
		r->s.v.ctl[CTL_PROC2] &= ~r->insn->enable;
		vcpu_write_controls(&r->s.v);
		operand_judge_fault(r, &f, VEC_UD);
		operand_controls(r, true);
	}
	if (r->insn->cr4) {
		judge_about("not enabled by CR4", NULL);
		vmwrite_bits(VMCS_guest_cr4, r->insn->cr4, 0);
		operand_judge_fault(r, &f, VEC_UD);
	}
}

/* The first rule of the list: by which the instruction exits. */
static const char *cause_of(const char *rules)
{
	static char first[64];
	u32 n = 0;

	for (; rules[n] && rules[n] != ' ' && n < sizeof(first) - 1; n++)
		first[n] = rules[n];
	first[n] = 0;
	return first;
}

void operand_check(struct cpu *c, const struct operand_insn *insn)
{
	struct operand_run r = { .insn = insn, .cause = cause_of(test_rules()) };

	judge_begin();
	snippet_begin(&r.s, c, 0);
	operand_controls(&r, true);
	if (insn->components)
		vmwrite(VMCS_xss_exiting_bitmap, ~0ull);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode))
		judge_mode(&r, mode);
	judge_memory(&r);
	judge_faults_later(&r);
	judge_without(&r);
#ifndef __x86_64__
	judge_absent("exit.operand.rip-relative");
#endif
	judge_done();
}
