/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NMIs around VM entries and exits: who gets them, and who is blocked.
 *
 *	EXPERIMENT(plain_blocked, "", "Interruptibility State", "nmi.blocked")
 *	{
 *		want_return(m, ENTER(0, l2_sends_unblocks, .blocked = true), 0x10);
 *	}
 *
 * Neither L1's nor L2's handler executes IRET, so whoever took an NMI stays blocked until it calls nmi_unblock(). Each
 * experiment is a test that does it twice, and test/nmi/random_order mixes those that hold alone: what one leaves behind mustn't
 * change the next.
 */
#ifndef TESTCASES_NMI_H
#define TESTCASES_NMI_H

#include "lhv/guest.h"
#include "lhv/test.h"
#include "x86/cr.h"
#include "x86/seg.h"

/* lib/arch/nmi.asm */
extern u8 nmi_handler_l1[], nmi_handler_l2[], nmi_vector_handler[], nmi_unblocked[];
extern volatile u32 nmi_count[LEVELS], nmi_vector_count;
extern volatile ulong nmi_ip[LEVELS], nmi_vector_ip;
void nmi_unblock(void);

#define BLOCKED_BY_NMI 0x8u
#define INFO_VALID 0x80000000u
#define INFO_JUDGED 0x80000fffu /* bit 12 is another thing */
#define TYPE_NMI (2u << 8)
#define VECTOR 0x41u
#define INJECT_NMI (INFO_VALID | TYPE_NMI | VEC_NMI)
#define INJECT_INTERRUPT (INFO_VALID | VECTOR)

/* How L2 is entered. */
#define EXITING PIN_nmi_exiting
#define VIRTUAL (PIN_nmi_exiting | PIN_virtual_nmis)
enum before { L1_OPEN, L1_BLOCKED, L1_PENDING, L1_TWO_PENDING }; /* blocked, and one or two more have come */
struct how {
	u32 pin;
	ulong (*l2)(ulong);
	enum before l1;
	bool blocked; /* by NMI, in the interruptibility state */
	bool window;  /* NMI-window exiting */
	u32 inject;
};

struct machine {
	struct vcpu v;
	struct gate *idt[LEVELS];
	bool quiet; /* failures are only counted */
	u32 failures;
};

bool nmi_note(struct machine *m, bool held);
bool nmi_quiet_call(struct vcpu *v, struct exit e, ulong code);
#define want_eq(m, got_, want_) \
	((m)->quiet ? nmi_note((m), (u64)(got_) == (u64)(want_)) : nmi_note((m), expect_eq((got_), (want_))))
#define want_reason(m, e, reason_)                                                         \
	((m)->quiet ? nmi_note((m), (e).entry.kind == OUT_OK && (e).reason == (reason_)) : \
		      nmi_note((m), expect_exit(&(m)->v, (e), (reason_))))
/* L2's call; the VMCALL is skipped. */
#define want_call(m, e, code)                                               \
	((m)->quiet ? nmi_note((m), nmi_quiet_call(&(m)->v, (e), (code))) : \
		      nmi_note((m), expect_call(&(m)->v, (e), (code))))

/* --- What L1 and L2 do --- */

/* Until an NMI that was sent has arrived. */
void nmi_spin(void);
void send_nmi_to(u32 apic);
void send_nmi(void);
void unblock_nmi(void);

/* L2 returns how many NMIs it had; with unblocks, how many had come before the IRET, and 16 times what came behind it. */
ulong l2_idle(ulong unused);
ulong l2_unblocks(ulong unused);
ulong l2_sends(ulong unused);
ulong l2_sends_unblocks(ulong unused);
/* The first blocks, the second waits for IRET. */
ulong l2_sends_twice(ulong unused);

void nmi_begin(struct machine *m, struct cpu *c);
void nmi_end(void);
/* Nothing pending, nothing blocked, nothing counted. */
void nmi_calm(void);
struct exit enter_l2(struct machine *m, struct how h);
#define ENTER(pin_, l2_, ...) enter_l2(m, (struct how){ .pin = pin_, .l2 = l2_, __VA_ARGS__ })

/* --- What is judged --- */

/* When L1 takes an NMI; leaves L1 unblocked. */
enum { NEVER, AT_ONCE, AFTER_IRET };
u32 l1_takes_nmi(void);
bool virtually_blocked(void);
bool want_nmi_exit(struct machine *m, struct exit e);
/* The exit's own blocking, and that the NMI isn't delivered besides. */
void want_blocked_by_exit(struct machine *m);
/* L2 has returned, with this value. */
bool want_return(struct machine *m, struct exit e, ulong value);

typedef void experiment_fn(struct machine *m);
void twice(struct cpu *c, experiment_fn *experiment);

/* lib/arch/link.ld: all of them */
extern experiment_fn *const nmi_experiments[], *const nmi_experiments_end[];
#define EXPERIMENT(name_, needs_, sdm_, rules_)                                                                \
	static experiment_fn name_;                                                                            \
	static experiment_fn *const listed_##name_ __attribute__((section(".nmi_experiments"), used)) = name_; \
	TEST(nmi, name_, .sdm = sdm_, .needs = needs_, .rules = rules_)                                        \
	{                                                                                                      \
		twice(c, name_);                                                                               \
	}                                                                                                      \
	static void name_(struct machine *m)

#define NMI_WINDOW "NMI exiting; virtual NMIs; NMI-window exiting"

#endif
