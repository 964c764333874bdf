/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of a few instruction bytes, in any mode, with VMCALL behind them. L1, CPU 0, interrupts off.
 *
 *	snippet_begin(&s, c, 0);
 *	snippet_mode(&s, SNIP_NATIVE, false);
 *	snippet_code(&s, "\x0f\xa2", 2);
 *	e = snippet_run(&s);
 */
#ifndef TESTCASES_SNIPPET_H
#define TESTCASES_SNIPPET_H

#include "lhv/test.h"
#include "lhv/vcpu.h"

enum snip_mode {
	SNIP_NATIVE, /* L1's own: 64-bit or 32-bit */
	SNIP_COMPAT, /* compatibility mode: amd64 only */
	SNIP_32,     /* protected mode, 32 bits, PAE paging */
	SNIP_16,     /* protected mode, 16 bits, PAE paging */
	SNIP_MODES
};

struct snippet {
	struct vcpu v;
	enum snip_mode mode;
	bool user;
	u8 *code; /* a page; linear address is physical address in all modes */
	u8 *data; /* another, where the stack ends, too */
	u32 length;
	u64 pae_root; /* CR3 for PAE paging under a 64-bit host */
};

#ifdef __x86_64__
#define SNIP_IS_64(mode) ((mode) == SNIP_NATIVE)
#else
#define SNIP_IS_64(mode) ((mode) == SNIP_MODES) /* never */
#endif

/* For tests that go through modes: the next one that this image has, SNIP_MODES behind the last. */
enum snip_mode snippet_next(enum snip_mode mode);
const char *snippet_name(enum snip_mode mode);

void snippet_begin(struct snippet *s, struct cpu *c, u32 opt);
/* Writes the whole guest state. user: CPL 3. */
void snippet_mode(struct snippet *s, enum snip_mode mode, bool user);
/*
 * L2 stands before these bytes. Its general registers are SNIP_REGISTER(n), RSP is at the end of the data page, flags are
 * as after reset; change v.g and the VMCS afterwards.
 */
void snippet_code(struct snippet *s, const void *bytes, u32 length);
#define SNIP_REGISTER(n) (0x00100000u + 0x1110u * (n))
#define SNIP_SP(s) ((ulong)(s)->data + PAGE_SIZE)
struct exit snippet_run(struct snippet *s);
/* Did L2 run to the VMCALL behind its bytes? */
bool snippet_passed(struct snippet *s, const struct exit *e);
/* L2's RDMSR, one that doesn't exit. Its failure is the test's. */
u64 snippet_rdmsr(struct snippet *s, u32 msr);
/* Did it exit by this exception, before or behind? */
bool snippet_faulted(const struct exit *e, u32 vector);

#endif
