/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_FMT_H
#define CORE_FMT_H

#include "core/base.h"

/*
 * A small vsnprintf: %s %c %d %i %u %x %X %p %%, flags 0 and -, a width, a precision for %s,
 * lengths hh h l ll z. No floating point. Always terminates with NUL if size > 0.
 * Returns the length that the whole text would have had, like vsnprintf. nmi-safe.
 */
int fmt_v(char *buf, size_t size, const char *format, va_list ap);
int fmt(char *buf, size_t size, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
