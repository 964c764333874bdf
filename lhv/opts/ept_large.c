// SPDX-License-Identifier: BSD-2-Clause
/* 0x100: 2 MiB EPT pages (and one of 1 GiB where offered), swapped each iteration, split and joined. */
#include "core/mem.h"
#include "lhv/ept_setup.h"
#include "lhv/guest.h"
#include "lhv/mem.h"
#include "lhv/run.h"
#include "x86/msr.h"

struct seen {
	u32 a, b, giant;
	bool read_giant;
	u32 offset;
};

struct state {
	struct seen seen;
	u32 split_frame; /* 4 KiB page that replaces one of a split large page */
	/* Page tables for splitting, one per root: joining again drops them, so they serve in each iteration. */
	void *table[2];
	u32 next_table;
};

static u64 table_again(void *ctx)
{
	struct state *s = ctx;
	void *table = s->table[s->next_table++ % 2];

	memset(table, 0, PAGE_SIZE);
	return (ulong)table;
}

/* Each CPU has its own page in both frames; all CPUs use the same frames. */
static u32 offset_of(const struct run *r)
{
	return (r->v.cpu->number + 1) * PAGE_SIZE + 0x10;
}

static u32 *stamp(const struct run *r, u32 frame)
{
	return (u32 *)(ulong)(frame + offset_of(r));
}

static void map(struct run *r, u64 gpa, u64 pa, int level)
{
	for (u32 k = 0; k < 2; k++)
		if (r->ept_root[k] &&
		    !ept_set(&heap_ept_mem, r->ept_root[k], gpa, level, ept_leaf(pa, level, EPT_RWX, memory_type(pa))))
			panic("no table for a large page");
}

static void setup(struct run *r)
{
	struct state *s = run_state(r, OPT_ept_large);

	s->split_frame = (u32)(ulong)page_alloc();
	s->table[0] = page_alloc();
	s->table[1] = page_alloc();
	s->seen.offset = offset_of(r);
	s->seen.read_giant = vmx_caps.ept_vpid & EPT_CAP_1G;
}

/* One 4 KiB page inside of the large page at gpa goes somewhere else. */
static void split(struct run *r, struct state *s, u64 gpa, u64 pa)
{
	struct ept_mem mem = { table_again, heap_ept_mem.map, s };

	for (u32 k = 0; k < 2; k++)
		if (r->ept_root[k] && !ept_set(&mem, r->ept_root[k], gpa, 1, ept_leaf(pa, 1, EPT_RWX, memory_type(pa))))
			panic("a large page can't be split");
}

static ulong l2_look(ulong arg)
{
	struct seen *s = (struct seen *)arg;

	s->a = *(volatile u32 *)(ulong)(GPA_LARGE_A + s->offset);
	s->b = *(volatile u32 *)(ulong)(GPA_LARGE_B + s->offset);
	if (s->read_giant)
		s->giant = *(volatile u32 *)(ulong)(GPA_GIANT + FRAME_A + s->offset);
	return 0;
}

static void expect_seen(struct run *r, struct state *s, u32 a, u32 b)
{
	bool ok;

	run_l2(r, l2_look, (ulong)&s->seen, &ok);
	if (!ok)
		return;
	expect_eq(s->seen.a, a);
	expect_eq(s->seen.b, b);
	if (s->seen.read_giant)
		expect_eq(s->seen.giant, *stamp(r, FRAME_A));
}

static void iterate(struct run *r)
{
	struct state *s = run_state(r, OPT_ept_large);
	u32 in_a = 0xaaaa0000 + r->i, in_b = 0xbbbb0000 + r->i;
	bool swap = r->i & 1;

	*stamp(r, FRAME_A) = in_a;
	*stamp(r, FRAME_B) = in_b;
	map(r, GPA_LARGE_A, swap ? FRAME_B : FRAME_A, 2);
	map(r, GPA_LARGE_B, swap ? FRAME_A : FRAME_B, 2);
	if (s->seen.read_giant)
		map(r, GPA_GIANT, 0, 3);
	run_invept(r);
	expect_seen(r, s, swap ? in_b : in_a, swap ? in_a : in_b);
	/* Split window A: its page with the stamp is somewhere else now, the rest where it was. */
	*(u32 *)(ulong)(s->split_frame + 0x10) = 0x51170000 + r->i;
	split(r, s, GPA_LARGE_A + (offset_of(r) & ~(PAGE_SIZE - 1)), s->split_frame);
	run_invept(r);
	expect_seen(r, s, 0x51170000 + r->i, swap ? in_a : in_b);
}

const struct opt_ops opt_ept_large = {
	.bit = OPT_ept_large,
	.needs = "2-MByte EPT pages",
	.setup = setup,
	.iterate = iterate,
};
