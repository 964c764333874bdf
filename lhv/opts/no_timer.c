// SPDX-License-Identifier: BSD-2-Clause
/* 0x200: no periodic interrupts. The run loop doesn't start the timer; here we see that none comes. */
#include "lhv/run.h"

struct state {
	u32 timer_before;
};

static u32 timer_count(const struct cpu *c)
{
	return c->count[LEVEL_L1][IRQ_TIMER] + c->count[LEVEL_L2][IRQ_TIMER];
}

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_no_timer);

	s->timer_before = timer_count(r->v.cpu);
}

static void finish(struct run *r)
{
	struct state *s = run_state(r, OPT_no_timer);

	expect_eq(timer_count(r->v.cpu), s->timer_before);
}

const struct opt_ops opt_no_timer = {
	.bit = OPT_no_timer,
	.needs = "",
	.setup = setup,
	.finish = finish,
};
