// SPDX-License-Identifier: BSD-2-Clause
/* 0x400: MSR bitmaps: read and write bits in both ranges, and MSRs in neither (SDM: "MSR-Bitmap Address"). */
#include "core/mem.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/run.h"
#include "x86/msr.h"

#define WRITE_HALF 2048u
#define HIGH_RANGE 1024u
#define MSR_IN_NEITHER 0x4c320000u

struct state {
	u8 *bitmap;
	u32 msr;
	u64 read, write; /* L2's side */
	u64 saved_fmask;
};

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_msr_bitmap);

	s->bitmap = page_alloc();
	s->saved_fmask = msr_read(MSR_FMASK);
	vmwrite(VMCS_msr_bitmap_address, (ulong)s->bitmap);
	r->v.ctl[CTL_PROC] |= PROC_use_msr_bitmaps;
}

static void set_bit(struct state *s, u32 msr, bool write, bool on)
{
	u32 n = msr & 0x1fff;
	u8 *byte = s->bitmap + (write ? WRITE_HALF : 0) + (msr >> 31 ? HIGH_RANGE : 0) + n / 8;

	*byte = (u8)((*byte & ~(1u << n % 8)) | (on ? 1u << n % 8 : 0));
}

static ulong l2_touch(ulong arg)
{
	struct state *s = (struct state *)arg;

	s->read = msr_read(s->msr);
	msr_write(s->msr, s->write);
	return 0;
}

static void give(struct run *r, u64 value)
{
	r->v.g.ax = (u32)value;
	r->v.g.dx = (ulong)(value >> 32);
}

/* L2 reads and writes the MSR; exactly what has its bit set exits. Returns whether the write went through. */
static void check_msr(struct run *r, struct state *s, u32 msr, bool exit_read, bool exit_write)
{
	u64 given = 0x00000000005a0000ull + r->i;
	struct exit e;

	set_bit(s, msr, false, exit_read);
	set_bit(s, msr, true, exit_write);
	s->msr = msr;
	s->write = 0x1230 + r->i;
	s->read = 0;
	guest(&r->v, l2_touch, (ulong)s);
	e = enter(&r->v);
	if (exit_read) {
		require_exit(&r->v, e, EXIT_rdmsr);
		expect_eq((u32)r->v.g.cx, msr);
		expect_eq(e.length, 2);
		give(r, given);
		skip_instruction(&r->v, &e);
		e = enter(&r->v);
	}
	if (exit_write) {
		require_exit(&r->v, e, EXIT_wrmsr);
		expect_eq((u32)r->v.g.cx, msr);
		expect_eq((u32)r->v.g.ax, s->write);
		expect_eq((u32)r->v.g.dx, 0);
		skip_instruction(&r->v, &e);
		e = enter(&r->v);
	}
	require_call(&r->v, e, L2_RETURN);
	if (exit_read)
		expect_eq(s->read, given);
	set_bit(s, msr, false, false);
	set_bit(s, msr, true, false);
}

/* SYSENTER_CS belongs to L2's state: what L2 wrote or reads must be in the VMCS. */
static void check_low(struct run *r, struct state *s, bool exit_read, bool exit_write)
{
	u64 before = 0x4400 + r->i;

	vmwrite(VMCS_guest_sysenter_cs, before);
	check_msr(r, s, MSR_SYSENTER_CS, exit_read, exit_write);
	if (!exit_read)
		expect_eq(s->read, before);
	expect_eq(vmread(VMCS_guest_sysenter_cs), exit_write ? before : s->write);
}

/* FMASK isn't switched at entry and exit: L2 uses L1's. */
static void check_high(struct run *r, struct state *s, bool exit_read, bool exit_write)
{
	u64 before = 0x8800 + r->i;

	msr_write(MSR_FMASK, before);
	check_msr(r, s, MSR_FMASK, exit_read, exit_write);
	if (!exit_read)
		expect_eq(s->read, before);
	expect_eq(msr_read(MSR_FMASK), exit_write ? before : s->write);
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_msr_bitmap);
	bool exit_read = r->i & 1, exit_write = r->i & 2;

	check_low(r, s, exit_read, exit_write);
	check_high(r, s, !exit_read, exit_write);
	check_high(r, s, exit_read, !exit_write);
}

/* MSRs outside of both ranges exit whatever the bitmap says; set_bit would alias them, so this is by hand. */
static void check_neither(struct run *r, struct state *s)
{
	struct exit e;

	memset(s->bitmap, 0, PAGE_SIZE);
	s->msr = MSR_IN_NEITHER;
	guest(&r->v, l2_touch, (ulong)s);
	e = enter(&r->v);
	require_exit(&r->v, e, EXIT_rdmsr);
	expect_eq((u32)r->v.g.cx, MSR_IN_NEITHER);
	give(r, 0x77);
	skip_instruction(&r->v, &e);
	e = enter(&r->v);
	require_exit(&r->v, e, EXIT_wrmsr);
	skip_instruction(&r->v, &e);
	e = enter(&r->v);
	require_call(&r->v, e, L2_RETURN);
	expect_eq(s->read, 0x77);
}

static void finish(struct run *r)
{
	struct state *s = run_state(r, OPT_msr_bitmap);

	check_neither(r, s);
	irq_off();
	msr_write(MSR_FMASK, s->saved_fmask);
}

const struct opt_ops opt_msr_bitmap = {
	.bit = OPT_msr_bitmap,
	.needs = "use MSR bitmaps; SYSCALL MSRs",
	.setup = setup,
	.iterate = iterate,
	.finish = finish,
};
