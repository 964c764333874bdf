// SPDX-License-Identifier: BSD-2-Clause
/* 0x800: user mode in L2: exits from CPL 3, faults that stay in L2, interrupts that hit user code. */
#include "lhv/guest.h"
#include "lhv/platform.h"
#include "lhv/run.h"
#include "x86/cr.h"

#define WAIT_MS 500
#define CPUID_LEAF 0x4c325553u

struct state {
	struct outcome hlt, cr0;
	bool fault; /* make faults that stay in L2 */
	bool wait_timer;
	u32 eax;
	ulong timer_seen;
};

static u32 timer_count(const struct cpu *c)
{
	return c->count[LEVEL_L1][IRQ_TIMER] + c->count[LEVEL_L2][IRQ_TIMER];
}

static struct outcome fault_if(u32 raw)
{
	return raw ? this_cpu()->fault : out_ok();
}

/* At CPL 3, on the user stack of L2. */
static ulong user_body(ulong arg)
{
	struct state *s = (struct state *)arg;
	struct cpu *c = this_cpu();
	u32 before = timer_count(c), out[4];
	u64 deadline;

	if (s->fault) {
		s->hlt = fault_if(try_hlt());
		s->cr0 = fault_if(try_read_cr0());
	}
	cpuid_raw(CPUID_LEAF, 0, out);
	s->eax = out[0];
	l2_call(L2_USER, 0);
	deadline = time_after_ms(WAIT_MS);
	while (s->wait_timer && timer_count(c) == before && !time_is_up(deadline))
		cpu_pause();
	s->timer_seen = timer_count(c) != before;
	return 0x00c0ffee;
}

static ulong l2_body(ulong arg)
{
	return cpu_user_run(this_cpu(), LEVEL_L2, user_body, arg);
}

static void expect_cpl3(void)
{
	expect_eq(vmread(VMCS_guest_cs_selector), SEL_USER_CODE);
	expect_eq(vmread(VMCS_guest_ss_selector), SEL_USER_DATA);
	expect_eq(vmread(VMCS_guest_ss_access_rights) >> 5 & 3, 3);
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_l2_user);
	struct exit e;

	/*
	 * Not where an interrupt may exit right behind a fault: Bochs with several CPUs saves a wrong RIP then, and L2
	 * would be lost. test/intr/external_exit_after_exception judges that.
	 */
	s->fault = r->v.irq_mode == IRQ_TO_L2;
	s->wait_timer = !run_has(r, OPT_no_timer);
	s->timer_seen = 0;
	s->eax = 0;
	guest(&r->v, l2_body, (ulong)s);
	e = enter(&r->v);
	require_exit(&r->v, e, EXIT_cpuid);
	expect_eq((u32)r->v.g.ax, CPUID_LEAF);
	expect_cpl3();
	r->v.g.ax = 0x3000 + r->i;
	skip_instruction(&r->v, &e);
	e = enter(&r->v);
	require_call(&r->v, e, L2_USER);
	expect_cpl3();
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
	expect_eq(vmread(VMCS_guest_cs_selector), SEL_CODE);
	expect_eq((u32)r->v.g.dx, 0x00c0ffee);
	if (s->fault) {
		expect_out(s->hlt, out_fault(VEC_GP, 0));
		expect_out(s->cr0, out_fault(VEC_GP, 0));
	}
	expect_eq(s->eax, 0x3000 + r->i);
	if (s->wait_timer)
		expect_eq(s->timer_seen, 1);
}

static void setup(struct run *r)
{
	r->v.l2_takes |= 1u << VEC_GP; /* what privileged instructions make at CPL 3 */
}

const struct opt_ops opt_l2_user = {
	.bit = OPT_l2_user,
	.needs = "",
	.setup = setup,
	.iterate = iterate,
};
