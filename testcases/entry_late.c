// SPDX-License-Identifier: BSD-2-Clause
/*
 * Entries that fail late: what becomes of host state, guest state, exit information and lists; and which check comes
 * before which. SDM: "VM-Entry Failures During or After Loading Guest State".
 */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/entry_rows.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define LATE "VM-Entry Failures During or After Loading Guest State"
#define REASON_ENTRY_FAILED 0x80000000u
#define DR7_RW0 0x10000u
#define EVENT 0x80000306u /* a valid #UD */

struct list_entry {
	u32 msr, reserved;
	u64 value;
};

/* One way to fail; what it changes is put back. */
static const struct way {
	const char *name;
	u32 field;
	u64 value;
	u32 reason, qualification;
} ways[] = {
	{ "RFLAGS", VMCS_guest_rflags, 0, EXIT_invalid_guest_state, 0 },
	{ "activity state", VMCS_guest_activity_state, 7, EXIT_invalid_guest_state, 0 },
	{ "link pointer", VMCS_vmcs_link_pointer, 1, EXIT_invalid_guest_state, 4 },
	{ "MSR list", VMCS_vm_entry_msr_load_count, 2, EXIT_msr_loading, 2 },
};

struct late {
	struct snippet s;
	struct list_entry *list; /* the entry's: its second can't be loaded */
};

static void late_begin(struct late *l, struct cpu *c)
{
	judge_begin();
	snippet_begin(&l->s, c, 0);
	snippet_code(&l->s, "", 0);
	l->list = page_alloc();
	l->list[0] = (struct list_entry){ MSR_SYSENTER_ESP, 0, 0x7777000 };
	l->list[1] = (struct list_entry){ MSR_FS_BASE, 0, 0 };
	vmwrite(VMCS_vm_entry_msr_load_address, (ulong)l->list);
}

/* Fails this way; one check. */
static bool late_fails(struct late *l, const struct way *w)
{
	u64 old = vmread(w->field);
	struct exit e;

	judge_about(w->name, NULL);
	vmwrite(w->field, w->value);
	e = enter_once(&l->s.v);
	vmwrite(w->field, old);
	return expect_out(e.entry, out_ok()) && expect_eq(e.reason, REASON_ENTRY_FAILED | w->reason) &&
	       expect_eq(e.qualification, w->qualification);
}

/* A trip with the usual host state. */
static void late_done(struct late *l)
{
	struct exit e;

	vcpu_write_host_state(&l->s.v);
	snippet_code(&l->s, "", 0);
	vmwrite(VMCS_vm_entry_interruption_info, 0);
	e = snippet_run(&l->s);
	expect(snippet_passed(&l->s, &e));
	vcpu_destroy(&l->s.v);
	judge_done();
}

TEST(entry, late_reason, .sdm = LATE, .rules = "entry.guest.late-reason entry.guest.late-valid-bit")
{
	struct late l;

	late_begin(&l, c);
	for (u32 i = 0; i < ARRAY_SIZE(ways); i++) {
		vmwrite(VMCS_vm_entry_interruption_info, EVENT);
		late_fails(&l, &ways[i]);
		JUDGE("entry.guest.late-reason", vmread(VMCS_exit_reason), REASON_ENTRY_FAILED | ways[i].reason);
		JUDGE("entry.guest.late-valid-bit", vmread(VMCS_vm_entry_interruption_info), EVENT);
	}
	late_done(&l);
}

/* The root of L1's page tables, at another place. */
static u64 other_root(void)
{
	u64 *page = page_alloc();

	memcpy(page, (void *)(ulong)(read_cr3() & PTE_ADDR), sizeof(ulong) == 8 ? PAGE_SIZE : 32);
	return (ulong)page;
}

TEST(entry, late_host_registers, .sdm = LATE, .rules = "entry.guest.late-host-state")
{
	const u64 cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4(), root = other_root();
	struct late l;

	late_begin(&l, c);
	for (u32 i = 0; i < ARRAY_SIZE(ways); i++) {
		vmwrite(VMCS_host_cr0, cr0 ^ CR0_TS);
		vmwrite(VMCS_host_cr3, root);
		vmwrite(VMCS_host_cr4, cr4 ^ CR4_DE);
		vmwrite(VMCS_host_sysenter_cs, 0x1234);
		vmwrite(VMCS_host_sysenter_esp, 0x12345678);
		vmwrite(VMCS_host_sysenter_eip, 0x7abcdef0);
		write_dr7(DR7_FIXED | DR7_RW0);
		late_fails(&l, &ways[i]);
		JUDGE("entry.guest.late-host-state", read_cr0(), cr0 ^ CR0_TS);
		JUDGE("entry.guest.late-host-state", read_cr3(), root);
		JUDGE("entry.guest.late-host-state", read_cr4(), cr4 ^ CR4_DE);
		JUDGE("entry.guest.late-host-state", read_dr7(), DR7_FIXED);
		JUDGE("entry.guest.late-host-state", msr_read(MSR_SYSENTER_CS), 0x1234);
		JUDGE("entry.guest.late-host-state", msr_read(MSR_SYSENTER_ESP), 0x12345678);
		JUDGE("entry.guest.late-host-state", msr_read(MSR_SYSENTER_EIP), 0x7abcdef0);
		write_cr0(cr0);
		write_cr3(cr3);
		write_cr4(cr4);
		write_dr7(DR7_FIXED);
	}
	late_done(&l);
}

TEST(entry, late_host_tables, .sdm = LATE, .rules = "entry.guest.late-host-state")
{
	struct table_reg gdt, idt, now;
	struct late l;

	late_begin(&l, c);
	store_gdt(&gdt);
	store_idt(&idt);
	for (u32 i = 0; i < ARRAY_SIZE(ways); i++) {
		vmwrite(VMCS_host_tr_selector, 0xfff8);
		load_idt(&idt);
		late_fails(&l, &ways[i]);
		JUDGE("entry.guest.late-host-state", store_tr(), 0xfff8);
		store_gdt(&now);
		JUDGE("entry.guest.late-host-state", now.limit, 0xffff);
		JUDGE("entry.guest.late-host-state", now.base, vmread(VMCS_host_gdtr_base));
		store_idt(&now);
		JUDGE("entry.guest.late-host-state", now.limit, 0xffff);
		JUDGE("entry.guest.late-host-state", now.base, vmread(VMCS_host_idtr_base));
		JUDGE("entry.guest.late-host-state", read_flags() & ~(ulong)RFLAGS_ARITH, RFLAGS_FIXED);
	}
	late_done(&l);
	load_idt(&idt);
}

TEST(entry, late_host_pat, .sdm = LATE, .needs = "load IA32_PAT; load IA32_PAT at VM exit",
     .rules = "entry.guest.late-host-state")
{
	const u64 pat = msr_read(MSR_PAT);
	struct late l;

	late_begin(&l, c);
	l.s.v.ctl[CTL_VMEXIT] |= VMEXIT_load_ia32_pat;
	l.s.v.ctl[CTL_VMENTRY] |= VMENTRY_load_ia32_pat;
	vcpu_write_controls(&l.s.v);
	/* Of indexes that no page of L1's has. */
	vmwrite(VMCS_guest_ia32_pat, pat ^ 1ull << 40);
	for (u32 i = 0; i < ARRAY_SIZE(ways); i++) {
		vmwrite(VMCS_host_ia32_pat, pat ^ 1ull << 56);
		late_fails(&l, &ways[i]);
		JUDGE("entry.guest.late-host-state", msr_read(MSR_PAT), pat ^ 1ull << 56);
		msr_write(MSR_PAT, pat);
	}
	vmwrite(VMCS_host_ia32_pat, pat);
	vmwrite(VMCS_guest_ia32_pat, pat);
	late_done(&l);
}

TEST(entry, late_lists, .sdm = LATE, .rules = "entry.guest.late-exit-list")
{
	struct list_entry *load = page_alloc(), *store = load + 16;
	struct late l;

	late_begin(&l, c);
	load[0] = (struct list_entry){ MSR_SYSENTER_EIP, 0, 0x3333000 };
	vmwrite(VMCS_vm_exit_msr_load_address, (ulong)load);
	vmwrite(VMCS_vm_exit_msr_store_address, (ulong)store);
	for (u32 i = 0; i < ARRAY_SIZE(ways); i++) {
		store[0] = (struct list_entry){ MSR_SYSENTER_CS, 0, ~0ull };
		vmwrite(VMCS_host_sysenter_eip, 0x4444000);
		vmwrite(VMCS_vm_exit_msr_load_count, 1);
		vmwrite(VMCS_vm_exit_msr_store_count, 1);
		late_fails(&l, &ways[i]);
		JUDGE("entry.guest.late-exit-list", msr_read(MSR_SYSENTER_EIP), 0x3333000);
		JUDGE("entry.guest.late-exit-list", store[0].value, ~0ull);
	}
	vmwrite(VMCS_vm_exit_msr_load_count, 0);
	vmwrite(VMCS_vm_exit_msr_store_count, 0);
	late_done(&l);
}

/* --- The fields of the VMCS --- */

#define FIELDS_MAX 256u

static bool read_field(const struct vmcs_info *f, u64 *value)
{
	ulong low = 0, high = 0;

	if (vmread_raw(f->encoding, &low).kind != OUT_OK)
		return false;
	if (sizeof(ulong) == 4 && f->width == WIDTH_64 && vmread_raw(f->encoding + 1u, &high).kind != OUT_OK)
		return false;
	*value = low | (u64)high << 16 << 16;
	return true;
}

static void read_fields(u64 *values)
{
	for (u32 i = 0; i < vmcs_table_count; i++) {
		values[i] = 0;
		read_field(&vmcs_table[i], &values[i]);
	}
}

/* These it does write. */
static bool late_writes(const struct vmcs_info *f)
{
	return f->encoding == VMCS_exit_reason || f->encoding == VMCS_exit_qualification;
}

static void check_fields(struct cpu *c, const struct where *rule, bool (*about)(const struct vmcs_info *f))
{
	static u64 before[FIELDS_MAX], after[FIELDS_MAX];
	struct late l;
	struct exit e;

	if (vmcs_table_count > FIELDS_MAX)
		panic("more than %u fields", FIELDS_MAX);
	late_begin(&l, c);
	/* An exit with a length, then an event with an error code, so that there's something to lose. */
	e = snippet_run(&l.s);
	expect(snippet_passed(&l.s, &e));
	snippet_code(&l.s, "\x0f\x0b", 2);
	e = snippet_run(&l.s);
	expect(snippet_faulted(&e, VEC_UD));
	for (u32 i = 0; i < ARRAY_SIZE(ways); i++) {
		const u32 field = ways[i].field;

		read_fields(before);
		late_fails(&l, &ways[i]);
		read_fields(after);
		for (u32 n = 0; n < vmcs_table_count; n++)
			if (vmcs_table[n].encoding != field && about(&vmcs_table[n]))
				judge_equal(rule, vmcs_table[n].name, after[n], before[n]);
	}
	late_done(&l);
}

static bool about_guest(const struct vmcs_info *f)
{
	/* Each entry of ours writes the host's RSP. */
	return f->area != AREA_EXIT && f->encoding != VMCS_host_rsp;
}

static bool about_exit(const struct vmcs_info *f)
{
	return f->area == AREA_EXIT && !late_writes(f);
}

TEST(entry, late_guest_state, .sdm = LATE, .rules = "entry.guest.late-guest-state")
{
	check_fields(c, WHERE("entry.guest.late-guest-state"), about_guest);
}

TEST(entry, late_information, .sdm = LATE, .rules = "entry.guest.late-information")
{
	check_fields(c, WHERE("entry.guest.late-information"), about_exit);
}

/* --- The order of checks --- */

ENTRY(order, .sdm = "Basic VM-Entry Checks", .needs = "activate VMX-preemption timer",
      .rules = "entry.controls-first entry.control.order")
{
	struct list_entry *list = page_alloc();

	list[0] = (struct list_entry){ MSR_FS_BASE, 0, 0 };
	vmwrite(VMCS_vm_entry_msr_load_address, (ulong)list);
	/* Controls, then guest state; host state, then guest state; guest state, then the list. */
	ROW(t, "entry.controls-first", FAILS_CONTROL, SET(cr3_target_count, 0x1000), SET(guest_rflags, 0));
	ROW(t, "entry.controls-first", FAILS_CONTROL, SET(vm_entry_interruption_info, 0x80000100),
	    SET(guest_activity_state, 7));
	ROW(t, "entry.controls-first", FAILS_CONTROL, SET(vm_entry_msr_load_count, 1),
	    SET(vm_entry_msr_load_address, (ulong)list | 1), SET(vmcs_link_pointer, 1));
	ROW(t, "entry.controls-first", FAILS_HOST, SET(host_tr_selector, 0), SET(guest_rflags, 0));
	ROW(t, "entry.controls-first", FAILS_HOST, SET(host_cs_selector, 0), SET(guest_activity_state, 7));
	ROW(t, "entry.controls-first", FAILS_HOST, SET(host_tr_selector, 0), SET(vm_entry_msr_load_count, 1));
	ROW(t, "entry.controls-first", FAILS_GUEST, SET(guest_rflags, 0), SET(vm_entry_msr_load_count, 1));
	ROW(t, "entry.controls-first", FAILS_GUEST, SET(guest_activity_state, 7), SET(vm_entry_msr_load_count, 1));
	ROW(t, "entry.controls-first", FAILS_LINK, SET(vmcs_link_pointer, 1), SET(vm_entry_msr_load_count, 1));
	{
		const u64 count = vmread(VMCS_cr3_target_count), tr = vmread(VMCS_host_tr_selector);
		struct exit e;

		/* Open between these two: either number will do. */
		vmwrite(VMCS_cr3_target_count, 0x1000);
		vmwrite(VMCS_host_tr_selector, 0);
		e = enter_once(&t->v);
		vmwrite(VMCS_cr3_target_count, count);
		vmwrite(VMCS_host_tr_selector, tr);
		expect(e.entry.kind == OUT_FAIL_VALID && (e.entry.number == VMXERR_entry_invalid_control_fields ||
							  e.entry.number == VMXERR_entry_invalid_host_state));
		say_note("of wrong controls and wrong host state the %s are told",
			 e.entry.number == VMXERR_entry_invalid_control_fields ? "controls" : "host's faults");
		t->judged |= 1ull << judge_position("entry.control.order");
	}
}

TEST(entry, launch_state_first, .sdm = "Basic VM-Entry Checks", .rules = "entry.launch-state-first")
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	snippet_code(&s, "", 0);
	for (u32 i = 0; i < 3; i++) {
		static const u32 fields[] = { VMCS_cr3_target_count, VMCS_host_tr_selector, VMCS_guest_rflags };
		static const u64 wrong[] = { 0x1000, 0, 0 };
		u64 old = vmread(fields[i]);

		judge_about(vmcs_name(fields[i]), NULL);
		vmwrite(fields[i], wrong[i]);
		JUDGE("entry.launch-state-first", vmx_outcome(vmx_resume_raw()).number,
		      VMXERR_vmresume_nonlaunched_vmcs);
		JUDGE("entry.launch-state-first", vmx_outcome(vmx_launch_mov_ss_raw()).number,
		      VMXERR_entry_blocked_by_mov_ss);
		vmwrite(fields[i], old);
	}
	vcpu_destroy(&s.v);
	judge_done();
}

/* One wrong value for each group of checks on the guest state. */
static const struct way refused[] = {
	{ "CR4", VMCS_guest_cr4, 0, EXIT_invalid_guest_state, 0 },
	{ "CS", VMCS_guest_cs_access_rights, 0, EXIT_invalid_guest_state, 0 },
	{ "TR", VMCS_guest_tr_access_rights, AR_UNUSABLE, EXIT_invalid_guest_state, 0 },
	{ "GDTR", VMCS_guest_gdtr_limit, 0x10000, EXIT_invalid_guest_state, 0 },
	{ "RFLAGS", VMCS_guest_rflags, 0, EXIT_invalid_guest_state, 0 },
	{ "interruptibility", VMCS_guest_interruptibility_state, 3, EXIT_invalid_guest_state, 0 },
	{ "pending debug exceptions", VMCS_guest_pending_debug_exceptions, 0x10, EXIT_invalid_guest_state, 0 },
	{ "activity state", VMCS_guest_activity_state, 7, EXIT_invalid_guest_state, 0 },
	{ "link pointer", VMCS_vmcs_link_pointer, 1, EXIT_invalid_guest_state, 4 },
};

/* An MSR that no exit loads tells whether the list got that far. */
TEST(entry, msrs_last, .sdm = "VM Entries", .needs = "SYSCALL MSRs", .rules = "entry.msrs-last")
{
	const u64 star = msr_read(MSR_STAR);
	struct late l;

	late_begin(&l, c);
	l.list[0] = (struct list_entry){ MSR_STAR, 0, star ^ 0x123400000000ull };
	vmwrite(VMCS_vm_entry_msr_load_count, 1);
	for (u32 i = 0; i < ARRAY_SIZE(refused); i++) {
		late_fails(&l, &refused[i]);
		JUDGE("entry.msrs-last", msr_read(MSR_STAR), star);
		msr_write(MSR_STAR, star);
	}
	vmwrite(VMCS_vm_entry_msr_load_count, 0);
	late_done(&l);
}
