// SPDX-License-Identifier: BSD-2-Clause
/* L1's own instructions that aren't VMX instructions, but that a host below may have to emulate: they're no different for it. */
#include "core/mem.h"
#include "lhv/apic.h"
#include "testcases/judge.h"
#include "testcases/l1_code.h"
#include "testcases/msrs.h"
#include "x86/cr.h"
#include "x86/msr.h"

/* l1_code.c has gates for these vectors only; this one is no exception, and the APIC takes it. */
#define VECTOR 31u
#define STI "\xfb"
#define CLI "\xfa"
#define RDMSR "\x0f\x32"
#define WRMSR "\x0f\x30"
#define MSR_LENGTH 2u

/* --- Interrupts behind STI --- */

static const struct behind_sti {
	const char *name, *bytes;
	u32 length;
	u32 msr;
} behind_sti[] = {
	{ "NOP", "\x90", 1, 0 },
	{ "CPUID", "\x0f\xa2", 2, 0 },
	{ "RDMSR of a VMX capability", RDMSR, MSR_LENGTH, MSR_VMX_BASIC },
	{ "VMPTRST", "\x0f\xc7\x3f", 3, 0 },
	{ "VMREAD", "\x0f\x78\xc2", 3, VMCS_host_rip },
};

TEST(intr, root_sti, .sdm = "STI-Set Interrupt Flag", .rules = "intr.root-sti")
{
	struct l1_code l;
	u8 bytes[8];

	judge_begin();
	l1_code_begin(&l, c);
	for (u32 n = 0; n < ARRAY_SIZE(behind_sti); n++) {
		const struct behind_sti *b = &behind_sti[n];

		judge_about(b->name, NULL);
		memcpy(bytes, STI, 1);
		memcpy(bytes + 1, b->bytes, b->length);
		memcpy(bytes + 1 + b->length, CLI, 1);
		l1_code_reset(&l);
		l.in.reg[L1_AX] = b->msr;
		l.in.reg[L1_CX] = b->msr;
		apic_send_self(VECTOR);
		l1_code_run(&l, bytes, b->length + 2);
		if (JUDGE("intr.root-sti", l.out.vector, VECTOR))
			apic_eoi();
		JUDGE("intr.root-sti", l.out.ip, l.in.ip + 1 + b->length);
		JUDGE("intr.root-sti", l.out.flags & RFLAGS_IF, RFLAGS_IF);
		JUDGE("intr.root-sti", apic_pending(VECTOR), false);
	}
	/* The instruction that is held up may be CLI itself. */
	judge_about("CLI", NULL);
	l1_code_reset(&l);
	apic_send_self(VECTOR);
	l1_code_run(&l, STI CLI, 2);
	JUDGE("intr.root-sti", l.out.vector, VEC_BP);
	JUDGE("intr.root-sti", apic_pending(VECTOR), true);
	l1_code_reset(&l);
	l.in.flags |= RFLAGS_IF;
	l1_code_run(&l, "\x90", 1);
	if (JUDGE("intr.root-sti", l.out.vector, VECTOR))
		apic_eoi();
	l1_code_end(&l);
	judge_done();
}

/* --- RDMSR and WRMSR that fault --- */

static bool faults(struct l1_code *l, u32 msr, bool write, u64 value)
{
	l1_code_reset(l);
	l->in.reg[L1_CX] = msr;
	l->in.reg[L1_AX] = (u32)value;
	l->in.reg[L1_DX] = (u32)(value >> 32);
	return outcome_equal(l1_code_run(l, write ? WRMSR : RDMSR, MSR_LENGTH), out_fault(VEC_GP, 0)) &&
	       l1_code_untouched(l);
}

TEST(msr, root_unknown, .sdm = "WRMSR-Write to Model Specific Register", .rules = "msr.root-unknown")
{
	static const u32 nowhere[] = { MSR_NOWHERE, 0x2000,    0x12345678, 0xbfffffff, 0xc0000000 | MSR_NOWHERE,
				       0xc0002000,  0xffffffff };
	struct l1_code l;

	judge_begin();
	l1_code_begin(&l, c);
	for (u32 n = 0; n < ARRAY_SIZE(nowhere); n++) {
		judge_about("RDMSR", NULL);
		JUDGE("msr.root-unknown", faults(&l, nowhere[n], false, 0) ? 0 : nowhere[n], 0);
		judge_about("WRMSR", NULL);
		JUDGE("msr.root-unknown", faults(&l, nowhere[n], true, 0) ? 0 : nowhere[n], 0);
	}
	l1_code_end(&l);
	judge_done();
}

TEST(msr, root_capabilities, .sdm = "VMX Capability Reporting Facility", .rules = "msr.root-read-only")
{
	struct l1_code l;

	judge_begin();
	l1_code_begin(&l, c);
	for (u32 msr = MSR_VMX_BASIC; msr <= MSR_VMX_VMFUNC; msr++) {
		u64 value = 0, after = 0;
		bool there = msr_read_try(msr, &value).kind == OUT_OK;

		judge_about("the value that it has", NULL);
		JUDGE("msr.root-read-only", faults(&l, msr, true, value) ? 0 : msr, 0);
		judge_about("another value", NULL);
		JUDGE("msr.root-read-only", faults(&l, msr, true, value ^ 1) ? 0 : msr, 0);
		judge_about("afterwards", NULL);
		JUDGE("msr.root-read-only", msr_read_try(msr, &after).kind == OUT_OK, there);
		JUDGE("msr.root-read-only", after, value);
	}
	l1_code_end(&l);
	judge_done();
}

TEST(msr, root_reserved, .sdm = "WRMSR-Write to Model Specific Register", .rules = "msr.root-reserved")
{
	static const struct {
		const char *name;
		u32 msr;
		u64 changes; /* bits that are reserved */
	} cases[] = {
		{ "IA32_EFER, bit 1", MSR_EFER, 1ull << 1 },
		{ "IA32_EFER, bit 63", MSR_EFER, 1ull << 63 },
		{ "IA32_APIC_BASE, bit 0", MSR_APIC_BASE, 1ull << 0 },
		{ "IA32_APIC_BASE, bit 63", MSR_APIC_BASE, 1ull << 63 },
		{ "IA32_PAT, type 2", MSR_PAT, 0 },
		{ "IA32_FEATURE_CONTROL, locked", MSR_FEATURE_CONTROL, 0 },
	};
	struct l1_code l;

	judge_begin();
	l1_code_begin(&l, c);
	for (u32 n = 0; n < ARRAY_SIZE(cases); n++) {
		u64 value = 0, wrong, after = 0;

		judge_about(cases[n].name, NULL);
		require_env(msr_read_try(cases[n].msr, &value).kind == OUT_OK);
		wrong = value ^ cases[n].changes;
		if (cases[n].msr == MSR_PAT)
			wrong = (value & ~7ull) | 2;
		JUDGE("msr.root-reserved", faults(&l, cases[n].msr, true, wrong), true);
		msr_read_try(cases[n].msr, &after);
		JUDGE("msr.root-reserved", after, value);
	}
	l1_code_end(&l);
	judge_done();
}
