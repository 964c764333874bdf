// SPDX-License-Identifier: BSD-2-Clause
/*
 * What bits of CR0 and CR4 do in L2: always what the real bit says, whoever owns it and whatever the read shadow tells L2. SDM:
 * "Guest/Host Masks and Read Shadows for CR0 and CR4".
 */
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define MASKS "Guest/Host Masks and Read Shadows for CR0 and CR4"
#define CODE(text) (text), sizeof(text) - 1
#define CR0_AM 0x40000u
#define CR4_OSFXSR 0x200u
#define RFLAGS_AC 0x40000u
#define PAGE_READ_ONLY (L2_WINDOW + 0x3000u)
#define VEC_AC 17
#define RUNS 0xffu

/* An instruction that one bit of CR0 or CR4 decides about. BX points to what it may access. */
struct effect {
	const char *name;
	u32 number, bit;
	const char *bytes;
	u32 length;
	u32 vector[2]; /* with the bit at 0, at 1 */
	ulong bx;      /* 0: the data page */
	u32 flags;
	bool user;
	bool at_once; /* with the bit at 1 nothing runs, not even what could clear it */
};

static void put_guest(struct snippet *s, const struct effect *f, const u8 *code, u32 length)
{
	snippet_code(s, code, length);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | f->flags);
	s->v.g.bx = f->bx ? f->bx : (ulong)s->data + 1;
}

static void judge_effect(struct snippet *s, u32 prefix, u32 vector)
{
	struct exit e = snippet_run(s);

	if (vector == RUNS) {
		JUDGE("cr.real-bits", snippet_passed(s, &e), true);
		return;
	}
	JUDGE("cr.real-bits", snippet_faulted(&e, vector), true);
	JUDGE("cr.real-bits", e.ip, (ulong)s->code + prefix);
}

static void judge_bit(struct snippet *s, const struct effect *f, u32 real)
{
	const u32 guest = f->number ? VMCS_guest_cr4 : VMCS_guest_cr0;
	const u32 mask = f->number ? VMCS_cr4_guest_host_mask : VMCS_cr0_guest_host_mask;
	const u32 shadow = f->number ? VMCS_cr4_read_shadow : VMCS_cr0_read_shadow;
	u8 code[12] = { 0x0f, TO_CR, (u8)(0xc1 | f->number << 3) };
	u64 value;

	for (u32 owned = 0; owned < 2; owned++) {
		judge_about(f->name, owned ? "the bit is L1's" : "the bit is L2's");
		snippet_mode(s, SNIP_NATIVE, f->user);
		value = (vmread(guest) & ~(u64)f->bit) | (real ? f->bit : 0);
		vmwrite(guest, value);
		vmwrite(mask, owned ? f->bit : 0);
		vmwrite(shadow, ~value);
		put_guest(s, f, (const u8 *)f->bytes, f->length);
		judge_effect(s, 0, f->vector[real]);
	}
	if (f->user || (f->at_once && !real))
		return;
	/* L2 itself writes the bit before: MOV to CRn, CX. */
	judge_about(f->name, "L2 has written the bit");
	snippet_mode(s, SNIP_NATIVE, false);
	vmwrite(guest, value ^ f->bit);
	vmwrite(mask, 0);
	for (u32 i = 0; i < f->length; i++)
		code[3 + i] = (u8)f->bytes[i];
	put_guest(s, f, code, 3 + f->length);
	s->v.g.cx = (ulong)value;
	judge_effect(s, 3, f->vector[real]);
}

static void check(struct cpu *c, u32 opt, const struct effect *effects, u32 count)
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, opt);
	s.v.l2_window[3] = (ulong)s.data | PTE_P | PTE_U;
	for (u32 i = 0; i < count; i++)
		for (u32 real = 0; real < 2; real++)
			judge_bit(&s, &effects[i], real);
	vcpu_destroy(&s.v);
	judge_done();
}

static const struct effect on_all[] = {
	{ "TS, FNOP", 0, CR0_TS, CODE("\xd9\xd0"), { RUNS, VEC_NM }, 0, 0, false, false },
	{ "EM, FNOP", 0, CR0_EM, CODE("\xd9\xd0"), { RUNS, VEC_NM }, 0, 0, false, false },
	{ "WP, a write", 0, CR0_WP, CODE("\x88\x03"), { RUNS, VEC_PF }, PAGE_READ_ONLY, 0, false, false },
	{ "AM, a misaligned read", 0, CR0_AM, CODE("\x8b\x03"), { RUNS, VEC_AC }, 0, RFLAGS_AC, true, false },
	{ "TSD, RDTSC", 4, CR4_TSD, CODE("\x0f\x31"), { RUNS, VEC_GP }, 0, 0, true, false },
	{ "DE, MOV from DR4", 4, CR4_DE, CODE("\x0f\x21\xe0"), { RUNS, VEC_UD }, 0, 0, false, false },
	{ "OSFXSR, XORPS", 4, CR4_OSFXSR, CODE("\x0f\x57\xc0"), { VEC_UD, RUNS }, 0, 0, false, false },
};

TEST(cr, effects, .sdm = MASKS, .rules = "cr.real-bits")
{
	check(c, 0, on_all, ARRAY_SIZE(on_all));
}

TEST(cr, effects_ept, .sdm = MASKS, .opt = OPT_ept, .rules = "cr.real-bits")
{
	check(c, OPT_ept, on_all, ARRAY_SIZE(on_all));
}

/* A read of a page that user mode may access, too, as all of L2's. */
static const struct effect smap[] = {
	{ "SMAP, a read", 4, CR4_SMAP, CODE("\x8b\x03"), { RUNS, VEC_PF }, 0, 0, false, false },
	{ "SMAP, a read with AC", 4, CR4_SMAP, CODE("\x8b\x03"), { RUNS, RUNS }, 0, RFLAGS_AC, false, false },
};

TEST(cr, effects_smap, .sdm = MASKS, .needs = "CR4.SMAP", .rules = "cr.real-bits")
{
	check(c, 0, smap, ARRAY_SIZE(smap));
}

TEST(cr, effects_smap_ept, .sdm = MASKS, .needs = "CR4.SMAP", .opt = OPT_ept, .rules = "cr.real-bits")
{
	check(c, OPT_ept, smap, ARRAY_SIZE(smap));
}

/* L2's code is in such a page, so nothing can be fetched. */
static const struct effect smep[] = {
	{ "SMEP, a fetch", 4, CR4_SMEP, CODE("\x90"), { RUNS, VEC_PF }, 0, 0, false, true },
};

TEST(cr, effects_smep, .sdm = MASKS, .needs = "CR4.SMEP", .rules = "cr.real-bits")
{
	check(c, 0, smep, ARRAY_SIZE(smep));
}

TEST(cr, effects_smep_ept, .sdm = MASKS, .needs = "CR4.SMEP", .opt = OPT_ept, .rules = "cr.real-bits")
{
	check(c, OPT_ept, smep, ARRAY_SIZE(smep));
}
