/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MOV to and from control and debug registers with any general register, for snippets. General registers have the
 * numbers of ModRM: AX CX DX BX SP BP SI DI R8 ... R15.
 */
#ifndef TESTCASES_CR_CODE_H
#define TESTCASES_CR_CODE_H

#include "testcases/snippet.h"

enum mov_special { FROM_CR = 0x20, FROM_DR = 0x21, TO_CR = 0x22, TO_DR = 0x23 };

#define GP_SP 4u

/* L2 stands before this instruction. */
void snippet_mov(struct snippet *s, enum mov_special op, u32 number, u32 reg);
/* How many general registers the mode has. */
u32 snippet_registers(enum snip_mode mode);
void snippet_set(struct snippet *s, u32 reg, ulong value);
ulong snippet_get(const struct snippet *s, u32 reg);

/* Exit qualifications. SDM: "Exit Qualification for Control-Register Accesses", "Exit Qualification for MOV DR". */
#define QUAL_TO_CR(number) ((u64)(number))
#define QUAL_FROM_CR(number) ((u64)(number) | 0x10u)
#define QUAL_CLTS 0x20u
#define QUAL_LMSW(source) (0x30u | (u64)(source) << 16)
#define QUAL_LMSW_MEMORY 0x40u
#define QUAL_TO_DR(number) ((u64)(number))
#define QUAL_FROM_DR(number) ((u64)(number) | 0x10u)
#define QUAL_REGISTER(reg) ((u64)(reg) << 8)

/*
 * Runs what L2 stands before: it must exit for this reason with this qualification, before it has done anything. `cause`
 * is the rule by which it exits; all of CR_TOLD are judged too.
 */
bool judge_access(struct snippet *s, const struct where *cause, u32 reason, u64 qualification);
#define CR_TOLD " exit.info.instruction-length exit.save.rip-instruction exit.cause.no-effect"
/* It must end in this fault with error code 0. */
bool judge_fault(struct snippet *s, const struct where *rule, u32 vector);
/* It must run to its end. */
bool judge_runs(struct snippet *s, const struct where *rule);

#endif
