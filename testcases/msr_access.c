// SPDX-License-Identifier: BSD-2-Clause
/* MSRs that L2 accesses by itself and that an L0 may have a part in: their #GP, as L1 sees it, and those of x2APIC. */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/msrs.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define RFLAGS_RF 0x10000u
#define INFO_VALID 0x80000000u
#define PAGE_FAULT_WRITE 2u
#define INFO_GP 0x80000b0du /* valid, hardware exception, error code, vector 13 */
/* INIT for a CPU that isn't there, so that no CPU is lost where it's sent. */
#define ICR_INIT_NOBODY (0xfdull << 32 | 0x4500)

/* Accesses that are #GP: of MSRs that no CPU has, of values that none takes, of those that VMX operation forbids. */
static const struct {
	u32 msr;
	bool write;
	u64 value;
} faulty[] = {
	{ MSR_NOWHERE, false, 0 },
	{ MSR_NOWHERE, true, 0 },
	{ 0xc0000000 | MSR_NOWHERE, false, 0 },
	{ 0xc0000000 | MSR_NOWHERE, true, 0 },
	{ MSR_PAT, true, 2 },
	{ MSR_EFER, true, 1ull << 63 },
	{ MSR_VMX_BASIC, true, 0 },
	{ MSR_APIC_BASE, true, APIC_BASE_X2APIC },
	{ MSR_APIC_BASE, true, 1ull << 63 },
};

/* The exception bitmap has all exceptions: the #GP exits, as if the CPU had raised it. */
TEST(msr, gp_exits, .sdm = "Exception Bitmap", .needs = "use MSR bitmaps",
     .rules = "msr.unknown exit.info.interruption exit.info.idt-vectoring-clear msr.no-effect")
{
	struct gregs before;
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, true);
	for (u32 n = 0; n < ARRAY_SIZE(faulty); n++) {
		/* What is left over from this one's error code mustn't be taken for the next one's. */
		snippet_code(&m.s, "\x89\x07", 2); /* MOV to [DI] */
		m.s.v.g.di = L2_WINDOW;
		e = snippet_run(&m.s);
		expect(snippet_faulted(&e, VEC_PF));
		expect_eq(vmread(VMCS_exit_interruption_error_code), PAGE_FAULT_WRITE);
		msrs_put(&m, faulty[n].msr, faulty[n].write, faulty[n].value);
		before = m.s.v.g;
		e = snippet_run(&m.s);
		judge_about(faulty[n].write ? "WRMSR" : "RDMSR", NULL);
		if (!JUDGE("msr.unknown", e.reason, EXIT_exception_or_nmi))
			continue;
		JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_info), INFO_GP);
		JUDGE("exit.info.interruption", vmread(VMCS_exit_interruption_error_code), 0);
		JUDGE("exit.info.idt-vectoring-clear", vmread(VMCS_idt_vectoring_info) & INFO_VALID, 0);
		JUDGE("msr.no-effect", memcmp(&before, &m.s.v.g, sizeof(before)), 0);
		JUDGE("msr.no-effect", e.ip, (ulong)m.s.code);
	}
	judge_done();
}

/* A fault pushes RF as 1, so an exit by it saves that. */
TEST(msr, gp_exit_flags, .sdm = "Saving RIP, RSP, RFLAGS, and SSP", .needs = "use MSR bitmaps",
     .rules = "exit.save.resume-flag")
{
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, true);
	for (u32 n = 0; n < ARRAY_SIZE(faulty); n++) {
		judge_about(faulty[n].write ? "WRMSR" : "RDMSR", NULL);
		e = msrs_access(&m, faulty[n].msr, faulty[n].write, faulty[n].value);
		expect(snippet_faulted(&e, VEC_GP));
		JUDGE("exit.save.resume-flag", vmread(VMCS_guest_rflags), RFLAGS_FIXED | RFLAGS_RF);
	}
	judge_done();
}

static ulong l2_try(ulong n)
{
	u64 value;

	return faulty[n].write ? msr_write_raw(faulty[n].msr, (u32)faulty[n].value, (u32)(faulty[n].value >> 32)) :
				 msr_read_raw(faulty[n].msr, &value);
}

/* L1 doesn't want the #GP: L2's handler gets it. */
TEST(msr, gp_delivered, .sdm = "Exception Bitmap", .needs = "use MSR bitmaps", .rules = "msr.unknown")
{
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, true);
	m.s.v.l2_takes = 1u << VEC_GP;
	vcpu_write_controls(&m.s.v);
	for (u32 n = 0; n < ARRAY_SIZE(faulty); n++) {
		judge_about(faulty[n].write ? "WRMSR" : "RDMSR", NULL);
		guest(&m.s.v, l2_try, n);
		e = enter_once(&m.s.v);
		expect_call(&m.s.v, e, L2_RETURN);
		JUDGE("msr.unknown", m.s.v.g.dx, 3);
	}
	judge_done();
}

/* In xAPIC mode there is no ICR among the MSRs, whatever is written to it; for L1 neither. */
TEST(msr, icr_without_x2apic, .sdm = "x2APIC Register Address Space", .needs = "use MSR bitmaps",
     .rules = "msr.unknown")
{
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, true);
	require_env(!(msr_read(MSR_APIC_BASE) & APIC_BASE_X2APIC));
	for (u32 n = 0; n < 2; n++) {
		u64 value = n ? ICR_INIT_NOBODY : 0;

		expect_out(msr_write_try(MSR_X2APIC_ICR, value), out_fault(VEC_GP, 0));
		e = msrs_access(&m, MSR_X2APIC_ICR, true, value);
		JUDGE("msr.unknown", snippet_faulted(&e, VEC_GP), true);
	}
	judge_done();
}

/* --- x2APIC MSRs and APIC-register virtualization (CVE-2019-3887) --- */

#define X2APIC_FIRST 0x800u
#define X2APIC_LAST 0x8ffu
#define X2APIC_TPR 0x808u
#define X2APIC_SPURIOUS 0x80fu
#define X2APIC_VERSION 0x803u
#define X2APIC "APIC-register virtualization; use TPR shadow; use MSR bitmaps"

/* The virtual-APIC page has what no register has. */
static void begin_x2apic(struct msrs *m, struct cpu *c)
{
	u8 *page = page_alloc();

	msrs_begin(m, c, true);
	memset(page, 0x5a, PAGE_SIZE);
	memset(page + 0x80, 0, 4); /* VTPR */
	vmwrite(VMCS_virtual_apic_address, (ulong)page);
	vmwrite(VMCS_tpr_threshold, 0);
	m->s.v.ctl[CTL_PROC] |= PROC_use_tpr_shadow;
	m->s.v.ctl[CTL_PROC2] |= PROC2_apic_register_virtualization;
	vcpu_write_controls(&m->s.v);
}

/* The local APIC is in xAPIC mode: there are no such MSRs. */
TEST(msr, x2apic_off, .sdm = "Virtualizing MSR-Based APIC Accesses", .needs = X2APIC, .rules = "msr.x2apic-plain")
{
	struct msrs m;
	struct exit e;

	require_env(!(msr_read(MSR_APIC_BASE) & APIC_BASE_X2APIC));
	begin_x2apic(&m, c);
	for (u32 msr = X2APIC_FIRST; msr <= X2APIC_LAST; msr++) {
		judge_about("RDMSR", NULL);
		e = msrs_access(&m, msr, false, 0);
		JUDGE("msr.x2apic-plain", snippet_faulted(&e, VEC_GP), true);
		judge_about("WRMSR", NULL);
		e = msrs_access(&m, msr, true, 0);
		JUDGE("msr.x2apic-plain", snippet_faulted(&e, VEC_GP), true);
	}
	judge_done();
}

/* In x2APIC mode they are the CPU's own. There is no way back to xAPIC mode on some hosts. */
TEST_LAST(msr, x2apic_on, .sdm = "Virtualizing MSR-Based APIC Accesses", .needs = X2APIC "; x2APIC",
	  .rules = "msr.x2apic-plain")
{
	static const u32 registers[] = { MSR_X2APIC_ID, X2APIC_VERSION, X2APIC_TPR, X2APIC_SPURIOUS };
	struct msrs m;
	struct exit e;
	u64 value;

	msr_write(MSR_APIC_BASE, msr_read(MSR_APIC_BASE) | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
	begin_x2apic(&m, c);
	judge_about("RDMSR", NULL);
	for (u32 n = 0; n < ARRAY_SIZE(registers); n++) {
		e = msrs_access(&m, registers[n], false, 0);
		JUDGE("msr.x2apic-plain", snippet_passed(&m.s, &e), true);
		JUDGE("msr.x2apic-plain", (u32)m.s.v.g.ax, msr_read(registers[n]));
	}
	judge_about("WRMSR", NULL);
	value = msr_read(X2APIC_TPR);
	e = msrs_access(&m, X2APIC_TPR, true, 0x50);
	JUDGE("msr.x2apic-plain", snippet_passed(&m.s, &e), true);
	JUDGE("msr.x2apic-plain", msr_read(X2APIC_TPR), 0x50);
	msr_write(X2APIC_TPR, value);
	judge_done();
}
