// SPDX-License-Identifier: BSD-2-Clause
/* L1's MSR bitmap with L0's bits: access by access. */
#include "unit/unit.h"
#include "xmhf-nest/msr_bitmap.h"

static u8 l1[PAGE_SIZE], l0[PAGE_SIZE] __attribute__((aligned(16))),
	merged[PAGE_SIZE + 16] __attribute__((aligned(16)));

/* SDM: "MSR-Bitmap Address" */
static bool exits(const u8 *bitmap, u32 msr, bool write)
{
	u32 at = (msr & 0x1fff) + (msr >= 0xc0000000 ? 8192 : 0) + (write ? 16384 : 0);

	return bitmap[at / 8] >> at % 8 & 1;
}

/* Some accesses that L0 watches, and the words in which they are. */
static struct msr_bitmap_words any_l0(void)
{
	u32 n = (u32)(unit_random() % (MSR_BITMAP_WORDS + 1));
	struct msr_bitmap_words words = { 0 };

	memset(l0, 0, sizeof(l0));
	while (words.count < n) {
		u32 at = (u32)(unit_random() % (PAGE_SIZE * 8)), w = at / 8 / sizeof(ulong);
		bool listed = false;

		l0[at / 8] |= (u8)(1u << at % 8);
		for (u32 i = 0; i < words.count; i++)
			listed = listed || words.word[i] == w;
		if (!listed)
			words.word[words.count++] = (u16)w;
	}
	return words;
}

static void any_l1(void)
{
	static const u8 fills[] = { 0, 0, 0xff, 0x10 };
	u8 with = fills[unit_random() % ARRAY_SIZE(fills)];

	for (u32 i = 0; i < PAGE_SIZE; i++)
		l1[i] = with == 0x10 ? (u8)unit_random() : with;
	for (u32 i = 0; i < 20; i++)
		l1[unit_random() % PAGE_SIZE] ^= (u8)(1u << unit_random() % 8);
}

static void check_all(bool there)
{
	for (u32 range = 0; range < 2; range++)
		for (u32 number = 0; number < 0x2000; number++)
			for (u32 write = 0; write < 2; write++) {
				u32 msr = number + (range ? 0xc0000000 : 0);
				bool want = !there || exits(l1, msr, write) || exits(l0, msr, write);

				CHECK(exits(merged, msr, write) == want);
			}
}

static void test_fuzz(void)
{
	for (u32 round = 0; round < 60; round++) {
		bool there = unit_random() % 8;
		struct msr_bitmap_words words = any_l0();

		any_l1();
		/* What was there from the entry before is gone; nothing behind is touched. */
		memset(merged, round % 2 ? 0xff : 0, PAGE_SIZE);
		memset(merged + PAGE_SIZE, 0x5a, 16);
		msr_bitmap_merge((ulong *)merged, there ? l1 : NULL, (const ulong *)l0, &words);
		check_all(there);
		for (u32 i = 0; i < 16; i++)
			CHECK(merged[PAGE_SIZE + i] == 0x5a);
	}
}

const struct unit_case msr_bitmap_cases[] = {
	{ "MSR bitmap: L1's with L0's bits", test_fuzz },
	{ NULL, NULL },
};
