// SPDX-License-Identifier: BSD-2-Clause
/* Whose is an exit of L2, and where is an MSR's bit: all inputs, against lists.
 */
#include "unit/unit.h"
#include "xmhf-nest/route.h"

/* SDM: "MSR-Bitmap Address": four bitmaps of 1 KiB each. */
static const struct {
	u32 first, last; /* MSRs */
	bool write;
	u32 offset;
} bitmaps[] = {
	{ 0x00000000, 0x00001fff, false, 0 },
	{ 0xc0000000, 0xc0001fff, false, 1024 },
	{ 0x00000000, 0x00001fff, true, 2048 },
	{ 0xc0000000, 0xc0001fff, true, 3072 },
};

static void check_msr(u32 msr, bool write)
{
	struct msr_bit b = msr_bit(msr, write);
	bool exists = false;

	for (u32 i = 0; i < ARRAY_SIZE(bitmaps); i++) {
		u32 number = msr - bitmaps[i].first;

		if (msr < bitmaps[i].first || msr > bitmaps[i].last || write != bitmaps[i].write)
			continue;
		exists = true;
		CHECK(b.byte == bitmaps[i].offset + number / 8 && b.mask == 1u << number % 8);
	}
	CHECK(b.exists == exists);
}

static void test_msr_bit(void)
{
	/* Both ranges, and as many numbers around them. */
	for (u32 i = 0; i < 0x6000; i++) {
		for (u32 write = 0; write < 2; write++) {
			check_msr(i - 0x2000, write);
			check_msr(0xc0000000u + i - 0x2000, write);
		}
	}
	/* A valid number with one bit more. */
	for (u32 bit = 0; bit < 32; bit++) {
		check_msr(1u << bit, false);
		check_msr(0xc0000000u ^ 1u << bit, true);
		check_msr(0x1234u ^ 1u << bit, true);
		check_msr(0xc0000080u ^ 1u << bit, false);
	}
}

static void test_msr_bit_fuzz(void)
{
	for (u32 i = 0; i < 200000; i++)
		check_msr((u32)unit_random(), i & 1);
}

/* Each bit of the page is that of exactly one access. */
static void test_msr_bit_once(void)
{
	static u8 page[PAGE_SIZE];

	memset(page, 0, sizeof(page));
	for (u32 i = 0; i < ARRAY_SIZE(bitmaps); i++)
		for (u32 msr = bitmaps[i].first; msr <= bitmaps[i].last; msr++) {
			struct msr_bit b = msr_bit(msr, bitmaps[i].write);

			if (b.byte >= PAGE_SIZE || page[b.byte] & b.mask) {
				CHECK(!"a bit of the page for one access");
				return;
			}
			page[b.byte] |= b.mask;
		}
	for (u32 i = 0; i < PAGE_SIZE; i++)
		CHECK(page[i] == 0xff);
}

enum owner { FOR_L1, FOR_L0, BY_BITMAP };

/* By the numbers of the SDM's "VMX Basic Exit Reasons". */
static enum owner model_owner(u32 basic)
{
	switch (basic) {
	case 3: /* kicks; L1's own INITs are sent by L0 */
	case 48:
	case 49: /* VMCS02's EPT is L0's */
		return FOR_L0;
	case 31:
	case 32:
		return BY_BITMAP;
	default:
		return FOR_L1;
	}
}

static void test_l0_wants(void)
{
	for (u32 basic = 0; basic < 0x10000; basic++) {
		enum owner owner = model_owner(basic);

		CHECK(l0_wants(basic, true) == (owner == FOR_L0));
		CHECK(l0_wants(basic, false) == (owner != FOR_L1));
	}
}

const struct unit_case route_cases[] = {
	{ "route: MSRs' bits", test_msr_bit },
	{ "route: MSRs' bits, any number", test_msr_bit_fuzz },
	{ "route: MSRs' bits fill the page", test_msr_bit_once },
	{ "route: whose exit", test_l0_wants },
	{ NULL, NULL },
};
