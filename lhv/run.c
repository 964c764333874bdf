// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/run.h"

#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/dump.h"
#include "lhv/guest.h"
#include "lhv/mem.h"

/* In the order of the bits; base last, at OPT_BASE. */
static const struct opt_ops *const ops[OPT_COUNT + 1] = {
	&opt_msr_lists, &opt_no_intr,   &opt_ept,           &opt_ept_switch, &opt_vpid,       &opt_unrestricted,
	&opt_l1_user,   &opt_vmxoff,    &opt_ept_large,     &opt_no_timer,   &opt_msr_bitmap, &opt_l2_user,
	&opt_mouse,     &opt_real_mode, &opt_preempt_timer, &opt_io_bitmap,  &opt_base,
};

static struct run runs[MAX_CPUS];

static u32 index_of(u32 bit)
{
	u32 i = 0;

	while (i < OPT_COUNT && ops[i]->bit != bit)
		i++;
	return i;
}

void *run_state(struct run *r, u32 bit)
{
	u32 i = index_of(bit);

	if (!r->state[i])
		r->state[i] = page_alloc();
	return r->state[i];
}

/* Turns off bits whose capability, or whose required bit, is missing; they get SKIP. */
static void apply_capabilities(struct run *r)
{
	char missing[80];

	for (u32 i = 0; i < OPT_COUNT; i++) {
		if (!(r->mask & ops[i]->bit))
			continue;
		if (cap_all("VMX", missing, sizeof(missing)) && cap_all(ops[i]->needs, missing, sizeof(missing)))
			r->effective |= ops[i]->bit;
		else
			result_set(&r->results[i], VERDICT_SKIP, "missing: %s", missing);
	}
	/* A required bit stands before the bits that require it, so one pass is enough. */
	for (u32 i = 0; i < OPT_COUNT; i++) {
		u32 absent = opt_table[i].requires & ~r->effective;

		if (!(r->effective & ops[i]->bit) || !absent)
			continue;
		r->effective &= ~ops[i]->bit;
		for (u32 k = 0; k < OPT_COUNT; k++)
			if (absent & ops[k]->bit)
				result_set(&r->results[i], VERDICT_SKIP, "%s", r->results[k].reason);
	}
}

static void before_entry(struct vcpu *v)
{
	struct run *r = v->cpu->run;
	struct result *old = v->cpu->judging;

	for (u32 i = 0; i <= OPT_BASE; i++) {
		if (!r->active[i] || !ops[i]->before_entry)
			continue;
		result_select(&r->results[i]);
		ops[i]->before_entry(r);
	}
	result_select(old);
}

static void after_exit(struct vcpu *v, const struct exit *e)
{
	struct run *r = v->cpu->run;
	struct result *old = v->cpu->judging;

	for (u32 i = 0; i <= OPT_BASE; i++) {
		if (!r->active[i] || !ops[i]->after_exit)
			continue;
		result_select(&r->results[i]);
		ops[i]->after_exit(r, e);
	}
	result_select(old);
}

ulong run_l2(struct run *r, ulong (*fn)(ulong), ulong arg, bool *ok)
{
	struct exit e;

	guest(&r->v, fn, arg);
	e = enter(&r->v);
	*ok = expect_call(&r->v, e, L2_RETURN);
	return r->v.g.dx;
}

static ulong l2_nothing(ulong arg)
{
	return arg;
}

/*
 * An interrupt that goes through L1 to L2 costs some round trips, and on a slow host they would take longer than the
 * timer's period: L2 would never get anywhere. So the period is at least that of many trips, measured here.
 */
#define TRIPS_PER_PERIOD 12

static u64 shortest_period(struct run *r)
{
	u64 begin = 0;
	bool ok;

	/* The first one warms up: hosts that nest do much on first sight. */
	for (int i = 0; i < 2; i++) {
		begin = read_tsc();
		run_l2(r, l2_nothing, 0, &ok);
	}
	return (read_tsc() - begin) * TRIPS_PER_PERIOD;
}

static void run_iterations(struct run *r)
{
	struct cpu *c = r->v.cpu;

	r->v.before_entry = before_entry;
	r->v.after_exit = after_exit;
	r->v.irq_off = r->effective & OPT_no_intr;
	/* The mode of iteration 0, for what is measured before: another CPU's IPI may come already. */
	r->v.irq_mode = r->v.irq_off ? IRQ_TO_L2 : (enum irq_mode)0;
	vcpu_write_controls(&r->v);
	result_select(&r->results[OPT_BASE]);
	if (!(r->effective & OPT_no_timer))
		apic_timer_start(shortest_period(r));
	if (!r->v.irq_off)
		irq_on();
	for (r->i = 0; r->i < r->iterations; r->i++) {
		/* Interrupts go to L1, through L1 to L2, and to L2, in turn. */
		r->v.irq_mode = r->v.irq_off ? IRQ_TO_L2 : (enum irq_mode)(r->i % IRQ_MODES);
		vcpu_write_controls(&r->v);
		/* Base first: no other check means anything if registers don't survive. */
		for (u32 n = 0; n <= OPT_BASE; n++) {
			u32 i = n ? n - 1 : OPT_BASE;

			r->results[i].iteration = r->i;
			if (!r->active[i] || !ops[i]->iterate)
				continue;
			result_select(&r->results[i]);
			ops[i]->iterate(r);
		}
	}
	result_select(&r->results[OPT_BASE]);
	irq_off();
	apic_timer_stop();
	for (u32 i = 0; i <= OPT_BASE; i++) {
		if (!r->active[i] || !ops[i]->finish)
			continue;
		result_select(&r->results[i]);
		ops[i]->finish(r);
	}
	(void)c;
}

static void run_on(struct run *r, struct cpu *c)
{
	vcpu_create(&r->v, c);
	for (u32 i = 0; i <= OPT_BASE; i++) {
		r->active[i] = i == OPT_BASE || run_has(r, ops[i]->bit);
		if (!r->active[i] || !ops[i]->setup)
			continue;
		result_select(&r->results[i]);
		ops[i]->setup(r);
	}
	result_select(&r->results[OPT_BASE]);
	vcpu_write(&r->v);
	run_iterations(r);
	if (dump_wanted)
		dump_current("end");
	vcpu_destroy(&r->v);
}

void run_mask(struct cpu *c, u32 mask, u32 iterations, u64 seed)
{
	struct run *r = &runs[c->number];

	memset(r, 0, sizeof(*r));
	r->mask = mask;
	r->iterations = iterations;
	rng_seed(&r->rng, seed + c->number);
	c->run = r;
	for (u32 i = 0; i <= OPT_BASE; i++)
		result_init(&r->results[i], "opt/0x%04x/%s", mask, i == OPT_BASE ? "base" : opt_table[i].name);
	apply_capabilities(r);
	if (!vmx_present) {
		result_set(&r->results[OPT_BASE], VERDICT_SKIP, "missing: VMX");
	} else {
		struct outcome o;

		result_select(&r->results[OPT_BASE]);
		o = vmx_on(c);
		if (expect_out(o, out_ok())) {
			run_on(r, c);
			result_select(&r->results[OPT_BASE]);
			expect_out(vmx_off(c), out_ok());
		}
	}
	result_select(NULL);
	for (u32 n = 0; n <= OPT_BASE; n++) {
		u32 i = n ? n - 1 : OPT_BASE;

		if (i == OPT_BASE || mask & ops[i]->bit)
			result_print(&r->results[i], c->number);
	}
}

enum verdict run_worst(const struct cpu *c)
{
	enum verdict worst = VERDICT_GOOD;

	for (u32 i = 0; i <= OPT_BASE; i++)
		worst = verdict_worse(worst, c->run->results[i].verdict);
	return worst;
}
