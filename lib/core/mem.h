/* SPDX-License-Identifier: BSD-2-Clause */
/* The few functions that compilers and we expect from a C library. On the host they are the C library's. */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include "core/base.h"

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

#endif
