/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A few instruction bytes in L1 itself, in any code segment, with any registers and segments; and what became of them.
 *
 *	L1_TEST(insn, vmread, .sdm = ...)
 *	{
 *		l->in.reg[L1_AX] = VMCS_guest_rip;
 *		o = l1_code_run(l, "\x0f\x78\x07", 3);	VMREAD [RDI], RAX
 *	}
 *
 * INT3 stands behind the bytes, so every end is an exception. L1, CPU 0, interrupts off.
 */
#ifndef TESTCASES_L1_CODE_H
#define TESTCASES_L1_CODE_H

#include "lhv/test.h"
#include "lhv/vmx.h"
#include "testcases/judge.h"

/* Registers by their numbers in encodings; lib/arch/l1_code.asm knows the layout. */
enum { L1_AX, L1_CX, L1_DX, L1_BX, L1_SP, L1_BP, L1_SI, L1_DI };
struct l1_state {
	ulong reg[sizeof(ulong) == 8 ? 16 : 8];
	ulong ip, flags, cs, ss, ds, es, fs, gs;
	ulong vector, error; /* of the exception that ended it */
};

/* Selectors of this GDT, behind those of every GDT; L1_SEL_FREE + 8 * n are the test's own. */
#define L1_SEL_CODE16 0x58u
#define L1_SEL_DATA16 0x60u
#define L1_SEL_USER_CODE32 0x68u
#define L1_SEL_FREE 0x70u

struct l1_code {
	struct cpu *cpu;
	struct l1_state in, out;
	u8 *code;    /* a page below 1 MiB */
	u8 *data;    /* another page; RDI and RBX point to it */
	u64 scratch; /* physical address of a page that nobody needs */
	u64 *gdt;
	void *idt;
	u32 length;
	ulong cr2; /* afterwards; 0 before */
};

void l1_code_begin(struct l1_code *l, struct cpu *c);
void l1_code_end(struct l1_code *l);
/* A test that has them: `l`, and `v` with the current VMCS. */
#define L1_TEST(area_, name_, ...)                                                        \
	static void l1_##name_(struct l1_code *l, struct vcpu *v, struct cpu *c);         \
	TEST(area_, name_, __VA_ARGS__)                                                   \
	{                                                                                 \
		struct l1_code l;                                                         \
		struct vcpu v;                                                            \
                                                                                          \
		judge_begin();                                                            \
		test_vcpu(&v, c, 0);                                                      \
		l1_code_begin(&l, c);                                                     \
		l1_##name_(&l, &v, c);                                                    \
		l1_code_end(&l);                                                          \
		judge_done();                                                             \
	}                                                                                 \
	static void l1_##name_(struct l1_code *l, struct vcpu *v __attribute__((unused)), \
			       struct cpu *c __attribute__((unused)))
/* Native code at CPL 0 again: flat segments, the six status flags set, a pattern in every register that points nowhere. */
void l1_code_reset(struct l1_code *l);
void l1_code_user(struct l1_code *l);
/* `in` says how it begins. Virtual-8086 mode if in.flags has VM: the code's segment and IP are put in. */
struct outcome l1_code_run(struct l1_code *l, const void *bytes, u32 length);
/* What a fault must leave alone: general registers, RSP, flags but RF, RIP at the instruction. */
bool l1_code_untouched(const struct l1_code *l);
/* Judges that it ended by this fault, which left all that alone. */
void l1_code_faulted(const struct l1_code *l, const struct where *rule, struct outcome o, u8 vector, u32 error);
/* A segment of these access rights (the VMCS's format), base, and limit in the units that they say. */
u64 l1_descriptor(u32 rights, u32 base, u32 limit);

#define FLAGS_TF 0x100u
#define FLAGS_DF 0x400u
#define FLAGS_IOPL 0x3000u
#define FLAGS_NT 0x4000u
#define FLAGS_RF 0x10000u
#define FLAGS_VM 0x20000u
#define FLAGS_AC 0x40000u
#define FLAGS_ID 0x200000u

#endif
