// SPDX-License-Identifier: BSD-2-Clause
/* What every mask does: registers, simple exits, timer, keyboard and inter-processor interrupts. */
#include "lhv/apic.h"
#include "lhv/guest.h"
#include "lhv/platform.h"
#include "lhv/ps2.h"
#include "lhv/run.h"

/* How long L2 waits for an interrupt; far more than it needs even on a slow host. */
#define WAIT_MS 500

struct state {
	u32 keyboard_seen; /* iterations in which a byte from the keyboard arrived */
};

/* General registers must survive the round trip, before anything else is believed. */
static void check_registers(struct run *r)
{
	ulong *reg = &r->v.g.ax;
	u32 n = sizeof(r->v.g) / sizeof(ulong);
	struct exit e;

	guest(&r->v, l2_registers, 0);
	e = enter(&r->v);
	require_call(&r->v, e, L2_REGISTERS);
	for (u32 i = 1; i < n; i++)
		expect_eq(reg[i], L2_PATTERN + i);
	for (u32 i = 0; i < n; i++)
		reg[i] = L2_PATTERN2 + i;
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
	expect_eq(r->v.g.dx, 0);
}

static ulong l2_cpuid(ulong leaf)
{
	u32 out[4];

	cpuid_raw((u32)leaf, 0, out);
	return out[0] ^ out[1] ^ out[2] ^ out[3];
}

/* CPUID always exits (SDM: "Instructions That Cause VM Exits Unconditionally"); L1 answers in its place. */
static void check_cpuid(struct run *r)
{
	u32 leaf = 0x4c320000 + r->i;
	struct exit e;

	guest(&r->v, l2_cpuid, leaf);
	e = enter(&r->v);
	require_exit(&r->v, e, EXIT_cpuid);
	expect_eq((u32)r->v.g.ax, leaf);
	expect_eq(e.length, 2);
	expect_eq(e.qualification, 0);
	r->v.g.ax = 1;
	r->v.g.bx = 2;
	r->v.g.cx = 4;
	r->v.g.dx = 8 + r->i * 16;
	skip_instruction(&r->v, &e);
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
	expect_eq(r->v.g.dx, (8 + r->i * 16) ^ 7);
}

static u32 count_of(const struct cpu *c, enum irq k)
{
	return c->count[LEVEL_L1][k] + c->count[LEVEL_L2][k];
}

/* L2: waits with interrupts on until one of this kind has been taken by anybody; by HLT or by spinning. */
static ulong wait_for(enum irq kind, u32 seen, bool by_hlt)
{
	struct cpu *c = this_cpu();
	u64 deadline = time_after_ms(WAIT_MS);

	while (count_of(c, kind) == seen && !time_is_up(deadline)) {
		if (by_hlt) {
			l2_halt_once();
		} else {
			irq_on();
			cpu_pause();
			irq_off();
		}
	}
	return count_of(c, kind) != seen;
}

static ulong l2_wait_timer(ulong by_hlt)
{
	return wait_for(IRQ_TIMER, count_of(this_cpu(), IRQ_TIMER), by_hlt);
}

/* The level that must have taken the interrupt, by the mode. */
static enum level taker(const struct run *r)
{
	return r->v.irq_mode == IRQ_TO_L1 ? LEVEL_L1 : LEVEL_L2;
}

static void check_timer(struct run *r)
{
	struct cpu *c = r->v.cpu;
	u32 before = c->count[taker(r)][IRQ_TIMER];
	u32 external = r->v.external_exits, injected = r->v.injected;
	bool ok;
	ulong seen = run_l2(r, l2_wait_timer, r->i & 1, &ok);

	if (!ok || !expect_eq(seen, 1))
		return;
	/* With IRQ_TO_L1 the first one may hit L1 between two entries, that's as good. */
	expect(c->count[taker(r)][IRQ_TIMER] > before);
	if (r->v.irq_mode == IRQ_TO_L2)
		expect_eq(r->v.external_exits, external);
	if (r->v.irq_mode == IRQ_REINJECT)
		expect(r->v.injected > injected);
}

/* L2 sends an IPI to itself with IF=0 and opens the window with STI;HLT or STI. */
static ulong l2_self_ipi(ulong by_hlt)
{
	u32 seen = count_of(this_cpu(), IRQ_SELF);

	apic_send_self(IRQ_VECTOR + IRQ_SELF);
	return wait_for(IRQ_SELF, seen, by_hlt);
}

static void check_self_ipi(struct run *r)
{
	struct cpu *c = r->v.cpu;
	enum level l = taker(r);
	u32 before[LEVELS] = { c->count[LEVEL_L1][IRQ_SELF], c->count[LEVEL_L2][IRQ_SELF] };
	/*
	 * By HLT only where the timer wakes L2 in any case: if L1 waits for an interrupt window, not every host ends HLT
	 * for that (test/intr/window_ends_hlt), and L2 would sleep for ever.
	 */
	bool by_hlt = r->i & 1 && !run_has(r, OPT_no_timer);
	bool ok;
	ulong seen = run_l2(r, l2_self_ipi, by_hlt, &ok);

	if (!ok || !expect_eq(seen, 1))
		return;
	/* Sent while L2 ran, so the mode alone decides who gets it: exactly once. */
	expect_eq(c->count[l][IRQ_SELF], before[l] + 1);
	expect_eq(c->count[!l][IRQ_SELF], before[!l]);
}

static ulong l2_wait_keyboard(ulong seen)
{
	return wait_for(IRQ_KEYBOARD, (u32)seen, false);
}

/* The CPUs share the keyboard: now and then, if it is free; whoever never had it waits for it at the end. */
static bool my_turn_at_keyboard(const struct run *r, const struct state *s)
{
	bool last_chance = ps2_present() && !s->keyboard_seen && r->i + 1 == r->iterations;

	if (r->i % 4 == r->v.cpu->number % 4 && ps2_try_lock())
		return true;
	while (last_chance && !ps2_try_lock())
		cpu_pause();
	return last_chance;
}

static void check_keyboard(struct run *r, struct state *s)
{
	struct cpu *c = r->v.cpu;
	u8 byte = (u8)(0x40 | (r->i & 0x3f));
	u32 seen;
	bool ok;

	if (!my_turn_at_keyboard(r, s))
		return;
	irq_off();
	seen = count_of(c, IRQ_KEYBOARD);
	ps2_send(false, byte);
	if (expect_eq(run_l2(r, l2_wait_keyboard, seen, &ok), 1) && ok) {
		expect_eq(c->ps2_byte, byte);
		expect_eq(count_of(c, IRQ_KEYBOARD), seen + 1);
		s->keyboard_seen++;
	}
	ps2_quiet();
	ps2_unlock();
	if (!r->v.irq_off)
		irq_on();
}

/* One IPI to the next CPU, if it has taken the last one: two at a time would count as one. */
static void send_ipi(struct run *r)
{
	u32 next = (r->v.cpu->number + 1) % cpu_count;
	struct cpu_public *p = &cpus_public[next];

	if (next == r->v.cpu->number)
		return;
	if (__atomic_load_n(&p->ipi_taken, __ATOMIC_ACQUIRE) != __atomic_load_n(&p->ipi_sent, __ATOMIC_ACQUIRE))
		return;
	irq_off();
	__atomic_fetch_add(&p->ipi_sent, 1, __ATOMIC_ACQ_REL);
	apic_send(cpus[next].apic_id, IRQ_VECTOR + IRQ_IPI);
	if (!r->v.irq_off)
		irq_on();
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, 0);

	check_registers(r);
	check_cpuid(r);
	send_ipi(r);
	if (run_has(r, OPT_no_intr))
		return;
	check_self_ipi(r);
	check_keyboard(r, s);
	if (!run_has(r, OPT_no_timer))
		check_timer(r);
}

static ulong l2_open(ulong unused)
{
	irq_window();
	return unused;
}

/* What L1 has acknowledged is L2's: it must get it before the VMCS goes away. */
static void drain_pending(struct run *r)
{
	bool ok = true;

	for (u32 i = 0; i < 2 * IRQ_KINDS && ok && (r->v.pending || r->v.again_info); i++)
		run_l2(r, l2_open, 0, &ok);
	expect_eq(r->v.pending, 0);
}

/* What other CPUs sent and nobody took yet must arrive once interrupts are on. */
static void finish(struct run *r)
{
	struct cpu_public *p = &cpus_public[r->v.cpu->number];
	u64 deadline;

	if (!run_has(r, OPT_no_intr))
		drain_pending(r);
	irq_off();
	deadline = time_after_ms(WAIT_MS);
	while (__atomic_load_n(&p->ipi_taken, __ATOMIC_ACQUIRE) != __atomic_load_n(&p->ipi_sent, __ATOMIC_ACQUIRE) &&
	       !time_is_up(deadline))
		irq_window();
	irq_window();
	expect_eq(p->ipi_taken, p->ipi_sent);
}

const struct opt_ops opt_base = {
	.bit = 0,
	.needs = "VMX",
	.iterate = iterate,
	.finish = finish,
};
