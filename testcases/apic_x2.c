// SPDX-License-Identifier: BSD-2-Clause
/* "Virtualize x2APIC mode", and what L2 gets of the local APIC's own MSRs. The MSR bitmaps let L2 at all of them. */
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/platform.h"
#include "testcases/vapic.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define SECTION "Virtualizing MSR-Based APIC Accesses"
#define NEEDS "use TPR shadow; virtualize x2APIC mode"
#define INFO_VALID 0x80000000u
#define RFLAGS_RF 0x10000u
#define INFO_HARDWARE_EXCEPTION 0x300u
#define INFO_HAS_ERROR 0x800u
#define MSR_TPR 0x808u
#define MSR_EOI 0x80bu
#define MSR_SELF_IPI 0x83fu
#define MSR_FIRST 0x800u
#define MSR_LAST 0x8ffu
#define OFFSET(msr) (((msr)&0xff) << 4)

/* The APIC's registers, and some numbers behind them. */
static u32 next_msr(u32 msr)
{
	return msr < 0x840 ? msr + 1 : msr + 0x1f;
}

static u64 pattern8(u32 offset)
{
	return VAPIC_PATTERN(offset) | (u64)VAPIC_PATTERN(offset + 4) << 32;
}

static void judge_tpr_read(struct vapic *a)
{
	struct exit e;

	vapic_fill(a);
	judge_about("RDMSR", NULL);
	e = vapic_rdmsr(a, MSR_TPR);
	JUDGE("apic.x2.read-tpr", snippet_passed(&a->s, &e), true);
	JUDGE("apic.x2.read-tpr", vapic_edx_eax(a), pattern8(VAPIC_TPR));
}

static void judge_tpr_write(struct vapic *a)
{
	static const u8 values[] = { 0, 1, 0x0f, 0x10, 0x5a, 0x80, 0xff };
	struct exit e;

	judge_about("WRMSR", NULL);
	for (u32 i = 0; i < ARRAY_SIZE(values); i++) {
		vapic_fill(a);
		e = vapic_wrmsr(a, MSR_TPR, values[i]);
		JUDGE("apic.x2.write-tpr", snippet_passed(&a->s, &e), true);
		JUDGE("apic.x2.write-tpr", vapic_get(a, VAPIC_TPR), values[i]);
		JUDGE("apic.x2.write-tpr", vapic_get(a, VAPIC_TPR + 4), 0);
		JUDGE("apic.x2.write-tpr", vapic_get(a, VAPIC_TPR + 8), VAPIC_PATTERN(VAPIC_TPR + 8));
	}
	judge_about("WRMSR of reserved bits", NULL);
	vapic_fill(a);
	for (u32 bit = 8; bit < 64; bit++) {
		e = vapic_wrmsr(a, MSR_TPR, 1ull << bit | 0x10);
		JUDGE("apic.x2.reserved", snippet_faulted(&e, VEC_GP), true);
		JUDGE("apic.x2.reserved", vapic_get(a, VAPIC_TPR), VAPIC_PATTERN(VAPIC_TPR));
	}
}

static void judge_threshold(struct vapic *a)
{
	struct exit e;

	vmwrite(VMCS_tpr_threshold, 6);
	for (u32 value = 0x10; value < 0x100; value += 0x16) {
		vapic_set(a, VAPIC_TPR, 0xff);
		e = vapic_wrmsr(a, MSR_TPR, value);
		JUDGE("apic.threshold.trap", vapic_get(a, VAPIC_TPR), value);
		if (value >> 4 >= 6) {
			JUDGE("apic.threshold.not-below", snippet_passed(&a->s, &e), true);
			continue;
		}
		JUDGE("apic.threshold.below", e.reason, EXIT_tpr_below_threshold);
		JUDGE("apic.threshold.trap", e.ip, (ulong)a->s.code + 2);
	}
	vapic_set(a, VAPIC_TPR, 0xff);
	vmwrite(VMCS_tpr_threshold, 0);
}

/* What comes before. */
static void judge_order(struct vapic *a)
{
	struct exit e;

	judge_about("with its bits in the MSR bitmaps", NULL);
	a->bitmap[MSR_TPR / 8] = a->bitmap[2048 + MSR_TPR / 8] = 1u << MSR_TPR % 8;
	e = vapic_rdmsr(a, MSR_TPR);
	JUDGE("apic.x2.exit-first", e.reason, EXIT_rdmsr);
	e = vapic_wrmsr(a, MSR_TPR, 0x20);
	JUDGE("apic.x2.exit-first", e.reason, EXIT_wrmsr);
	e = vapic_wrmsr(a, MSR_TPR, 0x100);
	JUDGE("apic.x2.exit-first", e.reason, EXIT_wrmsr);
	JUDGE("apic.x2.exit-first", vapic_get(a, VAPIC_TPR), 0xff);
	a->bitmap[MSR_TPR / 8] = a->bitmap[2048 + MSR_TPR / 8] = 0;
	judge_about("CPL 3", NULL);
	snippet_mode(&a->s, SNIP_NATIVE, true);
	e = vapic_rdmsr(a, MSR_TPR);
	JUDGE("apic.x2.privilege", snippet_faulted(&e, VEC_GP), true);
	e = vapic_wrmsr(a, MSR_TPR, 0x20);
	JUDGE("apic.x2.privilege", snippet_faulted(&e, VEC_GP), true);
	JUDGE("apic.x2.privilege", vapic_get(a, VAPIC_TPR), 0xff);
	snippet_mode(&a->s, SNIP_NATIVE, false);
}

/* The local APIC isn't in x2APIC mode: MSRs that aren't virtualized fault. */
static void judge_others_fault(struct vapic *a, bool reads)
{
	struct exit e;

	for (u32 msr = MSR_FIRST; msr <= MSR_LAST; msr = next_msr(msr)) {
		if (msr == MSR_TPR)
			continue;
		if (reads) {
			e = vapic_rdmsr(a, msr);
			JUDGE("apic.x2.others-read", snippet_faulted(&e, VEC_GP), true);
		}
		e = vapic_wrmsr(a, msr, 0);
		JUDGE("apic.x2.others-write", snippet_faulted(&e, VEC_GP), true);
	}
}

VAPIC_TEST(x2_tpr, vapic_begin(a, c, 0, PROC2_virtualize_x2apic_mode), .sdm = SECTION, .needs = NEEDS,
	   .rules = "apic.x2.read-tpr apic.x2.write-tpr apic.x2.reserved apic.threshold.below apic.threshold.not-below "
		    "apic.threshold.trap apic.x2.exit-first apic.x2.privilege apic.x2.others-read apic.x2.others-write")
{
	vapic_set(a, VAPIC_TPR, 0xff);
	judge_tpr_read(a);
	judge_tpr_write(a);
	vapic_set(a, VAPIC_TPR, 0xff);
	judge_threshold(a);
	judge_order(a);
	judge_about("another MSR", NULL);
	judge_others_fault(a, true);
}

VAPIC_TEST(x2_registers, vapic_begin(a, c, 0, PROC2_virtualize_x2apic_mode | PROC2_apic_register_virtualization),
	   .sdm = SECTION, .needs = NEEDS "; APIC-register virtualization",
	   .rules = "apic.x2.register-read apic.x2.others-write apic.x2.page-unchanged")
{
	struct exit e;
	bool same = true;

	vapic_fill(a);
	for (u32 msr = MSR_FIRST; msr <= MSR_LAST; msr = next_msr(msr)) {
		e = vapic_rdmsr(a, msr);
		JUDGE("apic.x2.register-read", snippet_passed(&a->s, &e), true);
		JUDGE("apic.x2.register-read", vapic_edx_eax(a), pattern8(OFFSET(msr)));
	}
	judge_others_fault(a, false);
	for (u32 offset = 0; offset < PAGE_SIZE; offset += 4)
		same &= vapic_get(a, offset) == VAPIC_PATTERN(offset);
	JUDGE("apic.x2.page-unchanged", same, true);
}

/* APIC-register virtualization is about MSRs only together with "virtualize x2APIC mode" (CVE-2019-3887). */
VAPIC_TEST(x2_off_registers_on, vapic_begin(a, c, 0, PROC2_apic_register_virtualization), .sdm = SECTION,
	   .needs = "use TPR shadow; APIC-register virtualization", .rules = "apic.x2.off-read apic.x2.off-write")
{
	struct exit e;

	for (u32 msr = MSR_FIRST; msr <= MSR_LAST; msr = next_msr(msr)) {
		e = vapic_rdmsr(a, msr);
		JUDGE("apic.x2.off-read", snippet_faulted(&e, VEC_GP), true);
		e = vapic_wrmsr(a, msr, 0);
		JUDGE("apic.x2.off-write", snippet_faulted(&e, VEC_GP), true);
	}
	judge_about("INIT to all others by ICR", NULL);
	e = vapic_wrmsr(a, MSR_X2APIC_ICR, 0xc4500);
	JUDGE("apic.x2.off-write", snippet_faulted(&e, VEC_GP), true);
	judge_about("as after a fault", NULL);
	JUDGE("apic.x2.off-write", vmread(VMCS_exit_interruption_info),
	      INFO_VALID | INFO_HARDWARE_EXCEPTION | INFO_HAS_ERROR | VEC_GP);
	JUDGE("apic.x2.off-write", vmread(VMCS_exit_interruption_error_code), 0);
	JUDGE("apic.x2.off-write", e.ip, (ulong)a->s.code);
	judge_about("delivered to L2", NULL);
	a->s.v.l2_takes = 1u << VEC_GP;
	vcpu_write_controls(&a->s.v);
	vapic_idt(a);
	e = vapic_wrmsr(a, MSR_X2APIC_ICR, 0);
	JUDGE("apic.x2.off-write", vapic_vector(a, &e), VEC_GP);
}

/* A layer below L1 may be the one that finds such a fault; its exit is like any other's. */
TEST(apic, x2_fault_resume_flag, .sdm = "Saving RIP, RSP, RFLAGS, and SSP", .needs = "use MSR bitmaps",
     .rules = "exit.save.resume-flag")
{
	struct vapic a;
	struct exit e;

	judge_begin();
	judge_about("#GP of WRMSR", NULL);
	vapic_begin(&a, c, 0, 0);
	e = vapic_wrmsr(&a, MSR_X2APIC_ICR, 0);
	JUDGE("exit.save.resume-flag", snippet_faulted(&e, VEC_GP), true);
	JUDGE("exit.save.resume-flag", vmread(VMCS_guest_rflags) & RFLAGS_RF, RFLAGS_RF);
	judge_done();
}

/*
 * --- With the local APIC in x2APIC mode ---
 * These tests come last: on some hosts, there's no way back.
 */

#define SELF_VECTOR (IRQ_VECTOR + IRQ_SELF)
#define ICR_SELF 0x40000u
#define ICR_ASSERT 0x4000u

static void x2apic_on(void)
{
	msr_write(MSR_APIC_BASE, msr_read(MSR_APIC_BASE) | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
}

/* In x2APIC mode. */
static bool self_pending(void)
{
	return msr_read(0x820 + SELF_VECTOR / 32) >> SELF_VECTOR % 32 & 1;
}

/* Lets L1's handler take it. True if the first window was enough; some hosts are late. */
static bool take_self(struct cpu *c)
{
	u32 before = c->count[LEVEL_L1][IRQ_SELF], windows = 0;
	u64 end = time_after_ms(100);

	do {
		irq_window();
		windows++;
	} while (c->count[LEVEL_L1][IRQ_SELF] == before && !time_is_up(end));
	/* The handler's EOI is a write to the page, which isn't there in x2APIC mode. */
	msr_write(MSR_EOI, 0);
	return windows == 1 && c->count[LEVEL_L1][IRQ_SELF] == before + 1;
}

static void judge_real(struct vapic *a, struct cpu *c, bool tpr_too)
{
	u64 id = msr_read(MSR_X2APIC_ID), version = msr_read(0x803);
	struct exit e;

	e = vapic_rdmsr(a, MSR_X2APIC_ID);
	JUDGE("apic.x2.real-read", snippet_passed(&a->s, &e), true);
	JUDGE("apic.x2.real-read", vapic_edx_eax(a), id);
	e = vapic_rdmsr(a, 0x803);
	JUDGE("apic.x2.real-read", vapic_edx_eax(a), version);
	judge_about("self-IPI", NULL);
	e = vapic_wrmsr(a, MSR_SELF_IPI, SELF_VECTOR);
	JUDGE("apic.x2.real-write", snippet_passed(&a->s, &e), true);
	JUDGE("apic.x2.real-write", self_pending(), true);
	take_self(c);
	judge_about("ICR", NULL);
	e = vapic_wrmsr(a, MSR_X2APIC_ICR, ICR_SELF | ICR_ASSERT | SELF_VECTOR);
	JUDGE("apic.x2.real-write", snippet_passed(&a->s, &e), true);
	JUDGE("apic.x2.real-write", self_pending(), true);
	take_self(c);
	/* The divide configuration has no effect while the timer is off. */
	e = vapic_wrmsr(a, 0x83e, 3);
	JUDGE("apic.x2.real-write", snippet_passed(&a->s, &e), true);
	JUDGE("apic.x2.real-write", msr_read(0x83e), 3);
	if (!tpr_too)
		return;
	msr_write(MSR_TPR, 0x30);
	e = vapic_rdmsr(a, MSR_TPR);
	JUDGE("apic.x2.real-read", vapic_edx_eax(a), 0x30);
	e = vapic_wrmsr(a, MSR_TPR, 0x20);
	JUDGE("apic.x2.real-write", msr_read(MSR_TPR), 0x20);
	msr_write(MSR_TPR, 0);
}

TEST_LAST(apic, x2_real, .sdm = SECTION, .needs = "x2APIC; use MSR bitmaps",
	  .rules = "apic.x2.real-read apic.x2.real-write")
{
	struct vapic a;

	judge_begin();
	vapic_begin(&a, c, 0, 0);
	x2apic_on();
	judge_real(&a, c, true);
	judge_done();
}

TEST_LAST(apic, x2_real_but_tpr, .sdm = SECTION, .needs = "x2APIC; " NEEDS,
	  .rules = "apic.x2.real-read apic.x2.real-write apic.x2.read-tpr apic.x2.write-tpr")
{
	struct vapic a;
	struct exit e;

	judge_begin();
	vapic_begin(&a, c, 0, PROC2_virtualize_x2apic_mode);
	x2apic_on();
	msr_write(MSR_TPR, 0x20);
	judge_real(&a, c, false);
	vapic_set(&a, VAPIC_TPR, 0x70);
	vapic_set(&a, VAPIC_TPR + 4, 0);
	e = vapic_rdmsr(&a, MSR_TPR);
	JUDGE("apic.x2.read-tpr", vapic_edx_eax(&a), 0x70);
	e = vapic_wrmsr(&a, MSR_TPR, 0x50);
	JUDGE("apic.x2.write-tpr", snippet_passed(&a.s, &e), true);
	JUDGE("apic.x2.write-tpr", vapic_get(&a, VAPIC_TPR), 0x50);
	JUDGE("apic.x2.write-tpr", msr_read(MSR_TPR), 0x20);
	msr_write(MSR_TPR, 0);
	judge_done();
}

/* What L2 sent comes to L1 as soon as that can take it. */
TEST_LAST(apic, x2_real_delivered, .sdm = SECTION, .needs = "x2APIC; use MSR bitmaps",
	  .rules = "apic.x2.real-delivered")
{
	struct vapic a;

	judge_begin();
	judge_about("", NULL);
	vapic_begin(&a, c, 0, 0);
	x2apic_on();
	for (u32 i = 0; i < 3; i++) {
		vapic_wrmsr(&a, MSR_SELF_IPI, SELF_VECTOR);
		JUDGE("apic.x2.real-delivered", take_self(c), true);
	}
	judge_done();
}
