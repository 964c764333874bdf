// SPDX-License-Identifier: BSD-2-Clause
/* What the experiments with NMIs are made of, and all of them in random order. */
#include "testcases/nmi.h"
#include "arch/frame.h"
#include "core/mem.h"
#include "core/rng.h"
#include "lhv/apic.h"
#include "lhv/mem.h"
#include "lhv/platform.h"

#define ICR_NMI 0x4400u
#define SPIN 200

bool nmi_note(struct machine *m, bool held)
{
	m->failures += !held;
	return held;
}

bool nmi_quiet_call(struct vcpu *v, struct exit e, ulong code)
{
	if (e.entry.kind != OUT_OK || e.reason != EXIT_vmcall || v->g.ax != code)
		return false;
	skip_instruction(v, &e);
	return true;
}

void nmi_spin(void)
{
	for (u32 i = 0; i < SPIN; i++)
		cpu_pause();
}

void send_nmi_to(u32 apic)
{
	apic_icr(apic, ICR_NMI);
	nmi_spin();
}

void send_nmi(void)
{
	send_nmi_to(apic_id());
}

void unblock_nmi(void)
{
	nmi_unblock();
	nmi_spin();
}

ulong l2_idle(ulong unused)
{
	(void)unused;
	nmi_spin();
	return nmi_count[LEVEL_L2];
}

ulong l2_unblocks(ulong unused)
{
	u32 before = nmi_count[LEVEL_L2];

	(void)unused;
	unblock_nmi();
	return before | (nmi_count[LEVEL_L2] - before) << 4;
}

ulong l2_sends(ulong unused)
{
	send_nmi();
	return l2_idle(unused);
}

ulong l2_sends_unblocks(ulong unused)
{
	send_nmi();
	return l2_unblocks(unused);
}

ulong l2_sends_twice(ulong unused)
{
	send_nmi();
	return l2_sends_unblocks(unused);
}

void nmi_begin(struct machine *m, struct cpu *c)
{
	memset(m, 0, sizeof(*m));
	test_vcpu(&m->v, c, 0);
	for (enum level l = 0; l < LEVELS; l++) {
		m->idt[l] = page_alloc();
		memcpy(m->idt[l], (const void *)cpu_idt_base(), CPU_IDT_LIMIT + 1);
		m->idt[l][VEC_NMI] = gate_make((ulong)(l == LEVEL_L1 ? nmi_handler_l1 : nmi_handler_l2), SEL_CODE, 0);
		m->idt[l][VECTOR] = gate_make((ulong)nmi_vector_handler, SEL_CODE, 0);
	}
	vmwrite(VMCS_host_idtr_base, (ulong)m->idt[LEVEL_L1]);
	vmwrite(VMCS_guest_idtr_base, (ulong)m->idt[LEVEL_L2]);
	load_idt(&(const struct table_reg){ CPU_IDT_LIMIT, (ulong)m->idt[LEVEL_L1] });
}

/*
 * An NMI that a host has forgotten (KVM, see docs/findings/kvm-nmi.md) is remembered with the next event, so there are
 * some: it mustn't come when nobody expects it. Where the CPU delivers L1's interrupts by itself (APIC virtualization below),
 * only another NMI is an event.
 */
void nmi_calm(void)
{
	for (u32 i = 0; i < 2; i++) {
		unblock_nmi();
		unblock_nmi();
		apic_send_self(IRQ_VECTOR + IRQ_SELF);
		irq_window();
	}
	send_nmi();
	unblock_nmi();
	unblock_nmi();
	for (enum level l = 0; l < LEVELS; l++)
		nmi_count[l] = 0;
	nmi_vector_count = 0;
}

void nmi_end(void)
{
	nmi_calm();
	load_idt(&(const struct table_reg){ CPU_IDT_LIMIT, cpu_idt_base() });
}

struct exit enter_l2(struct machine *m, struct how h)
{
	struct vcpu *v = &m->v;

	nmi_calm();
	v->ctl[CTL_PIN] = h.pin;
	v->ctl[CTL_PROC] &= ~(u32)PROC_nmi_window_exiting;
	v->ctl[CTL_PROC] |= h.window ? PROC_nmi_window_exiting : 0;
	vcpu_write_controls(v);
	guest(v, h.l2, 0);
	vmwrite(VMCS_guest_interruptibility_state, h.blocked ? BLOCKED_BY_NMI : 0);
	vmwrite(VMCS_vm_entry_interruption_info, h.inject);
	/* An external interrupt can't be injected with IF=0. */
	if (h.inject == INJECT_INTERRUPT)
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IF);
	for (enum before n = L1_OPEN; n < h.l1; n++)
		send_nmi();
	if (h.l1)
		want_eq(m, nmi_count[LEVEL_L1], 1);
	nmi_count[LEVEL_L1] = 0;
	return enter_once(v);
}

u32 l1_takes_nmi(void)
{
	u32 before = nmi_count[LEVEL_L1];
	bool at_once;

	send_nmi();
	at_once = nmi_count[LEVEL_L1] != before;
	unblock_nmi();
	unblock_nmi();
	if (nmi_count[LEVEL_L1] != before + 1)
		return NEVER;
	return at_once ? AT_ONCE : AFTER_IRET;
}

bool virtually_blocked(void)
{
	return vmread(VMCS_guest_interruptibility_state) & BLOCKED_BY_NMI;
}

bool want_nmi_exit(struct machine *m, struct exit e)
{
	if (!want_reason(m, e, EXIT_exception_or_nmi))
		return false;
	want_eq(m, nmi_count[LEVEL_L1], 0);
	return want_eq(m, vmread(VMCS_exit_interruption_info) & INFO_JUDGED, INFO_VALID | TYPE_NMI | VEC_NMI);
}

void want_blocked_by_exit(struct machine *m)
{
	want_eq(m, l1_takes_nmi(), AFTER_IRET);
	want_eq(m, nmi_count[LEVEL_L1], 1);
}

bool want_return(struct machine *m, struct exit e, ulong value)
{
	return want_call(m, e, L2_RETURN) && want_eq(m, m->v.g.dx, value);
}

void twice(struct cpu *c, experiment_fn *experiment)
{
	struct machine m;

	nmi_begin(&m, c);
	experiment(&m);
	experiment(&m);
	nmi_end();
}

#define ROUNDS 300u

/* Those that hold alone, twice, hold after each other. The others have tests that tell of them. */
TEST(nmi, random_order, .sdm = "Handling Multiple NMIs", .needs = NMI_WINDOW, .rules = "nmi.delivered nmi.exits")
{
	const u32 count = (u32)(nmi_experiments_end - nmi_experiments);
	u32 good[64], n = 0;
	struct machine m;
	struct rng rng;

	if (count > ARRAY_SIZE(good))
		panic("more experiments than there is room for");
	nmi_begin(&m, c);
	rng_seed(&rng, 1);
	m.quiet = true;
	for (u32 i = 0; i < count; i++) {
		m.failures = 0;
		nmi_experiments[i](&m);
		nmi_experiments[i](&m);
		if (!m.failures)
			good[n++] = i;
	}
	m.quiet = false;
	m.failures = 0;
	for (u32 i = 0; i < ROUNDS && n && !m.failures; i++) {
		u32 which = good[rng_below(&rng, n)];

		c->judging->iteration = which;
		nmi_experiments[which](&m);
	}
	nmi_end();
	expect(n > 0);
	say_note("%u of %u experiments, %u rounds", n, count, ROUNDS);
}
