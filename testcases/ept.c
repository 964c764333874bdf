// SPDX-License-Identifier: BSD-2-Clause
/* EPT: what must reach L1, and what L2 must see afterwards. */
#include "core/mem.h"
#include "lhv/disk.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/platform.h"
#include "lhv/test.h"
#include "x86/cr.h"

#define QUAL_READ 0x1u
#define QUAL_WRITE 0x2u
#define QUAL_FETCH 0x4u
#define QUAL_RIGHTS 0x38u
#define QUAL_LINEAR_VALID 0x80u
#define QUAL_TRANSLATED 0x100u

/* If these don't survive, nothing that a test sees means what it seems to mean. */
static bool registers_survive(struct vcpu *v)
{
	ulong *reg = &v->g.ax;
	u32 n = sizeof(v->g) / sizeof(ulong);
	struct exit e;
	bool ok = true;

	guest(v, l2_registers, 0);
	e = enter(v);
	if (!expect_call(v, e, L2_REGISTERS))
		return false;
	for (u32 i = 1; i < n; i++)
		ok &= expect_eq(reg[i], L2_PATTERN + i);
	for (u32 i = 0; i < n; i++)
		reg[i] = L2_PATTERN2 + i;
	e = enter(v);
	return expect_call(v, e, L2_RETURN) && expect_eq(v->g.dx, 0) && ok;
}

/* L2's CR3 points to a page that EPT maps somewhere else, so that it can be taken away without touching anything else. */
static void use_window_as_cr3(struct vcpu *v, u64 root)
{
	ept_map_page(root, GPA_ALIAS, v->l2_root, EPT_RWX);
	vmwrite(VMCS_guest_cr3, GPA_ALIAS);
}

#ifndef __x86_64__
extern u8 paging_on_instruction[];

/*
 * The PDPTEs are loaded by MOV CR0 itself; their page is absent from EPT12, so that is an EPT violation with L2
 * still at the instruction. KVM makes it #GP in L2 (kernel bugzilla 216212).
 */
TEST(ept, unrestricted_pae_cr3_unmapped, .sdm = "Exit Qualification for EPT Violations",
     .needs = "single-context INVEPT", .opt = OPT_ept | OPT_unrestricted, .flags = TEST_I386,
     .rules = "exit.info.ept-pdpte-load exit.info.ept-physical exit.info.ept-linear-valid mode.no-paging "
	      "ept.absent")
{
	struct vcpu v;
	struct exit e;
	u64 root;

	test_vcpu(&v, c, OPT_ept | OPT_unrestricted);
	root = v.eptp & EPT_ADDR;
	if (!registers_survive(&v))
		return;
	use_window_as_cr3(&v, root);
	guest(&v, paging_off_on, 1);
	e = enter(&v);
	require_call(&v, e, L2_PAGING_OFF);
	expect_eq(vmread(VMCS_guest_cr0) & (CR0_PG | CR0_PE), CR0_PE);
	ept_map_page(root, GPA_ALIAS, 0, 0);
	expect_out(invept(INVEPT_SINGLE, v.eptp, 0), out_ok());
	e = enter(&v);
	require_exit(&v, e, EXIT_ept_violation);
	expect_eq(e.ip, (ulong)paging_on_instruction);
	/* No linear address: the access is the loading of the PDPTEs. */
	expect_eq(e.qualification & (QUAL_READ | QUAL_WRITE | QUAL_FETCH | QUAL_RIGHTS | QUAL_LINEAR_VALID), QUAL_READ);
	expect_eq(vmread(VMCS_guest_physical_address) & ~0xfffull, GPA_ALIAS);
	expect_eq(vmread(VMCS_guest_cr0) & CR0_PG, 0);
	ept_map_page(root, GPA_ALIAS, v.l2_root, EPT_RWX);
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	expect_eq(vmread(VMCS_guest_cr0) & CR0_PG, CR0_PG);
}

/* The control of the case above: the page stays mapped, and no host may see anything special. */
TEST(ept, unrestricted_pae_cr3_mapped, .sdm = "Exit Qualification for EPT Violations", .needs = "single-context INVEPT",
     .opt = OPT_ept | OPT_unrestricted, .flags = TEST_I386, .rules = "mode.pae-load mode.no-paging")
{
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, OPT_ept | OPT_unrestricted);
	if (!registers_survive(&v))
		return;
	use_window_as_cr3(&v, v.eptp & EPT_ADDR);
	guest(&v, paging_off_on, 1);
	e = enter(&v);
	require_call(&v, e, L2_PAGING_OFF);
	expect_out(invept(INVEPT_SINGLE, v.eptp, 0), out_ok());
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	expect_eq(vmread(VMCS_guest_cr0) & CR0_PG, CR0_PG);
}
#else
/*
 * In long mode MOV CR0 reads nothing from memory: the violation comes with the first fetch through the new
 * paging, during the page walk.
 */
TEST(ept, unrestricted_long_cr3_unmapped, .sdm = "Exit Qualification for EPT Violations",
     .needs = "single-context INVEPT", .opt = OPT_ept | OPT_unrestricted, .flags = TEST_AMD64,
     .rules = "exit.info.ept-physical exit.info.ept-translated mode.long-enter ept.absent")
{
	struct vcpu v;
	struct exit e;
	u64 root;

	test_vcpu(&v, c, OPT_ept | OPT_unrestricted);
	root = v.eptp & EPT_ADDR;
	if (!registers_survive(&v))
		return;
	use_window_as_cr3(&v, root);
	guest(&v, paging_off_on, 1);
	e = enter(&v);
	require_call(&v, e, L2_PAGING_OFF);
	ept_map_page(root, GPA_ALIAS, 0, 0);
	expect_out(invept(INVEPT_SINGLE, v.eptp, 0), out_ok());
	e = enter(&v);
	require_exit(&v, e, EXIT_ept_violation);
	expect_eq(e.qualification & (QUAL_RIGHTS | QUAL_LINEAR_VALID | QUAL_TRANSLATED), QUAL_LINEAR_VALID);
	expect_eq(vmread(VMCS_guest_physical_address) & ~0xfffull, GPA_ALIAS);
	expect_eq(vmread(VMCS_guest_cr0) & CR0_PG, CR0_PG);
	ept_map_page(root, GPA_ALIAS, v.l2_root, EPT_RWX);
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
}
#endif

/* --- The EPT TLB experiment --- */

struct tlb {
	u64 root;
	u32 *page;
	u32 loops; /* L2 on CPU 1 counts its reads here */
	u32 stop;  /* asks L2 to come out */
	u32 out;   /* CPU 1 is out of its loop for the first time */
	u32 faulted_before;
};

static ulong l2_loop(ulong arg)
{
	struct tlb *t = (struct tlb *)arg;
	volatile u32 *p = (volatile u32 *)GPA_ALIAS;

	while (!__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE)) {
		(void)*p;
		__atomic_fetch_add(&t->loops, 1, __ATOMIC_RELAXED);
	}
	l2_call(L2_STEP, 0);
	return *p;
}

static void expect_violation(struct vcpu *v, const struct exit *e)
{
	require_exit(v, *e, EXIT_ept_violation);
	expect_eq(e->qualification & (QUAL_READ | QUAL_WRITE | QUAL_FETCH | QUAL_RIGHTS), QUAL_READ);
	expect_eq(vmread(VMCS_guest_physical_address), GPA_ALIAS);
}

/* CPU 1: runs L2 until it stops or faults, invalidates, and then L2 must fault. */
static void tlb_reader(struct cpu *c, void *arg)
{
	struct tlb *t = arg;
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, OPT_ept);
	v.eptp = eptp_for(t->root);
	vmwrite(VMCS_ept_pointer, v.eptp);
	guest(&v, l2_loop, (ulong)t);
	e = enter(&v);
	if (e.entry.kind == OUT_OK && e.reason == EXIT_ept_violation) {
		/* Legal: the translation was gone already. */
		t->faulted_before = 1;
		expect_violation(&v, &e);
		__atomic_store_n(&t->out, 1, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&t->out, 1, __ATOMIC_RELEASE);
		require_call(&v, e, L2_STEP);
		expect_out(invept(INVEPT_SINGLE, v.eptp, 0), out_ok());
		e = enter(&v);
		expect_violation(&v, &e);
	}
	vcpu_destroy(&v);
}

static bool wait_flag(u32 *flag, u32 at_least, u32 ms)
{
	u64 deadline = time_after_ms(ms);

	while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) < at_least && !time_is_up(deadline))
		cpu_pause();
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE) >= at_least;
}

/*
 * CPU 1 reads a page in L2 again and again; CPU 0 takes it out of the EPT that both use. INVEPT acts on the CPU that
 * executes it only: what CPU 1 sees before its own INVEPT is not judged, after it the page must be gone.
 */
TEST(ept, tlb_two_cpus, .sdm = "Guidelines for Use of the INVEPT Instruction", .needs = "single-context INVEPT",
     .opt = OPT_ept, .flags = TEST_TWO_CPUS, .rules = "ept.rights-taken ept.invept-needed exit.info.ept-rights")
{
	static struct tlb t;

	memset(&t, 0, sizeof(t));
	t.root = ept_new_root(false);
	t.page = page_alloc();
	t.page[0] = 0x71b;
	ept_map_page(t.root, GPA_ALIAS, (ulong)t.page, EPT_RWX);
	on_cpu(1, tlb_reader, &t);
	expect_env(wait_flag(&t.loops, 100, 2000));
	ept_map_page(t.root, GPA_ALIAS, 0, 0);
	expect_out(invept(INVEPT_SINGLE, eptp_for(t.root), 0), out_ok());
	wait_flag(&t.out, 1, 2);
	say_note("CPU 1 %s the page after INVEPT on CPU 0 alone (both are legal)", t.out ? "lost" : "still reads");
	__atomic_store_n(&t.stop, 1, __ATOMIC_RELEASE);
	join_cpu(1);
}

/* --- String input into a page that isn't there --- */

struct rep_ins {
	u16 *expected; /* the disk's bytes, read by L1 */
	u16 *page[2];
};

static ulong l2_rep_ins(ulong address)
{
	in16_rep(DISK_DATA_PORT, (void *)address, SECTOR_BYTES / 2);
	return 0;
}

static bool read_sector(u16 *to)
{
	if (!disk_request(0))
		return false;
	for (u32 i = 0; i < SECTOR_BYTES / 2; i++)
		to[i] = in16(DISK_DATA_PORT);
	return true;
}

/* L2 reads the sector to GPA_ALIAS + offset; the page at absent isn't mapped at first. */
static void rep_ins_to(struct vcpu *v, struct rep_ins *s, u32 offset, u32 absent)
{
	u64 root = v->eptp & EPT_ADDR;
	struct exit e;

	for (u32 k = 0; k < 2; k++) {
		memset(s->page[k], 0, PAGE_SIZE);
		ept_map_page(root, GPA_ALIAS + k * PAGE_SIZE, (ulong)s->page[k], EPT_RWX);
	}
	ept_map_page(root, GPA_ALIAS + absent * PAGE_SIZE, 0, 0);
	expect_out(invept(INVEPT_SINGLE, v->eptp, 0), out_ok());
	require_env(disk_request(0));
	guest(v, l2_rep_ins, GPA_ALIAS + offset);
	e = enter(v);
	require_exit(v, e, EXIT_ept_violation);
	expect_eq(e.qualification & (QUAL_READ | QUAL_FETCH | QUAL_RIGHTS), 0);
	expect_eq(e.qualification & QUAL_WRITE, QUAL_WRITE);
	expect_eq(vmread(VMCS_guest_physical_address), GPA_ALIAS + (absent ? PAGE_SIZE : offset));
	ept_map_page(root, GPA_ALIAS + absent * PAGE_SIZE, (ulong)s->page[absent], EPT_RWX);
	e = enter(v);
	require_call(v, e, L2_RETURN);
	for (u32 i = 0; i < SECTOR_BYTES / 2; i++) {
		u32 at = offset + 2 * i;

		require_eq(s->page[at / PAGE_SIZE][at % PAGE_SIZE / 2], s->expected[i]);
	}
}

/* No word of the device may be lost or doubled by the violation (KVM: kernel bugzilla 216234). */
TEST(ept, rep_ins_absent_page, .sdm = "EPT Violations", .needs = "ATA disk; single-context INVEPT", .opt = OPT_ept,
     .rules = "ept.rep-restart ept.io-restart ept.absent")
{
	struct rep_ins s = { page_alloc(), { page_alloc(), page_alloc() } };
	struct vcpu v;
	u32 sum = 0;

	require_env(read_sector(s.expected));
	for (u32 i = 0; i < SECTOR_BYTES / 2; i++)
		sum |= s.expected[i];
	/* An empty sector would prove nothing. */
	require_env(sum != 0);
	test_vcpu(&v, c, OPT_ept);
	rep_ins_to(&v, &s, 0x100, 0);
	rep_ins_to(&v, &s, PAGE_SIZE - 100, 1);
}

/* --- L2's page tables as guest-physical memory --- */

static ulong l2_nothing(ulong x)
{
	return x;
}

/*
 * Setting an accessed flag is a write to the page table. Without write access there, that is an EPT violation, and the
 * flag stays 0: what L1 protects isn't changed by L2's page walks either.
 */
TEST(ept, accessed_flag_needs_write, .sdm = "EPT Violations", .needs = "single-context INVEPT", .opt = OPT_ept,
     .rules = "exit.info.ept-walk-accessed")
{
	u64 *above, root;
	volatile u64 *directory;
	struct vcpu v;
	struct exit e;

	test_vcpu(&v, c, OPT_ept);
	require(registers_survive(&v));
	root = v.eptp & EPT_ADDR;
	/* The page directory of the first GiB, moved to a page of its own in EPT. */
	above = (u64 *)(ulong)v.l2_root;
#ifdef __x86_64__
	above = (u64 *)(ulong)(above[0] & PTE_ADDR);
#endif
	directory = (volatile u64 *)(ulong)(above[0] & PTE_ADDR);
	above[0] = GPA_ALIAS | (above[0] & ~PTE_ADDR);
#ifndef __x86_64__
	vmwrite(VMCS_guest_pdpte0, above[0]);
#endif
	directory[0] &= ~PTE_A;
	ept_map_page(root, GPA_ALIAS, (ulong)directory, EPT_R);
	expect_out(invept(INVEPT_SINGLE, v.eptp, 0), out_ok());
	guest(&v, l2_nothing, 0xacc);
	e = enter(&v);
	require_exit(&v, e, EXIT_ept_violation);
	expect_eq(e.qualification & (QUAL_WRITE | QUAL_LINEAR_VALID | QUAL_TRANSLATED), QUAL_WRITE | QUAL_LINEAR_VALID);
	expect_eq(vmread(VMCS_guest_physical_address) & ~(u64)(PAGE_SIZE - 1), GPA_ALIAS);
	expect_eq(directory[0] & PTE_A, 0);
	ept_map_page(root, GPA_ALIAS, (ulong)directory, EPT_RWX);
	expect_out(invept(INVEPT_SINGLE, v.eptp, 0), out_ok());
	e = enter(&v);
	require_call(&v, e, L2_RETURN);
	expect_eq(v.g.dx, 0xacc);
	expect_eq(directory[0] & PTE_A, PTE_A);
}
