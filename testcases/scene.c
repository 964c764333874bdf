// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/scene.h"
#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/apic.h"
#include "lhv/mem.h"
#include "testcases/nmi.h"

#define APIC_ISR (APIC_PAGE + 0x100)

const char scene_nops[] = "\x90\x90\x90\x90\x90\x90\x90\x90";

const struct scene_event scene_events[SCENE_EVENTS] = {
	{ "exception", EVENT_EXCEPTION(VEC_UD), 0 },
	{ "interrupt", EVENT_EXTERNAL(SCENE_VECTOR), 0 },
	{ "NMI", EVENT_NMI, 0 },
	{ "INT n", EVENT_VALID | 0x400u | 0x41, 2 },
	{ "INT3", EVENT_VALID | 0x600u | VEC_BP, 1 },
};

/* VMCALL and IRET. */
#ifdef __x86_64__
static const u8 handler[] = { 0x0f, 0x01, 0xc1, 0x48, 0xcf };
#else
static const u8 handler[] = { 0x0f, 0x01, 0xc1, 0xcf };
#endif

u32 stage_unblock(void)
{
	unblock_nmi();
	return nmi_count[LEVEL_L1];
}

u32 stage_nmis(void)
{
	return nmi_count[LEVEL_L1];
}

ulong stage_nmi_ip(void)
{
	return nmi_ip[LEVEL_L1];
}

ulong scene_handler(const struct stage *st, u32 vector)
{
	return (ulong)st->handlers + vector * SCENE_HANDLER;
}

ulong scene_frame_ip(void)
{
	return *(const volatile ulong *)(ulong)vmread(VMCS_guest_rsp);
}

bool scene_interrupt_pending(void)
{
	return apic_pending(SCENE_VECTOR);
}

static bool in_service(void)
{
	return *(volatile u32 *)(ulong)(APIC_ISR + SCENE_VECTOR / 32 * 16) >> SCENE_VECTOR % 32 & 1;
}

u32 stage_calm(struct stage *st)
{
	u32 nmis;

	(void)st;
	for (u32 i = 0; i < 2; i++) {
		if (in_service())
			apic_eoi();
		irq_window();
		nmi_unblock();
	}
	nmi_spin();
	nmis = nmi_count[LEVEL_L1];
	nmi_count[LEVEL_L1] = 0;
	nmi_count[LEVEL_L2] = 0;
	return nmis;
}

void stage_begin(struct stage *st, struct cpu *c)
{
	judge_begin();
	memset(st, 0, sizeof(*st));
	st->cpu = c;
	snippet_begin(&st->s, c, 0);
	st->handlers = page_alloc();
	st->idt2 = page_alloc();
	for (u32 vector = 0; vector < 256; vector++) {
		memcpy(st->handlers + vector * SCENE_HANDLER, handler, sizeof(handler));
		st->idt2[vector] = gate_make(scene_handler(st, vector), SEL_CODE, 0);
	}
	vmwrite(VMCS_guest_idtr_base, (ulong)st->idt2);
	st->idt1 = page_alloc();
	memcpy(st->idt1, (const void *)cpu_idt_base(), CPU_IDT_LIMIT + 1);
	st->idt1[VEC_NMI] = gate_make((ulong)nmi_handler_l1, SEL_CODE, 0);
	vmwrite(VMCS_host_idtr_base, (ulong)st->idt1);
	load_idt(&(const struct table_reg){ CPU_IDT_LIMIT, (ulong)st->idt1 });
	stage_calm(st);
}

void stage_done(struct stage *st)
{
	stage_calm(st);
	load_idt(&(const struct table_reg){ CPU_IDT_LIMIT, cpu_idt_base() });
	vcpu_destroy(&st->s.v);
	judge_done();
}

static void controls(struct vcpu *v, const struct scene *sc)
{
	v->ctl[CTL_PIN] = sc->pin;
	v->ctl[CTL_PROC] = sc->proc;
	v->ctl[CTL_VMEXIT] = (v->ctl[CTL_VMEXIT] & VMEXIT_host_address_space_size) | sc->vmexit;
	v->l2_takes = sc->takes;
	v->irq_mode = !(sc->pin & PIN_external_interrupt_exiting)       ? IRQ_TO_L2 :
		      sc->vmexit & VMEXIT_acknowledge_interrupt_on_exit ? IRQ_REINJECT :
									  IRQ_TO_L1;
	vcpu_write_controls(v);
	if (sc->pin & PIN_activate_preemption_timer)
		vmwrite(VMCS_preemption_timer_value, sc->timer_zero ? 0 : sc->timer ? sc->timer : SCENE_WATCHDOG);
}

struct exit scene(struct stage *st, const struct scene *sc)
{
	struct vcpu *v = &st->s.v;

	stage_calm(st);
	judge_about(sc->name, NULL);
	snippet_code(&st->s, sc->bytes, sc->length);
	st->after = st->s.code + sc->length;
	controls(v, sc);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | sc->flags);
	vmwrite(VMCS_guest_interruptibility_state, sc->blocked);
	vmwrite(VMCS_guest_activity_state, sc->activity);
	vmwrite(VMCS_guest_pending_debug_exceptions, sc->debug);
	vmwrite(VMCS_vm_entry_interruption_info, sc->inject);
	vmwrite(VMCS_vm_entry_instruction_length, sc->inject_length);
	if (sc->interrupt)
		apic_send_self(SCENE_VECTOR);
	if (sc->nmi) {
		/* The first is taken and blocks. */
		send_nmi();
		send_nmi();
		expect_env(nmi_count[LEVEL_L1] == 1);
		nmi_count[LEVEL_L1] = 0;
	}
	return enter_once(v);
}

struct exit scene_again(struct stage *st)
{
	return enter_once(&st->s.v);
}

bool stage_ends(const struct where *rule, struct stage *st, const struct exit *e, u32 reason, ulong ip)
{
	char want[100], got[100];
	bool held = e->entry.kind == OUT_OK && e->reason == reason && e->ip == ip;

	if (held)
		return judge_held(rule, true, "", "");
	fmt(want, sizeof(want), "exit %u (%s) rip code+0x%lx", reason, exit_reason_name(reason & 0xffff),
	    (unsigned long)(ip - (ulong)st->s.code));
	if (e->entry.kind != OUT_OK)
		outcome_text(e->entry, got, sizeof(got));
	else
		fmt(got, sizeof(got), "%sexit %u (%s) rip code+0x%lx", e->reason >> 31 ? "failed entry, " : "",
		    e->reason & 0xffff, exit_reason_name(e->reason & 0xffff),
		    (unsigned long)(e->ip - (ulong)st->s.code));
	return judge_held(rule, false, want, got);
}
