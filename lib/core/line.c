// SPDX-License-Identifier: BSD-2-Clause
#include "core/line.h"

#include "core/fmt.h"
#include "core/mem.h"

#define TAIL_BYTES 8 /* " ~cccc" CR LF */
#define BODY_MAX (LINE_MAX_BYTES - TAIL_BYTES)

u16 crc16(u16 crc, const void *data, size_t n)
{
	const u8 *p = data;

	while (n--) {
		crc = (u16)(crc ^ *p++ << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (u16)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc;
}

/* Room is what may still be written; the piece is written whole or not at all, so that no escape is cut in the middle. */
static bool add(struct line *l, const char *text, size_t reserve)
{
	size_t n = strlen(text);

	if (l->len + n + reserve > BODY_MAX)
		return false;
	memcpy(l->text + l->len, text, n);
	l->len += n;
	return true;
}

static bool plain(const char *value)
{
	if (!*value)
		return false;
	for (; *value; value++)
		if (*value <= ' ' || *value > '~' || *value == '"' || *value == '\\' || *value == '=')
			return false;
	return true;
}

void line_start(struct line *l, u32 seq, const char *kind)
{
	char head[32];

	l->len = 0;
	fmt(head, sizeof(head), "lhv %04u ", seq);
	add(l, head, 0);
	add(l, kind, 0);
}

static void add_quoted(struct line *l, const char *value)
{
	char piece[8];

	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			fmt(piece, sizeof(piece), "\\%c", *value);
		else if (*value < ' ' || *value > '~')
			fmt(piece, sizeof(piece), "\\x%02X", (u8)*value);
		else
			fmt(piece, sizeof(piece), "%c", *value);
		if (!add(l, piece, 1)) /* room for the closing quote */
			break;
	}
	add(l, "\"", 0);
}

/* Key and the beginning of the value belong together: a cut line doesn't end in half a key. */
static bool add_key(struct line *l, const char *key, const char *begin, size_t reserve)
{
	char piece[64];

	fmt(piece, sizeof(piece), " %s=%s", key, begin);
	return add(l, piece, reserve);
}

void line_str(struct line *l, const char *key, const char *value)
{
	size_t before = l->len;

	if (plain(value)) {
		if (!add_key(l, key, "", 1) || !add(l, value, 0))
			l->len = before;
		return;
	}
	if (add_key(l, key, "\"", 1))
		add_quoted(l, value);
}

void line_u64(struct line *l, const char *key, u64 value)
{
	char text[24];

	fmt(text, sizeof(text), "%llu", (unsigned long long)value);
	add_key(l, key, text, 0);
}

bool line_hex(struct line *l, const char *key, u64 value)
{
	char text[24];

	fmt(text, sizeof(text), "0x%llx", (unsigned long long)value);
	return add_key(l, key, text, 0);
}

void line_end(struct line *l)
{
	l->len += (size_t)fmt(l->text + l->len, TAIL_BYTES + 1, " ~%04x\r\n", crc16(0xffff, l->text, l->len));
}
