// SPDX-License-Identifier: BSD-2-Clause
/* What the MSR list of a VM entry may load. SDM: "Loading MSRs". */
#include "lhv/mem.h"
#include "testcases/entry_rows.h"
#include "testcases/judge.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define SECTION "Loading MSRs"

struct list_entry {
	u32 msr, reserved;
	u64 value;
};

/* A row about the list's first `count` entries; end: of the whole entry. */
static void row(struct entry *t, const struct where *w, const struct list_entry *list, u32 count, u32 end)
{
	const struct entry_change c[] = { { VMCS_vm_entry_msr_load_count, '=', count },
					  { VMCS_vm_entry_msr_load_address, '=', (ulong)list },
					  { 0, 0, 0 } };

	entry_row(t, w, end, c);
}

static void row_one(struct entry *t, const struct where *w, u32 msr, u32 reserved, u64 value, u32 end)
{
	static struct list_entry list __attribute__((aligned(16)));

	list = (struct list_entry){ msr, reserved, value };
	row(t, w, &list, 1, end);
}

#define FAILS(rule, msr, value) row_one(t, WHERE(rule), msr, 0, value, FAILS_MSR)
#define LOADS(rule, msr, value) row_one(t, WHERE(rule), msr, 0, value, ENTERS)

ENTRY(load_forbidden, .sdm = SECTION, .needs = TIMER,
      .rules = "entry.load.fs-gs-base entry.load.x2apic entry.load.smm-monitor-ctl entry.load.microcode "
	       "entry.load.reserved")
{
	FAILS("entry.load.fs-gs-base", MSR_FS_BASE, 0);
	FAILS("entry.load.fs-gs-base", MSR_GS_BASE, 0);
	for (u32 msr = 0x800; msr < 0x900; msr += 0x11)
		FAILS("entry.load.x2apic", msr, 0);
	FAILS("entry.load.smm-monitor-ctl", MSR_SMM_MONITOR_CTL, 0);
	FAILS("entry.load.microcode", MSR_BIOS_UPDT_TRIG, 0);
	LOADS("entry.load.reserved", MSR_SYSENTER_CS, 0);
	for (u32 bit = 0; bit < 32; bit++)
		row_one(t, WHERE("entry.load.reserved"), MSR_SYSENTER_CS, 1u << bit, 0, FAILS_MSR);
}

/* Where WRMSR itself would take them. */
TEST_LAST(entry, load_x2apic, .sdm = SECTION, .needs = TIMER "; x2APIC", .rules = "entry.load.x2apic")
{
	static const u32 registers[] = { 0x808, 0x80b, 0x80f }; /* TPR, EOI, spurious-interrupt vector */
	struct entry thing, *t = &thing;

	msr_write(MSR_APIC_BASE, msr_read(MSR_APIC_BASE) | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
	if (!entry_begin(t, c, 0, NULL))
		return;
	for (u32 n = 0; n < ARRAY_SIZE(registers); n++) {
		u64 value = 0;

		/* EOI can't be read. */
		(void)msr_read_try(registers[n], &value);
		FAILS("entry.load.x2apic", registers[n], value);
	}
	entry_done(t);
}

ENTRY(load_wrong, .sdm = SECTION, .needs = TIMER,
      .rules = "entry.load.wrmsr entry.load.unknown-msr entry.load.efer-lme")
{
	u64 pat = msr_read(MSR_PAT), efer = msr_read(MSR_EFER);

	LOADS("entry.load.wrmsr", MSR_PAT, pat);
	/* Types 2 and 3 don't exist. */
	FAILS("entry.load.wrmsr", MSR_PAT, (pat & ~7ull) | 2);
	FAILS("entry.load.wrmsr", MSR_PAT, (pat & ~(7ull << 56)) | 3ull << 56);
	FAILS("entry.load.wrmsr", MSR_EFER, efer | 1ull << 63);
	FAILS("entry.load.unknown-msr", 0x12345678, 0);
	FAILS("entry.load.unknown-msr", 0xc0001fff, 0);
	LOADS("entry.load.efer-lme", MSR_EFER, efer);
	FAILS("entry.load.efer-lme", MSR_EFER, efer ^ EFER_LME);
}

/* SDM: "WRMSR", exceptions: addresses that aren't canonical. A test of its own: KVM's WRMSR accepts them. */
ENTRY(load_sysenter, .sdm = SECTION, .needs = TIMER, .rules = "entry.load.wrmsr")
{
	LOADS("entry.load.wrmsr", MSR_SYSENTER_ESP, ~0ull << 47);
	FAILS("entry.load.wrmsr", MSR_SYSENTER_ESP, 1ull << 63);
	FAILS("entry.load.wrmsr", MSR_SYSENTER_EIP, 1ull << 47);
}

static void check(struct entry *t, const struct where *w, bool ok)
{
	t->judged |= 1ull << judge_position(w->expr);
	check_true(ok, w);
}

/* IA32_KERNEL_GS_BASE: neither the guest's nor the host's state has it, so that it stays what the list made it. */
ENTRY(load_order, .sdm = SECTION, .needs = TIMER "; SYSCALL MSRs", .rules = "entry.load.order entry.load.host-state")
{
	const u64 old = msr_read(MSR_KERNEL_GS_BASE);
	struct list_entry *list = page_alloc();

	list[0] = (struct list_entry){ MSR_KERNEL_GS_BASE, 0, 0x1111000 };
	list[1] = (struct list_entry){ MSR_KERNEL_GS_BASE, 0, 0x2222000 };
	row(t, WHERE("entry.load.order"), list, 2, ENTERS);
	check(t, WHERE("entry.load.order"), msr_read(MSR_KERNEL_GS_BASE) == 0x2222000);
	list[1] = (struct list_entry){ MSR_SYSENTER_CS, 0, 0x5555 };
	list[2] = (struct list_entry){ MSR_FS_BASE, 0, 0 };
	list[3] = (struct list_entry){ MSR_KERNEL_GS_BASE, 0, 0x3333000 };
	row(t, WHERE("entry.load.order"), list, 4, FAILS_MSR + 2);
	check(t, WHERE("entry.load.order"), msr_read(MSR_KERNEL_GS_BASE) == 0x1111000);
	check(t, WHERE("entry.load.host-state"), msr_read(MSR_SYSENTER_CS) == 0);
	msr_write(MSR_KERNEL_GS_BASE, old);
}
