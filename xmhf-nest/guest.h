/* SPDX-License-Identifier: BSD-2-Clause */
/* L1's operands: registers, and memory by linear address. VMCS01 is current. What returns false has raised a fault. */
#ifndef NEST_GUEST_H
#define NEST_GUEST_H

#include "xmhf-nest/cpu.h"

/* Registers as instruction encodings number them: rax rcx rdx rbx rsp rbp rsi rdi r8 to r15. */
ulong l1_register(struct cpu *c, u32 number);
void l1_register_set(struct cpu *c, u32 number, ulong value);
bool l1_code64(void); /* in 64-bit mode */

/* Linear address of the memory operand that exit_instruction_info describes, with the segment's checks. */
bool l1_operand(struct cpu *c, u32 info, u32 bytes, bool write, u64 *linear);
bool l1_read(struct cpu *c, u64 linear, void *to, u32 bytes);
bool l1_write(struct cpu *c, u64 linear, const void *from, u32 bytes);

struct paging;
/* The paging state of the guest whose VMCS is current, L1 or L2. */
void guest_paging(struct paging *s);

#endif
