// SPDX-License-Identifier: BSD-2-Clause
#include "core/cmdline.h"
#include "core/opt.h"
#include "unit/unit.h"

static struct cmdline c;
static const char *rule;
static char why[200];

static bool parse(const char *text)
{
	/* A copy of the exact size, so that reading behind it is seen. */
	char *copy = strdup(text);
	bool ok = cmdline_parse(&c, copy, 0x3c, &rule, why, sizeof(why));

	free(copy);
	return ok;
}

static void test_defaults(void)
{
	CHECK(parse(""));
	CHECK(c.mask_count == 1 && c.masks[0] == 0x3c && c.glob_count == 0);
	CHECK(c.iter == 20 && c.cpus == 0 && c.seed == 1 && c.from == 0 && !c.dump && c.exit == EXIT_HOW_NONE);
	CHECK_STR(c.run, "none");
	CHECK(parse("test=*") && c.mask_count == 0 && c.glob_count == 1);
	CHECK(!cmdline_parse(&c, "", 0x8, &rule, why, sizeof(why)));
	CHECK_STR(rule, "illegal mask");
}

static void test_everything(void)
{
	CHECK(parse(
		"/boot/lhv.elf  opt=0x3c,62,ept+vpid test=ept*,intr/x iter=7 cpus=2 seed=0xffffffffffffffff run=k3X9 "
		"from=3 exit=qemu dump=1 "));
	CHECK(c.mask_count == 3 && c.masks[0] == 0x3c && c.masks[1] == 0x3e && c.masks[2] == 0x14);
	CHECK(c.glob_count == 2);
	CHECK_STR(c.globs[0], "ept*");
	CHECK_STR(c.globs[1], "intr/x");
	CHECK(c.iter == 7 && c.cpus == 2 && c.seed == ~0ull && c.from == 3 && c.exit == EXIT_HOW_QEMU && c.dump);
	CHECK_STR(c.run, "k3X9");
}

static void test_refusals(void)
{
	static const struct {
		const char *text, *rule;
	} bad[] = {
		{ "opt=0x8", "illegal mask" },
		{ "opt=ept_switch", "illegal mask" },
		{ "opt=0x10000", "illegal mask" },
		{ "opt=", "bad value" },
		{ "opt=1,", "bad value" },
		{ "opt=ept+", "bad value" },
		{ "opt=epts", "bad value" },
		{ "opt=0x", "bad value" },
		{ "opt=0x100000000", "bad value" },
		{ "opt=3g", "bad value" },
		{ "test=", "bad value" },
		{ "test=a,,b", "bad value" },
		{ "iter=0", "out of range" },
		{ "iter=1000001", "out of range" },
		{ "iter=x", "bad value" },
		{ "cpus=9", "out of range" },
		{ "cpus=-1", "bad value" },
		{ "seed=18446744073709551616", "bad value" },
		{ "run=", "bad value" },
		{ "run=a-b", "bad value" },
		{ "run=12345678901234567", "bad value" },
		{ "from=4294967296", "out of range" },
		{ "exit=now", "bad value" },
		{ "dump=2", "out of range" },
		{ "a=1", "unknown option" },
		{ "x y", "unknown option" },
		{ "iter=1 x", "unknown option" },
		{ "opt=0 opt=4", "given twice" },
		{ "iter=1 iter=1", "given twice" },
	};
	static char longest[CMDLINE_MAX + 1];

	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(!parse(bad[i].text));
		CHECK_STR(rule, bad[i].rule);
		CHECK(why[0]);
	}
	memset(longest, ' ', CMDLINE_MAX);
	CHECK(!parse(longest));
	CHECK_STR(rule, "too long");
	longest[CMDLINE_MAX - 1] = 0;
	CHECK(parse(longest));
}

static void repeat(char *text, const char *first, const char *next, u32 n)
{
	strcpy(text, first);
	for (u32 i = 1; i < n; i++)
		strcat(text, next);
}

static void test_too_many(void)
{
	char text[CMDLINE_MAX];

	repeat(text, "opt=0", ",0", CMDLINE_MASKS);
	CHECK(parse(text) && c.mask_count == CMDLINE_MASKS);
	strcat(text, ",0");
	CHECK(!parse(text));
	CHECK_STR(rule, "too many");
	repeat(text, "test=a", ",a", CMDLINE_GLOBS);
	CHECK(parse(text) && c.glob_count == CMDLINE_GLOBS);
	strcat(text, ",a");
	CHECK(!parse(text));
	CHECK_STR(rule, "too many");
}

/* Whatever the bytes: no read or write outside, and what is accepted obeys the rules. */
static void test_fuzz(void)
{
	static const char *const words[] = { "opt=",
					     "test=",
					     "iter=",
					     "cpus=",
					     "seed=",
					     "run=",
					     "from=",
					     "exit=",
					     "dump=",
					     "0x",
					     "ept",
					     "+",
					     ",",
					     " ",
					     "=",
					     "3c",
					     "99999999999999999999",
					     "*",
					     "bochs" };
	char text[300], ignored[100];

	for (u32 round = 0; round < 50000; round++) {
		size_t n = 0;

		while (n < 60 && unit_random() % 12) {
			if (unit_random() % 4) {
				n += (size_t)sprintf(text + n, "%s", words[unit_random() % ARRAY_SIZE(words)]);
			} else {
				text[n++] = (char)(unit_random() % 255 + 1);
			}
		}
		text[n] = 0;
		if (!parse(text))
			continue;
		for (u32 i = 0; i < c.mask_count; i++)
			CHECK(opt_legal(c.masks[i], ignored, sizeof(ignored)));
		CHECK(c.iter >= 1 && c.iter <= 1000000 && c.cpus <= CMDLINE_CPUS && strlen(c.run) <= 16);
		CHECK(c.mask_count + c.glob_count > 0);
	}
}

/* The same by recursion. */
static bool glob_model(const char *g, const char *t)
{
	if (*g == '*')
		return glob_model(g + 1, t) || (*t && glob_model(g, t + 1));
	return *t ? (*g == '?' || *g == *t) && *g && glob_model(g + 1, t + 1) : !*g;
}

static void test_glob(void)
{
	static const char letters[] = "ab*?", plain[] = "ab/";
	char g[8], t[8];

	for (u32 round = 0; round < 200000; round++) {
		u32 n = unit_random() % 7, m = unit_random() % 7;

		for (u32 i = 0; i < n; i++)
			g[i] = letters[unit_random() % 4];
		for (u32 i = 0; i < m; i++)
			t[i] = plain[unit_random() % 3];
		g[n] = t[m] = 0;
		CHECK(glob_match(g, t) == glob_model(g, t));
	}
	CHECK(glob_selects("ept*", "ept", "x", false) && glob_selects("x", "ept", "x", false));
	CHECK(glob_selects("ept/x", "ept", "x", false) && !glob_selects("ep", "ept", "x", false));
	CHECK(glob_selects("canary/fail", "canary", "fail", true) && glob_selects("fail", "canary", "fail", true));
	CHECK(!glob_selects("*", "canary", "fail", true) && !glob_selects("canary/f?il", "canary", "fail", true));
	CHECK(glob_names_one("ept/x") && !glob_names_one("x") && !glob_names_one("ept/*") && !glob_names_one("e?t/x"));
	CHECK(glob_is("ept/x", "ept", "x") && !glob_is("ept/x", "ept", "xy") && !glob_is("ept/xy", "ept", "x"));
	CHECK(!glob_is("ept/x", "ep", "x") && !glob_is("ept/x", "epta", "x") && !glob_is("ept/x", "ep", "t/x"));
}

static void test_opt_rules(void)
{
	char text[100];

	for (u32 mask = 0; mask < 0x20000; mask++) {
		bool legal = mask < 0x10000;

		for (u32 i = 0; i < OPT_COUNT; i++)
			if (mask & 1u << i)
				legal = legal && !(opt_table[i].requires & ~mask) && !(opt_table[i].conflicts & mask);
		text[0] = 0;
		CHECK(opt_legal(mask, text, sizeof(text)) == legal);
		CHECK(legal || text[0]);
	}
	for (u32 i = 0; i < OPT_COUNT; i++) {
		CHECK(opt_table[i].bit == 1u << i);
		/* lhv drops a bit whose required bit is missing in one pass over the table. */
		CHECK(opt_table[i].requires < opt_table[i].bit);
	}
	CHECK(!opt_legal(0x8, text, sizeof(text)));
	CHECK_STR(text, "ept_switch requires ept");
	CHECK(!opt_legal(0x42, text, sizeof(text)));
	CHECK_STR(text, "l1_user conflicts with no_intr");
	CHECK(!opt_legal(0x30000, text, sizeof(text)));
	CHECK_STR(text, "bit 0x10000 is not defined");
}

const struct unit_case cmdline_cases[] = {
	{ "cmdline: defaults", test_defaults },
	{ "cmdline: everything", test_everything },
	{ "cmdline: refusals", test_refusals },
	{ "cmdline: too many", test_too_many },
	{ "cmdline: fuzz", test_fuzz },
	{ "glob: against a model", test_glob },
	{ "opt: rules of all masks", test_opt_rules },
	{ NULL, NULL },
};
