// SPDX-License-Identifier: BSD-2-Clause
/*
 * Guest/host masks and read shadows of CR0 and CR4: what L2 reads, which writes exit, and what the others write. SDM: "Changes
 * to Instruction Behavior in VMX Non-Root Operation".
 */
#include "core/mem.h"
#include "testcases/cr_code.h"
#include "testcases/judge.h"
#include "x86/cr.h"

#define CHANGES "Changes to Instruction Behavior in VMX Non-Root Operation"
#define FIXED "Restrictions on VMX Operation"
#define CODE(text) (text), sizeof(text) - 1
#define BITS (sizeof(ulong) * 8)
#define CR0_AM 0x40000u
#define CR4_PVI 0x2u
#define CR4_MCE 0x40u
#define CR4_PCE 0x100u
#define CR4_OSFXSR 0x200u
#define CR4_OSXMMEXCPT 0x400u
#define MSW 0xfu /* what LMSW writes */

/* CR0 or CR4 and its fields. */
struct cr {
	u32 number;
	const char *exit_rule, *write_rule;
	u32 guest, mask, shadow;
};
static const struct cr cr0 = {
	0, "cr.mov-to-cr0", "cr.masked-kept", VMCS_guest_cr0, VMCS_cr0_guest_host_mask, VMCS_cr0_read_shadow
};
static const struct cr cr4 = {
	4, "cr.mov-to-cr4", "cr.masked-kept", VMCS_guest_cr4, VMCS_cr4_guest_host_mask, VMCS_cr4_read_shadow
};

static void begin(struct snippet *s, struct cpu *c)
{
	judge_begin();
	snippet_begin(s, c, 0);
}

static void end(struct snippet *s)
{
	vcpu_destroy(&s->v);
	judge_done();
}

#define MASKS(name_, ...) TEST_WITH(cr, name_, struct snippet, s, begin(s, c), end(s), __VA_ARGS__)

static void own(const struct cr *cr, ulong mask, ulong shadow)
{
	vmwrite(cr->mask, mask);
	vmwrite(cr->shadow, shadow);
}

/* L2 reads all that it can: MOV AX, CR0; MOV BX, CR4; SMSW CX. */
static void judge_reads(struct snippet *s, ulong mask, ulong shadow)
{
	const ulong real0 = (ulong)vmread(VMCS_guest_cr0), real4 = (ulong)vmread(VMCS_guest_cr4);
	const ulong want0 = (real0 & ~mask) | (shadow & mask);

	own(&cr0, mask, shadow);
	own(&cr4, mask, shadow);
	snippet_code(s, CODE("\x0f\x20\xc0\x0f\x20\xe3\x0f\x01\xe1"));
	if (!judge_runs(s, WHERE("cr.read-shadow")))
		return;
	JUDGE("cr.read-shadow", s->v.g.ax, want0);
	JUDGE("cr.read-shadow", s->v.g.bx, (real4 & ~mask) | (shadow & mask));
	JUDGE("cr.smsw", (u16)s->v.g.cx, (u16)want0);
}

MASKS(read_shadows, .sdm = CHANGES, .rules = "cr.read-shadow cr.smsw")
{
	judge_about("no bit is L1's", NULL);
	judge_reads(s, 0, ~0ul);
	judge_about("all bits are L1's", NULL);
	judge_reads(s, ~0ul, 0);
	judge_reads(s, ~0ul, ~0ul);
	judge_reads(s, ~0ul, (ulong)0x123456789abcdef0ull);
	judge_about("one bit is L1's", NULL);
	for (u32 bit = 0; bit < BITS; bit++) {
		judge_reads(s, 1ul << bit, 0);
		judge_reads(s, 1ul << bit, ~0ul);
	}
}

/* SMSW to memory: two bytes. At CPL 3 it's the same. */
MASKS(smsw, .sdm = CHANGES, .rules = "cr.smsw")
{
	own(&cr0, 0xffff, 0x1234a5c3);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_16; mode = snippet_next(mode)) {
		for (u32 user = 0; user < 2; user++) {
			judge_about(snippet_name(mode), user ? "CPL 3" : "CPL 0");
			snippet_mode(s, mode, user);
			memset(s->data, 0xee, 8);
			snippet_code(s, CODE("\x0f\x01\x23"));
			s->v.g.bx = (ulong)s->data;
			judge_runs(s, WHERE("cr.smsw"));
			JUDGE("cr.smsw", *(u64 *)s->data, 0xeeeeeeeeeeeea5c3);
		}
	}
}

/* L2 writes CR0 or CR4 by MOV and must exit or not. */
static void judge_write(struct snippet *s, const struct cr *cr, ulong value, bool exits)
{
	const ulong real = (ulong)vmread(cr->guest), mask = (ulong)vmread(cr->mask);

	snippet_mov(s, TO_CR, cr->number, 1);
	s->v.g.cx = value;
	if (exits) {
		judge_access(s, WHERE(cr->exit_rule), EXIT_cr_access, QUAL_TO_CR(cr->number) | QUAL_REGISTER(1));
		return;
	}
	if (judge_runs(s, WHERE(cr->exit_rule)))
		judge_equal(WHERE(cr->write_rule), "saved", vmread(cr->guest), (real & mask) | (value & ~mask));
	vmwrite(cr->guest, real);
}

/* One bit, with those that no value may have without it. */
static void judge_bit(struct snippet *s, const struct cr *cr, u32 bit)
{
	const ulong real = (ulong)vmread(cr->guest), one = 1ul << bit;
	ulong mask = one;

	if (cr->number == 0 && one & (CR0_PE | CR0_PG))
		mask = CR0_PE | CR0_PG;
	if (cr->number == 0 && one & (CR0_NW | CR0_CD))
		mask = CR0_NW | CR0_CD;
	/* The other bits of the shadow say nothing. */
	own(cr, mask, real ^ ~mask);
	judge_about("another value of L1's bit", NULL);
	judge_write(s, cr, real ^ one, true);
	judge_about("the same value of L1's bit", NULL);
	judge_write(s, cr, real, false);
	own(cr, mask, real ^ mask);
	judge_about("the real value of L1's bit, not the shadow's", NULL);
	judge_write(s, cr, real, true);
	judge_about("the shadow's value of L1's bit, not the real one", NULL);
	judge_write(s, cr, real ^ mask, false);
}

#define WROTE " cr.masked-kept exit.info.cr-access" CR_TOLD

MASKS(mask_cr0, .sdm = CHANGES, .rules = "cr.mov-to-cr0" WROTE)
{
	/* Two of them are reserved. */
	static const u8 bits[] = { 0, 1, 2, 3, 4, 5, 6, 16, 18, 28, 29, 30, 31 };

	for (u32 i = 0; i < sizeof(bits); i++)
		judge_bit(s, &cr0, bits[i]);
}

MASKS(mask_cr4, .sdm = CHANGES, .rules = "cr.mov-to-cr4" WROTE)
{
	for (u32 bit = 0; bit < 25; bit++)
		judge_bit(s, &cr4, bit);
}

/* Bits that L2 has itself: MOV to CRn, AX; MOV BX, CRn. */
static void judge_free(struct snippet *s, const struct cr *cr, ulong bits)
{
	const char codes[2][6] = { { 0x0f, 0x22, (char)0xc0, 0x0f, 0x20, (char)0xc3 },
				   { 0x0f, 0x22, (char)0xe0, 0x0f, 0x20, (char)0xe3 } };
	const ulong real = (ulong)vmread(cr->guest);

	for (ulong rest = bits; rest; rest &= rest - 1) {
		ulong value = real ^ (rest & -rest);

		snippet_code(s, codes[cr->number / 4], 6);
		s->v.g.ax = value;
		judge_runs(s, WHERE("cr.unmasked-written"));
		JUDGE("cr.unmasked-written", s->v.g.bx, value);
		JUDGE("cr.unmasked-written", vmread(cr->guest), value);
		vmwrite(cr->guest, real);
	}
}

MASKS(unmasked, .sdm = CHANGES, .rules = "cr.unmasked-written")
{
	const u32 bits0 = CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM;
	const u32 bits4 = (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR |
			   CR4_OSXMMEXCPT) &
			  vmx_caps.cr4_fixed1;

	judge_about("no bit is L1's", NULL);
	own(&cr0, 0, ~0ul);
	own(&cr4, 0, ~0ul);
	judge_free(s, &cr0, bits0);
	judge_free(s, &cr4, bits4);
	judge_about("all other bits are L1's", NULL);
	own(&cr0, ~(ulong)bits0, read_cr0());
	own(&cr4, ~(ulong)bits4, read_cr4());
	judge_free(s, &cr0, bits0);
	judge_free(s, &cr4, bits4);
}

static void judge_ignored(struct snippet *s, const char *name, ulong value)
{
	judge_about(name, NULL);
	snippet_code(s, CODE("\x0f\x22\xc1\x0f\x20\xc3")); /* MOV CR0, CX; MOV BX, CR0 */
	s->v.g.cx = value;
	if (!judge_runs(s, WHERE("cr.ignored")))
		return;
	JUDGE("cr.ignored", s->v.g.bx, read_cr0());
	JUDGE("cr.ignored", vmread(VMCS_guest_cr0), read_cr0());
	vmwrite(VMCS_guest_cr0, read_cr0());
}

/* Bits of CR0 that MOV doesn't write, and doesn't complain about. */
MASKS(ignored, .sdm = "MOV-Move to/from Control Registers", .rules = "cr.ignored")
{
	const u32 reserved = 0x1ffaffc0;

	for (u32 rest = reserved; rest; rest &= rest - 1)
		judge_ignored(s, "a reserved bit of CR0", read_cr0() | (rest & -rest));
	judge_ignored(s, "CR0 without ET", read_cr0() & ~(ulong)CR0_ET);
}

MASKS(clts_shadow, .sdm = CHANGES, .rules = "cr.clts cr.clts-effect exit.info.cr-access" CR_TOLD)
{
	static const struct {
		const char *name;
		u32 mask, shadow;
		bool exits, clears;
	} rows[] = {
		{ "TS is L2's, shadow 0", 0, 0, false, true },
		{ "TS is L2's, shadow 1", 0, CR0_TS, false, true },
		{ "TS is L1's, shadow 0", CR0_TS, 0, false, false },
		{ "TS is L1's, shadow 1", CR0_TS, CR0_TS, true, false },
		{ "all bits but TS are L1's", ~CR0_TS, ~0u, false, true },
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		own(&cr0, rows[i].mask, rows[i].shadow);
		for (u32 ts = 0; ts <= CR0_TS; ts += CR0_TS) {
			const u64 real = (read_cr0() & ~(ulong)CR0_TS) | ts;

			judge_about(rows[i].name, ts ? "TS is 1" : "TS is 0");
			vmwrite(VMCS_guest_cr0, real);
			snippet_code(s, CODE("\x0f\x06"));
			if (rows[i].exits)
				judge_access(s, WHERE("cr.clts"), EXIT_cr_access, QUAL_CLTS);
			else if (judge_runs(s, WHERE("cr.clts")))
				JUDGE("cr.clts-effect", vmread(VMCS_guest_cr0),
				      rows[i].clears ? real & ~(u64)CR0_TS : real);
		}
	}
}

static void judge_lmsw(struct snippet *s, ulong mask, ulong shadow, u32 source)
{
	const ulong real = read_cr0() | CR0_TS;
	const bool exits = (mask & source & ~shadow & CR0_PE) || (mask & (source ^ shadow) & MSW & ~CR0_PE);
	/* PE is 1 and stays so. */
	const ulong written = MSW & ~(ulong)CR0_PE & ~mask;

	vmwrite(VMCS_guest_cr0, real);
	own(&cr0, mask, shadow);
	snippet_code(s, CODE("\x0f\x01\xf1")); /* CX */
	s->v.g.cx = source;
	if (exits)
		judge_access(s, WHERE("cr.lmsw"), EXIT_cr_access, QUAL_LMSW((u16)source));
	else if (judge_runs(s, WHERE("cr.lmsw")))
		JUDGE("cr.lmsw-effect", vmread(VMCS_guest_cr0), (real & ~written) | (source & written));
}

MASKS(lmsw_shadow, .sdm = CHANGES, .rules = "cr.lmsw cr.lmsw-effect exit.info.cr-access" CR_TOLD)
{
	static const u32 sources[] = { 0, CR0_PE, CR0_MP, CR0_TS, 0xf, 0xfff0 };

	for (u32 i = 0; i < ARRAY_SIZE(sources); i++) {
		judge_about("no bit is L1's", NULL);
		judge_lmsw(s, 0, ~0ul, sources[i]);
		judge_about("all bits but LMSW's are L1's", NULL);
		judge_lmsw(s, ~(ulong)MSW, 0, sources[i]);
		for (u32 bit = 1; bit <= CR0_TS; bit <<= 1) {
			judge_about("one bit is L1's", bit == CR0_PE ? "PE" : bit == CR0_TS ? "TS" : NULL);
			judge_lmsw(s, bit, 0, sources[i]);
			judge_lmsw(s, bit, bit, sources[i]);
		}
		judge_about("all bits are L1's", NULL);
		judge_lmsw(s, ~0ul, sources[i], sources[i]);
		judge_lmsw(s, ~0ul, sources[i] | CR0_PE, sources[i]);
		judge_lmsw(s, ~0ul, sources[i] ^ CR0_EM, sources[i]);
	}
}

/*
 * L1 keeps TS from L2, as for a lazy switch of the FPU. Whatever else L2 writes to CR0, an FPU instruction is #NM. Each row
 * changes MP too, which a hypervisor below may have made its own.
 */
MASKS(ts_stays, .sdm = CHANGES, .rules = "cr.lmsw-effect cr.clts-effect cr.masked-kept")
{
	static const struct {
		const char *name, *rule, *code;
	} rows[] = {
		{ "LMSW, FNOP", "cr.lmsw-effect", "\x0f\x01\xf1\xd9\xd0" },
		{ "MOV to CR0, FNOP", "cr.masked-kept", "\x0f\x22\xc1\xd9\xd0" },
		{ "CLTS, NOP, FNOP", "cr.clts-effect", "\x0f\x06\x90\xd9\xd0" },
	};
	struct exit e;

	own(&cr0, CR0_TS, 0);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		judge_about(rows[i].name, NULL);
		vmwrite(VMCS_guest_cr0, (read_cr0() & ~(ulong)CR0_EM) | CR0_TS);
		snippet_code(s, rows[i].code, 5);
		s->v.g.cx = (read_cr0() & ~(ulong)(CR0_TS | CR0_EM)) ^ CR0_MP;
		e = snippet_run(s);
		if (judge_equal(WHERE(rows[i].rule), "exits by NM", snippet_faulted(&e, VEC_NM), true))
			judge_equal(WHERE(rows[i].rule), "RIP", e.ip, (ulong)s->code + 3);
	}
}

/* What L2 reads behind a write that doesn't exit: L1's bits from the shadow, as before. */
MASKS(shadow_after_write, .sdm = CHANGES, .rules = "cr.read-shadow")
{
	const struct {
		const char *name, *code;
		const struct cr *cr;
		ulong value;
	} rows[] = {
		{ "MOV to CR0", "\x0f\x22\xc1\x0f\x20\xc3", &cr0, (read_cr0() & ~(ulong)CR0_NE) ^ CR0_MP },
		{ "MOV to CR4", "\x0f\x22\xe1\x0f\x20\xe3", &cr4, (read_cr4() & ~(ulong)CR4_VMXE) ^ CR4_TSD },
		{ "LMSW", "\x0f\x01\xf1\x0f\x20\xc3", &cr0, (read_cr0() & ~(ulong)CR0_NE) ^ CR0_MP },
	};

	own(&cr0, CR0_NE, 0);
	own(&cr4, CR4_VMXE, 0);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		judge_about(rows[i].name, NULL);
		vmwrite(VMCS_guest_cr0, read_cr0());
		vmwrite(VMCS_guest_cr4, read_cr4());
		snippet_code(s, rows[i].code, 6);
		s->v.g.cx = rows[i].value;
		if (judge_runs(s, WHERE("cr.read-shadow")))
			JUDGE("cr.read-shadow", s->v.g.bx, rows[i].value);
	}
}

/* Values that no guest may have. */
static void judge_refused(struct snippet *s, const struct cr *cr, const char *rule, ulong value)
{
	const ulong real = (ulong)vmread(cr->guest);

	snippet_mov(s, TO_CR, cr->number, 1);
	s->v.g.cx = value;
	judge_fault(s, WHERE(rule), VEC_GP);
	judge_equal(WHERE(rule), "saved", vmread(cr->guest), real);
	vmwrite(cr->guest, real);
}

MASKS(fixed_cr0, .sdm = FIXED, .rules = "vmcs.guest-cr0-fixed")
{
	for (u32 owned = 0; owned < 2; owned++) {
		judge_about("NE", owned ? "other bits are L1's" : NULL);
		own(&cr0, owned ? CR0_MP | CR0_PG : 0, read_cr0());
		judge_refused(s, &cr0, "vmcs.guest-cr0-fixed", read_cr0() & ~(ulong)CR0_NE);
	}
}

/* Without "unrestricted guest" PG is fixed, too; in 64-bit mode clearing it is #GP for another reason. */
MASKS(fixed_cr0_pg, .sdm = FIXED, .rules = "vmcs.guest-cr0-fixed")
{
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode)) {
		if (SNIP_IS_64(mode))
			continue;
		judge_about("PG", snippet_name(mode));
		snippet_mode(s, mode, false);
		judge_refused(s, &cr0, "vmcs.guest-cr0-fixed", read_cr0() & ~(ulong)CR0_PG);
	}
}

MASKS(fixed_cr4, .sdm = FIXED, .rules = "vmcs.guest-cr4-fixed")
{
	for (u32 owned = 0; owned < 2; owned++) {
		judge_about("VMXE", owned ? "other bits are L1's" : NULL);
		own(&cr4, owned ? CR4_DE | CR4_PAE : 0, read_cr4());
		judge_refused(s, &cr4, "vmcs.guest-cr4-fixed", read_cr4() & ~(ulong)CR4_VMXE);
	}
	judge_about("a bit that is fixed to 0", NULL);
	for (u32 bit = 0; bit < BITS; bit += bit < 32 ? 1 : 7)
		if (!(vmx_caps.cr4_fixed1 >> bit & 1))
			judge_refused(s, &cr4, "vmcs.guest-cr4-fixed", read_cr4() | 1ul << bit);
}

/* A value that would be #GP exits, if it exits at all. */
MASKS(exit_before_gp, .sdm = "Relative Priority of Faults and VM Exits",
      .rules = "cr.exit-before-gp exit.info.cr-access" CR_TOLD)
{
	struct {
		const char *name;
		const struct cr *cr;
		ulong value;
	} rows[] = {
		{ "CR0 without NE", &cr0, (read_cr0() & ~(ulong)CR0_NE) ^ CR0_MP },
		{ "CR0 with NW and without CD", &cr0, (read_cr0() | CR0_NW) ^ CR0_MP },
		{ "CR0 with PG and without PE", &cr0, (read_cr0() & ~(ulong)CR0_PE) ^ CR0_MP },
		{ "CR0 with a bit above 31", &cr0, (read_cr0() | 1ul << (BITS - 1)) ^ CR0_MP },
		{ "CR4 without VMXE", &cr4, (read_cr4() & ~(ulong)CR4_VMXE) ^ CR4_DE },
		{ "CR4 with a reserved bit", &cr4, (read_cr4() | 1ul << (BITS - 1)) ^ CR4_DE },
	};

	own(&cr0, CR0_MP, read_cr0());
	own(&cr4, CR4_DE, read_cr4());
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		judge_about(rows[i].name, NULL);
		snippet_mov(s, TO_CR, rows[i].cr->number, 1);
		s->v.g.cx = rows[i].value;
		judge_access(s, WHERE("cr.exit-before-gp"), EXIT_cr_access,
			     QUAL_TO_CR(rows[i].cr->number) | QUAL_REGISTER(1));
	}
}
