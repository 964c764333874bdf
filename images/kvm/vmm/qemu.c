// SPDX-License-Identifier: BSD-2-Clause
#include "qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "klog.h"

#define QEMU "/usr/bin/qemu-system-x86_64"
#define POLL_MS 100

int qemu_is_here(void)
{
	return access(QEMU, X_OK) == 0;
}

/* Its output comes out of the pipe's end that is returned; -1 if it can't be started. */
static int spawn(char *const argv[], pid_t *pid)
{
	int ends[2];

	if (pipe(ends) < 0)
		return -1;
	*pid = fork();
	if (*pid < 0)
		return -1;
	if (*pid == 0) {
		int null = open("/dev/null", O_RDONLY);

		dup2(null, 0);
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		close(ends[0]);
		execv(QEMU, argv);
		_exit(127);
	}
	close(ends[1]);
	return ends[0];
}

void qemu_warm_up(void)
{
	char *argv[] = { QEMU, "-version", NULL };
	char text[256];
	pid_t pid;
	int out, status;

	if (!qemu_is_here())
		return;
	out = spawn(argv, &pid);
	while (out >= 0 && read(out, text, sizeof(text)) > 0)
		;
	close(out);
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		console_say("fail qemu: it doesn't start, status 0x%x", (unsigned)status);
}

static const char *write_file(const char *path, struct blob b)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t at = 0;

	while (fd >= 0 && at < b.size) {
		ssize_t n = write(fd, b.bytes + at, b.size - at);

		if (n <= 0)
			break;
		at += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	return at == b.size ? NULL : "a file can't be written";
}

/* "-initrd" takes a list of "file words,file words"; a comma in the words is doubled. */
static const char *module_list(const struct job *job, const struct blob *modules, char *out, size_t room)
{
	size_t at = 0;

	out[0] = 0;
	for (unsigned i = 0; i < job->module_count; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/module%u", i);
		if (write_file(path, modules[i]))
			return "a module can't be written";
		at += (size_t)snprintf(out + at, room - at, "%s%s ", i ? "," : "", path);
		for (const char *c = modules[i].text; *c && at + 3 < room; c++) {
			out[at++] = *c;
			if (*c == ',')
				out[at++] = ',';
		}
		if (at + 64 > room)
			return "the modules' command lines are too long";
		out[at] = 0;
	}
	return NULL;
}

static void relay(int out, pid_t pid, unsigned stall)
{
	struct pollfd p = { .fd = out, .events = POLLIN };
	unsigned quiet = 0;
	char text[512];

	for (;;) {
		ssize_t n;

		if (poll(&p, 1, POLL_MS) == 0) {
			quiet += POLL_MS;
			if (stall && quiet > stall * 1000) {
				console_say("stopped after %u s without output", stall);
				kill(pid, SIGKILL);
				stall = 0;
			}
			if (console_at_line_start())
				klog_drain();
			continue;
		}
		n = read(out, text, sizeof(text));
		if (n <= 0)
			return;
		quiet = 0;
		if (console_at_line_start())
			klog_drain();
		console_write(text, (size_t)n);
	}
}

const char *qemu_run(const struct job *job, struct blob kernel, const struct blob *modules, struct blob disk)
{
	static char initrd[8192];
	char memory[16], cpus[16];
	char *argv[40] = {
		QEMU,
		"-nodefaults",
		"-no-user-config",
		"-no-reboot",
		"-display",
		"none",
		"-monitor",
		"none",
		"-machine",
		"pc",
		"-accel",
		"kvm",
		"-cpu",
		"host",
		"-L",
		"/usr/share/qemu",
		"-serial",
		"stdio",
		"-vga",
		"none",
		"-device",
		"isa-debug-exit,iobase=0xf4,iosize=0x04",
		"-m",
		memory,
		"-smp",
		cpus,
		"-kernel",
		"/l1.elf",
		"-append",
		(char *)(uintptr_t)kernel.text,
	};
	const char *wrong = write_file("/l1.elf", kernel);
	int n = 0, out, status = 0;
	pid_t pid;

	if (!wrong)
		wrong = module_list(job, modules, initrd, sizeof(initrd));
	if (!wrong && disk.size)
		wrong = write_file("/disk.img", disk);
	if (wrong)
		return wrong;
	snprintf(memory, sizeof(memory), "%u", job->memory_mb);
	snprintf(cpus, sizeof(cpus), "%u", job->cpus);
	while (argv[n])
		n++;
	if (job->module_count) {
		argv[n++] = "-initrd";
		argv[n++] = initrd;
	}
	if (disk.size) {
		argv[n++] = "-drive";
		argv[n++] = "file=/disk.img,format=raw,if=ide";
	}
	console_say("start cpus=%u memory=%u tsc=%llu", job->cpus, job->memory_mb, (unsigned long long)read_tsc());
	out = spawn(argv, &pid);
	if (out < 0)
		return "QEMU can't be started";
	relay(out, pid, job->stall);
	waitpid(pid, &status, 0);
	klog_drain();
	console_say("exits=0 tsc=%llu", (unsigned long long)read_tsc());
	if (WIFSIGNALED(status))
		console_say("end hang seconds=%u", job->stall);
	else if (WEXITSTATUS(status) & 1)
		console_say("end port value=%u", (unsigned)WEXITSTATUS(status) >> 1);
	else
		console_say("end shutdown status=%u", (unsigned)WEXITSTATUS(status));
	return NULL;
}
