/* SPDX-License-Identifier: BSD-2-Clause */
/* What leaves the machine: bytes at port 0xe9, which Bochs writes to its standard output at once. */
#ifndef KVM_CONSOLE_H
#define KVM_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of L1's serial port, as they are. Any thread. */
void console_write(const void *data, size_t n);
/*
 * A line of our own, "kvm: ...", at the beginning of a line even if L1 is in the middle of one. Any thread.
 * docs/kvm.md, "What the appliance says", lists them.
 */
void console_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A line of the kernel's log, "kvm-log: ...". */
void console_log(const char *text, size_t n);
/* Is the last byte that was written a line's end? */
int console_at_line_start(void);

uint64_t read_tsc(void);

#endif
