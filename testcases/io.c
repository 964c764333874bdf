// SPDX-License-Identifier: BSD-2-Clause
/* I/O instructions: what the exits tell, and what is accessed by them. */
#include "testcases/io.h"
#include "core/mem.h"
#include "lhv/mem.h"
#include "x86/cr.h"
#include "x86/seg.h"

#define QUALIFICATION "Exit Qualification for I/O Instructions"
#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define UNCONDITIONAL "unconditional I/O exiting"

static bool immediate(const struct io_insn *i)
{
	return i->opcode >> 2 == OP_IN_IMMEDIATE >> 2;
}

static bool string(const struct io_insn *i)
{
	return i->opcode >> 4 == 6;
}

u32 io_encode(const struct io_insn *i, u8 *code)
{
	u32 n = 0;

	if (i->rep)
		code[n++] = 0xf3;
	if (i->other_address)
		code[n++] = 0x67;
	if (i->other_size)
		code[n++] = 0x66;
	if (i->prefix)
		code[n++] = i->prefix;
	code[n++] = i->opcode;
	if (immediate(i))
		code[n++] = (u8)i->port;
	return n;
}

void io_put(struct snippet *s, const struct io_insn *i)
{
	u8 code[8];

	snippet_code(s, code, io_encode(i, code));
	if (!immediate(i))
		s->v.g.dx = (s->v.g.dx & ~(ulong)0xffff) | i->port;
}

u64 io_qualification(enum snip_mode mode, const struct io_insn *i)
{
	u32 size = !(i->opcode & 1) ? 1 : (mode == SNIP_16) == i->other_size ? 4 : 2;

	return (size - 1) | (i->opcode & 2 ? 0 : IO_IN) | (string(i) ? IO_STRING : 0) | (i->rep ? IO_REP : 0) |
	       (immediate(i) ? IO_IMMEDIATE : 0) | (u32)i->port << IO_PORT_SHIFT;
}

bool io_judge_exit(struct snippet *s, const struct io_insn *i, const struct exit *e)
{
	u64 want = io_qualification(s->mode, i), got = e->qualification;

	if (!JUDGE("exit.info.io", e->reason, EXIT_io))
		return false;
	JUDGE("io.size", got & IO_SIZE, want & IO_SIZE);
	JUDGE("io.direction", got & IO_IN, want & IO_IN);
	JUDGE("io.string", got & IO_STRING, want & IO_STRING);
	JUDGE("io.rep", got & IO_REP, want & IO_REP);
	JUDGE("io.immediate", got & IO_IMMEDIATE, want & IO_IMMEDIATE);
	JUDGE("io.port", (u16)(got >> IO_PORT_SHIFT), (u16)(want >> IO_PORT_SHIFT));
	JUDGE("io.reserved", got & (ulong)IO_RESERVED, 0);
	JUDGE("io.length", e->length, s->length);
	return true;
}

void io_unconditional(struct snippet *s, bool on)
{
	s->v.ctl[CTL_PROC] = on ? PROC_unconditional_io_exiting : 0;
	vcpu_write_controls(&s->v);
}

static void run(struct snippet *s, const struct io_insn *i)
{
	struct gregs before;
	struct exit e;

	io_put(s, i);
	if (s->user)
		vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IOPL3);
	before = s->v.g;
	e = snippet_run(s);
	if (!io_judge_exit(s, i, &e))
		return;
	JUDGE("io.no-effect", memcmp(&before, &s->v.g, sizeof(before)), 0);
	JUDGE("io.no-effect", e.ip, (ulong)s->code);
}

static void all_ports(struct snippet *s, u8 opcode)
{
	static const u16 ports[] = { 0, 1, 0x7f, 0x80, 0xff, 0x3f8, 0x7fff, 0x8000, 0xfffe, 0xffff };
	struct io_insn i = { 0 };

	for (u32 n = 0; n < ARRAY_SIZE(ports); n++) {
		i.port = ports[n];
		for (u32 form = 0; form < 3; form++) {
			i.opcode = (u8)(opcode | (form > 0));
			i.other_size = form == 2;
			if (!immediate(&i) || i.port < 0x100)
				run(s, &i);
		}
	}
	if (!SNIP_IS_64(s->mode))
		return;
	/* REX.W doesn't make it 64 bits. */
	i.other_size = false;
	i.prefix = 0x48;
	i.port = 0x90;
	run(s, &i);
}

TEST(io, forms, .sdm = QUALIFICATION, .needs = UNCONDITIONAL, .rules = "io.unconditional " IO_TOLD)
{
	static const u8 opcodes[] = { OP_IN_IMMEDIATE, OP_OUT_IMMEDIATE, OP_IN_DX, OP_OUT_DX };
	const struct io_insn in = { .opcode = OP_IN_DX, .port = 0x21 };
	struct snippet s;
	struct exit e;

	judge_begin();
	snippet_begin(&s, c, 0);
	io_unconditional(&s, true);
	for (u32 n = 0; n < SNIP_MODES * 2; n++) {
		if (sizeof(ulong) == 4 && n / 2 == SNIP_COMPAT)
			continue;
		judge_about(snippet_name(n / 2), n & 1 ? "CPL 3" : "CPL 0");
		snippet_mode(&s, n / 2, n & 1);
		for (u32 k = 0; k < ARRAY_SIZE(opcodes); k++)
			all_ports(&s, opcodes[k]);
	}
	io_put(&s, &in);
	vmwrite(VMCS_guest_rflags, RFLAGS_FIXED | RFLAGS_IOPL3);
	JUDGE("io.unconditional", snippet_run(&s).reason, EXIT_io);
	judge_about("without the control", NULL);
	io_unconditional(&s, false);
	snippet_mode(&s, SNIP_NATIVE, false);
	io_put(&s, &in);
	e = snippet_run(&s);
	JUDGE("io.unconditional", snippet_passed(&s, &e), true);
	judge_done();
}

/* --- I/O bitmaps --- */

struct bitmaps {
	struct snippet s;
	u8 *page[2]; /* A and B */
};

static void begin_bitmaps(struct bitmaps *b, struct cpu *c, u32 controls)
{
	judge_begin();
	snippet_begin(&b->s, c, 0);
	for (u32 i = 0; i < 2; i++)
		b->page[i] = page_alloc();
	vmwrite(VMCS_io_bitmap_a_address, (ulong)b->page[0]);
	vmwrite(VMCS_io_bitmap_b_address, (ulong)b->page[1]);
	b->s.v.ctl[CTL_PROC] = PROC_use_io_bitmaps | controls;
	vcpu_write_controls(&b->s.v);
}

static void set_port(struct bitmaps *b, u32 port, bool on)
{
	u8 *byte = &b->page[port >> 15 & 1][(port & 0x7fff) / 8], bit = (u8)(1u << port % 8);

	*byte = (u8)(on ? *byte | bit : *byte & ~bit);
}

static void fill(struct bitmaps *b, bool on)
{
	for (u32 i = 0; i < 2; i++)
		memset(b->page[i], on ? 0xff : 0, PAGE_SIZE);
}

static const struct io_insn reads[] = { { .opcode = OP_IN_DX },
					{ .opcode = OP_IN_DX | 1, .other_size = true },
					{ .opcode = OP_IN_DX | 1 } };

/* IN of 1, 2, 4 bytes: does it exit? */
static bool exits(struct bitmaps *b, u32 form, u32 port)
{
	struct io_insn i = reads[form];
	struct exit e;

	i.port = (u16)port;
	io_put(&b->s, &i);
	e = snippet_run(&b->s);
	if (e.reason == EXIT_io) {
		JUDGE("io.port", e.qualification, io_qualification(SNIP_NATIVE, &i));
		return true;
	}
	expect(snippet_passed(&b->s, &e));
	return false;
}

/* One bit on among zeros, from the port before the access to the one behind. */
static void judge_one_bit(struct bitmaps *b, u32 form, u32 port)
{
	static const char *const texts[] = { "IN of 1 byte", "IN of 2 bytes", "IN of 4 bytes" };
	u32 size = 1u << form;

	judge_about(texts[form], "one bit set");
	for (u32 n = 0; n < size + 2; n++) {
		u32 bit = (port + n - 1) & 0xffff;
		bool want = n >= 1 && n <= size;

		set_port(b, bit, true);
		if (bit >> 15)
			JUDGE("io.bitmap-b", exits(b, form, port), want);
		else
			JUDGE("io.bitmap", exits(b, form, port), want);
		set_port(b, bit, false);
	}
}

/* The access's bits are off, all others on. */
static void judge_others(struct bitmaps *b, u32 form, u32 port)
{
	u32 size = 1u << form;

	judge_about("all other bits set", NULL);
	fill(b, true);
	for (u32 n = 0; n < size; n++)
		set_port(b, port + n, false);
	JUDGE("io.bitmap", exits(b, form, port), false);
	fill(b, false);
}

/* Reading these does nothing anywhere. */
static const u16 bitmap_ports[] = { 0,      5,      8,      0x21,   0xa1,   0x1000, 0x7ff9, 0x7ffc, 0x7ffd,
				    0x7ffe, 0x7fff, 0x8000, 0x8001, 0x8007, 0xfff8, 0xfffc, 0xfffe, 0xffff };

TEST(io, bitmaps, .sdm = CONDITION, .needs = "use I/O bitmaps", .rules = "io.bitmap io.bitmap-b io.port")
{
	struct bitmaps b;

	begin_bitmaps(&b, c, 0);
	for (u32 form = 0; form < ARRAY_SIZE(reads); form++)
		for (u32 i = 0; i < ARRAY_SIZE(bitmap_ports); i++) {
			if (bitmap_ports[i] + (1u << form) > 0x10000)
				continue;
			judge_one_bit(&b, form, bitmap_ports[i]);
			judge_others(&b, form, bitmap_ports[i]);
		}
	judge_done();
}

TEST(io, bitmaps_wrap, .sdm = CONDITION, .needs = "use I/O bitmaps", .rules = "io.bitmap-wrap io.port")
{
	struct bitmaps b;

	begin_bitmaps(&b, c, 0);
	JUDGE("io.bitmap-wrap", exits(&b, 1, 0xffff), true);
	for (u32 port = 0xfffd; port <= 0xffff; port++)
		JUDGE("io.bitmap-wrap", exits(&b, 2, port), true);
	judge_done();
}

/* Both controls: only the bitmaps count. Needs both, so that no host need guess. */
TEST(io, bitmaps_win, .sdm = CONDITION, .needs = "use I/O bitmaps; " UNCONDITIONAL,
     .rules = "io.bitmap-wins io.bitmap io.port")
{
	struct bitmaps b;

	begin_bitmaps(&b, c, PROC_unconditional_io_exiting);
	JUDGE("io.bitmap-wins", exits(&b, 0, 0x21), false);
	set_port(&b, 0x21, true);
	JUDGE("io.bitmap", exits(&b, 0, 0x21), true);
	JUDGE("io.bitmap-wins", exits(&b, 0, 0xa1), false);
	judge_done();
}
