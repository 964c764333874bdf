// SPDX-License-Identifier: BSD-2-Clause
#include "core/line.h"
#include "unit/unit.h"

static void test_crc(void)
{
	CHECK(crc16(0xffff, "123456789", 9) == 0x29b1); /* the check value of CRC-16/CCITT-FALSE */
	CHECK(crc16(crc16(0xffff, "1234", 4), "56789", 5) == 0x29b1);
	CHECK(crc16(0xffff, "", 0) == 0xffff);
}

/* What every line must be, however it came about. */
static void check_line(const struct line *l)
{
	unsigned int crc = 0;
	u32 quotes = 0;

	CHECK(l->len <= LINE_MAX_BYTES && l->len >= 8 && strlen(l->text) == l->len);
	CHECK(!strcmp(l->text + l->len - 2, "\r\n"));
	CHECK(sscanf(l->text + l->len - 7, " ~%4x", &crc) == 1 || sscanf(l->text + l->len - 8, " ~%4x", &crc) == 1);
	CHECK(crc == crc16(0xffff, l->text, l->len - 8));
	for (size_t i = 0; i < l->len - 2; i++) {
		CHECK(l->text[i] >= ' ' && l->text[i] <= '~');
		if (l->text[i] == '\\' && l->text[i + 1] != 'x')
			i++;
		else if (l->text[i] == '"')
			quotes++;
	}
	CHECK(quotes % 2 == 0);
}

static void test_fields(void)
{
	struct line l;

	line_start(&l, 7, "result");
	line_str(&l, "id", "opt/0x003c/ept");
	line_u64(&l, "cpu", 18446744073709551615u);
	line_hex(&l, "value", 0xc0ffee);
	line_str(&l, "reason", "a \"b\" \\ c=\n");
	line_str(&l, "empty", "");
	line_end(&l);
	check_line(&l);
	l.text[l.len - 8] = 0;
	CHECK_STR(l.text, "lhv 0007 result id=opt/0x003c/ept cpu=18446744073709551615 value=0xc0ffee "
			  "reason=\"a \\\"b\\\" \\\\ c=\\x0A\" empty=\"\"");
	line_start(&l, 12345, "done");
	line_end(&l);
	check_line(&l);
	CHECK(!strncmp(l.text, "lhv 12345 done ~", 16));
}

static void test_full(void)
{
	struct line l;
	size_t before;

	line_start(&l, 1, "vmcs");
	do
		before = l.len;
	while (line_hex(&l, "field", 0x12345678));
	CHECK(before == l.len && before > 0 && LINE_MAX_BYTES - before < 8 + strlen(" field=0x12345678"));
	line_end(&l);
	check_line(&l);
}

static void test_cutting(void)
{
	static const char *const fill[] = { "x", " ", "\"", "\\", "\n", "ab " };
	char value[700];
	struct line l;

	for (u32 f = 0; f < ARRAY_SIZE(fill); f++) {
		for (size_t n = 0; n < sizeof(value); n++) {
			for (size_t i = 0; i < n; i++)
				value[i] = fill[f][i % strlen(fill[f])];
			value[n] = 0;
			line_start(&l, 1, "note");
			line_str(&l, "text", value);
			line_u64(&l, "more", 1234567890);
			line_str(&l, "text", value);
			line_end(&l);
			check_line(&l);
		}
	}
}

static void test_random_bytes(void)
{
	char value[600];
	struct line l;

	for (u32 round = 0; round < 3000; round++) {
		size_t n = unit_random() % sizeof(value);

		for (size_t i = 0; i < n; i++)
			value[i] = (char)(unit_random() % 255 + 1);
		value[n ? n - 1 : 0] = 0;
		line_start(&l, round, "note");
		line_str(&l, "text", value);
		line_end(&l);
		check_line(&l);
	}
}

const struct unit_case line_cases[] = {
	{ "line: CRC", test_crc },
	{ "line: fields", test_fields },
	{ "line: full", test_full },
	{ "line: cut at every length", test_cutting },
	{ "line: random bytes", test_random_bytes },
	{ NULL, NULL },
};
