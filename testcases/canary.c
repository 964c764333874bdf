// SPDX-License-Identifier: BSD-2-Clause
/* Tests of the harness: each must end in its own bad way, and the run must go on behind it. */
#include "arch/cpu.h"
#include "lhv/test.h"

TEST(canary, fail, .sdm = "none", .flags = TEST_CANARY)
{
	u32 two = 2;

	expect_eq(two, 1);
}

TEST(canary, hang, .sdm = "none", .flags = TEST_CANARY)
{
	for (;;)
		cpu_pause();
}

TEST(canary, triple_fault, .sdm = "none", .flags = TEST_CANARY)
{
	struct table_reg empty = { 0, 0 };

	load_idt(&empty);
	__builtin_trap();
}
