// SPDX-License-Identifier: BSD-2-Clause
/* RDMSR and WRMSR in L2: MSR bitmaps bit by bit at the ends of their ranges, what faults and what exits. */
#include "core/fmt.h"
#include "core/mem.h"
#include "testcases/judge.h"
#include "testcases/msrs.h"
#include "x86/cr.h"
#include "x86/msr.h"
#include "x86/seg.h"

#define CONDITION "Instructions That Cause VM Exits Conditionally"
#define BITMAP "MSR-Bitmap Address"
#define PRIORITY "Relative Priority of Faults and VM Exits"
#define WRITES 2048u /* bytes from the read half to the write half */
#define HIGHS 1024u  /* and to the high MSRs */

static void flip(struct msrs *m, u32 msr, bool write)
{
	u32 n = msr & 0x1fff;

	m->bitmap[(write ? WRITES : 0) + (msr >> 31 ? HIGHS : 0) + n / 8] ^= (u8)(1u << n % 8);
}

static const char *rule_of(u32 msr, bool write)
{
	if (msr >> 31)
		return write ? "msr.write-high" : "msr.read-high";
	return write ? "msr.write-low" : "msr.read-low";
}

/* One bit set: exits. All others set: doesn't. What is written is what is there; if nothing is, it's #GP. */
static void judge_bit(struct msrs *m, u32 msr, bool write)
{
	const struct where rule = { __FILE__, __LINE__, rule_of(msr, write) };
	u64 value = 0;
	struct exit e;

	if (write && msr_read_try(msr, &value).kind != OUT_OK)
		value = 0;
	memset(m->bitmap, 0, PAGE_SIZE);
	flip(m, msr, write);
	e = msrs_access(m, msr, write, value);
	judge_equal(&rule, "exits by its bit", msrs_exited(&e, write), true);
	memset(m->bitmap, 0xff, PAGE_SIZE);
	flip(m, msr, write);
	e = msrs_access(m, msr, write, value);
	judge_equal(&rule, "executed without its bit", msrs_executed(m, &e), true);
}

/* At both ends of both ranges, and at powers of two; those that exist can be written as they were. */
TEST(msr, bitmap, .sdm = BITMAP, .needs = "use MSR bitmaps",
     .rules = "msr.read-low msr.read-high msr.write-low msr.write-high")
{
	static const u32 numbers[] = { 0x174,  0x175,  0x176,  0x277,  0x12,   0x3ff,  0x7ff,  0x900,
				       0xfff,  0x1000, 0x1001, 0x17ff, 0x1800, 0x1ff8, 0x1ff7, 0x1ffe,
				       0x1fff, 0,      1,      2,      3,      4,      7,      8 };
	static char text[16];
	struct msrs m;

	msrs_begin(&m, c, true);
	for (u32 n = 0; n < ARRAY_SIZE(numbers) * 4; n++) {
		u32 msr = numbers[n / 4] | (n & 2 ? 0xc0000000 : 0);

		fmt(text, sizeof(text), "0x%x", msr);
		judge_about(n & 1 ? "WRMSR" : "RDMSR", text);
		judge_bit(&m, msr, n & 1);
	}
	judge_done();
}

/* Many more, by RDMSR of numbers that no MSR has. */
TEST(msr, bitmap_all_bytes, .sdm = BITMAP, .needs = "use MSR bitmaps", .rules = "msr.read-low msr.read-high")
{
	struct msrs m;

	msrs_begin(&m, c, true);
	for (u32 n = 0x1000; n < 0x2000; n += 9) {
		judge_bit(&m, n, false);
		judge_bit(&m, 0xc0000000 | n, false);
	}
	judge_done();
}

TEST(msr, outside, .sdm = BITMAP, .needs = "use MSR bitmaps", .rules = "msr.outside")
{
	static const u32 numbers[] = { 0x2000,     0x2174,     0x10000174, 0x20000000, 0x3fffffff,
				       0x40000000, 0x40000174, 0x7fffffff, 0x80000000, 0x80000080,
				       0xbfffffff, 0xc0002000, 0xc0002080, 0xe0000080, 0xffffffff };
	static char text[16];
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, true);
	for (u32 n = 0; n < ARRAY_SIZE(numbers) * 2; n++) {
		fmt(text, sizeof(text), "0x%x", numbers[n / 2]);
		judge_about(n & 1 ? "WRMSR" : "RDMSR", text);
		e = msrs_access(&m, numbers[n / 2], n & 1, 0);
		JUDGE("msr.outside", msrs_exited(&e, n & 1), true);
	}
	judge_done();
}

/* An exit, in all modes, and what it tells; none at CPL 3. */
static void judge_mode(struct msrs *m, enum snip_mode mode)
{
	static const u32 numbers[] = { 0x10, 0x174, 0x2000, 0xc0000080, 0xffffffff };
	struct gregs before;
	struct exit e;

	for (u32 n = 0; n < ARRAY_SIZE(numbers) * 2; n++) {
		bool write = n & 1;

		judge_about(snippet_name(mode), write ? "WRMSR" : "RDMSR");
		snippet_mode(&m->s, mode, false);
		msrs_put(m, numbers[n / 2], write, 0x1234567890ull);
		before = m->s.v.g;
		e = snippet_run(&m->s);
		if (!JUDGE("msr.always", msrs_exited(&e, write), true))
			continue;
		JUDGE("msr.no-effect", memcmp(&before, &m->s.v.g, sizeof(before)), 0);
		JUDGE("msr.no-effect", e.ip, (ulong)m->s.code);
		JUDGE("msr.length", e.length, 2);
		JUDGE("msr.qualification", e.qualification, 0);
		snippet_mode(&m->s, mode, true);
		e = msrs_access(m, numbers[n / 2], write, 0);
		JUDGE("msr.privilege-first", snippet_faulted(&e, VEC_GP), true);
	}
}

TEST(msr, no_bitmap, .sdm = CONDITION,
     .rules = "msr.always msr.no-effect msr.length msr.qualification msr.privilege-first")
{
	struct msrs m;

	msrs_begin(&m, c, false);
	for (enum snip_mode mode = SNIP_NATIVE; mode < SNIP_MODES; mode = snippet_next(mode))
		judge_mode(&m, mode);
	judge_about("IA32_SYSENTER_CS", NULL);
	JUDGE("msr.no-effect", vmread(VMCS_guest_sysenter_cs), 0);
	judge_done();
}

/* Of an MSR that isn't there, and of a value that can't be written: an exit, if the bit says so; else #GP. */
TEST(msr, faults, .sdm = PRIORITY, .needs = "use MSR bitmaps",
     .rules = "msr.exit-first msr.unknown msr.privilege-first")
{
	static const struct {
		u32 msr;
		bool write;
		u64 value;
	} cases[] = { { MSR_NOWHERE, false, 0 },
		      { MSR_NOWHERE, true, 0 },
		      { 0xc0000000 | MSR_NOWHERE, false, 0 },
		      { 0xc0000000 | MSR_NOWHERE, true, 0 },
		      { MSR_PAT, true, 2 },
		      { MSR_EFER, true, 1ull << 63 } };
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, true);
	for (u32 n = 0; n < ARRAY_SIZE(cases) * 2; n++) {
		bool write = cases[n / 2].write;

		memset(m.bitmap, n & 1 ? 0xff : 0, PAGE_SIZE);
		snippet_mode(&m.s, SNIP_NATIVE, true);
		e = msrs_access(&m, cases[n / 2].msr, write, cases[n / 2].value);
		JUDGE("msr.privilege-first", snippet_faulted(&e, VEC_GP), true);
		snippet_mode(&m.s, SNIP_NATIVE, false);
		e = msrs_access(&m, cases[n / 2].msr, write, cases[n / 2].value);
		if (n & 1)
			JUDGE("msr.exit-first", msrs_exited(&e, write), true);
		else
			JUDGE("msr.unknown", snippet_faulted(&e, VEC_GP), true);
	}
	judge_done();
}

#ifdef __x86_64__
TEST(msr, ecx_only, .sdm = BITMAP, .needs = "use MSR bitmaps", .flags = TEST_AMD64, .rules = "msr.ecx")
{
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, true);
	for (u32 n = 0; n < 4; n++) {
		u32 msr = n & 2 ? MSR_EFER : MSR_SYSENTER_CS;

		memset(m.bitmap, n & 1 ? 0xff : 0, PAGE_SIZE);
		msrs_put(&m, msr, false, 0);
		m.s.v.g.cx |= 0x123400000000;
		e = snippet_run(&m.s);
		JUDGE("msr.ecx", n & 1 ? msrs_exited(&e, false) : snippet_passed(&m.s, &e), true);
	}
	judge_done();
}
#endif

/* L2 writes, reads it back, and L1 has its own. */
TEST(msr, guest_value, .sdm = "Changes to Instruction Behavior in VMX Non-Root Operation", .needs = "use MSR bitmaps",
     .rules = "msr.guest-value")
{
	static const struct {
		u32 msr, field;
		u64 value;
	} cases[] = { { MSR_SYSENTER_CS, VMCS_guest_sysenter_cs, 0x1238 },
		      { MSR_SYSENTER_ESP, VMCS_guest_sysenter_esp, 0x12345678 },
		      { MSR_SYSENTER_EIP, VMCS_guest_sysenter_eip, 0x23456789 } };
	struct msrs m;
	struct exit e;

	msrs_begin(&m, c, true);
	for (u32 n = 0; n < ARRAY_SIZE(cases); n++) {
		e = msrs_access(&m, cases[n].msr, true, cases[n].value);
		JUDGE("msr.guest-value", snippet_passed(&m.s, &e), true);
		JUDGE("msr.guest-value", vmread(cases[n].field), cases[n].value);
		JUDGE("msr.guest-value", msr_read(cases[n].msr), 0);
		e = msrs_access(&m, cases[n].msr, false, 0);
		JUDGE("msr.guest-value", snippet_passed(&m.s, &e), true);
		JUDGE("msr.guest-value", (u32)m.s.v.g.ax | (u64)m.s.v.g.dx << 32, cases[n].value);
	}
	judge_done();
}
