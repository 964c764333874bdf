/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef uintptr_t ulong; /* as wide as a general register */

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

#define PAGE_SIZE 4096u
#define PAGE_SHIFT 12

#endif
