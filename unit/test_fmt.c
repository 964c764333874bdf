// SPDX-License-Identifier: BSD-2-Clause
/* fmt against the C library's snprintf, which agrees on everything that fmt has. */
#include "core/fmt.h"
#include "unit/unit.h"

static void compare(const char *ours, int our_n, const char *theirs, int their_n, size_t size)
{
	CHECK(our_n == their_n);
	if (size)
		CHECK_STR(ours, theirs);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#define BOTH(format, ...)                                                                                      \
	do {                                                                                                   \
		for (size_t size = 0; size <= 40; size += size < 6 ? 1 : 17) {                                 \
			char a[41] = "?", b[41] = "?";                                                         \
			int n = fmt(a, size, format, __VA_ARGS__), m = snprintf(b, size, format, __VA_ARGS__); \
			compare(a, n, b, m, size);                                                             \
		}                                                                                              \
	} while (0)

static void test_numbers(void)
{
	static const char *const flags[] = { "", "0", "-", "5", "05", "-5", "12", "012", "-12", "25", "025" };
	static const u64 values[] = { 0,          1,          9,           10,    99,         0x7fffffff,
				      0x80000000, 0xffffffff, 0x100000000, ~0ull, 1ull << 63, 10000000000000000000ull };
	char format[20];

	for (u32 f = 0; f < ARRAY_SIZE(flags); f++) {
		for (u32 v = 0; v < ARRAY_SIZE(values); v++) {
			for (const char *k = "uxXdi"; *k; k++) {
				snprintf(format, sizeof(format), "<%%%s%c>", flags[f], *k);
				BOTH(format, (u32)values[v]);
				snprintf(format, sizeof(format), "<%%%sl%c>", flags[f], *k);
				BOTH(format, (unsigned long)values[v]);
				snprintf(format, sizeof(format), "<%%%sll%c>", flags[f], *k);
				BOTH(format, (unsigned long long)values[v]);
				snprintf(format, sizeof(format), "<%%%sz%c>", flags[f], *k);
				BOTH(format, (size_t)values[v]);
			}
		}
	}
	for (u32 i = 0; i < 2000; i++) {
		unsigned long long v = unit_random();

		BOTH("%llu %llx %lld", v, v, (long long)v);
	}
}

static void test_text(void)
{
	static const char *const formats[] = { "%s", "%5s", "%-5s|", "%.2s", "%5.1s", "%-8.3s|", "%.0s" };

	for (u32 f = 0; f < ARRAY_SIZE(formats); f++) {
		BOTH(formats[f], "");
		BOTH(formats[f], "abc");
		BOTH(formats[f], "abcdefghij");
	}
	BOTH("%.*s", 3, "abcdef");
	BOTH("%*d", 6, 42);
	BOTH("%c%c%%", 'x', 'y');
	BOTH("%3c|%-3c|", 'x', 'y');
	BOTH("no conversion%s", "");
	BOTH("%p", (void *)0x1234);
}
#pragma GCC diagnostic pop

/* The precision bounds what is read: the text needn't end. */
static void test_unterminated(void)
{
	char text[3] = { 'a', 'b', 'c' }, out[8];

	fmt(out, sizeof(out), "%.3s", text);
	CHECK_STR(out, "abc");
}

const struct unit_case fmt_cases[] = {
	{ "fmt: numbers", test_numbers },
	{ "fmt: text", test_text },
	{ "fmt: unterminated text with a precision", test_unterminated },
	{ NULL, NULL },
};
