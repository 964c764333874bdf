// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/poll.h"

#include "xmhf-nest/log.h"
#include "xmhf-nest/vmx.h"

#define POLL_TSC 16384u /* a percent of the time goes into the looks */
#define MISC_TIMER_RATE 0x1fu

u32 poll_ticks;

void poll_init(void)
{
	if (!ctl_allowed(&caps_cpu, CTL_PIN, PIN_activate_preemption_timer) ||
	    !ctl_allowed(&caps_cpu, CTL_VMEXIT, VMEXIT_save_preemption_timer))
		panic("kick=timer, but the CPU lacks the VMX-preemption timer");
	poll_ticks = POLL_TSC >> (caps_cpu.misc & MISC_TIMER_RATE);
	if (!poll_ticks)
		poll_ticks = 1;
}

static bool l1_uses_timer(const struct cpu *c)
{
	return c->nested.v[VI_pin_based_controls] & PIN_activate_preemption_timer;
}

static void arm(struct cpu *c, u32 ticks)
{
	u32 now = ticks < poll_ticks ? ticks : poll_ticks;

	c->timer_beyond = ticks - now;
	vmcs_put(VMCS_preemption_timer_value, now);
}

void poll_arm(struct cpu *c)
{
	if (l1_uses_timer(c))
		arm(c, (u32)c->nested.v[VI_preemption_timer_value]);
	else
		vmcs_put(VMCS_preemption_timer_value, poll_ticks);
}

bool poll_expired(struct cpu *c)
{
	if (!l1_uses_timer(c))
		return true;
	if (!c->timer_beyond)
		return false;
	arm(c, c->timer_beyond);
	return true;
}

void poll_save(struct cpu *c)
{
	if (c->nested.v[VI_vm_exit_controls] & VMEXIT_save_preemption_timer)
		c->nested.v[VI_preemption_timer_value] = (u32)vmcs_get(VMCS_preemption_timer_value) + c->timer_beyond;
}
