// SPDX-License-Identifier: BSD-2-Clause
#include "core/rng.h"
#include "core/verdict.h"
#include "unit/unit.h"

/* unit.mk compiles lib/core/mem.c with these names, beside the C library's own. */
void *core_memcpy(void *to, const void *from, size_t n);
void *core_memmove(void *to, const void *from, size_t n);
void *core_memset(void *to, int byte, size_t n);
int core_memcmp(const void *a, const void *b, size_t n);
size_t core_strlen(const char *s);
int core_strcmp(const char *a, const char *b);
int core_strncmp(const char *a, const char *b, size_t n);

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

static void test_mem(void)
{
	u8 a[64], b[64];

	for (u32 round = 0; round < 20000; round++) {
		size_t from = unit_random() % 32, to = unit_random() % 32, n = unit_random() % 32;

		for (u32 i = 0; i < sizeof(a); i++)
			a[i] = b[i] = (u8)(unit_random() % 3);
		CHECK(core_memmove(a + to, a + from, n) == a + to);
		memmove(b + to, b + from, n);
		CHECK(!memcmp(a, b, sizeof(a)));
		CHECK(sign(core_memcmp(a + to, a + from, n)) == sign(memcmp(a + to, a + from, n)));
		CHECK(core_memset(a + to, (int)round, n) == a + to);
		memset(b + to, (int)round, n);
		CHECK(!memcmp(a, b, sizeof(a)));
	}
	CHECK(core_memcpy(a, "abc", 4) == a && !memcmp(a, "abc", 4));
}

static void test_strings(void)
{
	static const char *const words[] = { "", "a", "ab", "abc", "b", "\xff", "ab\x80" };

	for (u32 i = 0; i < ARRAY_SIZE(words); i++) {
		CHECK(core_strlen(words[i]) == strlen(words[i]));
		for (u32 k = 0; k < ARRAY_SIZE(words); k++) {
			CHECK(sign(core_strcmp(words[i], words[k])) == sign(strcmp(words[i], words[k])));
			for (size_t n = 0; n < 5; n++)
				CHECK(sign(core_strncmp(words[i], words[k], n)) ==
				      sign(strncmp(words[i], words[k], n)));
		}
	}
}

static void test_verdict(void)
{
	for (enum verdict a = VERDICT_GOOD; a <= VERDICT_BAD; a++)
		for (enum verdict b = VERDICT_GOOD; b <= VERDICT_BAD; b++)
			CHECK(verdict_worse(a, b) == (a > b ? a : b));
	CHECK_STR(verdict_name(VERDICT_GOOD), "GOOD");
	CHECK_STR(verdict_name(VERDICT_SKIP), "SKIP");
	CHECK_STR(verdict_name(VERDICT_ERROR), "ERROR");
	CHECK_STR(verdict_name(VERDICT_BAD), "BAD");
}

static void test_rng(void)
{
	u32 seen[10] = { 0 };
	struct rng a, b;

	for (u64 seed = 0; seed < 100; seed++) {
		rng_seed(&a, seed);
		rng_seed(&b, seed + 1);
		CHECK(a.state && rng_next(&a) != rng_next(&b));
		rng_seed(&b, seed);
		rng_next(&b);
		CHECK(rng_next(&a) == rng_next(&b));
	}
	rng_seed(&a, 0x9e3779b97f4a7c15ull); /* the one that would give state 0 */
	CHECK(a.state != 0);
	for (u32 i = 0; i < 100000; i++) {
		u32 x = rng_below(&a, 10);

		CHECK(x < 10);
		seen[x]++;
	}
	for (u32 i = 0; i < 10; i++)
		CHECK(seen[i] > 9000 && seen[i] < 11000);
	CHECK(rng_below(&a, 1) == 0);
}

const struct unit_case misc_cases[] = {
	{ "mem", test_mem }, { "strings", test_strings }, { "verdict", test_verdict }, { "rng", test_rng },
	{ NULL, NULL },
};
