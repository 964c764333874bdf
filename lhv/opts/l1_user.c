// SPDX-License-Identifier: BSD-2-Clause
/* 0x40: user mode in L1, with interrupts; VMX instructions are privileged there. */
#include "lhv/guest.h"
#include "lhv/platform.h"
#include "lhv/run.h"
#include "x86/cr.h"

#define WAIT_MS 500

struct state {
	struct outcome cli, vmread, vmxoff;
	bool wait_timer;
	u32 timer;
};

static struct outcome fault_if(u32 raw)
{
	return raw ? this_cpu()->fault : out_ok();
}

/* At CPL 3, on the user stack of L1. */
static ulong user_body(ulong arg)
{
	struct state *s = (struct state *)arg;
	struct cpu *c = this_cpu();
	u64 deadline = time_after_ms(WAIT_MS);
	ulong value;

	s->cli = fault_if(try_cli());
	s->vmread = fault_if(vmx_read_raw(VMCS_guest_rip, &value));
	s->vmxoff = fault_if(vmx_off_raw());
	while (s->wait_timer && c->count[LEVEL_L1][IRQ_TIMER] == s->timer && !time_is_up(deadline))
		cpu_pause();
	return 0x00c0ffee;
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_l1_user);
	struct cpu *c = r->v.cpu;

	s->wait_timer = !run_has(r, OPT_no_timer);
	s->timer = c->count[LEVEL_L1][IRQ_TIMER];
	expect_eq(cpu_user_run(c, LEVEL_L1, user_body, (ulong)s), 0x00c0ffee);
	/* SDM: "VMX Instruction Reference": in VMX root operation with CPL > 0, #GP(0). */
	expect_out(s->cli, out_fault(VEC_GP, 0));
	expect_out(s->vmread, out_fault(VEC_GP, 0));
	expect_out(s->vmxoff, out_fault(VEC_GP, 0));
	if (s->wait_timer)
		expect(c->count[LEVEL_L1][IRQ_TIMER] != s->timer);
	irq_on();
}

const struct opt_ops opt_l1_user = {
	.bit = OPT_l1_user,
	.needs = "",
	.iterate = iterate,
};
