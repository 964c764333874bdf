// SPDX-License-Identifier: BSD-2-Clause
/* Tests of the harness: each must end in its own bad way, and the run must go on behind it. */
#include "lhv/apic.h"
#include "lhv/ept_setup.h"
#include "lhv/test.h"
#include "x86/cr.h"
#include "x86/msr.h"

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

/* What it leaves is put back, and it is told of it. Twice: the second time it finds what the first has found. */
static void spoil_registers(void)
{
	expect(!(read_cr4() & CR4_TSD));
	expect_eq(read_dr1(), 0);
	write_cr4(read_cr4() | CR4_TSD);
	write_dr1(0x1234);
	msr_write(MSR_PAT, msr_read(MSR_PAT) ^ 1);
	apic_timer_once(0x10000000);
}

TEST(canary, spoil_registers, .sdm = "none", .flags = TEST_CANARY)
{
	spoil_registers();
}

TEST(canary, spoil_registers_again, .sdm = "none", .flags = TEST_CANARY)
{
	spoil_registers();
}

/* An interrupt that waits, one in service, a page of L1's that is gone, and one of every L2's. */
TEST(canary, spoil_tables, .sdm = "none", .flags = TEST_CANARY, .opt = OPT_ept)
{
	u64 *top = (u64 *)(read_cr3() & ~0x1ful);

	apic_send_self(IRQ_VECTOR + IRQ_SELF);
	expect(apic_pending(IRQ_VECTOR + IRQ_SELF));
	c->gdt[1] ^= 1ull << 32;
	top[3] ^= 1ull << 10;
	ept_map_page(ept_new_root(false), PAGE_SIZE, 0, 0);
}
