// SPDX-License-Identifier: BSD-2-Clause
#include "xmhf-nest/nmi.h"

#include "x86/cr.h"
#include "xmhf-nest/apic.h"

#define INFO_VALID (1u << 31)
#define INFO_NMI 0x200u
#define BLOCKING_STI 1u
#define BLOCKING_MOV_SS 2u
#define BLOCKING_NMI 8u

void nmi_in_l0(void *stack)
{
	struct cpu *c = cpu_of(stack);

	if (c->number < NEST_MAX_CPUS && nest_cpus[c->number] == c)
		c->nmi_pending = true;
}

/* Would the guest take an NMI now, by its own handler, and is the place for an injected event free? */
static bool can_inject(const struct cpu *c)
{
	if (c->l2 && c->nested.v[VI_pin_based_controls] & PIN_nmi_exiting)
		return false;
	return !(vmcs_get(VMCS_vm_entry_interruption_info) & INFO_VALID) &&
	       !(vmcs_get(VMCS_guest_interruptibility_state) & (BLOCKING_STI | BLOCKING_MOV_SS | BLOCKING_NMI));
}

void nmi_pass(struct cpu *c)
{
	c->nmi_pending = false;
	if (!can_inject(c)) {
		apic_send_nmi_self();
		return;
	}
	vmcs_put(VMCS_vm_entry_interruption_info, INFO_VALID | INFO_NMI | VEC_NMI);
	/* Without virtual NMIs an injected NMI doesn't block the next, as one does that arrives (SDM: "Interruptibility State"). */
	vmcs_put(VMCS_guest_interruptibility_state, vmcs_get(VMCS_guest_interruptibility_state) | BLOCKING_NMI);
}
