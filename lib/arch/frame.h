/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupts and exceptions: what isr_common pushes, and the IDT's gates. */
#ifndef ARCH_FRAME_H
#define ARCH_FRAME_H

#include "core/base.h"

/* What interrupts find on the stack (lib/arch/isr.asm). */
struct frame {
#ifdef __x86_64__
	ulong r15, r14, r13, r12, r11, r10, r9, r8;
#endif
	ulong di, si, bp, bx, dx, cx, ax;
	ulong vector, error;
	ulong ip, cs, flags, sp, ss; /* sp and ss on i386 only if they come from user mode */
};

/* SDM: "IDT Descriptors", "64-Bit Mode IDT" */
struct gate {
	u16 offset0, selector;
	u8 ist, type;
	u16 offset1;
#ifdef __x86_64__
	u32 offset2, reserved;
#endif
} __attribute__((packed));

static inline struct gate gate_make(ulong handler, u32 selector, u32 dpl)
{
	return (struct gate){
		.offset0 = (u16)handler,
		.selector = (u16)selector,
		.type = (u8)(0x8e | dpl << 5), /* present interrupt gate */
		.offset1 = (u16)(handler >> 16),
#ifdef __x86_64__
		.offset2 = (u32)(handler >> 32),
#endif
	};
}

#endif
