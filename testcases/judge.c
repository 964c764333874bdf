// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/judge.h"
#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/test.h"

static struct {
	u64 judged; /* bit per word of the test's rules */
	const char *what, *where;
	/* Bits of rules that have been looked up, by the text's address: the same checks come again and again. */
	struct {
		const char *rule;
		u64 bit;
	} known[64];
} now;

u32 judge_position(const char *rule)
{
	const char *list = test_rules();

	for (u32 n = 0; *list && n < 64; n++) {
		size_t length = 0;

		while (list[length] && list[length] != ' ')
			length++;
		if (strlen(rule) == length && !memcmp(rule, list, length))
			return n;
		list += length;
		while (*list == ' ')
			list++;
	}
	panic("%s isn't among the test's rules", rule);
}

u64 judge_all(void)
{
	u64 all = 1;

	for (const char *p = test_rules(); *p; p++)
		if (*p == ' ')
			all = all << 1 | 1;
	return all;
}

void judge_begin(void)
{
	memset(&now, 0, sizeof(now));
}

void judge_about(const char *what, const char *where)
{
	now.what = what;
	now.where = where;
}

static u64 bit_of(const char *rule)
{
	u32 slot = ((ulong)rule ^ (ulong)rule >> 6) % ARRAY_SIZE(now.known);

	if (now.known[slot].rule != rule) {
		now.known[slot].bit = 1ull << judge_position(rule);
		now.known[slot].rule = rule;
	}
	return now.known[slot].bit;
}

static bool failed(const struct where *rule, const char *what, const char *want, const char *got)
{
	char text[200];

	fmt(text, sizeof(text), "%s: %s%s%s%s%s", rule->expr, now.what ? now.what : "", now.where ? ", " : "",
	    now.where ? now.where : "", *what ? ": " : "", what);
	return check_failed(&(const struct where){ rule->file, rule->line, text }, want, got);
}

bool judge_equal(const struct where *rule, const char *what, u64 got, u64 want)
{
	char a[24], b[24];

	now.judged |= bit_of(rule->expr);
	if (got == want)
		return check_true(true, rule);
	fmt(a, sizeof(a), "0x%llx", (unsigned long long)want);
	fmt(b, sizeof(b), "0x%llx", (unsigned long long)got);
	return failed(rule, what, a, b);
}

bool judge_held(const struct where *rule, bool held, const char *want, const char *got)
{
	now.judged |= bit_of(rule->expr);
	return held ? check_true(true, rule) : failed(rule, "", want, got);
}

void judge_absent(const char *rule)
{
	now.judged |= bit_of(rule);
}

void judge_done(void)
{
	expect_env(now.judged == judge_all());
}
