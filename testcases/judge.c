// SPDX-License-Identifier: BSD-2-Clause
#include "testcases/judge.h"
#include "core/fmt.h"
#include "core/mem.h"
#include "lhv/test.h"

static struct {
	u64 judged; /* bit per word of the test's rules */
	const char *what, *where;
	const char *rule; /* of the last check, with its bit: most checks come in rows */
	u64 bit;
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

static void judged(const char *rule)
{
	if (rule != now.rule) {
		now.rule = rule;
		now.bit = 1ull << judge_position(rule);
	}
	now.judged |= now.bit;
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

	judged(rule->expr);
	if (got == want)
		return check_true(true, rule);
	fmt(a, sizeof(a), "0x%llx", (unsigned long long)want);
	fmt(b, sizeof(b), "0x%llx", (unsigned long long)got);
	return failed(rule, what, a, b);
}

bool judge_held(const struct where *rule, bool held, const char *want, const char *got)
{
	judged(rule->expr);
	return held ? check_true(true, rule) : failed(rule, "", want, got);
}

void judge_absent(const char *rule)
{
	now.judged |= 1ull << judge_position(rule);
}

void judge_done(void)
{
	expect_env(now.judged == judge_all());
}
