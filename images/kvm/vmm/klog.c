// SPDX-License-Identifier: BSD-2-Clause
#include "klog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "console.h"

static int fd = -1;

void klog_open(void)
{
	fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	else
		console_say("no /dev/kmsg: %s", strerror(errno));
}

/* "6,1234,56789,-;text\n KEY=value\n": the text alone. */
static void print_record(char *record, size_t n)
{
	char *text = memchr(record, ';', n), *end;

	if (!text)
		return;
	text++;
	end = memchr(text, '\n', (size_t)(record + n - text));
	console_log(text, (size_t)((end ? end : record + n) - text));
}

void klog_drain(void)
{
	static char record[8192];

	while (fd >= 0) {
		ssize_t n = read(fd, record, sizeof(record));

		if (n > 0)
			print_record(record, (size_t)n);
		else if (n < 0 && errno == EPIPE)
			console_say("lost messages of the kernel's log");
		else if (n == 0 || errno != EINTR)
			return;
	}
}
