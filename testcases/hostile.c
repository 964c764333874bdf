// SPDX-License-Identifier: BSD-2-Clause
/*
 * Physical addresses that an L1 shouldn't give to VMX: devices, nothing at all, the last memory below 4 GiB (where an L0
 * may live), and EPT tables that are each other's. What comes of it is what the SDM says, or, where it leaves that open,
 * anything after which the machine goes on: L1's code, registers, memory and VMX are as before.
 */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/test.h"
#include "x86/cr.h"
#include "x86/msr.h"

extern const u8 image_start[];

#define MIB 0x100000ull
#define CMOS_ABOVE_16M 0x34 /* 2 bytes: memory between 16 MiB and 4 GiB, in 64 KiB */
#define PORT_DEBUG 0x80
#define MAGIC 0x6057u
#define ENTRY_FAILED 0x80000000u
#define TRIPS_MAX 8
#define QUAL_LINK_POINTER 4u

/* --- The addresses --- */

/*
 * Registers of an APIC are 32 bits wide and 16 bytes apart; what other accesses do is undefined ("Local APIC Register
 * Address Map"). A bare CPU makes such accesses when VMX's structures are there. An L0 mustn't.
 */
#define REGISTERS true

struct place {
	u64 pa;
	bool registers;
};
#define PLACES 8

static u32 address_bits(void)
{
	u32 r[4];

	cpuid_raw(0x80000000, 0, r);
	if (r[0] < 0x80000008)
		return 36;
	cpuid_raw(0x80000008, 0, r);
	return vmx_caps.basic >> 48 & 1 ? 32 : r[0] & 0xff;
}

static u8 cmos(u8 index)
{
	out8(0x70, index);
	return in8(0x71);
}

static u64 memory_end(void)
{
	return 16 * MIB + ((u64)cmos(CMOS_ABOVE_16M + 1) << 8 | cmos(CMOS_ABOVE_16M)) * 0x10000;
}

/* Pages, by number 0..PLACES-1. registers: those too that only 32-bit accesses may reach. False: not this one. */
static bool place(u32 n, bool registers, u64 *pa)
{
	const u32 bits = address_bits();
	const struct place places[PLACES] = {
		{ APIC_PAGE, REGISTERS },
		{ IOAPIC_PAGE, REGISTERS },
		{ 0xa0000, false },    /* VGA */
		{ 0xfffff000, false }, /* firmware */
		{ memory_end() - PAGE_SIZE, false },
		{ memory_end() - 3 * MIB, false },
		{ 1ull << (bits - 1), false }, /* nothing */
		{ (1ull << bits) - PAGE_SIZE, false },
	};

	*pa = places[n].pa;
	return registers || !places[n].registers || cap_have("private pages of xmhf-nest");
}

#define for_each_place(pa, registers)       \
	for (u32 n_ = 0; n_ < PLACES; n_++) \
		if (place(n_, (registers), &(pa)))

/* --- Is L1 as it was? --- */

static struct {
	u64 image;
	ulong cr0, cr3, cr4;
	u64 efer, apic_base;
	u32 *pages;
} was;
#define CANARIES 4

static u64 image_sum(void)
{
	u64 sum = 0;

	for (const u32 *p = (const u32 *)image_start; p < (const u32 *)lhv_tests_end; p++)
		sum = (sum << 1 | sum >> 63) ^ *p;
	return sum;
}

static void remember(void)
{
	was.image = image_sum();
	was.cr0 = read_cr0();
	was.cr3 = read_cr3();
	was.cr4 = read_cr4();
	was.efer = msr_read(MSR_EFER);
	was.apic_base = msr_read(MSR_APIC_BASE);
	was.pages = pages_alloc_aligned(CANARIES, PAGE_SIZE);
	for (u32 w = 0; w < CANARIES * PAGE_SIZE / 4; w++)
		was.pages[w] = 0xca4a4100 + w;
}

/* With a VMCS of its own: L2 and its registers as well. */
static void check_intact(struct cpu *c)
{
	ulong *reg;
	struct vcpu v;
	struct exit e;
	u32 wrong = 0;

	apic_init(); /* some writes may have gone there */
	expect_eq(image_sum(), was.image);
	expect_eq(read_cr0(), was.cr0);
	expect_eq(read_cr3(), was.cr3);
	expect_eq(read_cr4(), was.cr4);
	expect_eq(msr_read(MSR_EFER), was.efer);
	expect_eq(msr_read(MSR_APIC_BASE), was.apic_base);
	for (u32 w = 0; w < CANARIES * PAGE_SIZE / 4; w++)
		wrong += was.pages[w] != 0xca4a4100 + w;
	expect_eq(wrong, 0);
	test_vcpu(&v, c, 0);
	reg = &v.g.ax;
	guest(&v, l2_registers, 0);
	e = enter(&v);
	require_call(&v, e, L2_REGISTERS);
	for (u32 n = 0; n < sizeof(v.g) / sizeof(ulong); n++)
		reg[n] = L2_PATTERN2 + n;
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	expect_eq(v.g.dx, 0);
	vcpu_destroy(&v);
}

/* A test with a VMCS, `v`, around which L1 is and stays intact. */
#define HOSTILE(name_, opt_, ...)                                                      \
	TEST_WITH(hostile, name_, struct vcpu, v, (remember(), test_vcpu(v, c, opt_)), \
		  (vcpu_destroy(v), check_intact(c)), __VA_ARGS__)

/* --- Operands --- */

static u64 new_vmcs(void)
{
	u64 pa = (ulong)page_alloc();

	*(volatile u32 *)(ulong)pa = (u32)vmx_caps.basic & 0x7fffffff;
	expect_out(vmclear(pa), out_ok());
	return pa;
}

/* Would it pass for a VMCS? Where L1's paging doesn't reach there is nothing. */
static bool has_revision(u64 pa)
{
	return !(pa >> 32) && *(const volatile u32 *)(ulong)pa == ((u32)vmx_caps.basic & 0x7fffffff);
}

TEST(hostile, vmptrld, .sdm = "VMPTRLD-Load Pointer to Virtual-Machine Control Structure",
     .rules = "insn.vmptrld.err-11 insn.vmptrld.keeps-current insn.vmptrld.no-memory insn.vmptrst.value")
{
	u64 a = new_vmcs(), now = 0, pa;

	remember();
	for_each_place(pa, true)
	{
		if (has_revision(pa))
			continue;
		expect_out(vmptrld(pa), out_invalid());
		require_out(vmptrld(a), out_ok());
		expect_out(vmptrld(pa), out_valid(VMXERR_vmptrld_wrong_revision));
		expect_out(vmptrst(&now), out_ok());
		expect_eq(now, a);
		require_out(vmclear(a), out_ok());
	}
	check_intact(c);
}

/* It looks at nothing, and may write there. */
TEST(hostile, vmclear, .sdm = "VMCLEAR-Clear Virtual-Machine Control Structure",
     .rules = "insn.vmclear.no-revision insn.vmclear.other insn.vmptrst.value")
{
	u64 a = new_vmcs(), now = 0, pa;

	remember();
	require_out(vmptrld(a), out_ok());
	for_each_place(pa, false)
	{
		expect_out(vmclear(pa), out_ok());
		expect_out(vmptrst(&now), out_ok());
		expect_eq(now, a);
	}
	require_out(vmclear(a), out_ok());
	check_intact(c);
}

TEST(hostile, vmxon, .sdm = "VMXON-Enter VMX Operation", .rules = "insn.vmxon.invalid-revision")
{
	u64 pa;

	remember();
	require_out(vmx_off(c), out_ok());
	for_each_place(pa, true)
	{
		if (has_revision(pa))
			continue;
		expect_out(vmxon(pa), out_invalid());
		expect_out(vmxoff(), out_fault(VEC_UD, 0));
	}
	require_out(vmx_on(c), out_ok());
	check_intact(c);
}

/* --- Fields --- */

/* What bitmaps may make exit. */
static ulong l2_port_and_msr(ulong x)
{
	u64 value;

	in8(PORT_DEBUG);
	out8(PORT_DEBUG, 0);
	msr_read_raw(MSR_SYSENTER_CS, &value);
	return x + 1;
}

/* L2 runs to its end; on the way only these exits, each once for an instruction. */
static void check_goes_on(struct vcpu *v, ulong (*fn)(ulong))
{
	struct exit e;

	guest(v, fn, MAGIC);
	e = enter(v);
	for (u32 n = 0; n < TRIPS_MAX && e.entry.kind == OUT_OK; n++) {
		if (e.reason != EXIT_io && e.reason != EXIT_rdmsr && e.reason != EXIT_cr_access)
			break;
		skip_instruction(v, &e);
		e = enter(v);
	}
	if (expect_call(v, e, L2_RETURN))
		expect_eq(v->g.dx, MAGIC + 1);
}

/* Bitmaps there: the entry's checks look at the address only, and the bits are what they are. */
HOSTILE(bitmaps, 0, .sdm = "VM-Execution Control Fields", .needs = "use I/O bitmaps; use MSR bitmaps",
	.rules = "entry.control.io-bitmap-aligned entry.control.msr-bitmap-aligned")
{
	u64 pa;

	v->ctl[CTL_PROC] |= PROC_use_io_bitmaps | PROC_use_msr_bitmaps;
	vcpu_write_controls(v);
	for_each_place(pa, false)
	{
		vmwrite(VMCS_io_bitmap_a_address, pa);
		vmwrite(VMCS_io_bitmap_b_address, pa);
		vmwrite(VMCS_msr_bitmap_address, pa);
		check_goes_on(v, l2_port_and_msr);
	}
}

/* Lists with no entries may be anywhere that an address can be. */
HOSTILE(empty_msr_lists, 0, .sdm = "VM-Exit Control Fields",
	.rules = "entry.control.exit-store-empty entry.control.exit-load-empty entry.control.load-empty")
{
	u64 pa;

	for_each_place(pa, true)
	{
		vmwrite(VMCS_vm_exit_msr_store_address, pa);
		vmwrite(VMCS_vm_exit_msr_load_address, pa);
		vmwrite(VMCS_vm_entry_msr_load_address, pa);
		check_goes_on(v, l2_port_and_msr);
	}
}

/*
 * An MSR to be loaded from there. All ones can't be: the entry fails for its first entry. What else may be there isn't
 * asked for: it might be an MSR. Exits' lists are no test at all, since what can't be stored aborts.
 */
HOSTILE(entry_msr_list, 0, .sdm = "Loading MSRs", .rules = "entry.load.qualification")
{
	struct exit e;
	u64 pa;

	vmwrite(VMCS_vm_entry_msr_load_count, 1);
	for_each_place(pa, false)
	{
		const volatile u32 *there = (const volatile u32 *)(ulong)pa;

		if (!(pa >> 32) && there[0] != ~0u)
			continue;
		vmwrite(VMCS_vm_entry_msr_load_address, pa);
		guest(v, l2_port_and_msr, 0);
		e = enter_once(v);
		if (expect(e.entry.kind == OUT_OK) && expect_eq(e.reason, ENTRY_FAILED | EXIT_msr_loading))
			expect_eq(e.qualification, 1);
	}
}

/* A VMCS link pointer that isn't ones names a VMCS: aligned, within the CPU's addresses, with its revision. */
TEST(hostile, link_pointer, .sdm = "Checks on Guest Non-Register State",
     .rules = "entry.guest.link-aligned entry.guest.link-width")
{
	const u64 pointers[] = { ~0ull - 1, ~0ull - PAGE_SIZE, 1ull << 63, 1ull << address_bits(), 1, new_vmcs() + 8 };
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, 0);
	for (u32 i = 0; i < ARRAY_SIZE(pointers); i++) {
		vmwrite(VMCS_vmcs_link_pointer, pointers[i]);
		guest(&v, l2_port_and_msr, 0);
		e = enter_once(&v);
		expect(e.entry.kind == OUT_OK);
		expect_eq(e.reason, ENTRY_FAILED | EXIT_invalid_guest_state);
		expect_eq(e.qualification, QUAL_LINK_POINTER);
	}
}

#ifdef __x86_64__
static ulong l2_task_priority(ulong x)
{
	ulong value;

	__asm__ volatile("mov %%cr8, %0" : "=r"(value));
	__asm__ volatile("mov %0, %%cr8" : : "r"(0ul));
	return x + 1;
}
#else
#define l2_task_priority l2_port_and_msr /* no CR8 */
#endif

HOSTILE(virtual_apic_page, 0, .sdm = "VM-Execution Control Fields", .needs = "use TPR shadow",
	.rules = "entry.survives")
{
	u64 pa;

	v->ctl[CTL_PROC] |= PROC_use_tpr_shadow;
	vcpu_write_controls(v);
	vmwrite(VMCS_tpr_threshold, 0);
	for_each_place(pa, false)
	{
		vmwrite(VMCS_virtual_apic_address, pa);
		check_goes_on(v, l2_task_priority);
	}
}

/* --- EPT --- */

static bool ept_exit(struct exit e)
{
	return e.entry.kind == OUT_OK && (e.reason == EXIT_ept_violation || e.reason == EXIT_ept_misconfiguration);
}

static bool ends_in_ept_exit(struct vcpu *v)
{
	guest(v, l2_port_and_msr, 0);
	return ept_exit(enter(v));
}

/*
 * A table there maps nothing that L2 could run with: devices and free memory have no entries, and where there is nothing,
 * whatever is read instead isn't one (all ones on most machines, which is a misconfiguration; a host may say violation).
 */
HOSTILE(ept_tables, OPT_ept, .sdm = "EPT Misconfigurations", .needs = "all-context INVEPT", .opt = OPT_ept,
	.rules = "ept.frames-anywhere ept.width entry.survives")
{
	u64 pa;

	for_each_place(pa, false)
	{
		u64 *const root = page_alloc(), *const pdpt = page_alloc();

		vmwrite(VMCS_ept_pointer, eptp_for(pa));
		expect(ends_in_ept_exit(v));
		root[0] = pa | EPT_RWX;
		vmwrite(VMCS_ept_pointer, eptp_for((ulong)root));
		expect(ends_in_ept_exit(v));
		root[0] = (ulong)pdpt | EPT_RWX;
		pdpt[0] = pa | EPT_RWX;
		expect_out(invept(INVEPT_ALL, 0, 0), out_ok());
		expect(ends_in_ept_exit(v));
	}
}

static ulong l2_read_alias(ulong unused)
{
	(void)unused;
	return *(const volatile u32 *)GPA_ALIAS;
}

/* A page of L2's: nothing is wrong with that, L2 reads what L1 reads. */
HOSTILE(ept_frames, OPT_ept, .sdm = "EPT Misconfigurations", .needs = "all-context INVEPT", .opt = OPT_ept,
	.rules = "ept.frames-anywhere entry.survives")
{
	struct exit e;
	u64 pa;

	for_each_place(pa, true)
	{
		ept_map_page(v->eptp & EPT_ADDR, GPA_ALIAS, pa, EPT_R | EPT_W);
		expect_out(invept(INVEPT_ALL, 0, 0), out_ok());
		guest(v, l2_read_alias, 0);
		e = enter(v);
		if (expect_call(v, e, L2_RETURN) && !(pa >> 32))
			expect_eq((u32)v->g.dx, *(const volatile u32 *)(ulong)pa);
	}
}

/*
 * One page as table of every level, each entry of which points to it, so L2's memory is that page again and again: its
 * page tables, its code, its IDT. It gets stuck in one way or another, at the latest in an exception, which exits.
 */
HOSTILE(ept_loop_of_one, OPT_ept, .sdm = "EPT Translation Mechanism", .opt = OPT_ept, .rules = "ept.loops ept.walk")
{
	u64 *table = page_alloc();
	struct exit e;

	for (u32 n = 0; n < 512; n++)
		table[n] = (ulong)table | EPT_R | EPT_X;
	vmwrite(VMCS_ept_pointer, eptp_for((ulong)table));
	guest(v, l2_port_and_msr, 0);
	e = enter(v);
	expect(ept_exit(e) ||
	       (e.entry.kind == OUT_OK && (e.reason == EXIT_exception_or_nmi || e.reason == EXIT_triple_fault)));
}

#define GPA_LOOP 0x80000000u

static ulong l2_read_loop(ulong page)
{
	return *(const volatile u32 *)(GPA_LOOP + page * PAGE_SIZE);
}

/* The third GiB's directory is the root, so its page table is the table below the root, and its pages are what that has. */
HOSTILE(ept_loop_back, OPT_ept, .sdm = "EPT Translation Mechanism", .opt = OPT_ept, .rules = "ept.loops ept.walk")
{
	u64 *root, *pdpt;
	struct exit e;

	root = (u64 *)(ulong)(v->eptp & EPT_ADDR);
	pdpt = (u64 *)(ulong)(root[0] & EPT_ADDR);
	pdpt[2] = (ulong)root | EPT_RWX;
	guest(v, l2_read_loop, 0);
	e = enter(v);
	if (expect_call(v, e, L2_RETURN))
		expect_eq((u32)v->g.dx, *(u32 *)(ulong)(pdpt[0] & EPT_ADDR));
	guest(v, l2_read_loop, 2);
	e = enter(v);
	if (expect_call(v, e, L2_RETURN))
		expect_eq((u32)v->g.dx, (u32)root[0]);
	guest(v, l2_read_loop, 1);
	e = enter(v);
	if (expect_exit(v, e, EXIT_ept_violation))
		expect_eq(vmread(VMCS_guest_physical_address), GPA_LOOP + PAGE_SIZE);
}
