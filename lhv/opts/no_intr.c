// SPDX-License-Identifier: BSD-2-Clause
/*
 * 0x2: IF stays 0 in L1 and L2, nobody executes HLT. Interrupts must wait, and be there afterwards.
 * External-interrupt exiting is off: with it on, hosts differ in what they do when IF=0, and a test of its own judges that.
 */
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/ps2.h"
#include "lhv/run.h"

struct state {
	u32 taken_before;
	u32 self_before;
};

static u32 taken(const struct cpu *c)
{
	u32 n = 0;

	for (u32 k = 0; k < IRQ_KINDS; k++)
		n += c->count[LEVEL_L1][k] + c->count[LEVEL_L2][k];
	return n;
}

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_no_intr);

	s->taken_before = taken(r->v.cpu);
	s->self_before = r->v.cpu->count[LEVEL_L1][IRQ_SELF];
}

/* L2: sends an interrupt to this CPU, gives it time, and tells whether IF was 0 and it waits. */
static ulong l2_pend(ulong unused)
{
	(void)unused;
	apic_send_self(IRQ_VECTOR + IRQ_SELF);
	for (int i = 0; i < 50; i++)
		cpu_pause();
	return (read_flags() & RFLAGS_IF) | apic_pending(IRQ_VECTOR + IRQ_SELF);
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_no_intr);
	bool ok;

	expect_eq(run_l2(r, l2_pend, 0, &ok), 1);
	expect_eq(read_flags() & RFLAGS_IF, 0);
	expect(apic_pending(IRQ_VECTOR + IRQ_SELF));
	expect_eq(taken(r->v.cpu), s->taken_before);
	expect_eq(r->v.external_exits, 0);
}

static void finish(struct run *r)
{
	struct state *s = run_state(r, OPT_no_intr);

	expect_eq(taken(r->v.cpu), s->taken_before);
	/* A mouse interrupt may wait here too; its handler must not take a byte that another CPU is about to look at. */
	while (ps2_present() && !ps2_try_lock())
		cpu_pause();
	irq_window();
	if (ps2_present())
		ps2_unlock();
	expect_eq(r->v.cpu->count[LEVEL_L1][IRQ_SELF], s->self_before + 1);
}

const struct opt_ops opt_no_intr = {
	.bit = OPT_no_intr,
	.needs = "",
	.setup = setup,
	.iterate = iterate,
	.finish = finish,
};
