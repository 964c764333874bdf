/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_LINE_H
#define CORE_LINE_H

#include "core/base.h"

#define LINE_MAX_BYTES 500 /* CR LF included; see docs/protocol.md */

/* CRC-16/CCITT-FALSE of n bytes, continued from crc; start with 0xffff. nmi-safe. */
u16 crc16(u16 crc, const void *data, size_t n);

/* A protocol line in the making. Pure: the caller numbers and prints it. */
struct line {
	char text[LINE_MAX_BYTES + 1];
	size_t len;
};

/* Starts "lhv NNNN kind". */
void line_start(struct line *l, u32 seq, const char *kind);
/* Adds ; the value is quoted and escaped when it has blanks, quotes, backslashes or non-printables. */
void line_str(struct line *l, const char *key, const char *value);
void line_u64(struct line *l, const char *key, u64 value); /* decimal */
/* 0x... without leading zeros. False: there's no room, and the line stays as it was. */
bool line_hex(struct line *l, const char *key, u64 value);
/* Adds the checksum and CR LF. An overlong line is cut before; a cut quoted value still gets its closing quote. */
void line_end(struct line *l);

#endif
