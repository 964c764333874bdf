// SPDX-License-Identifier: BSD-2-Clause
#include "lhv/screen.h"

#include "core/fmt.h"
#include "core/mem.h"

#define COLUMNS 80
#define ROWS 25
#define CPU_ROW 2
#define BIG_ROW 13

#define NORMAL 0x07
#define TITLE 0x1f

static volatile u16 *const vga = (volatile u16 *)0xb8000;

/* White on green, black on grey, black on yellow-brown, white on red. */
static const u8 colour[] = { 0x2f, 0x70, 0x60, 0x4f };

static void put_line(u32 row, u8 attribute, const char *text)
{
	bool ended = false;

	for (u32 x = 0; x < COLUMNS; x++) {
		ended = ended || !text[x];
		vga[row * COLUMNS + x] = (u16)(attribute << 8 | (ended ? ' ' : (u8)text[x]));
	}
}

void screen_init(void)
{
	for (u32 row = 0; row < ROWS; row++)
		put_line(row, NORMAL, "");
	screen_status("starting");
}

void screen_status(const char *text)
{
	char line[COLUMNS + 1];

	fmt(line, sizeof(line), " lhv | %s", text);
	put_line(0, TITLE, line);
}

void screen_cpu(u32 cpu, const char *item, enum verdict worst, u32 items)
{
	char line[COLUMNS + 1];

	fmt(line, sizeof(line), " CPU %u  %-5s  %5u items   %s", cpu, verdict_name(worst), items, item);
	put_line(CPU_ROW + cpu, colour[worst], line);
}

/* 5x7 letters, a byte per row, bit 4 is the left column. Only those that verdicts have. */
struct letter {
	char c;
	u8 rows[7];
};
static const struct letter letters[] = {
	{ 'A', { 0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11 } }, { 'B', { 0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e } },
	{ 'D', { 0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e } }, { 'E', { 0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f } },
	{ 'G', { 0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0e } }, { 'I', { 0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e } },
	{ 'K', { 0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11 } }, { 'O', { 0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e } },
	{ 'P', { 0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10 } }, { 'R', { 0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11 } },
	{ 'S', { 0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e } },
};

static void big_letter(char c, u32 left, u8 attribute)
{
	for (u32 i = 0; i < ARRAY_SIZE(letters); i++) {
		if (letters[i].c != c)
			continue;
		for (u32 row = 0; row < 7; row++)
			for (u32 x = 0; x < 5; x++)
				if (letters[i].rows[row] >> (4 - x) & 1)
					for (u32 half = 0; half < 2; half++)
						vga[(BIG_ROW + row) * COLUMNS + left + 2 * x + half] =
							(u16)((attribute & 0x0f) << 12 | ' ');
	}
}

void screen_verdict(enum verdict v)
{
	const char *name = verdict_name(v);
	u32 length = (u32)strlen(name);
	u8 attribute = colour[v];

	for (u32 row = BIG_ROW - 2; row < BIG_ROW + 9; row++)
		put_line(row, attribute, "");
	/* A letter is 10 cells wide with a gap of 2. Blinking must not come from bright backgrounds: use bit 3 off. */
	for (u32 i = 0; i < length; i++)
		big_letter(name[i], (COLUMNS - length * 12) / 2 + i * 12, attribute & 0x77);
	screen_status("done");
}
