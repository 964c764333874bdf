// SPDX-License-Identifier: BSD-2-Clause
/* 0x4000: the VMX-preemption timer (SDM: "VMX-Preemption Timer"). */
#include "lhv/guest.h"
#include "lhv/platform.h"
#include "lhv/run.h"

#define WAIT_MS 500
#define NEVER 0xffffffffu

struct state {
	u32 value; /* loaded at each entry */
	u32 rate;  /* one tick is 2^rate TSC ticks */
	bool stop; /* L2's loop ends */
};

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_preempt_timer);

	s->rate = (u32)vmx_caps.misc & 0x1f;
	s->value = NEVER;
	r->v.ctl[CTL_PIN] |= PIN_activate_preemption_timer;
}

static void before_entry(struct run *r)
{
	struct state *s = run_state(r, OPT_preempt_timer);

	vmwrite(VMCS_preemption_timer_value, s->value);
}

static ulong l2_spin(ulong arg)
{
	struct state *s = (struct state *)arg;
	u64 deadline = time_after_ms(WAIT_MS);

	while (!*(volatile bool *)&s->stop && !time_is_up(deadline))
		cpu_pause();
	return s->stop;
}

static ulong l2_nothing(ulong x)
{
	return x;
}

static u64 tsc_of(const struct state *s, u32 value)
{
	return (u64)value << s->rate;
}

/* The timer ends a loop that would not end, and not before its time. */
static void check_expiry(struct run *r, struct state *s)
{
	u32 value = 0x400 + rng_below(&r->rng, 0x400);
	struct exit e;
	u64 begin;

	s->stop = false;
	s->value = value;
	guest(&r->v, l2_spin, (ulong)s);
	/* Background exits start the timer anew, so only the lower bound is exact. */
	begin = read_tsc();
	e = enter(&r->v);
	s->stop = true;
	s->value = NEVER;
	require_exit(&r->v, e, EXIT_preemption_timer);
	/* The count starts in the middle of a tick. */
	expect(read_tsc() - begin >= tsc_of(s, value - 1));
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
	expect_eq(r->v.g.dx, 1);
}

/* Zero: the exit comes before L2's first instruction. Interrupts off in L2, so nothing else can come first. */
static void check_zero(struct run *r, struct state *s)
{
	struct exit e;

	guest(&r->v, l2_nothing, 0x70);
	s->value = 0;
	e = enter(&r->v);
	s->value = NEVER;
	require_exit(&r->v, e, EXIT_preemption_timer);
	expect_eq(e.ip, (ulong)l2_start);
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
	expect_eq(r->v.g.dx, 0x70);
}

/* With "save VMX-preemption timer value" the field counts down, without it stays. */
static void check_save(struct run *r)
{
	u32 save = ctl_allowed(&vmx_caps, CTL_VMEXIT, VMEXIT_save_preemption_timer) ? VMEXIT_save_preemption_timer : 0;
	u64 left;
	bool ok;

	r->v.ctl[CTL_VMEXIT] |= save;
	vcpu_write_controls(&r->v);
	run_l2(r, l2_nothing, 1, &ok);
	left = vmread(VMCS_preemption_timer_value);
	r->v.ctl[CTL_VMEXIT] &= ~save;
	vcpu_write_controls(&r->v);
	if (save)
		expect(left < NEVER && left > NEVER / 2);
	run_l2(r, l2_nothing, 1, &ok);
	expect_eq(vmread(VMCS_preemption_timer_value), NEVER);
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_preempt_timer);

	check_expiry(r, s);
	check_zero(r, s);
	check_save(r);
}

const struct opt_ops opt_preempt_timer = {
	.bit = OPT_preempt_timer,
	.needs = "activate VMX-preemption timer",
	.setup = setup,
	.iterate = iterate,
	.before_entry = before_entry,
};
