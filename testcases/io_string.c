// SPDX-License-Identifier: BSD-2-Clause
/* INS and OUTS: what exits tell, in all modes, and what comes first where their access would fault. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/mem.h"
#include "testcases/io.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define QUALIFICATION "Exit Qualification for I/O Instructions"
#define PRIORITY "Relative Priority of Faults and VM Exits"
#define UNCONDITIONAL "unconditional I/O exiting"
#define BASIC_INS_OUTS (1ull << 54) /* IA32_VMX_BASIC: exits by INS and OUTS tell address size and segment */
#define SEG_ES 0
#define SEG_DS 3
#define SEG_FS 4
#define PORT 0x1234
#define CR0_AM 0x40000u
#define RFLAGS_AC 0x40000u

/* The order of the instruction information's field, which is that of the VMCS's fields. */
static u64 base_of(u32 segment)
{
	return vmread(VMCS_guest_es_base + 2 * segment);
}

/* Another base for each segment but CS, which the code is in. In 64-bit mode only two of them count. */
static void set_bases(struct snippet *s)
{
	static const u32 bases[] = { 0x11000000, 0, 0x22000000, 0x33000000, 0x44000000, 0xf5000000 };

	for (u32 n = 0; n < ARRAY_SIZE(bases); n++)
		vmwrite(VMCS_guest_es_base + 2 * n, bases[n]);
	if (SNIP_IS_64(s->mode))
		vmwrite(VMCS_guest_fs_base, 0x110012340000ull);
}

static void judge_information(const struct snippet *s, const struct io_insn *i, u32 segment, bool override)
{
	u32 mode_bits = SNIP_IS_64(s->mode) ? 64 : s->mode == SNIP_16 ? 16 : 32;
	u32 bits = !i->other_address ? mode_bits : mode_bits == 32 ? 16 : 32, info;
	u64 offset = i->opcode & 2 ? s->v.g.si : s->v.g.di, linear;

	if (bits < 64)
		offset &= (1ull << bits) - 1;
	linear = offset + (SNIP_IS_64(s->mode) && segment < SEG_FS ? 0 : base_of(segment));
	if (!SNIP_IS_64(s->mode))
		linear = (u32)linear;
	JUDGE("io.linear-address", vmread(VMCS_guest_linear_address), linear);
	if (!(vmx_caps.basic & BASIC_INS_OUTS))
		return;
	info = (u32)vmread(VMCS_exit_instruction_info);
	JUDGE("io.info-address-size", info >> 7 & 7, bits / 32);
	/* Which segment is told where an override does nothing isn't said. Of INS it's undefined. */
	if (i->opcode & 2 && !(override && SNIP_IS_64(s->mode) && segment < SEG_FS))
		JUDGE("io.info-segment", info >> 15 & 7, segment);
}

/* segment: override, or -1 */
static void run(struct snippet *s, struct io_insn *i, int segment)
{
	static const u8 overrides[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	struct gregs before;
	struct exit e;

	i->port = PORT;
	i->prefix = segment < 0 ? 0 : overrides[segment];
	io_put(s, i);
#ifdef __x86_64__
	s->v.g.si |= 0x123400000000;
	s->v.g.di |= 0x234500000000;
#endif
	if (s->user)
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IOPL3);
	before = s->v.g;
	e = snippet_run(s);
	if (!io_judge_exit(s, i, &e))
		return;
	JUDGE("io.no-effect", memcmp(&before, &s->v.g, sizeof(before)), 0);
	JUDGE("io.no-effect", e.ip, (ulong)s->code);
	judge_information(s, i, i->opcode & 2 ? (segment < 0 ? SEG_DS : (u32)segment) : SEG_ES, segment >= 0);
}

/* Sizes, REP and address sizes by the bits of n. */
static void all_forms(struct snippet *s)
{
	for (u32 n = 0; n < 24; n++) {
		struct io_insn i = { .rep = n & 1, .other_address = n & 2 };
		u32 form = n / 4 % 3;

		i.opcode = (u8)((n < 12 ? OP_INS : OP_OUTS) | (form > 0));
		i.other_size = form == 2;
		run(s, &i, -1);
		/* INS knows no override: it's always ES. */
		for (int segment = 0; segment < 6; segment++)
			if (n >= 12 || segment == SEG_FS)
				run(s, &i, segment);
	}
}

TEST(io, strings, .sdm = QUALIFICATION, .needs = UNCONDITIONAL,
     .rules = "io.linear-address io.info-address-size io.info-segment " IO_TOLD)
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	io_unconditional(&s, true);
	for (u32 n = 0; n < SNIP_MODES * 2; n++) {
		if (sizeof(ulong) == 4 && n / 2 == SNIP_COMPAT)
			continue;
		judge_about(snippet_name(n / 2), n & 1 ? "CPL 3" : "CPL 0");
		snippet_mode(&s, n / 2, n & 1);
		set_bases(&s);
		all_forms(&s);
	}
	if (!(vmx_caps.basic & BASIC_INS_OUTS)) {
		judge_absent("io.info-address-size");
		judge_absent("io.info-segment");
	}
	judge_done();
}

/* --- Priorities --- */

static const struct io_insn ins = { .opcode = OP_INS | 1, .port = PORT },
			    outs = { .opcode = OP_OUTS | 1, .port = PORT };

/* INS and OUTS at this address exit, whatever their access would be. */
static void judge_later(struct snippet *s, const char *rule, ulong address, bool write, bool read)
{
	for (u32 n = 0; n < 2; n++) {
		if (!(n ? read : write))
			continue;
		io_put(s, n ? &outs : &ins);
		s->v.g.di = s->v.g.si = address;
		if (s->user)
			vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IOPL3 | RFLAGS_AC);
		judge_equal(&(const struct where){ __FILE__, __LINE__, rule }, n ? "exit by OUTS" : "exit by INS",
			    snippet_run(s).reason, EXIT_io);
	}
}

TEST(io, segment_later, .sdm = PRIORITY, .needs = UNCONDITIONAL, .rules = "io.segment-later")
{
	struct snippet s;
	ulong data;

	judge_begin();
	snippet_begin(&s, c, 0);
	io_unconditional(&s, true);
	data = (ulong)s.data;
	for (u32 segment = SEG_ES; segment <= SEG_DS; segment += SEG_DS) {
		bool write = segment == SEG_ES;

		snippet_mode(&s, SNIP_32, false);
		vmwrite(VMCS_guest_es_limit + 2 * segment, 0);
		vmwrite(VMCS_guest_es_access_rights + 2 * segment, AR_DATA32 & ~0x8000u);
		judge_about("beyond the limit", NULL);
		judge_later(&s, "io.segment-later", data, write, !write);
		snippet_mode(&s, SNIP_32, false);
		vmwrite(VMCS_guest_es_selector + 2 * segment, 0);
		vmwrite(VMCS_guest_es_access_rights + 2 * segment, AR_UNUSABLE);
		judge_about("not usable", NULL);
		judge_later(&s, "io.segment-later", data, write, !write);
	}
	snippet_mode(&s, SNIP_32, false);
	vmwrite(VMCS_guest_es_access_rights, AR_DATA32 & ~2u);
	judge_about("not writable", NULL);
	judge_later(&s, "io.segment-later", data, true, false);
	judge_done();
}

TEST(io, page_later, .sdm = PRIORITY, .needs = UNCONDITIONAL, .rules = "io.page-later")
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	io_unconditional(&s, true);
	judge_about("page not present", NULL);
	judge_later(&s, "io.page-later", L2_WINDOW, true, true);
	s.v.l2_window[0] = (ulong)page_alloc() | PTE_P;
	judge_about("page read-only", NULL);
	judge_later(&s, "io.page-later", L2_WINDOW, true, true);
	judge_about("a page of the supervisor's", NULL);
	snippet_mode(&s, SNIP_NATIVE, true);
	judge_later(&s, "io.page-later", L2_WINDOW, true, true);
#ifdef __x86_64__
	judge_about("address not canonical", NULL);
	snippet_mode(&s, SNIP_NATIVE, false);
	judge_later(&s, "io.page-later", 1ul << 63, true, true);
#endif
	judge_done();
}

TEST(io, ept_later, .sdm = PRIORITY, .needs = UNCONDITIONAL, .opt = OPT_ept, .rules = "io.page-later")
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, OPT_ept);
	io_unconditional(&s, true);
	s.v.l2_window[0] = GPA_UNMAPPED | PTE_P | PTE_W | PTE_U;
	judge_later(&s, "io.page-later", L2_WINDOW, true, true);
	judge_done();
}

TEST(io, alignment_later, .sdm = PRIORITY, .needs = UNCONDITIONAL, .rules = "io.alignment-later")
{
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	io_unconditional(&s, true);
	snippet_mode(&s, SNIP_NATIVE, true);
	vmwrite_bits(VMCS_guest_cr0, 0, CR0_AM);
	judge_later(&s, "io.alignment-later", (ulong)s.data + 1, true, true);
	judge_done();
}

/* --- IOPL, and the permission bits of the TSS --- */

#define TSS_MAP_BASE 0x66 /* offset of the field in the TSS */
#define MAP 0x68u         /* offset of the map */

static void judge_permission(struct snippet *s, u32 cpl_flags, bool exits)
{
	static const u8 opcodes[] = { OP_IN_DX | 1, OP_OUT_DX | 1, OP_INS | 1, OP_OUTS | 1 };

	for (u32 n = 0; n < ARRAY_SIZE(opcodes); n++) {
		const struct io_insn i = { .opcode = opcodes[n], .port = PORT };
		struct exit e;

		io_put(s, &i);
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | cpl_flags);
		s->v.g.di = s->v.g.si = (ulong)s->data;
		e = snippet_run(s);
		JUDGE("io.permission-first", exits ? e.reason == EXIT_io : snippet_faulted(&e, VEC_GP), true);
	}
}

/* The TSS's map with the bits of `bits`, beginning with the port before. */
static void set_map(u8 *tss, u32 bits)
{
	u8 *at = tss + MAP + (PORT - 1) / 8;
	u32 all = bits << (PORT - 1) % 8;

	memset(tss + MAP, 0, 0x2001);
	for (u32 n = 0; n < 3; n++)
		at[n] = (u8)(all >> 8 * n);
}

TEST(io, permission_first, .sdm = PRIORITY, .needs = UNCONDITIONAL, .rules = "io.permission-first")
{
	u8 *tss = pages_alloc_aligned(3, PAGE_SIZE);
	struct snippet s;

	judge_begin();
	snippet_begin(&s, c, 0);
	io_unconditional(&s, true);
	snippet_mode(&s, SNIP_NATIVE, true);
	vmwrite(VMCS_guest_tr_base, (ulong)tss);
	vmwrite(VMCS_guest_tr_limit, MAP + 0x2000);
	*(volatile u16 *)(void *)(tss + TSS_MAP_BASE) = MAP;
	tss[MAP + 0x2000] = 0xff;
	judge_about("IOPL 3", NULL);
	set_map(tss, ~0u);
	judge_permission(&s, RFLAGS_IOPL3, true);
	judge_about("IOPL 0, all bits clear", NULL);
	set_map(tss, 0);
	judge_permission(&s, 0, true);
	judge_about("IOPL 0, bits of the neighbours", NULL);
	set_map(tss, 0x21);
	judge_permission(&s, 0, true);
	judge_about("IOPL 0, one bit", NULL);
	set_map(tss, 0x2);
	judge_permission(&s, 0, false);
	set_map(tss, 0x10);
	judge_permission(&s, 0, false);
	judge_about("IOPL 0, no map", NULL);
	set_map(tss, 0);
	vmwrite(VMCS_guest_tr_limit, MAP - 1);
	judge_permission(&s, 0, false);
	judge_done();
}
