// SPDX-License-Identifier: BSD-2-Clause
/* 0x1000: PS/2 mouse interrupts (IRQ 12 through the I/O APIC) while L2 runs. */
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/platform.h"
#include "lhv/ps2.h"
#include "lhv/run.h"

#define WAIT_MS 500

static u32 mouse_count(const struct cpu *c)
{
	return c->count[LEVEL_L1][IRQ_MOUSE] + c->count[LEVEL_L2][IRQ_MOUSE];
}

static ulong l2_wait(ulong seen)
{
	struct cpu *c = this_cpu();
	u64 deadline = time_after_ms(WAIT_MS);

	while (mouse_count(c) == seen && !time_is_up(deadline)) {
		irq_on();
		cpu_pause();
		irq_off();
	}
	return mouse_count(c) != seen;
}

/* L2 with IF=0: the byte stays in the controller and the interrupt in the local APIC. */
static ulong l2_pending(ulong unused)
{
	u64 deadline = time_after_ms(WAIT_MS);
	ulong seen;

	(void)unused;
	do {
		cpu_pause();
		seen = (ulong)ps2_full() << 1 | apic_pending(IRQ_VECTOR + IRQ_MOUSE);
	} while (seen != 3 && !time_is_up(deadline));
	return seen;
}

static void check(struct run *r, u8 byte)
{
	struct cpu *c = r->v.cpu;
	u32 seen = mouse_count(c);
	enum level l = r->v.irq_mode == IRQ_TO_L1 ? LEVEL_L1 : LEVEL_L2;
	u32 by_level = c->count[l][IRQ_MOUSE];
	bool ok;

	ps2_send(true, byte);
	if (r->v.irq_off) {
		expect_eq(run_l2(r, l2_pending, 0, &ok), 3);
		expect_eq(mouse_count(c), seen);
		expect_eq(ps2_take_byte(), byte);
		return;
	}
	if (!expect_eq(run_l2(r, l2_wait, seen, &ok), 1))
		return;
	expect_eq(c->ps2_byte, byte);
	expect_eq(mouse_count(c), seen + 1);
	expect_eq(c->count[l][IRQ_MOUSE], by_level + 1);
}

/* The CPUs take turns; in the last iteration each of them has one. */
static void iterate(struct run *r)
{
	if (r->i % cpu_count != r->v.cpu->number && r->i + 1 != r->iterations)
		return;
	while (!ps2_try_lock())
		cpu_pause();
	irq_off();
	check(r, (u8)(0x80 | (r->i & 0x7f)));
	ps2_quiet();
	ps2_unlock();
	if (!r->v.irq_off)
		irq_on();
}

const struct opt_ops opt_mouse = {
	.bit = OPT_mouse,
	.needs = "PS/2 controller",
	.iterate = iterate,
};
