// SPDX-License-Identifier: BSD-2-Clause
/*
 * VMX instructions in L1 with random prefixes, operands and registers. What each must do isn't computed; but there are few ways to
 * end, a fault must leave everything as it was, and what ends well must have changed no register but its destination. Addresses
 * are such that no write can hit anything that matters.
 */
#include "core/fmt.h"
#include "core/mem.h"
#include "core/rng.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "testcases/insn_table.h"
#include "testcases/judge.h"
#include "testcases/l1_window.h"
#include "x86/cr.h"

#define ROUNDS 3000u
#define WRITABLE (FRAME_A | PTE_P | PTE_W | PTE_PS)

/* Not 67: shorter addresses would lead elsewhere (insn_operand.c has them). */
static const u8 prefixes[] = { 0x66, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

/* In the window, at its end, behind it, nowhere, and where the other CPUs' start was. */
static ulong random_address(struct rng *r)
{
	ulong inside = FAULT_WINDOW + 0x10000 + rng_below(r, 0x1000);

	switch (rng_below(r, 8)) {
	case 0:
		return FAULT_WINDOW + WINDOW_BYTES - rng_below(r, 17);
	case 1:
		return FAULT_WINDOW + WINDOW_BYTES + rng_below(r, 0x1000);
	case 2:
		return AP_TRAMPOLINE + rng_below(r, 0x100);
#ifdef __x86_64__
	case 3:
		return 0x7ffffffffff0ul + rng_below(r, 32);
	case 4:
		return 1ul << 63 | inside;
	case 5:
		return 0xffff900000000000ul + rng_below(r, 0x1000);
	case 6:
		return 1ul << 40 | inside;
#endif
	default:
		return inside;
	}
}

/* An encoding of a field, a type of an invalidation, or nonsense. */
static ulong random_number(struct rng *r)
{
	switch (rng_below(r, 4)) {
	case 0:
		return rng_below(r, 6);
	case 1:
		return VMCS_guest_sysenter_eip;
	case 2:
		return (rng_below(r, 4) << 13 | rng_below(r, 4) << 10 | rng_below(r, 64) << 1) & 0x6fff;
	default:
		return (ulong)rng_next(r);
	}
}

/* A displacement that keeps an address where it is; below RSP is nothing. */
static void put_disp(u8 *to, struct rng *r)
{
	int disp = -0x10 - (int)rng_below(r, 0x60);

	memcpy(to, &disp, 4);
}

/*
 * Prefixes, REX, and ModRM with what belongs behind it. Registers other than AX, CX, DX hold addresses: those are the bases, and
 * none is an index. VMLAUNCH, VMRESUME and VMXOFF stay away: they'd succeed.
 */
static u32 random_bytes(u8 *to, struct rng *r)
{
	const struct insn_row *i = &insn_rows[rng_below(r, 8)];
	u8 prefix = rng_below(r, 3) ? 0 : prefixes[rng_below(r, sizeof(prefixes))], behind[5], modrm;
	u8 rex = sizeof(ulong) == 8 && !rng_below(r, 3) ? (u8)(0x40 | rng_below(r, 16)) : 0;
	u32 n = 0, rm = rng_below(r, 8), mod = rng_below(r, 4);

	/* Without a base the address is the displacement: only in memory that nobody needs. */
	if (mod == 0 && rm == 5)
		mod = 1;
	if (mod < 3 && rm == 4) {
		/* No index but with REX.X, which would make it R12. */
		behind[n++] = (u8)(0x20 | (rng_below(r, 2) ? L1_BX : L1_SI));
		rex &= (u8)~2u;
	}
	/* AX, CX and DX hold numbers. */
	if (mod < 3 && rm < L1_BX && !(rex & 1))
		rm = L1_DI;
	/* The end needs a stack. */
	if (mod == 3 && rm == L1_SP)
		rm = L1_BP;
	modrm = (u8)(mod << 6 | rm);
	put_disp(behind + n, r);
	n += mod == 1 ? 1 : mod == 2 ? 4 : 0;
	return insn_encode(to, i, prefix, rex, modrm, behind, n);
}

static void random_registers(struct l1_code *l, struct rng *r)
{
	l1_code_reset(l);
	for (u32 n = 0; n < ARRAY_SIZE(l->in.reg); n++)
		l->in.reg[n] = n < L1_BX ? random_number(r) : random_address(r);
	l->in.flags = RFLAGS_FIXED | ((u32)rng_next(r) & (RFLAGS_ARITH | FLAGS_DF | FLAGS_ID));
}

static bool legal_fault(const struct l1_code *l)
{
	switch (l->out.vector) {
	case VEC_UD:
	case VEC_GP:
	case VEC_SS:
		return !l->out.error;
	case VEC_PF:
		/* Not present or not, read or write; by a supervisor. */
		return !(l->out.error & ~3ul);
	default:
		return false;
	}
}

static u32 registers_changed(const struct l1_code *l)
{
	u32 changed = 0;

	for (u32 n = 0; n < ARRAY_SIZE(l->in.reg); n++)
		changed += l->in.reg[n] != l->out.reg[n];
	return changed;
}

TEST(insn, random_operands, .sdm = "VMX Instruction Reference: Conventions", .rules = "insn.any-bytes")
{
	static char text[40];
	u8 bytes[INSN_BYTES_MAX];
	struct l1_code l;
	struct window w;
	struct vcpu v;
	struct rng r;
	u32 ended[2] = { 0 };

	judge_begin();
	rng_seed(&r, 7);
	test_vcpu(&v, c, 0);
	l1_code_begin(&l, c);
	window_open(&w);
	for (u32 round = 0; round < ROUNDS; round++) {
		u32 length = random_bytes(bytes, &r);
		struct outcome o;

		/* Operands that are read: pointers, right and wrong. */
		for (u32 k = 0; k < 64; k++)
			((u64 *)(ulong)(FAULT_WINDOW + 0x10000))[rng_below(&r, 512)] =
				rng_below(&r, 2) ? l.scratch + rng_below(&r, 2) : rng_next(&r);
		random_registers(&l, &r);
		o = l1_code_run(&l, bytes, length);
		fmt(text, sizeof(text), "%02x %02x %02x %02x %02x", bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]);
		judge_about(text, NULL);
		ended[o.kind == OUT_FAULT]++;
		if (o.kind == OUT_FAULT) {
			JUDGE("insn.any-bytes", legal_fault(&l), true);
			JUDGE("insn.any-bytes", l1_code_untouched(&l), true);
		} else {
			JUDGE("insn.any-bytes", registers_changed(&l) <= 1, true);
			JUDGE("insn.any-bytes", (l.out.flags ^ l.in.flags) & ~(ulong)RFLAGS_ARITH, 0);
		}
		/* What VMWRITE or VMPTRLD made of the current VMCS. */
		if (vmptrld(v.vmcs_pa).kind != OUT_OK)
			break;
	}
	judge_about("ends", NULL);
	JUDGE("insn.any-bytes", ended[0] > ROUNDS / 10 && ended[1] > ROUNDS / 10, true);
	window_close(&w);
	l1_code_end(&l);
	expect_out(vmclear(v.vmcs_pa), out_ok());
	c->vcpu = NULL;
	judge_done();
}
