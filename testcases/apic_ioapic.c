// SPDX-License-Identifier: BSD-2-Clause
/* Locked instructions on a register of a device that an L0 may emulate. No L2. */
#include "lhv/apic.h"
#include "lhv/test.h"
#include "testcases/judge.h"

#define ROUNDS 300u
#define SELECT (*(volatile u32 *)(ulong)IOAPIC_PAGE) /* 8 bits, read and written as they are */

static u32 started;

/* Each for itself; together they begin at about the same time. */
static void count(void)
{
	__atomic_fetch_add(&started, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&started, __ATOMIC_ACQUIRE) < 2)
		cpu_pause();
	for (u32 i = 0; i < ROUNDS; i++) {
		__atomic_fetch_add(&SELECT, 1, __ATOMIC_SEQ_CST);
		/* Not in step with the other. */
		for (u32 k = 0; k < i % 7; k++)
			cpu_pause();
	}
}

static void other_counts(struct cpu *c, void *arg)
{
	(void)c;
	(void)arg;
	count();
}

TEST(apic, ioapic_locked, .sdm = "Locked Atomic Operations", .flags = TEST_TWO_CPUS, .rules = "apic.ioapic.locked")
{
	judge_begin();
	judge_about("the I/O APIC's register select", NULL);
	expect_env(ioapic_present());
	SELECT = 0x5a;
	expect_env((SELECT & 0xff) == 0x5a);
	SELECT = 0;
	started = 0;
	on_cpu(1, other_counts, NULL);
	count();
	join_cpu(1);
	JUDGE("apic.ioapic.locked", SELECT & 0xff, 2 * ROUNDS & 0xff);
	judge_done();
}
