// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/nmi.h"

#include "xmhf-nest/apic.h"
#include "xmhf-nest/log.h"

void nmi_in_l0(void *stack)
{
	struct cpu *c = cpu_of(stack);

	if (c->number < NEST_MAX_CPUS && nest_cpus[c->number] == c)
		c->nmi_pending = true;
}

void nmi_pass(struct cpu *c)
{
	c->nmi_pending = false;
	apic_send_nmi_self();
}
