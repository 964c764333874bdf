// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a VM exit loads for L1: each host-state field with a value that L1 hasn't now. Another trip with the usual host
 * state puts all back. SDM: "Loading Host State".
 */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define REGISTERS "Loading Host Control Registers, Debug Registers, MSRs"
#define TABLES "Loading Host Segment and Descriptor-Table Registers"
#define DR7_RW0 0x10000u /* a breakpoint's kind; none is on */
#define DEBUGCTL_BTF 2u
#define EFER_SCE 1u
/* DF, IOPL, NT, AC, ID: as little as possible happens by them. */
#define RFLAGS_ODD 0x247400u

static bool trip(struct snippet *s)
{
	struct exit e;

	snippet_code(s, "", 0);
	e = snippet_run(s);
	return expect(snippet_passed(s, &e));
}

static void back(struct snippet *s)
{
	vcpu_write_controls(&s->v);
	vcpu_write_host_state(&s->v);
	trip(s);
	vcpu_destroy(&s->v);
	judge_done();
}

/* The root of L1's page tables, at another place. */
static u64 other_root(void)
{
	u64 *page = page_alloc();

	memcpy(page, (void *)(ulong)(read_cr3() & PTE_ADDR), sizeof(ulong) == 8 ? PAGE_SIZE : 32);
	if (sizeof(ulong) == 4)
		page[3] = page[0];
	return (ulong)page;
}

TEST(exit, host_registers, .sdm = REGISTERS, .rules = "exit.load.control-registers")
{
	const u64 cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4(), root = other_root();
#ifndef __x86_64__
	static volatile u32 marker = 0x3a7c19e5;
#endif
	struct snippet s;
	bool ok;

	judge_begin();
	snippet_begin(&s, c, 0);
	vmwrite(VMCS_host_cr0, cr0 ^ CR0_TS);
	vmwrite(VMCS_host_cr3, root);
	vmwrite(VMCS_host_cr4, cr4 ^ CR4_DE);
	ok = trip(&s);
	JUDGE("exit.load.control-registers", read_cr0(), cr0 ^ CR0_TS);
	JUDGE("exit.load.control-registers", read_cr3(), root);
	JUDGE("exit.load.control-registers", read_cr4(), cr4 ^ CR4_DE);
#ifndef __x86_64__
	/* The fourth GiB of the other root is the first: PDPTEs come with CR3. */
	if (ok)
		JUDGE("exit.load.control-registers", *(volatile u32 *)(0xc0000000ul + (ulong)&marker), marker);
#endif
	(void)ok;
	write_cr0(cr0);
	write_cr3(cr3);
	write_cr4(cr4);
	back(&s);
}

/* These bits a VM exit leaves as they are. */
TEST(exit, host_cr0_kept, .sdm = REGISTERS, .rules = "exit.load.cr0-kept")
{
	const u64 cr0 = read_cr0();
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	vmwrite(VMCS_host_cr0, cr0 ^ (CR0_CD | CR0_NW));
	trip(&s);
	JUDGE("exit.load.cr0-kept", read_cr0(), cr0);
	write_cr0(cr0);
	back(&s);
}

TEST(exit, host_debug, .sdm = REGISTERS, .needs = "load debug controls", .rules = "exit.load.dr7")
{
	struct snippet s;
	u64 debugctl;

	judge_begin();
	snippet_begin(&s, c, 0);
	s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_debug_controls;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_guest_dr7, DR7_FIXED | DR7_RW0);
	vmwrite(VMCS_guest_ia32_debugctl, DEBUGCTL_BTF);
	write_dr7(DR7_FIXED | DR7_RW0);
	trip(&s);
	JUDGE("exit.load.dr7", read_dr7(), DR7_FIXED);
	/* Bochs has the field, but not the MSR. */
	if (!msr_read_raw(MSR_DEBUGCTL, &debugctl))
		JUDGE("exit.load.dr7", debugctl, 0);
	write_dr7(DR7_FIXED);
	s.v.ctl[CTL_VMENTRY] &= ~(u32)VMENTRY_load_debug_controls;
	back(&s);
}

TEST(exit, host_efer, .sdm = REGISTERS, .needs = "load IA32_EFER; load IA32_EFER at VM exit", .rules = "exit.load.efer")
{
	const u64 efer = msr_read(MSR_EFER);
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	/* From the field. */
	s.v.ctl[CTL_VMEXIT] |= VMEXIT_load_ia32_efer;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_host_ia32_efer, efer ^ EFER_SCE);
	trip(&s);
	JUDGE("exit.load.efer", msr_read(MSR_EFER), efer ^ EFER_SCE);
	msr_write(MSR_EFER, efer);
	/* The guest's, but for the mode. */
	s.v.ctl[CTL_VMEXIT] &= ~(u32)VMEXIT_load_ia32_efer;
	s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_ia32_efer;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_guest_ia32_efer, efer ^ EFER_SCE);
	trip(&s);
	JUDGE("exit.load.efer", msr_read(MSR_EFER), efer ^ EFER_SCE);
#ifdef __x86_64__
	snippet_mode(&s, SNIP_32, false);
	vmwrite(VMCS_guest_ia32_efer, efer & ~(u64)(EFER_LME | EFER_LMA));
	trip(&s);
	JUDGE("exit.load.efer", msr_read(MSR_EFER), efer);
	snippet_mode(&s, SNIP_NATIVE, false);
#endif
	msr_write(MSR_EFER, efer);
	s.v.ctl[CTL_VMENTRY] &= ~(u32)VMENTRY_load_ia32_efer;
	back(&s);
}

TEST(exit, host_pat, .sdm = REGISTERS, .needs = "load IA32_PAT at VM exit", .rules = "exit.load.pat")
{
	const u64 pat = msr_read(MSR_PAT);
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	s.v.ctl[CTL_VMEXIT] |= VMEXIT_load_ia32_pat;
	vcpu_write_controls(&s.v);
	/* Of an index that no page of L1's has. */
	vmwrite(VMCS_host_ia32_pat, pat ^ 1ull << 56);
	trip(&s);
	JUDGE("exit.load.pat", msr_read(MSR_PAT), pat ^ 1ull << 56);
	msr_write(MSR_PAT, pat);
	s.v.ctl[CTL_VMEXIT] &= ~(u32)VMEXIT_load_ia32_pat;
	back(&s);
}

TEST(exit, host_sysenter, .sdm = REGISTERS, .rules = "exit.load.sysenter")
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	vmwrite(VMCS_host_sysenter_cs, 0x1234);
	vmwrite(VMCS_host_sysenter_esp, 0x12345678);
	vmwrite(VMCS_host_sysenter_eip, 0x7abcdef0);
	trip(&s);
	JUDGE("exit.load.sysenter", msr_read(MSR_SYSENTER_CS), 0x1234);
	JUDGE("exit.load.sysenter", msr_read(MSR_SYSENTER_ESP), 0x12345678);
	JUDGE("exit.load.sysenter", msr_read(MSR_SYSENTER_EIP), 0x7abcdef0);
	back(&s);
}

TEST(exit, host_tables, .sdm = TABLES, .rules = "exit.load.tables exit.load.segments")
{
	struct table_reg gdt, idt, now;
	struct snippet s;
	u32 tr;

	judge_begin();
	snippet_begin(&s, c, 0);
	store_gdt(&gdt);
	store_idt(&idt);
	/* A task register whose descriptor L1's table hasn't, nor any table. */
	vmwrite(VMCS_host_tr_selector, 0xfff8);
	trip(&s);
	tr = store_tr();
	JUDGE("exit.load.segments", tr, 0xfff8);
	store_gdt(&now);
	JUDGE("exit.load.tables", now.limit, 0xffff);
	JUDGE("exit.load.tables", now.base, vmread(VMCS_host_gdtr_base));
	store_idt(&now);
	JUDGE("exit.load.tables", now.limit, 0xffff);
	JUDGE("exit.load.tables", now.base, vmread(VMCS_host_idtr_base));
	back(&s);
	load_idt(&idt);
}

TEST(exit, host_flags, .sdm = "Loading Host RIP, RSP, RFLAGS, and SSP", .rules = "exit.load.flags")
{
	struct snippet s;
	struct exit e;

	judge_begin();
	snippet_begin(&s, c, 0);
	snippet_code(&s, "", 0);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_ODD);
	e = snippet_run(&s);
	JUDGE("exit.load.flags", read_flags() & ~(ulong)RFLAGS_ARITH, RFLAGS_FIXED);
	expect(snippet_passed(&s, &e));
	back(&s);
}

struct list_entry {
	u32 msr, reserved;
	u64 value;
};

/* The list comes after the host state: what it loads wins. */
TEST(exit, host_list, .sdm = "Loading MSRs", .rules = "exit.load.list exit.save.list")
{
	struct list_entry *load = page_alloc(), *store = load + 16;
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	load[0] = (struct list_entry){ MSR_SYSENTER_ESP, 0, 0x1111000 };
	load[1] = (struct list_entry){ MSR_SYSENTER_ESP, 0, 0x2222000 };
	load[2] = (struct list_entry){ MSR_SYSENTER_EIP, 0, 0x3333000 };
	store[0] = (struct list_entry){ MSR_SYSENTER_ESP, 0, ~0ull };
	store[1] = (struct list_entry){ MSR_SYSENTER_CS, 0, ~0ull };
	store[2] = (struct list_entry){ MSR_SYSENTER_EIP, 0, ~0ull };
	vmwrite(VMCS_guest_sysenter_esp, 0x4444000);
	vmwrite(VMCS_guest_sysenter_cs, 0x5555);
	vmwrite(VMCS_vm_exit_msr_load_address, (ulong)load);
	vmwrite(VMCS_vm_exit_msr_load_count, 3);
	vmwrite(VMCS_vm_exit_msr_store_address, (ulong)store);
	vmwrite(VMCS_vm_exit_msr_store_count, 2);
	trip(&s);
	JUDGE("exit.load.list", msr_read(MSR_SYSENTER_ESP), 0x2222000);
	JUDGE("exit.load.list", msr_read(MSR_SYSENTER_EIP), 0x3333000);
	JUDGE("exit.load.list", msr_read(MSR_SYSENTER_CS), 0);
	JUDGE("exit.save.list", store[0].value, 0x4444000);
	JUDGE("exit.save.list", store[1].value, 0x5555);
	/* Behind the list's end. */
	JUDGE("exit.save.list", store[2].value, ~0ull);
	vmwrite(VMCS_vm_exit_msr_load_count, 0);
	vmwrite(VMCS_vm_exit_msr_store_count, 0);
	back(&s);
}
