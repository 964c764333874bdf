// SPDX-License-Identifier: BSD-2-Clause
#include "console.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/io.h>

#define PORT 0xe9

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int line_start = 1;

static void put(const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		outb((unsigned char)data[i], PORT);
	if (n)
		line_start = data[n - 1] == '\n';
}

void console_write(const void *data, size_t n)
{
	pthread_mutex_lock(&lock);
	put(data, n);
	pthread_mutex_unlock(&lock);
}

static void put_line(const char *prefix, size_t prefix_n, const char *text, size_t n)
{
	pthread_mutex_lock(&lock);
	if (!line_start)
		put("\n", 1);
	put(prefix, prefix_n);
	put(text, n);
	put("\n", 1);
	pthread_mutex_unlock(&lock);
}

void console_say(const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n < 0)
		return;
	put_line("kvm: ", 5, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

void console_log(const char *text, size_t n)
{
	put_line("kvm-log: ", 9, text, n);
}

int console_at_line_start(void)
{
	int out;

	pthread_mutex_lock(&lock);
	out = line_start;
	pthread_mutex_unlock(&lock);
	return out;
}

uint64_t read_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}
