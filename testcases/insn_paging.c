// SPDX-License-Identifier: BSD-2-Clause
/* What L1's own paging makes of the operands of VMX instructions in L1, beyond pages that are absent (insn_fault.c). */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/platform.h"
#include "testcases/insn_table.h"
#include "testcases/l1_window.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define PF_PRESENT 0x1u
#define PF_WRITE 0x2u
#define PF_RESERVED 0x8u
#define PTE_ACCESSED 0x20ull
#define PTE_DIRTY 0x40ull
#define WRITABLE (FRAME_A | PTE_P | PTE_W | PTE_PS)
#define READ_ONLY (FRAME_A | PTE_P | PTE_PS)

/* An address at which there is nothing on a PC: between the memory that lhv needs and the devices below 4 GiB. */
#define NOTHING 0xd0000000u

struct paged {
	struct l1_code l;
	struct window w;
	struct vcpu v;
};

static void paged_begin(struct paged *p, struct cpu *c)
{
	judge_begin();
	test_vcpu(&p->v, c, 0);
	l1_code_begin(&p->l, c);
	p->l.data = (u8 *)(ulong)FAULT_WINDOW;
	l1_code_reset(&p->l);
	window_open(&p->w);
}

static void paged_end(struct paged *p)
{
	window_close(&p->w);
	l1_code_end(&p->l);
	judge_done();
}

#define PAGED(name_, ...) TEST_WITH(insn, name_, struct paged, p, paged_begin(p, c), paged_end(p), __VA_ARGS__)

/* The operand stands in the window; then the window gets this entry. */
static struct outcome run_with(struct paged *p, const struct insn_row *i, u64 entry)
{
	window_set(WRITABLE);
	insn_prepare(&p->l, i, p->v.vmcs_pa, 0);
	window_set(entry);
	return l1_code_run(&p->l, i->bytes, i->length);
}

static void expect_fault(struct paged *p, const struct where *rule, const struct insn_row *i, u64 entry, u32 error)
{
	struct outcome o = run_with(p, i, entry);

	l1_code_faulted(&p->l, rule, o, VEC_PF, error);
	judge_equal(rule, "CR2", p->l.cr2, (ulong)p->l.data);
	window_set(WRITABLE);
	judge_equal(rule, "memory as before", insn_left(&p->l, i, 0), true);
}

PAGED(operand_rights, .sdm = "Determination of Access Rights",
      .rules = "insn.operand-page-write insn.operand-page-user")
{
	ulong cr0 = read_cr0();

	for_each_operand(i)
	{
		judge_about(i->name, "read-only page, CR0.WP = 1");
		write_cr0(cr0 | CR0_WP);
		if (i->writes)
			expect_fault(p, WHERE("insn.operand-page-write"), i, READ_ONLY, PF_PRESENT | PF_WRITE);
		else
			JUDGE("insn.operand-page-write", run_with(p, i, READ_ONLY).kind, OUT_OK);
		judge_about(i->name, "read-only page, CR0.WP = 0");
		write_cr0(cr0 & ~(ulong)CR0_WP);
		JUDGE("insn.operand-page-write", run_with(p, i, READ_ONLY).kind, OUT_OK);
		JUDGE("insn.operand-page-write", insn_wrote(&p->l, i, p->v.vmcs_pa, 0), true);
		/* The same entry again: what was allowed a moment ago isn't any more. */
		write_cr0(cr0 | CR0_WP);
		judge_about(i->name, "CR0.WP = 1 again");
		JUDGE("insn.operand-page-write", l1_code_run(&p->l, i->bytes, i->length).kind,
		      i->writes ? OUT_FAULT : OUT_OK);
		write_cr0(cr0);
		/* They are supervisor accesses, and SMAP is off. */
		judge_about(i->name, "user page");
		JUDGE("insn.operand-page-user", run_with(p, i, WRITABLE | PTE_U).kind, OUT_OK);
		judge_about(i->name, "supervisor page");
		JUDGE("insn.operand-page-user", run_with(p, i, WRITABLE).kind, OUT_OK);
	}
}

/* A reserved bit of the entry: bit 13 of one for 2 MiB. */
PAGED(operand_reserved_bit, .sdm = "Interrupt 14-Page-Fault Exception (#PF)", .rules = "insn.operand-page-reserved")
{
	for_each_operand(i)
	{
		judge_about(i->name, "reserved bit of a large page");
		expect_fault(p, WHERE("insn.operand-page-reserved"), i, WRITABLE | 0x2000,
			     PF_PRESENT | PF_RESERVED | (i->writes ? PF_WRITE : 0));
	}
}

/* Reading sets the accessed flag, writing both. */
PAGED(operand_accessed, .sdm = "Accessed and Dirty Flags", .rules = "insn.operand-accessed insn.operand-dirty")
{
	for_each_operand(i)
	{
		judge_about(i->name, NULL);
		JUDGE("insn.operand-accessed", run_with(p, i, WRITABLE).kind, OUT_OK);
		JUDGE("insn.operand-accessed", window_entries()[0] & PTE_ACCESSED, PTE_ACCESSED);
		JUDGE("insn.operand-dirty", window_entries()[0] & PTE_DIRTY, i->writes ? PTE_DIRTY : 0);
	}
}

/* All of lhv's memory is for user code too; with SMAP even its own stacks would be closed to it. */
static void own_pages_for_user(bool user)
{
	u64 *entry = window_entries() - FAULT_WINDOW / WINDOW_BYTES;

	for (u32 n = 0; n * WINDOW_BYTES < MEM_NEEDED; n++)
		entry[n] = user ? entry[n] | PTE_U : entry[n] & ~PTE_U;
	write_cr3(read_cr3());
}

/* SMAP: user pages are closed to these accesses unless RFLAGS.AC is set. */
PAGED(operand_smap, .sdm = "Determination of Access Rights", .needs = "CR4.SMAP", .rules = "insn.operand-smap")
{
	ulong cr4 = read_cr4();

	own_pages_for_user(false);
	for_each_operand(i)
	{
		u32 error = PF_PRESENT | (i->writes ? PF_WRITE : 0);

		write_cr4(cr4 | CR4_SMAP);
		p->l.in.flags = RFLAGS_FIXED | RFLAGS_ARITH;
		judge_about(i->name, "user page, AC = 0");
		expect_fault(p, WHERE("insn.operand-smap"), i, WRITABLE | PTE_U, error);
		judge_about(i->name, "supervisor page, AC = 0");
		JUDGE("insn.operand-smap", run_with(p, i, WRITABLE).kind, OUT_OK);
		p->l.in.flags = RFLAGS_FIXED | RFLAGS_ARITH | FLAGS_AC;
		judge_about(i->name, "user page, AC = 1");
		JUDGE("insn.operand-smap", run_with(p, i, WRITABLE | PTE_U).kind, OUT_OK);
		p->l.in.flags = RFLAGS_FIXED | RFLAGS_ARITH;
		judge_about(i->name, "AC = 0 again");
		JUDGE("insn.operand-smap", l1_code_run(&p->l, i->bytes, i->length).kind, OUT_FAULT);
		write_cr4(cr4);
	}
	own_pages_for_user(true);
}

/*
 * Both pages of an operand that lies across their border are asked before anything is stored: what is in the first one
 * stays if the second faults. It may also be the first that faults.
 */
PAGED(operand_crosses, .sdm = "Interrupt 14-Page-Fault Exception (#PF)", .rules = "insn.operand-crosses")
{
	u64 before = window_entries()[-1];

	window_entries()[-1] = FRAME_B | PTE_P | PTE_W | PTE_PS;
	invlpg(FAULT_WINDOW - PAGE_SIZE);
	for_each_operand(i)
	{
		for (u32 inside = 1; inside < i->operand; inside += 3) {
			/* The operand ends in the window. */
			ulong first = FAULT_WINDOW - inside;
			struct outcome o;

			p->l.data = (u8 *)first;
			insn_prepare(&p->l, i, p->v.vmcs_pa, 0);
			p->l.in.reg[L1_BX] = p->l.in.reg[L1_DI] = first;
			window_set(0);
			judge_about(i->name, "the second page is absent");
			o = l1_code_run(&p->l, i->bytes, i->length);
			JUDGE("insn.operand-crosses", (u64)o.kind << 32 | o.vector, (u64)OUT_FAULT << 32 | VEC_PF);
			JUDGE("insn.operand-crosses", p->l.cr2, FAULT_WINDOW);
			JUDGE("insn.operand-crosses", l1_code_untouched(&p->l), true);
			window_set(WRITABLE);
			judge_about(i->name, "both pages are there");
			JUDGE("insn.operand-crosses", l1_code_run(&p->l, i->bytes, i->length).kind, OUT_OK);
			JUDGE("insn.operand-crosses", insn_wrote(&p->l, i, p->v.vmcs_pa, 0), true);
		}
	}
	window_entries()[-1] = before;
	invlpg(FAULT_WINDOW - PAGE_SIZE);
	expect_out(vmptrld(p->v.vmcs_pa), out_ok());
}

/*
 * Paging decides about faults, not what is behind the address: where nothing is, something is read (on a PC ones, which is
 * no fault but may be VMfail) and what is written is lost. KVM's CVE-2019-7222 was a #PF there, with L0's stack in CR2.
 */
L1_TEST(insn, operand_mmio, .sdm = "VMX Instruction Reference: Conventions", .rules = "insn.operand-mmio")
{
	for_each_operand(i)
	{
		insn_prepare(l, i, v->vmcs_pa, 0);
		l->in.reg[L1_BX] = l->in.reg[L1_DI] = NOTHING;
		judge_about(i->name, "operand where there is nothing");
		JUDGE("insn.operand-mmio", l1_code_run(l, i->bytes, i->length).kind == OUT_FAULT, false);
		JUDGE("insn.operand-mmio", l->cr2, 0);
		JUDGE("insn.operand-mmio", memcmp(l->in.reg, l->out.reg, sizeof(l->in.reg)), 0);
	}
	vcpu_destroy(v);
}
