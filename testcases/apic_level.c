// SPDX-License-Identifier: BSD-2-Clause
/*
 * Level-triggered interrupts of the I/O APIC: EOI has to reach it, also where an L0 virtualizes L1's APIC (kernel bugzilla
 * 216045). The keyboard's line is up until its byte is read. No L2.
 */
#include "lhv/apic.h"
#include "lhv/ps2.h"
#include "testcases/judge.h"
#include "testcases/l1_code.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define SECTION "Signaling Interrupt Servicing Completion"
#define RULES "apic.ioapic.level apic.ioapic.level-again apic.ioapic.level-down"
#define VECTOR 31u /* l1_code.c has a gate for it, and no exception is it */
#define ROUNDS 3u
#define SPIN 1000 /* for messages between the APICs */
#define MSR_EOI 0x80bu
#define MSR_IRR 0x820u

static void spin(void)
{
	for (u32 i = 0; i < SPIN; i++)
		cpu_pause();
}

static bool pending(bool x2apic)
{
	spin();
	return x2apic ? msr_read(MSR_IRR + VECTOR / 32) >> VECTOR % 32 & 1 : apic_pending(VECTOR);
}

static void eoi(bool x2apic)
{
	if (x2apic)
		msr_write(MSR_EOI, 0);
	else
		apic_eoi();
}

/* Takes what is pending, and leaves it in service. */
static bool take(struct l1_code *l)
{
	l1_code_reset(l);
	l->in.flags |= RFLAGS_IF;
	l1_code_run(l, "\x90", 1);
	return l->out.vector == VECTOR;
}

static void judge_level(struct cpu *c, bool x2apic)
{
	struct l1_code l;

	judge_begin();
	l1_code_begin(&l, c);
	judge_about("line up", NULL);
	ioapic_route(PS2_PIN_KEYBOARD, VECTOR | IOAPIC_LEVEL, c->apic_id);
	ps2_put(false, 0x5a);
	require_env(pending(x2apic));
	for (u32 i = 0; i < ROUNDS; i++) {
		if (!JUDGE("apic.ioapic.level-again", take(&l), true))
			break;
		JUDGE("apic.ioapic.level", pending(x2apic), false);
		eoi(x2apic);
		JUDGE("apic.ioapic.level-again", pending(x2apic), true);
	}
	judge_about("line down", NULL);
	if (pending(x2apic))
		require_env(take(&l));
	expect_env(ps2_full() && ps2_take_byte() == 0x5a);
	eoi(x2apic);
	JUDGE("apic.ioapic.level-down", pending(x2apic), false);
	ps2_quiet();
	l1_code_end(&l);
	judge_done();
}

TEST(apic, ioapic_level, .sdm = SECTION, .needs = "PS/2 controller", .rules = RULES)
{
	require_env(ps2_try_lock());
	judge_level(c, false);
	ps2_unlock();
}

TEST_LAST(apic, ioapic_level_x2apic, .sdm = SECTION, .needs = "PS/2 controller; x2APIC", .rules = RULES)
{
	msr_write(MSR_APIC_BASE, msr_read(MSR_APIC_BASE) | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
	require_env(ps2_try_lock());
	judge_level(c, true);
	ps2_unlock();
}
