/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L2 as L1 sees it: a VMCS, its controls, L2's general registers, and a coroutine:
 *
 *	guest(v, fn, arg);            L2 will run fn(arg) on its own stack
 *	struct exit e = enter(v);     runs until something happens that the caller must see
 *	expect_exit(e, EXIT_vmcall);
 *
 * Interrupts that arrive meanwhile are handled inside enter(), as v->irq_mode says.
 * L1, on the CPU that the vcpu belongs to, with its VMCS current.
 */
#ifndef LHV_VCPU_H
#define LHV_VCPU_H

#include "arch/vmx.h"
#include "core/vmxcap.h"
#include "lhv/cpu.h"
#include "lhv/vmx.h"

/* What happens to an interrupt that arrives while L2 runs. */
enum irq_mode {
	IRQ_TO_L1,    /* VM exit, L1's handler takes it */
	IRQ_REINJECT, /* VM exit that acknowledges it, L1 injects it into L2 */
	IRQ_TO_L2,    /* no VM exit, L2's handler takes it */
	IRQ_MODES
};

struct exit {
	struct outcome entry; /* OUT_OK: L2 was entered (or the entry failed late, see reason bit 31) */
	u32 reason;           /* the whole field */
	u64 qualification;
	ulong ip;
	u32 length; /* of the instruction, where the reason has one */
};

struct vcpu {
	struct cpu *cpu;
	u64 vmcs_pa;
	bool launched;
	u32 ctl[CTL_WORDS]; /* wanted; vcpu_write_controls adds what must be 1 */
	u32 l2_takes;       /* bit per exception that L2 handles itself; all others exit, so that L2 can't run wild */
	struct gregs g;
	u64 l2_root;    /* CR3 of L2; identity but for the window at L2_WINDOW */
	u64 *l2_window; /* page table of that window: 512 entries */
	u64 eptp;       /* 0: no EPT */
	enum irq_mode irq_mode;
	bool irq_off; /* IF stays 0 in L1 */
	u32 pending;  /* bit per enum irq: to be injected */
	/* Event whose delivery an exit interrupted: injected again at the next entry. */
	u32 again_info, again_error, again_length;
	/* Called around each trip, for background exits too. */
	void (*before_entry)(struct vcpu *v);
	void (*after_exit)(struct vcpu *v, const struct exit *e);
	/* Counters, for checks. */
	u32 trips, external_exits, injected, window_exits;
};

/* Linear addresses of L2 that don't map to the same guest-physical address. */
#define L2_WINDOW 0x12c00000u

/* A VMCS with defaults for this CPU, made current. Controls are in v->ctl, not written yet. */
void vcpu_create(struct vcpu *v, struct cpu *c);
/* Writes the five control words and the exception bitmap. Call after each change of v->ctl, v->l2_takes or v->irq_mode. */
void vcpu_write_controls(struct vcpu *v);
/* Writes host state; and guest state like L1's own but for stack, TSS and CR3. */
void vcpu_write_host_state(struct vcpu *v);
void vcpu_write_guest_state(struct vcpu *v);
/* Writes the whole VMCS: controls, host and guest state. */
void vcpu_write(struct vcpu *v);
/* Clears the VMCS, so that the next one can be made current. */
void vcpu_destroy(struct vcpu *v);

/* L2 will start fn(arg) with IF=0, active, nothing blocked. */
void guest(struct vcpu *v, ulong (*fn)(ulong), ulong arg);
struct exit enter(struct vcpu *v);
/* One trip without any help; for tests that judge the background events themselves. */
struct exit enter_once(struct vcpu *v);
/* Moves L2 behind the instruction that exited. */
void skip_instruction(struct vcpu *v, const struct exit *e);

/* Is it this basic reason, after a successful entry? One check; prints what it is instead. */
#define expect_exit(v, e, reason) check_exit((v), &(e), (reason), WHERE("exit " #reason))
#define require_exit(v, e, reason)              \
	do {                                    \
		if (!expect_exit(v, e, reason)) \
			return;                 \
	} while (false)
/* Is it L2's call with this code? Skips the VMCALL. */
#define expect_call(v, e, code) check_call((v), &(e), (code), WHERE("L2 calls " #code))
#define require_call(v, e, code)              \
	do {                                  \
		if (!expect_call(v, e, code)) \
			return;               \
	} while (false)
struct where;
bool check_exit(struct vcpu *v, const struct exit *e, u32 reason, const struct where *w);
bool check_call(struct vcpu *v, const struct exit *e, ulong code, const struct where *w);

#endif
