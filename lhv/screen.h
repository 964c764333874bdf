/* SPDX-License-Identifier: BSD-2-Clause */
/* VGA text mode, 80x25: for machines without a serial port. */
#ifndef LHV_SCREEN_H
#define LHV_SCREEN_H

#include "core/base.h"
#include "core/verdict.h"

void screen_init(void);
/* What is going on, in the title line. */
void screen_status(const char *text);
/* A CPU's line: its worst verdict so far, its last item and how many items it has done. */
void screen_cpu(u32 cpu, const char *item, enum verdict worst, u32 items);
/* The final GOOD, SKIP, ERROR or BAD in large coloured letters. */
void screen_verdict(enum verdict v);

#endif
