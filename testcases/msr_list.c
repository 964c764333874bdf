// SPDX-License-Identifier: BSD-2-Clause
/* MSR lists of entries and exits as long as they may be, across pages, with the same MSR again and again. */
#include "core/mem.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/msrs.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define ENTRY_FAILED_MSR (0x80000000u | EXIT_msr_loading)
#define FILLER ~0ull
#define SOON 4096u /* ticks */

struct list_entry {
	u32 msr, reserved;
	u64 value;
};

/* SDM: "Miscellaneous Data" */
static u32 longest(void)
{
	return 512 * ((u32)(vmx_caps.misc >> 25 & 7) + 1);
}

/* A list of this length that begins in a page's last 16 bytes, with one more entry behind it. */
static struct list_entry *list_alloc(u32 count)
{
	u8 *pages = pages_alloc_aligned(2 + count * sizeof(struct list_entry) / PAGE_SIZE, PAGE_SIZE);
	struct list_entry *list = (struct list_entry *)(void *)(pages + PAGE_SIZE - sizeof(struct list_entry));

	for (u32 n = 0; n <= count; n++)
		list[n] = (struct list_entry){ MSR_SYSENTER_ESP, 0, FILLER };
	return list;
}

/* One trip; L2 does nothing. */
static bool trip(struct msrs *m)
{
	struct exit e;

	snippet_code(&m->s, "", 0);
	e = snippet_run(&m->s);
	return expect(snippet_passed(&m->s, &e));
}

#define RULES "msr.list-longest msr.list-pages msr.list-twice"

TEST(msr, list_entry_longest, .sdm = "Loading MSRs", .rules = "entry.load.values " RULES)
{
	const u32 count = longest();
	struct list_entry *list = list_alloc(count);
	struct msrs m;

	msrs_begin(&m, c, false);
	for (u32 n = 0; n < count; n++)
		list[n].value = 0x10000 + n;
	vmwrite(VMCS_vm_entry_msr_load_address, (ulong)list);
	vmwrite(VMCS_vm_entry_msr_load_count, count);
	vmwrite(VMCS_guest_sysenter_esp, 0x5555);
	if (!trip(&m))
		return;
	JUDGE("msr.list-longest", vmread(VMCS_guest_sysenter_esp), 0x10000 + count - 1);
	/* Entries on both sides of each page's end, alone at the list's end. */
	for (u32 n = 1; n < count; n += n == 1 ? 255 : 256) {
		vmwrite(VMCS_vm_entry_msr_load_count, n + 1);
		trip(&m);
		JUDGE("msr.list-pages", vmread(VMCS_guest_sysenter_esp), 0x10000 + n);
		vmwrite(VMCS_vm_entry_msr_load_count, n);
		trip(&m);
		JUDGE("msr.list-twice", vmread(VMCS_guest_sysenter_esp), 0x10000 + n - 1);
	}
	JUDGE("entry.load.values", msr_read(MSR_SYSENTER_ESP), 0);
	judge_done();
}

/* The last entry of the longest list can't be loaded: its number is told. */
TEST(msr, list_entry_last_fails, .sdm = "Loading MSRs", .rules = "entry.load.qualification msr.list-longest")
{
	const u32 count = longest();
	struct list_entry *list = list_alloc(count);
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, false);
	for (u32 n = 0; n < count; n++)
		list[n].value = 0;
	list[count - 1].reserved = 1;
	vmwrite(VMCS_vm_entry_msr_load_address, (ulong)list);
	vmwrite(VMCS_vm_entry_msr_load_count, count);
	snippet_code(&m.s, "", 0);
	e = snippet_run(&m.s);
	JUDGE("entry.load.qualification", e.reason, ENTRY_FAILED_MSR);
	JUDGE("entry.load.qualification", e.qualification, count);
	vmwrite(VMCS_vm_entry_msr_load_count, count - 1);
	JUDGE("msr.list-longest", trip(&m), true);
	judge_done();
}

TEST(msr, list_store_longest, .sdm = "Saving MSRs", .rules = "exit.save.list " RULES)
{
	const u32 count = longest();
	struct list_entry *list = list_alloc(count);
	u32 wrong = 0;
	struct msrs m;

	msrs_begin(&m, c, false);
	vmwrite(VMCS_vm_exit_msr_store_address, (ulong)list);
	vmwrite(VMCS_vm_exit_msr_store_count, count);
	vmwrite(VMCS_guest_sysenter_esp, 0x1234560);
	if (!trip(&m))
		return;
	for (u32 n = 0; n < count; n++)
		wrong += list[n].value != 0x1234560;
	JUDGE("msr.list-twice", wrong, 0);
	JUDGE("msr.list-pages", list[0].value, 0x1234560);
	JUDGE("msr.list-longest", list[count - 1].value, 0x1234560);
	/* The rest of an entry, and what is behind the list, stay. */
	JUDGE("exit.save.list", list[count].value, FILLER);
	JUDGE("exit.save.list", (u64)list[count - 1].reserved << 32 | list[count - 1].msr, MSR_SYSENTER_ESP);
	judge_done();
}

TEST(msr, list_exit_longest, .sdm = "Loading MSRs", .rules = "exit.load.list msr.list-store-first " RULES)
{
	const u32 count = longest();
	struct list_entry *list = list_alloc(count), *store = list_alloc(1);
	struct msrs m;

	msrs_begin(&m, c, false);
	for (u32 n = 0; n < count; n++)
		list[n].value = 0x20000 + n;
	vmwrite(VMCS_vm_exit_msr_load_address, (ulong)list);
	vmwrite(VMCS_vm_exit_msr_store_address, (ulong)store);
	vmwrite(VMCS_vm_exit_msr_store_count, 1);
	vmwrite(VMCS_guest_sysenter_esp, 0x3333330);
	for (u32 n = 1; n <= count; n += n == 1 ? 255 : 256) {
		store[0].value = FILLER;
		vmwrite(VMCS_vm_exit_msr_load_count, n);
		if (!trip(&m))
			return;
		JUDGE("msr.list-pages", msr_read(MSR_SYSENTER_ESP), 0x20000 + n - 1);
		JUDGE("msr.list-store-first", store[0].value, 0x3333330);
	}
	vmwrite(VMCS_vm_exit_msr_load_count, count);
	trip(&m);
	JUDGE("msr.list-longest", msr_read(MSR_SYSENTER_ESP), 0x20000 + count - 1);
	JUDGE("msr.list-twice", msr_read(MSR_SYSENTER_ESP), 0x20000 + count - 1);
	/* L1's own again, from the host state. */
	vmwrite(VMCS_vm_exit_msr_load_count, 0);
	trip(&m);
	JUDGE("exit.load.list", msr_read(MSR_SYSENTER_ESP), 0);
	judge_done();
}

/* A CPU may refuse to load this one by a list, for reasons of its own. It must do one or the other, and say so. */
TEST(msr, list_tsc, .sdm = "Loading MSRs", .rules = "entry.load.tsc")
{
	struct list_entry *list = list_alloc(1);
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, false);
	vmwrite(VMCS_vm_entry_msr_load_address, (ulong)list);
	vmwrite(VMCS_vm_entry_msr_load_count, 1);
	snippet_code(&m.s, "", 0);
	list[0] = (struct list_entry){ MSR_TSC, 0, read_tsc() + SOON };
	e = snippet_run(&m.s);
	if (e.reason == ENTRY_FAILED_MSR) {
		say_note("IA32_TIME_STAMP_COUNTER can't be loaded by a VM entry's list");
		JUDGE("entry.load.tsc", e.qualification, 1);
	} else {
		JUDGE("entry.load.tsc", snippet_passed(&m.s, &e), true);
	}
	judge_done();
}
