/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of a few instructions, and all that may be pending, blocked or armed when it is entered.
 *
 *	SCENES(intr, window, .sdm = ..., .rules = "intr.window")
 *	{
 *		struct exit e = SCENE(st, "IF=1", CODE("\x90"), .flags = RFLAGS_IF, .proc = ...);
 *
 *		ENDS("intr.window", st, e, EXIT_interrupt_window, 0);
 *	}
 *
 * All of L2's handlers are a VMCALL, which tells the vector, and IRET. Where a scene might last for ever, the
 * VMX-preemption timer ends it. L1, CPU 0, interrupts off.
 */
#ifndef TESTCASES_SCENE_H
#define TESTCASES_SCENE_H

#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define CODE(text) .bytes = (text), .length = sizeof(text) - 1
#define NOPS(n) .bytes = scene_nops, .length = (n)
extern const char scene_nops[];

/* Guest non-register state (SDM: "Guest Non-Register State"). */
enum activity { ACTIVE, HLT, SHUTDOWN, WAIT_SIPI };
#define BY_STI 1u
#define BY_MOV_SS 2u
#define BY_NMI 8u
#define RFLAGS_TF 0x100u
#define RFLAGS_RF 0x10000u
#define PENDING_BS 0x4000u
#define PENDING_ENABLED 0x1000u

/* Events to inject (SDM: "VM-Entry Controls for Event Injection"). */
#define EVENT_VALID 0x80000000u
#define EVENT_TYPE 0x700u
#define EVENT_EXTERNAL(vector) (EVENT_VALID | (vector))
#define EVENT_NMI (EVENT_VALID | 0x200u | VEC_NMI)
#define EVENT_EXCEPTION(vector) (EVENT_VALID | 0x300u | (vector))
#define EVENT_MTF (EVENT_VALID | 0x700u)
/* What VM exits tell of them, without bit 12, which is another thing. */
#define EVENT_TOLD 0x80000fffu

/* The interrupt that may be pending. */
#define SCENE_VECTOR (IRQ_VECTOR + IRQ_SELF)

/* One event of each type to inject; software's are the last. */
struct scene_event {
	const char *name;
	u32 event, length;
};
#define SCENE_EVENTS 5u
#define SCENE_HARDWARE_EVENTS 3u
extern const struct scene_event scene_events[SCENE_EVENTS];

/* Much more than any scene needs. */
#define SCENE_WATCHDOG 100000u

struct scene {
	const char *name; /* for texts */
	const char *bytes;
	u32 length;
	ulong flags; /* of RFLAGS; bit 1 comes by itself */
	u32 blocked;
	enum activity activity;
	ulong debug;                  /* pending debug exceptions */
	u32 inject;                   /* interruption information; 0: none */
	u32 inject_length;            /* of the instruction, for software events */
	u32 pin, proc, vmexit, takes; /* controls that are on; exceptions that L2 takes itself */
	u32 timer;                    /* VMX-preemption timer, if that control is on; 0: SCENE_WATCHDOG */
	bool timer_zero;              /* it is 0 */
	bool interrupt;               /* SCENE_VECTOR is pending */
	bool nmi;                     /* an NMI is pending: it came while L1 was blocked */
};

struct stage {
	struct snippet s;
	struct cpu *cpu;
	u8 *handlers;             /* a page, SCENE_HANDLER bytes for each vector */
	u8 *after;                /* the VMCALL behind the bytes */
	struct gate *idt1, *idt2; /* L1's, L2's */
};
#define SCENE_HANDLER 16u

void stage_begin(struct stage *st, struct cpu *c);
void stage_done(struct stage *st);
/* A test that has a stage, `st`. */
#define SCENES(area_, name_, ...) \
	TEST_WITH(area_, name_, struct stage, st, stage_begin(st, c), stage_done(st), __VA_ARGS__)

/* Sets all of it up and enters; once more from where L2 stands: scene_again. */
#define SCENE(st, name_, ...) scene((st), &(const struct scene){ .name = (name_), __VA_ARGS__ })
/* What blocks is STI or MOV SS. */
#define SHADOW(st, blocked_, ...)                                                                                \
	SCENE((st), (blocked_) == BY_STI ? "STI" : "MOV SS", NOPS(3), .flags = RFLAGS_IF, .blocked = (blocked_), \
	      __VA_ARGS__)
struct exit scene(struct stage *st, const struct scene *sc);
struct exit scene_again(struct stage *st);
/* L2 stands in its handler, behind a vector without error code: where the event came. */
ulong scene_frame_ip(void);
/* Where L2's handler of the vector begins. */
ulong scene_handler(const struct stage *st, u32 vector);
/* Takes what is still pending for L1 or in service there; each scene begins with it. NMIs that L1 has taken since the last one. */
u32 stage_calm(struct stage *st);
/* L1's NMI handler does no IRET: takes the next NMI, if one waits. How many has L1 taken since the scene began? */
u32 stage_unblock(void);
u32 stage_nmis(void);
ulong stage_nmi_ip(void);
/* Is the interrupt still pending in L1? */
bool scene_interrupt_pending(void);

/* Judges how a scene ended: with this reason, and RIP so far behind its first byte. False, after a failed check, if not. */
#define ENDS(rule, st, e, reason, offset) stage_ends(WHERE(rule), (st), &(e), (reason), (ulong)(st)->s.code + (offset))
#define ENDS_AT(rule, st, e, reason, ip) stage_ends(WHERE(rule), (st), &(e), (reason), (ip))
/* It ran to its end. */
#define PASSES(rule, st, e) ENDS_AT((rule), (st), (e), EXIT_vmcall, (ulong)(st)->after)
/* L2's handler of the vector was called. */
#define HANDLES(rule, st, e, vector) ENDS_AT((rule), (st), (e), EXIT_vmcall, scene_handler((st), (vector)))
bool stage_ends(const struct where *rule, struct stage *st, const struct exit *e, u32 reason, ulong ip);

#endif
