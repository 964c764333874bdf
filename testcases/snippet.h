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

#include "lhv/mem.h"
#include "lhv/test.h"
#include "lhv/vcpu.h"
#include "x86/seg.h"

enum snip_mode {
	SNIP_NATIVE, /* L1's own: 64-bit or 32-bit */
	SNIP_COMPAT, /* compatibility mode: amd64 only */
	SNIP_32,     /* protected mode, 32 bits, PAE paging */
	SNIP_16,     /* protected mode, 16 bits, PAE paging */
	SNIP_MODES,  /* those above are in every test's round, the ones below only where a test asks for them */
	SNIP_V86,    /* virtual-8086 mode, PAE paging; CPL 3, IOPL 0 */
	SNIP_REAL,   /* real-address mode: only with "unrestricted guest" */
	SNIP_ALL_MODES
};

struct snippet {
	struct vcpu v;
	enum snip_mode mode;
	bool user;
	u8 *code;     /* a page; linear address is physical address in all modes */
	u8 *data;     /* another, where the stack ends, too */
	u8 *pages[2]; /* what they are but in SNIP_V86 and SNIP_REAL, which have SNIP_LOW */
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
/* The same with SNIP_V86, and with SNIP_REAL if the guest is unrestricted; SNIP_ALL_MODES behind the last. */
enum snip_mode snippet_next_of_all(const struct snippet *s, enum snip_mode mode);
const char *snippet_name(enum snip_mode mode);

void snippet_begin(struct snippet *s, struct cpu *c, u32 opt);
/*
 * Writes the whole guest state. user: CPL 3. In SNIP_V86 and SNIP_REAL, which have their own level whatever `user` is, all selectors
 * and bases are 0 and all limits 0xffff, so that IP is the linear address there too; s->code and s->data are other pages then.
 */
void snippet_mode(struct snippet *s, enum snip_mode mode, bool user);
/*
 * L2 stands before these bytes. Its general registers are SNIP_REGISTER(n), RSP is at the end of the data page, flags are
 * as after reset; change v.g and the VMCS afterwards.
 */
void snippet_code(struct snippet *s, const void *bytes, u32 length);
#define SNIP_REGISTER(n) (0x00100000u + 0x1110u * (n))
/* RFLAGS that the mode needs. */
#define SNIP_FLAGS(s) (RFLAGS_FIXED | ((s)->mode == SNIP_V86 ? RFLAGS_VM : 0))
#define SNIP_SP(s) ((ulong)(s)->data + PAGE_SIZE)
struct exit snippet_run(struct snippet *s);
/* Did L2 run to the VMCALL behind its bytes? */
bool snippet_passed(struct snippet *s, const struct exit *e);
/* L2's RDMSR, one that doesn't exit. Its failure is the test's. */
u64 snippet_rdmsr(struct snippet *s, u32 msr);
/* Did it exit by this exception, before or behind? */
bool snippet_faulted(const struct exit *e, u32 vector);

#endif
