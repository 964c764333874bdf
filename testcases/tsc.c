// SPDX-License-Identifier: BSD-2-Clause
/* The time-stamp counter in L2: offset, multiplier, and what they don't concern. */
#include "lhv/mem.h"
#include "testcases/judge.h"
#include "testcases/snippet.h"
#include "x86/cr.h"
#include "x86/msr.h"

#define SECTION "Changes to Instruction Behavior in VMX Non-Root Operation"
#define OFFSETTING "use TSC offsetting; use MSR bitmaps"
#define RDTSC "\x0f\x31"
#define RDTSCP "\x0f\x01\xf9"
#define RDMSR "\x0f\x32"
#define WRMSR "\x0f\x30"
#define ONE (1ull << 48) /* multiplier that changes nothing */

/* How L2 reads it. */
static const struct reader {
	const char *name, *bytes;
	u32 length;
} readers[] = {
	{ "RDTSC", RDTSC, 2 },
	{ "RDMSR", RDMSR, 2 },
	{ "RDTSCP", RDTSCP, 3 },
};
#define WITHOUT_RDTSCP 2u

/* (a * b) >> 48, 64 bits of it. */
static u64 scaled(u64 a, u64 b)
{
	u64 low = (a & 0xffffffff) * (b & 0xffffffff);
	u64 middle1 = (a >> 32) * (b & 0xffffffff), middle2 = (a & 0xffffffff) * (b >> 32);
	u64 high = (a >> 32) * (b >> 32);
	u64 carry = (low >> 32) + (middle1 & 0xffffffff) + (middle2 & 0xffffffff);

	high += (middle1 >> 32) + (middle2 >> 32) + (carry >> 32);
	return high << 16 | (u32)carry >> 16;
}

static void begin(struct snippet *s, struct cpu *c, u32 proc, u32 proc2)
{
	judge_begin();
	snippet_begin(s, c, 0);
	s->v.ctl[CTL_PROC] |= (u32)PROC_use_msr_bitmaps | proc;
	s->v.ctl[CTL_PROC2] |= proc2;
	vcpu_write_controls(&s->v);
	vmwrite(VMCS_msr_bitmap_address, (ulong)page_alloc());
	vmwrite(VMCS_tsc_offset, 0);
}

/* L2 reads it; L1 does so before and behind, and `multiplier` and `offset` take L1's values to what L2 may have seen. */
static void judge_read(struct snippet *s, const char *rule, const struct reader *r, u64 multiplier, u64 offset)
{
	u64 before, behind, seen;
	struct exit e;

	snippet_code(s, r->bytes, r->length);
	s->v.g.cx = MSR_TSC;
	before = read_tsc();
	e = snippet_run(s);
	behind = read_tsc();
	judge_about(r->name, NULL);
	if (!judge_equal(WHERE(rule), "passes", snippet_passed(s, &e), true))
		return;
	if (sizeof(ulong) == 8)
		judge_equal(WHERE(rule), "upper halves", s->v.g.ax >> 16 >> 16 | s->v.g.dx >> 16 >> 16, 0);
	seen = (u32)s->v.g.ax | (u64)(u32)s->v.g.dx << 32;
	seen -= offset;
	/* Differences, since the counter may wrap. */
	judge_equal(WHERE(rule), "not before L1's time", seen - scaled(before, multiplier) < 1ull << 62, true);
	judge_equal(WHERE(rule), "not behind L1's time", scaled(behind, multiplier) - seen < 1ull << 62, true);
}

static const u64 offsets[] = { 0, 1ull << 33, (u64)-1000000, 1ull << 63, (u64)-1, 0xffffffffull, 0x123456789abcdefull };

static void judge_offsets(struct snippet *s, const struct reader *r, u64 multiplier)
{
	for (u32 i = 0; i < ARRAY_SIZE(offsets); i++) {
		vmwrite(VMCS_tsc_offset, offsets[i]);
		judge_read(s, multiplier == ONE ? "tsc.offset" : "tsc.scale-then-offset", r, multiplier, offsets[i]);
	}
	/* To just before 0. */
	vmwrite(VMCS_tsc_offset, 0 - scaled(read_tsc(), multiplier) - 100);
	judge_read(s, multiplier == ONE ? "tsc.offset" : "tsc.scale-then-offset", r, multiplier,
		   vmread(VMCS_tsc_offset));
}

TEST(tsc, offset, .sdm = SECTION, .needs = OFFSETTING, .rules = "tsc.offset tsc.offset-unused")
{
	struct snippet s;

	begin(&s, c, PROC_use_tsc_offsetting, 0);
	for (u32 i = 0; i < WITHOUT_RDTSCP; i++)
		judge_offsets(&s, &readers[i], ONE);
	s.v.ctl[CTL_PROC] &= ~(u32)PROC_use_tsc_offsetting;
	vcpu_write_controls(&s.v);
	for (u32 i = 0; i < WITHOUT_RDTSCP; i++) {
		vmwrite(VMCS_tsc_offset, 1ull << 40);
		judge_read(&s, "tsc.offset-unused", &readers[i], ONE, 0);
	}
	judge_done();
}

TEST(tsc, offset_rdtscp, .sdm = SECTION, .needs = OFFSETTING "; enable RDTSCP",
     .rules = "tsc.offset tsc.offset-unused tsc.rdtscp-aux tsc.rdtscp-off")
{
	u64 aux = msr_read(MSR_TSC_AUX);
	struct snippet s;
	struct exit e;

	begin(&s, c, PROC_use_tsc_offsetting, PROC2_enable_rdtscp);
	msr_write(MSR_TSC_AUX, 0x89abcdef);
	judge_offsets(&s, &readers[2], ONE);
	JUDGE("tsc.rdtscp-aux", s.v.g.cx, 0x89abcdef);
	s.v.ctl[CTL_PROC] &= ~(u32)PROC_use_tsc_offsetting;
	vcpu_write_controls(&s.v);
	vmwrite(VMCS_tsc_offset, 1ull << 40);
	judge_read(&s, "tsc.offset-unused", &readers[2], ONE, 0);
	s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_enable_rdtscp;
	vcpu_write_controls(&s.v);
	judge_about("without the control", NULL);
	for (u32 user = 0; user < 2; user++) {
		snippet_mode(&s, SNIP_NATIVE, user);
		snippet_code(&s, RDTSCP, 3);
		e = snippet_run(&s);
		JUDGE("tsc.rdtscp-off", snippet_faulted(&e, VEC_UD), true);
		/* Before what CR4.TSD forbids at CPL 3. */
		vmwrite_bits(VMCS_guest_cr4, 0, CR4_TSD);
		snippet_code(&s, RDTSCP, 3);
		e = snippet_run(&s);
		JUDGE("tsc.rdtscp-off", snippet_faulted(&e, VEC_UD), true);
	}
	msr_write(MSR_TSC_AUX, aux);
	judge_done();
}

/* L1's own reading is L1's again behind each exit. */
TEST(tsc, root_unchanged, .sdm = SECTION, .needs = OFFSETTING, .rules = "tsc.root")
{
	struct snippet s;
	struct exit e;
	u64 before, behind;

	begin(&s, c, PROC_use_tsc_offsetting, 0);
	vmwrite(VMCS_tsc_offset, 1ull << 50);
	before = read_tsc();
	snippet_code(&s, RDTSC, 2);
	e = snippet_run(&s);
	behind = read_tsc();
	JUDGE("tsc.root", snippet_passed(&s, &e), true);
	JUDGE("tsc.root", behind - before < 1ull << 40, true);
	JUDGE("tsc.root", msr_read(MSR_TSC) - behind < 1ull << 40, true);
	judge_done();
}

/* --- Scaling --- */

static const u64 multipliers[] = {
	ONE, ONE / 2, ONE * 2, ONE * 3 / 2, 1, ONE + 0x12345, 0xffffffffffffffffull, ONE * 0x100, ONE / 1000000
};

#define SCALING OFFSETTING "; use TSC scaling"

TEST(tsc, scaling, .sdm = SECTION, .needs = SCALING,
     .rules = "tsc.scale tsc.scale-then-offset tsc.scale-needs-offsetting tsc.scale-unused")
{
	struct snippet s;

	begin(&s, c, PROC_use_tsc_offsetting, PROC2_use_tsc_scaling);
	for (u32 k = 0; k < ARRAY_SIZE(multipliers); k++) {
		vmwrite(VMCS_tsc_multiplier, multipliers[k]);
		for (u32 i = 0; i < WITHOUT_RDTSCP; i++) {
			vmwrite(VMCS_tsc_offset, 0);
			judge_read(&s, "tsc.scale", &readers[i], multipliers[k], 0);
		}
	}
	vmwrite(VMCS_tsc_multiplier, ONE * 3 / 2);
	for (u32 i = 0; i < WITHOUT_RDTSCP; i++)
		judge_offsets(&s, &readers[i], ONE * 3 / 2);
	vmwrite(VMCS_tsc_offset, 1ull << 40);
	s.v.ctl[CTL_PROC] &= ~(u32)PROC_use_tsc_offsetting;
	vcpu_write_controls(&s.v);
	for (u32 i = 0; i < WITHOUT_RDTSCP; i++)
		judge_read(&s, "tsc.scale-needs-offsetting", &readers[i], ONE, 0);
	s.v.ctl[CTL_PROC] |= PROC_use_tsc_offsetting;
	s.v.ctl[CTL_PROC2] &= ~(u32)PROC2_use_tsc_scaling;
	vcpu_write_controls(&s.v);
	for (u32 i = 0; i < WITHOUT_RDTSCP; i++)
		judge_read(&s, "tsc.scale-unused", &readers[i], ONE, 1ull << 40);
	judge_done();
}

TEST(tsc, scaling_rdtscp, .sdm = SECTION, .needs = SCALING "; enable RDTSCP", .rules = "tsc.scale")
{
	struct snippet s;

	begin(&s, c, PROC_use_tsc_offsetting, PROC2_use_tsc_scaling | PROC2_enable_rdtscp);
	for (u32 k = 0; k < ARRAY_SIZE(multipliers); k++) {
		vmwrite(VMCS_tsc_multiplier, multipliers[k]);
		judge_read(&s, "tsc.scale", &readers[2], multipliers[k], 0);
	}
	judge_done();
}

/* --- CR4.TSD, writes, and lists --- */

TEST(tsc, tsd, .sdm = SECTION, .needs = "RDTSC exiting; enable RDTSCP", .rules = "tsc.tsd-first")
{
	struct snippet s;
	struct exit e;

	begin(&s, c, PROC_rdtsc_exiting, PROC2_enable_rdtscp);
	for (u32 i = 0; i < ARRAY_SIZE(readers); i++) {
		if (i == 1)
			continue;
		judge_about(readers[i].name, "CPL 3, CR4.TSD");
		snippet_mode(&s, SNIP_NATIVE, true);
		vmwrite_bits(VMCS_guest_cr4, 0, CR4_TSD);
		snippet_code(&s, readers[i].bytes, readers[i].length);
		e = snippet_run(&s);
		JUDGE("tsc.tsd-first", snippet_faulted(&e, VEC_GP), true);
		judge_about(readers[i].name, "CPL 0, CR4.TSD");
		snippet_mode(&s, SNIP_NATIVE, false);
		vmwrite_bits(VMCS_guest_cr4, 0, CR4_TSD);
		snippet_code(&s, readers[i].bytes, readers[i].length);
		e = snippet_run(&s);
		JUDGE("tsc.tsd-first", e.reason, i ? EXIT_rdtscp : EXIT_rdtsc);
	}
	judge_done();
}

/* WRMSR by L2 writes the counter itself; the offset is on top of it. L1 puts it right again. */
TEST(tsc, write, .sdm = SECTION, .needs = OFFSETTING, .rules = "tsc.write tsc.write-then-offset")
{
	const u64 leap = 1ull << 41, offset = 1ull << 45;
	struct snippet s;
	u64 before, behind, seen;
	struct exit e;

	begin(&s, c, PROC_use_tsc_offsetting, 0);
	vmwrite(VMCS_tsc_offset, offset);
	snippet_code(&s, WRMSR RDTSC, 4);
	before = read_tsc();
	s.v.g.cx = MSR_TSC;
	s.v.g.ax = (u32)(before + leap);
	s.v.g.dx = (u32)((before + leap) >> 32);
	e = snippet_run(&s);
	behind = read_tsc();
	seen = (u32)s.v.g.ax | (u64)(u32)s.v.g.dx << 32;
	judge_about("", NULL);
	JUDGE("tsc.write", snippet_passed(&s, &e), true);
	JUDGE("tsc.write", behind - before - leap < 1ull << 36, true);
	JUDGE("tsc.write-then-offset", seen - before - leap - offset < 1ull << 36, true);
	if (behind - before >= leap)
		msr_write(MSR_TSC, read_tsc() - leap);
	judge_done();
}

struct msr_entry {
	u32 msr, reserved;
	u64 value;
};

/*
 * An exit's list stores what RDMSR would read. The SDM doesn't say whether that's RDMSR in L2, with the offset, or in root
 * operation.
 */
TEST(tsc, stored, .sdm = "Saving MSRs", .needs = OFFSETTING, .rules = "tsc.stored")
{
	struct msr_entry *list = page_alloc();
	const u64 offset = 1ull << 45;
	struct snippet s;
	u64 before, behind;
	struct exit e;

	begin(&s, c, PROC_use_tsc_offsetting, 0);
	list->msr = MSR_TSC;
	vmwrite(VMCS_vm_exit_msr_store_address, (ulong)list);
	vmwrite(VMCS_vm_exit_msr_store_count, 1);
	judge_about("", NULL);
	for (u32 with = 0; with < 2; with++) {
		vmwrite(VMCS_tsc_offset, with ? offset : 0);
		snippet_code(&s, "\x90", 1);
		before = read_tsc();
		e = snippet_run(&s);
		behind = read_tsc();
		JUDGE("tsc.stored", snippet_passed(&s, &e), true);
		if (with) {
			bool added = list->value - before >= offset;

			say_note("the stored TSC %s the offset in it", added ? "has" : "doesn't have");
			list->value -= added ? offset : 0;
		}
		JUDGE("tsc.stored", list->value - before <= behind - before, true);
	}
	judge_done();
}
