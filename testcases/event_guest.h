/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A snippet with an IDT, GDT and TSS of its own, in any mode. The handler of each vector is NOP, VMCALL at an address of its own, so
 * that L1 sees which event was delivered, and finds the frame on L2's stack. L1, CPU 0, interrupts off.
 *
 *	eguest_begin(&g, c, 0);
 *	eguest_mode(&g, SNIP_NATIVE, false);
 *	snippet_code(&g.s, "\x0f\x0b", 2);
 *	eguest_exits(&g, 0);
 *	e = snippet_run(&g.s);
 *	JUDGE(rule, eguest_vector(&g, &e), VEC_UD);
 */
#ifndef TESTCASES_EVENT_GUEST_H
#define TESTCASES_EVENT_GUEST_H

#include "testcases/snippet.h"

/* Interruption information: what an exit tells, what an entry injects, IDT-vectoring information. */
#define INFO_VALID 0x80000000u
#define INFO_HAS_ERROR 0x800u
#define INFO_NMI_UNBLOCKING 0x1000u
#define INFO_TYPE 0x700u
#define TYPE_EXTERNAL (0u << 8)
#define TYPE_NMI (2u << 8)
#define TYPE_HARDWARE (3u << 8)
#define TYPE_SOFTWARE_INTERRUPT (4u << 8)
#define TYPE_PRIVILEGED (5u << 8)
#define TYPE_SOFTWARE (6u << 8)

#define BLOCKED_BY_STI 0x1u
#define BLOCKED_BY_MOV_SS 0x2u
#define BLOCKED_BY_NMI 0x8u

#define RFLAGS_TF 0x100u
#define RFLAGS_IOPL3 0x3000u
#define RFLAGS_NT 0x4000u
#define RFLAGS_RF 0x10000u
#define RFLAGS_AC 0x40000u

/* More vectors (SDM: "Exception and Interrupt Reference"). */
#define VEC_OF 4
#define VEC_BR 5
#define VEC_NM 7
#define VEC_MF 16
#define VEC_AC 17
#define VEC_XM 19

/* Selectors of the GDT besides lhv's: a data segment that isn't present, with DPL 0 and 3; the rest is for tests. */
#define ESEL_ABSENT 0x58
#define ESEL_ABSENT_USER 0x60
#define ESEL_FREE 0x68
#define ESEL_BEYOND 0xff8 /* not in the GDT */

/* Gates (SDM: "IDT Descriptors") */
#define GATE_INTERRUPT 0x8eu
#define GATE_TRAP 0x8fu
#define GATE_TASK 0x85u
#define GATE_PRESENT 0x80u
#define GATE_DPL3 0x60u

struct eguest {
	struct snippet s;
	u8 *idt, *handlers, *stack; /* pages; the stack for CPL 0 of a guest at CPL 3 ends with the latter */
	u64 *gdt;                   /* a page */
	u32 *tss;                   /* a page */
};

/* What the CPU pushed; sp and ss only where it does. */
struct eframe {
	ulong error, ip, cs, flags, sp, ss;
};

void eguest_begin(struct eguest *g, struct cpu *c, u32 opt);
/* snippet_mode(), and tables for it: all gates are interrupt gates with DPL 3. */
void eguest_mode(struct eguest *g, enum snip_mode mode, bool user);
/* The guest state of that mode again; tables stay as they are. */
void eguest_again(struct eguest *g);
/* The vector's gate: one of GATE_..., perhaps with GATE_DPL3; without GATE_PRESENT it's absent. */
void eguest_gate(struct eguest *g, u32 vector, u32 type);
/* A task gate. */
void eguest_task_gate(struct eguest *g, u32 vector, u32 selector, u32 type);
/* Exactly the exceptions with a bit here exit. */
void eguest_exits(struct eguest *g, u32 bitmap);
/* The VM entry to come injects: vector and type, perhaps INFO_HAS_ERROR. */
void eguest_inject(u32 info, u32 error, u32 length);

/* The vector whose handler L2 has come to; EGUEST_NONE if it has exited otherwise. */
#define EGUEST_NONE 0x100u
u32 eguest_vector(const struct eguest *g, const struct exit *e);
ulong eguest_handler(const struct eguest *g, u32 vector);
/* In a handler: the frame, with or without an error code. */
struct eframe eguest_frame(const struct eguest *g, bool error);
/* Does that exception push an error code? */
bool vector_has_error(u32 vector);

/* A segment descriptor (SDM: "Segment Descriptors"); rights as in the VMCS. */
u64 descriptor(u32 base, u32 limit, u32 rights);

#endif
