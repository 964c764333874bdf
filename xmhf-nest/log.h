/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef NEST_LOG_H
#define NEST_LOG_H

#include "core/base.h"

void log_init(void);
/*
 * One line on COM1, "xmhf-nest: ..." CR LF. The port is L1's as well: only at boot and on trouble. Never in an NMI,
 * never while holding a lock of ours.
 */
void log_line(const char *format, ...) PRINTF_LIKE(1, 2);

/* L0 itself is broken: a line, a dump, the end. Other CPUs go on until they need this one. */
#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)
void panic_at(const char *file, int line, const char *format, ...) PRINTF_LIKE(3, 4) __attribute__((noreturn));
void panic_set_exit(const char *how); /* "bochs", "qemu" or "none": how the machine ends after a panic */

#endif
