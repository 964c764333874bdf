// SPDX-License-Identifier: BSD-2-Clause
/* VMX instructions in real-address mode, which L1 can only be in outside of VMX operation: all are #UD, VMXON too. */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/insn_table.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define INT3 0xcc
#define VECTORS 32u

/* lib/arch/l1_real.asm */
extern const u8 l1_real_code[], l1_real_code_end[];
void l1_real_enter(void);

struct real_page {
	u8 code[0x100];
	u8 handlers[VECTORS][16];
	u8 snippet[0x20];
	u64 operand[4];
	u32 ax;
	u16 vector, ip; /* of the exception that ended it */
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) idtr;
	u16 unused;
	struct {
		u16 ip, cs;
	} ivt[VECTORS];
};
_Static_assert(offsetof(struct real_page, snippet) == 0x300, "lib/arch/l1_real.asm");
_Static_assert(offsetof(struct real_page, idtr) == 0x348, "lib/arch/l1_real.asm");

#define page ((volatile struct real_page *)SIPI_PAGE)

static void fill_page(void)
{
	memset((void *)SIPI_PAGE, 0, PAGE_SIZE);
	memcpy((void *)SIPI_PAGE, l1_real_code, (size_t)(l1_real_code_end - l1_real_code));
	page->idtr.limit = sizeof(page->ivt) - 1;
	page->idtr.base = (u32)(ulong)page->ivt;
	for (u32 v = 0; v < VECTORS; v++) {
		page->ivt[v].ip = (u16)(offsetof(struct real_page, handlers) + v * sizeof(page->handlers[0]));
		page->ivt[v].cs = SIPI_PAGE >> 4;
	}
}

/* The exception that ended the bytes, and whether it came at the first one. */
static u32 run(struct l1_code *l, const u8 *bytes, u32 length, u32 ax, bool *at_once)
{
	struct table_reg gdtr, idtr, own = { PAGE_SIZE - 1, (ulong)l->gdt };

	memset((void *)(ulong)page->snippet, INT3, sizeof(page->snippet));
	memcpy((void *)(ulong)page->snippet, bytes, length);
	page->ax = ax;
	page->vector = 0xff;
	store_gdt(&gdtr);
	store_idt(&idtr);
	load_gdt(&own);
	l1_real_enter();
	load_gdt(&gdtr);
	load_idt(&idtr);
	*at_once = page->ip == offsetof(struct real_page, snippet);
	return page->vector;
}

TEST(insn, ud_real_mode, .sdm = "VMX Instruction Reference: Conventions",
     .rules = "insn.ud-real-mode insn.vmxon.ud-mode")
{
	static const u8 nop = 0x90;
	struct l1_code l;
	bool at_once;

	judge_begin();
	l1_code_begin(&l, c);
	expect_out(vmx_off(c), out_ok());
	fill_page();
	/* That there is real-address mode at all: behind a NOP it's INT3 that ends it. */
	expect_eq(run(&l, &nop, 1, 0, &at_once), VEC_BP);
	page->operand[0] = c->vmxon_pa;
	for_each_row(i)
	{
		judge_about(i->name, "real-address mode");
		if (i->vmxon)
			JUDGE("insn.vmxon.ud-mode", run(&l, i->bytes, i->length, 2, &at_once), VEC_UD);
		else
			JUDGE("insn.ud-real-mode", run(&l, i->bytes, i->length, 2, &at_once), VEC_UD);
		JUDGE("insn.ud-real-mode", at_once, true);
	}
	expect_out(vmx_on(c), out_ok());
	l1_code_end(&l);
	judge_done();
}

/* Apart from the others, because hosts like to take it for a call to themselves. */
TEST(insn, vmcall_real_mode, .sdm = "VMCALL-Call to VM Monitor", .rules = "insn.vmcall.ud-mode")
{
	static const u8 vmcall[] = { 0x0f, 0x01, 0xc1 };
	struct l1_code l;
	bool at_once;

	judge_begin();
	l1_code_begin(&l, c);
	expect_out(vmx_off(c), out_ok());
	fill_page();
	judge_about("VMCALL", "real-address mode");
	JUDGE("insn.vmcall.ud-mode", run(&l, vmcall, sizeof(vmcall), 2, &at_once), VEC_UD);
	JUDGE("insn.vmcall.ud-mode", at_once, true);
	expect_out(vmx_on(c), out_ok());
	l1_code_end(&l);
	judge_done();
}
