// SPDX-License-Identifier: BSD-2-Clause
/* 0x8000: I/O bitmaps (SDM: "I/O-Bitmap Addresses", "Exit Qualification for I/O Instructions"). */
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/run.h"

/* Ports that nobody answers at and nobody minds: a page register of the DMA controller's that is a scratch register. */
#define PORT_A 0x84u
#define PORT_B 0x9c84u

#define QUAL_IN 0x8u
#define QUAL_SIZE_2 0x1u

struct state {
	u8 *bitmap[2];
};

struct access {
	u32 port;
	u32 bytes;
	bool out;
	u32 value;
};

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_io_bitmap);

	for (u32 k = 0; k < 2; k++)
		s->bitmap[k] = page_alloc();
	vmwrite(VMCS_io_bitmap_a_address, (ulong)s->bitmap[0]);
	vmwrite(VMCS_io_bitmap_b_address, (ulong)s->bitmap[1]);
	r->v.ctl[CTL_PROC] |= PROC_use_io_bitmaps;
}

static void set_bit(struct state *s, u32 port, bool on)
{
	u8 *byte = s->bitmap[port >> 15] + (port & 0x7fff) / 8;

	*byte = (u8)((*byte & ~(1u << port % 8)) | (on ? 1u << port % 8 : 0));
}

static ulong l2_access(ulong arg)
{
	struct access *a = (struct access *)arg;

	if (a->out && a->bytes == 1)
		out8((u16)a->port, (u8)a->value);
	else if (a->out)
		out16((u16)a->port, (u16)a->value);
	else
		a->value = a->bytes == 1 ? in8((u16)a->port) : in16((u16)a->port);
	return 0;
}

/* One access by DX that must, or must not, exit; an IN that exits gets its value from L1. */
static void check_access(struct run *r, struct access a, bool must_exit)
{
	u32 given = a.bytes == 1 ? 0x5a : 0x5aa5;
	struct exit e;

	guest(&r->v, l2_access, (ulong)&a);
	e = enter(&r->v);
	if (must_exit) {
		require_exit(&r->v, e, EXIT_io);
		expect_eq(e.qualification, a.port << 16 | (a.out ? 0 : QUAL_IN) | (a.bytes == 2 ? QUAL_SIZE_2 : 0));
		expect_eq(e.length, a.bytes); /* 16-bit operands have a prefix */
		if (!a.out)
			r->v.g.ax = (r->v.g.ax & ~(ulong)0xffff) | given;
		skip_instruction(&r->v, &e);
		e = enter(&r->v);
	}
	require_call(&r->v, e, L2_RETURN);
	if (must_exit && !a.out)
		expect_eq(a.value, given);
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_io_bitmap);
	u32 port = r->i & 1 ? PORT_B : PORT_A;
	bool out = r->i & 2;

	set_bit(s, port, true);
	check_access(r, (struct access){ port, 1, out, r->i }, true);
	/* A word access touches the byte below and above. */
	check_access(r, (struct access){ port - 1, 2, false, 0 }, true);
	set_bit(s, port, false);
	check_access(r, (struct access){ port, 1, false, 0 }, false);
	/* Beyond the last port the access wraps around: it exits whatever the bitmap says. */
	check_access(r, (struct access){ 0xffff, 2, false, 0 }, true);
}

const struct opt_ops opt_io_bitmap = {
	.bit = OPT_io_bitmap,
	.needs = "use I/O bitmaps",
	.setup = setup,
	.iterate = iterate,
};
