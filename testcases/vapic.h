/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest with a virtual-APIC page and an APIC-access page, which L2 sees at VAPIC_LINEAR (SDM: "APIC Virtualization and
 * Virtual Interrupts"). The APIC-access page is memory of its own, so that an access that goes through shows there.
 *
 *	VAPIC_TEST(access, vapic_begin(a, c, 0, PROC2_virtualize_apic_accesses), .sdm = ...)
 *	{
 *		vapic_set(a, VAPIC_TPR, 0x50);
 *		e = vapic_run(a, "\x89\x03", 2, VAPIC_TPR, 0x20);	mov [ebx], eax
 *	}
 *
 * L1, CPU 0, interrupts off.
 */
#ifndef TESTCASES_VAPIC_H
#define TESTCASES_VAPIC_H

#include "testcases/judge.h"
#include "testcases/snippet.h"

#define VAPIC_ID 0x20u
#define VAPIC_VERSION 0x30u
#define VAPIC_TPR 0x80u
#define VAPIC_PPR 0xa0u
#define VAPIC_EOI 0xb0u
#define VAPIC_ISR 0x100u
#define VAPIC_IRR 0x200u
#define VAPIC_ICR_LOW 0x300u
#define VAPIC_ICR_HIGH 0x310u
#define VAPIC_SELF_IPI 0x3f0u

#define MOV_TO_APIC "\x89\x03"   /* mov [ebx], eax */
#define MOV_FROM_APIC "\x8b\x03" /* mov eax, [ebx] */
#define MOV_CR8_AX "\x44\x0f\x22\xc0"
#define MOV_AX_CR8 "\x44\x0f\x20\xc0"
#define RDMSR "\x0f\x32"
#define WRMSR "\x0f\x30"

/* Access types of the exit qualification (SDM: "Exit Qualification for APIC-Access VM Exits ..."). */
#define APIC_LINEAR_READ 0x0000u
#define APIC_LINEAR_WRITE 0x1000u
#define APIC_LINEAR_FETCH 0x2000u
#define APIC_LINEAR_EVENT 0x3000u
#define APIC_PHYSICAL_EVENT 0xa000u
#define APIC_PHYSICAL 0xf000u
#define APIC_TYPE 0xf000u

/* In L2's window: memory, the APIC-access page, memory. */
#define VAPIC_BEFORE L2_WINDOW
#define VAPIC_LINEAR (L2_WINDOW + PAGE_SIZE)
#define VAPIC_BEHIND (L2_WINDOW + 2 * PAGE_SIZE)

struct vapic {
	struct snippet s;
	volatile u32 *page; /* the virtual-APIC page */
	u8 *access;         /* the APIC-access page, as the memory that it hides */
	u8 *before, *behind;
	u8 *bitmap; /* MSR bitmaps: nothing exits */
	u8 *idt, *handlers;
};

/*
 * With "use TPR shadow" if proc2 has a control that needs it, and with external-interrupt exiting if it has virtual-interrupt
 * delivery. Threshold, status and EOI-exit bitmaps are 0.
 */
void vapic_begin(struct vapic *a, struct cpu *c, u32 opt, u32 proc2);
/* A test with `a`, which this begins: vapic_begin(a, c, ...) or vapic_delivery(a, c, ...). */
#define VAPIC_TEST(name_, begin_, ...) \
	TEST_WITH(apic, name_, struct vapic, a, (judge_begin(), begin_), judge_done(), __VA_ARGS__)
/* Turns "use TPR shadow" on. */
void vapic_shadow(struct vapic *a);
/* Other secondary controls. */
void vapic_controls(struct vapic *a, u32 proc2);
/* The APIC-access page is another: its linear address stays. */
void vapic_access_page(struct vapic *a, u64 pa);

/* A word of the virtual-APIC page. */
u32 vapic_get(const struct vapic *a, u32 offset);
void vapic_set(struct vapic *a, u32 offset, u32 value);
/* Fills the virtual-APIC page: each word VAPIC_PATTERN(its offset); and the APIC-access page with another pattern. */
void vapic_fill(struct vapic *a);
#define VAPIC_PATTERN(offset) (0x5a000000u | (offset) << 8 | (0x17u + (offset) / 4 % 64))
#define VAPIC_HIDDEN 0x66u
/* Has nobody written to the APIC-access page since? */
bool vapic_hidden_untouched(const struct vapic *a);

/* L2 stands before these bytes, with EAX as given and EBX at this offset of the APIC-access page. */
void vapic_code(struct vapic *a, const char *bytes, u32 length, u32 offset, u32 eax);
struct exit vapic_run(struct vapic *a, const char *bytes, u32 length, u32 offset, u32 eax);
/* RDMSR and WRMSR by L2. The value that was read is in EDX:EAX. */
struct exit vapic_rdmsr(struct vapic *a, u32 msr);
struct exit vapic_wrmsr(struct vapic *a, u32 msr, u64 value);
u64 vapic_edx_eax(const struct vapic *a);

/*
 * An IDT of its own for L2: each vector's gate leads to a NOP and a VMCALL, so that the exit tells the vector (the NOP,
 * because some emulators save an older RIP at a handler's first instruction). Interrupt gates.
 * Stays until the guest state is written anew.
 */
void vapic_idt(struct vapic *a);
/* The vector whose handler did the VMCALL; -1: it wasn't one. */
int vapic_vector(const struct vapic *a, const struct exit *e);
/* RIP that the handler would return to. */
ulong vapic_return_address(const struct vapic *a);
/* Judges both: it's the vector's handler, and that would return to so far behind L2's first byte. False if it's another. */
#define DELIVERED(rule, a, e, vector, offset) vapic_delivered(WHERE(rule), (a), &(e), (vector), (offset))
bool vapic_delivered(const struct where *rule, const struct vapic *a, const struct exit *e, u32 vector, u32 offset);

/* --- Virtual interrupts --- */

/*
 * Begins with virtual-interrupt delivery, other secondary controls, that IDT, and the VMX-preemption timer: L2 may be halted
 * for ever.
 */
void vapic_delivery(struct vapic *a, struct cpu *c, u32 proc2);
/* L2 at these bytes, with RFLAGS.IF or 0, and this guest interrupt status, whose vectors are in VIRR and VISR alone. VTPR is 0. */
void vapic_stand(struct vapic *a, const char *bytes, u32 length, u32 flags, u32 status);
#define VAPIC_STATUS(svi, rvi) ((svi) << 8 | (rvi))
/* VISR and VIRR: base VAPIC_ISR, VAPIC_IRR. */
bool vapic_bit(const struct vapic *a, u32 base, u32 vector);
void vapic_bit_set(struct vapic *a, u32 base, u32 vector);

#endif
