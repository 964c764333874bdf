// SPDX-License-Identifier: BSD-2-Clause
/* VMX instructions in L1 that fault: outside of VMX operation, at CPL 3, and by their operand in memory. */
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/test.h"
#include "testcases/l1_window.h"
#include "x86/cr.h"

/* Page-fault error codes (SDM: "Interrupt 14-Page-Fault Exception (#PF)"). */
#define PF_PRESENT 0x1u
#define PF_WRITE 0x2u

struct insn {
	const char *name;
	u32 (*run)(const void *operand);
	const char *needs; /* capability; NULL: none */
	bool writes;       /* to its operand */
	bool outside;      /* its place is outside of VMX operation */
	u32 bytes;         /* of the operand; 0: none */
};

static u32 do_vmxon(const void *p)
{
	return vmx_on_raw(p);
}
static u32 do_vmxoff(const void *p)
{
	(void)p;
	return vmx_off_raw();
}
static u32 do_vmclear(const void *p)
{
	return vmx_clear_raw(p);
}
static u32 do_vmptrld(const void *p)
{
	return vmx_ptrld_raw(p);
}
static u32 do_vmptrst(const void *p)
{
	return vmx_ptrst_raw((u64 *)(ulong)p);
}
static u32 do_vmread(const void *p)
{
	return vmx_read_mem_raw(VMCS_guest_rip, (ulong *)(ulong)p);
}
static u32 do_vmwrite(const void *p)
{
	return vmx_write_mem_raw(VMCS_guest_rip, p);
}
static u32 do_vmlaunch(const void *p)
{
	(void)p;
	return vmx_launch_raw();
}
static u32 do_vmresume(const void *p)
{
	(void)p;
	return vmx_resume_raw();
}
static u32 do_invept(const void *p)
{
	return vmx_invept_raw(INVEPT_ALL, p);
}
static u32 do_invvpid(const void *p)
{
	return vmx_invvpid_raw(INVVPID_ALL, p);
}

static const struct insn insns[] = {
	{ "VMXON", do_vmxon, NULL, false, true, 8 },
	{ "VMXOFF", do_vmxoff, NULL, false, false, 0 },
	{ "VMCLEAR", do_vmclear, NULL, false, false, 8 },
	{ "VMPTRLD", do_vmptrld, NULL, false, false, 8 },
	{ "VMPTRST", do_vmptrst, NULL, true, false, 8 },
	{ "VMREAD", do_vmread, NULL, true, false, sizeof(ulong) },
	{ "VMWRITE", do_vmwrite, NULL, false, false, sizeof(ulong) },
	{ "VMLAUNCH", do_vmlaunch, NULL, false, false, 0 },
	{ "VMRESUME", do_vmresume, NULL, false, false, 0 },
	{ "INVEPT", do_invept, "all-context INVEPT", false, false, 16 },
	{ "INVVPID", do_invvpid, "all-context INVVPID", false, false, 16 },
};

static struct outcome outcome_of(const struct insn *i, const void *operand)
{
	return vmx_outcome(i->run(operand));
}

#define expect_insn(i, operand, want) \
	check_outcome(outcome_of(i, operand), want, &(const struct where){ __FILE__, __LINE__, (i)->name })

#define for_each_insn(i)                                                       \
	for (const struct insn *i = insns; i < insns + ARRAY_SIZE(insns); i++) \
		if (!i->needs || cap_have(i->needs))

#define ABSENT ((const void *)(FAULT_WINDOW + WINDOW_BYTES))

/* #UD comes first, whatever else is wrong. VMXON is the exception that makes it VMX operation. */
TEST(insn, ud_outside_vmx, .sdm = "VMX Instruction Reference: Conventions", .rules = "insn.ud-outside")
{
	static const u64 operand[2];
	struct window w;

	window_open(&w);
	require_out(vmx_off(c), out_ok());
	for_each_insn(i)
	{
		if (i->outside)
			continue;
		expect_insn(i, operand, out_fault(VEC_UD, 0));
		expect_insn(i, ABSENT, out_fault(VEC_UD, 0));
	}
	require_out(vmx_on(c), out_ok());
	window_close(&w);
}

TEST(insn, vmcall_outside_vmx, .sdm = "VMCALL-Call to VM Monitor", .rules = "insn.vmcall.ud")
{
	require_out(vmx_off(c), out_ok());
	expect_out(vmx_outcome(vmx_call_raw()), out_fault(VEC_UD, 0));
	require_out(vmx_on(c), out_ok());
}

struct user_insn {
	const struct insn *i;
	const void *operand;
	struct outcome got;
};

static ulong user_body(ulong arg)
{
	struct user_insn *u = (struct user_insn *)arg;
	u32 raw = u->i->run(u->operand);

	/* Nothing but a fault can be told apart here: vmx_outcome would be a VMREAD. */
	u->got = raw == 3 ? this_cpu()->fault : raw ? out_invalid() : out_ok();
	return 0;
}

static void expect_user(struct cpu *c, const struct insn *i, const void *operand, struct outcome want)
{
	struct user_insn u = { i, operand, out_ok() };

	cpu_user_run(c, LEVEL_L1, user_body, (ulong)&u);
	irq_off();
	check_outcome(u.got, want, &(const struct where){ __FILE__, __LINE__, i->name });
}

/* #GP(0) at CPL 3: before the operand is touched, with a VMCS and without. Outside of VMX operation #UD, but VMXON. */
TEST(insn, gp_at_cpl3, .sdm = "VMX Instruction Reference: Conventions",
     .rules = "insn.gp-cpl insn.ud-before-gp insn.vmxon.gp-cpl")
{
	static const u64 operand[2];
	struct window w;
	struct vcpu v;

	window_open(&w);
	for (u32 round = 0; round < 3; round++) {
		bool in_vmx = round < 2;

		if (round == 1)
			test_vcpu(&v, c, 0);
		if (round == 2) {
			vcpu_destroy(&v);
			require_out(vmx_off(c), out_ok());
		}
		for_each_insn(i)
		{
			struct outcome want = out_fault(in_vmx || i->outside ? VEC_GP : VEC_UD, 0);

			expect_user(c, i, operand, want);
			expect_user(c, i, ABSENT, want);
		}
	}
	require_out(vmx_on(c), out_ok());
	window_close(&w);
}

static void expect_page_fault(const struct insn *i, ulong operand, ulong address, u32 error)
{
	write_cr2(0);
	expect_insn(i, (const void *)operand, out_fault(VEC_PF, error));
	check_equal(read_cr2(), address, &(const struct where){ __FILE__, __LINE__, i->name });
}

/* L1's own page tables decide: L0 must walk them, and give L1 the fault that the CPU would. */
TEST(insn, operand_page_fault, .sdm = "Interrupt 14-Page-Fault Exception (#PF)",
     .rules = "insn.operand-page-fault insn.operand-before-error")
{
	volatile u64 *last = (volatile u64 *)(FAULT_WINDOW + WINDOW_BYTES - 8);
	ulong absent = (ulong)ABSENT;
	struct window w;
	struct vcpu v;
	u64 rip;

	window_open(&w);
	test_vcpu(&v, c, 0);
	rip = vmread(VMCS_guest_rip);
	for (u32 round = 0; round < 2; round++) {
		if (round == 1)
			require_out(vmx_off(c), out_ok());
		for_each_insn(i)
		{
			u32 write = i->writes ? PF_WRITE : 0;

			if (!i->bytes || i->outside != (round == 1))
				continue;
			expect_page_fault(i, absent, absent, write);
			expect_page_fault(i, absent + 0x678, absent + 0x678, write);
			/* The operand begins in a page that is there. */
			*last = 0x1122334455667788;
			expect_page_fault(i, absent - i->bytes / 2, absent, write);
			expect_eq(*last, 0x1122334455667788);
			if (!i->writes)
				continue;
			window_set(FRAME_A | PTE_P | PTE_PS);
			expect_page_fault(i, FAULT_WINDOW + 0x10, FAULT_WINDOW + 0x10, PF_WRITE | PF_PRESENT);
			window_set(FRAME_A | PTE_P | PTE_W | PTE_PS);
		}
	}
	require_out(vmx_on(c), out_ok());
	require_out(vmptrld(v.vmcs_pa), out_ok());
	expect_eq(vmread(VMCS_guest_rip), rip);
	window_close(&w);
	vcpu_destroy(&v);
}

/* What is decided without the operand must not fault by it. */
TEST(insn, vmread_error_before_operand, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure",
     .rules = "insn.vmread.error-before-operand insn.no-vmcs")
{
	struct window w;
	struct vcpu v;

	window_open(&w);
	expect_out(vmx_outcome(vmx_read_mem_raw(VMCS_guest_rip, (ulong *)(ulong)ABSENT)), out_invalid());
	test_vcpu(&v, c, 0);
	expect_out(vmx_outcome(vmx_read_mem_raw(0x6c20, (ulong *)(ulong)ABSENT)),
		   out_valid(VMXERR_unsupported_component));
	window_close(&w);
}

/* So is the type of an invalidation: an unsupported one is VMfail, and the descriptor isn't asked for. */
static void check_type_first(struct cpu *c, u32 (*invalidate)(ulong type, const void *descriptor))
{
	static const ulong types[] = { 4, 0x77, ~(ulong)0 };
	struct window w;
	struct vcpu v;

	window_open(&w);
	test_vcpu(&v, c, 0);
	for (u32 n = 0; n < ARRAY_SIZE(types); n++)
		expect_out(vmx_outcome(invalidate(types[n], ABSENT)), out_valid(VMXERR_invalid_invept_invvpid_operand));
	window_close(&w);
}

TEST(insn, invept_type_first, .sdm = "INVEPT-Invalidate Translations Derived from EPT", .needs = "INVEPT",
     .rules = "insn.invept.type-first")
{
	check_type_first(c, vmx_invept_raw);
}

TEST(insn, invvpid_type_first, .sdm = "INVVPID-Invalidate Translations Based on VPID", .needs = "INVVPID",
     .rules = "insn.invvpid.type-first")
{
	check_type_first(c, vmx_invvpid_raw);
}

/* The forms in memory move as much as those in registers, also across the border of two pages. */
TEST(insn, operand_in_memory, .sdm = "VMREAD-Read Field from Virtual-Machine Control Structure",
     .rules = "insn.vmread.memory insn.vmread.width insn.vmwrite.keeps insn.vmptrst.value")
{
	u8 *two = pages_alloc_aligned(2, PAGE_SIZE);
	struct vcpu v;

	test_vcpu(&v, c, 0);
	for (u32 offset = PAGE_SIZE - sizeof(ulong); offset <= PAGE_SIZE; offset++) {
		volatile ulong *p = (volatile ulong *)(two + offset);
		ulong value = (ulong)0x9182736455463728 + offset;
		u64 pa = 0;

		*p = value;
		expect_out(vmx_outcome(vmx_write_mem_raw(VMCS_guest_rip, (const ulong *)(two + offset))), out_ok());
		expect_eq(vmread(VMCS_guest_rip), value);
		/* What is behind it stays; a field of 16 bits fills the whole operand. */
		*p = ~(ulong)0;
		two[offset + sizeof(ulong)] = 0xa5;
		vmwrite(VMCS_guest_es_selector, 0x1230);
		expect_out(vmx_outcome(vmx_read_mem_raw(VMCS_guest_es_selector, (ulong *)(two + offset))), out_ok());
		expect_eq(*p, 0x1230);
		expect_eq(two[offset + sizeof(ulong)], 0xa5);
		/* Pointers are 64 bits, on i386 too. */
		expect_out(vmx_outcome(vmx_ptrst_raw((u64 *)(two + offset))), out_ok());
		for (u32 k = 0; k < 8; k++)
			pa |= (u64)two[offset + k] << 8 * k;
		expect_eq(pa, v.vmcs_pa);
		expect_out(vmx_outcome(vmx_ptrld_raw((const u64 *)(two + offset))), out_ok());
	}
	vcpu_write_guest_state(&v);
}

#ifdef __x86_64__
#define BELOW_HOLE (0x0000800000000000 - WINDOW_BYTES)

/* Memory up to the first address that isn't canonical: a page fault for what begins there would be right otherwise. */
static void map_below_hole(void)
{
	u64 *root = (u64 *)(ulong)(read_cr3() & PTE_ADDR), *pdpt = page_alloc(), *directory = page_alloc();

	directory[BELOW_HOLE >> 21 & 511] = FRAME_A | PTE_P | PTE_W | PTE_PS;
	pdpt[BELOW_HOLE >> 30 & 511] = (ulong)directory | PTE_P | PTE_W;
	root[BELOW_HOLE >> 39] = (ulong)pdpt | PTE_P | PTE_W;
}

static void unmap_below_hole(void)
{
	u64 *root = (u64 *)(ulong)(read_cr3() & PTE_ADDR);

	root[BELOW_HOLE >> 39] = 0;
	invlpg(BELOW_HOLE);
}

/* #GP(0), not #PF; by way of SS it would be #SS(0). */
TEST(insn, operand_not_canonical, .sdm = "Canonical Addressing", .flags = TEST_AMD64, .rules = "insn.operand-canonical")
{
	static const u64 addresses[] = { 0x0000800000000000, 0xffff7fffffffff00, 1ull << 63, 0x00007ffffffffffc };
	volatile u32 *const last = (volatile u32 *)0x00007ffffffffffc;
	struct vcpu v;

	test_vcpu(&v, c, 0);
	map_below_hole();
	*last = 0x11223344;
	for (u32 round = 0; round < 2; round++) {
		if (round == 1)
			require_out(vmx_off(c), out_ok());
		for_each_insn(i)
		{
			if (!i->bytes || i->outside != (round == 1))
				continue;
			for (u32 k = 0; k < ARRAY_SIZE(addresses); k++)
				expect_insn(i, (const void *)addresses[k], out_fault(VEC_GP, 0));
		}
	}
	expect_eq(*last, 0x11223344);
	unmap_below_hole();
	require_out(vmx_on(c), out_ok());
}
#endif
