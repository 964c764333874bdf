// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/l1_code.h"
#include "core/mem.h"
#include "lhv/mem.h"
#include "x86/cr.h"

#define INT3 0xcc
#define STUB_SIZE 16u
#define VECTORS 32u
#define STACK_ROOM 2048u /* between this stack and the one that the code has, which is part of it */

extern const u8 l1_code_stubs[];
void l1_code_enter(struct l1_state *s, u32 *tss_sp0);

u64 l1_descriptor(u32 rights, u32 base, u32 limit)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(rights & 0xff) << 40 |
	       (u64)(limit >> 16 & 0xf) << 48 | (u64)(rights >> 12 & 0xf) << 52 | (u64)(base >> 24) << 56;
}

static void fill_idt(struct gate *idt)
{
	/* INT3 at CPL 3 needs a gate of that level. */
	for (u32 v = 0; v < VECTORS; v++)
		idt[v] = gate_make((ulong)l1_code_stubs + v * STUB_SIZE, SEL_CODE, v == VEC_BP ? 3 : 0);
}

void l1_code_begin(struct l1_code *l, struct cpu *c)
{
	memset(l, 0, sizeof(*l));
	l->cpu = c;
	l->code = (u8 *)SIPI_PAGE;
	memset(l->code, 0, PAGE_SIZE);
	l->data = page_alloc();
	l->scratch = (ulong)page_alloc();
	l->gdt = page_alloc();
	l->idt = page_alloc();
	memcpy(l->gdt, c->gdt, sizeof(c->gdt));
	l->gdt[L1_SEL_CODE16 / 8] = l1_descriptor(AR_CODE16 | 0x8000, 0, 0xfffff);
	l->gdt[L1_SEL_DATA16 / 8] = l1_descriptor(AR_DATA16, 0, 0xffff);
	l->gdt[L1_SEL_USER_CODE32 / 8] = l1_descriptor(AR_CODE32 | 0x60, 0, 0xfffff);
	fill_idt(l->idt);
	l1_code_reset(l);
}

void l1_code_end(struct l1_code *l)
{
	memset(l->code, 0, PAGE_SIZE);
}

void l1_code_reset(struct l1_code *l)
{
	memset(&l->in, 0, sizeof(l->in));
	for (u32 n = 0; n < ARRAY_SIZE(l->in.reg); n++)
		l->in.reg[n] = 0x00200000u + 0x2220u * n;
	l->in.reg[L1_BX] = (ulong)l->data;
	l->in.reg[L1_DI] = (ulong)l->data;
	l->in.flags = RFLAGS_FIXED | RFLAGS_ARITH;
	l->in.cs = SEL_CODE;
	l->in.ss = SEL_DATA;
	l->in.ds = SEL_DATA;
	l->in.es = SEL_DATA;
	l->in.fs = SEL_DATA;
	l->in.gs = SEL_DATA;
}

void l1_code_user(struct l1_code *l)
{
	l->in.cs = SEL_USER_CODE;
	l->in.ss = SEL_USER_DATA;
	l->in.ds = SEL_USER_DATA;
	l->in.es = SEL_USER_DATA;
	l->in.fs = SEL_USER_DATA;
	l->in.gs = SEL_USER_DATA;
}

/* The code's own place and stack. A stack segment that the test chose has base 0. */
static void place(struct l1_code *l)
{
	bool user = l->in.cs & 3;

	if (l->in.flags & FLAGS_VM) {
		l->in.cs = SIPI_PAGE >> 4;
		l->in.ip = 0;
		l->in.ss = SIPI_PAGE >> 4;
		l->in.reg[L1_SP] = PAGE_SIZE;
		return;
	}
	l->in.ip = (ulong)l->code;
	l->in.reg[L1_SP] = user ? user_stack_top(l->cpu, LEVEL_L1) : (read_sp() & ~(ulong)15) - STACK_ROOM;
}

static struct outcome outcome(const struct l1_code *l)
{
	ulong number = 0;

	if (l->out.vector != VEC_BP || l->out.ip != l->in.ip + l->length + 1)
		return out_fault((u8)l->out.vector, (u32)l->out.error);
	if (l->out.flags & RFLAGS_CF)
		return out_invalid();
	if (!(l->out.flags & RFLAGS_ZF))
		return out_ok();
	vmread_raw(VMCS_vm_instruction_error, &number);
	return out_valid((u32)number);
}

struct outcome l1_code_run(struct l1_code *l, const void *bytes, u32 length)
{
	struct cpu *c = l->cpu;
	struct table_reg gdtr, idtr, own_gdt = { PAGE_SIZE - 1, (ulong)l->gdt },
				     own_idt = { VECTORS * sizeof(struct gate) - 1, (ulong)l->idt };

	memcpy(l->code, bytes, length);
	l->code[length] = INT3;
	l->length = length;
	place(l);
	l->out = l->in;
	write_cr2(0);
	store_gdt(&gdtr);
	store_idt(&idtr);
	load_gdt(&own_gdt);
	load_idt(&own_idt);
	l1_code_enter(&l->out, c->tss[LEVEL_L1].sp0);
	load_gdt(&gdtr);
	load_idt(&idtr);
	l->cr2 = read_cr2();
	return outcome(l);
}

bool l1_code_untouched(const struct l1_code *l)
{
	return !memcmp(l->in.reg, l->out.reg, sizeof(l->in.reg)) && l->in.ip == l->out.ip &&
	       (l->in.flags | FLAGS_RF) == (l->out.flags | FLAGS_RF);
}

void l1_code_faulted(const struct l1_code *l, const struct where *rule, struct outcome o, u8 vector, u32 error)
{
	const struct outcome fault = out_fault(vector, error);
	char want[40], got[100];

	judge_held(rule, outcome_equal(o, fault), outcome_text(fault, want, sizeof(want)),
		   outcome_text(o, got, sizeof(got)));
	judge_equal(rule, "registers, flags, RIP as before", l1_code_untouched(l), true);
}
