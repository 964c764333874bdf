// SPDX-License-Identifier: BSD-2-Clause
/*
 * PID 1 of the appliance: loads KVM, lets the emulator save its state, then takes a job from the second disk and runs it.
 * What it says is described in docs/kvm.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "console.h"
#include "devices.h"
#include "drive.h"
#include "job.h"
#include "klog.h"
#include "modules.h"
#include "qemu.h"
#include "vm.h"

#define CHECKPOINT_PORT 0x8901
#define TOUCH_BYTES (24u << 20)

/* Bochs' way to be turned off. */
static void __attribute__((noreturn)) power_off(void)
{
	static const char word[] = "Shutdown";

	for (const char *c = word; *c; c++)
		outb((unsigned char)*c, SHUTDOWN_PORT);
	for (;;)
		pause();
}

/* The appliance itself doesn't work: nothing is said about L1 or KVM. */
static void __attribute__((noreturn)) fail(const char *what, const char *why)
{
	klog_drain();
	console_say("fail %s: %s", what, why);
	power_off();
}

static void mount_all(void)
{
	static const char *const places[][2] = { { "/dev", "devtmpfs" }, { "/proc", "proc" }, { "/sys", "sysfs" } };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		mkdir(places[i][0], 0755);
		mount("none", places[i][0], places[i][1], 0, NULL);
	}
}

/* Pages that the kernel has had in hand are cheaper to get: before the checkpoint that costs nothing later. */
static void touch_memory(void)
{
	void *p = mmap(NULL, TOUCH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	memset(p, 1, TOUCH_BYTES);
	munmap(p, TOUCH_BYTES);
}

/*
 * A Bochs with our changes saves its state at the OUT, one with a debugger stops behind the XCHG; whoever restores the
 * state goes on behind it. Elsewhere both do nothing.
 */
static void checkpoint(void)
{
	outb('C', CHECKPOINT_PORT);
	__asm__ volatile("xchg %bx, %bx");
}

static struct blob read_file(const struct job_file *file, const char *what)
{
	size_t sectors = ((size_t)file->size + SECTOR - 1) / SECTOR;
	uint8_t *bytes = malloc(sectors * SECTOR);

	if (!bytes)
		fail(what, "no memory for it");
	if (!drive_read(file->lba, bytes, file->size))
		fail(what, "the second disk can't be read");
	return (struct blob){ bytes, file->size, file->text };
}

static void load(const char *path, const char *parameters)
{
	int error = module_load(path, parameters);

	if (error)
		fail(path, strerror(error));
}

static void __attribute__((noreturn)) run(struct job *job)
{
	struct blob kernel = read_file(&job->kernel, "kernel"), disk = { 0 }, modules[JOB_MODULES_MAX];
	const char *wrong;

	for (unsigned i = 0; i < job->module_count; i++)
		modules[i] = read_file(&job->modules[i], "module");
	if (job->disk.size)
		disk = read_file(&job->disk, "disk");
	klog_open();
	load("/kvm-intel.ko", job->params);
	module_say_parameters();
	wrong = module_lacks_parameter(job->params);
	if (wrong)
		fail("kvm_intel has no parameter", wrong);
	wrong = qemu_is_here() ? qemu_run(job, kernel, modules, disk) : vm_run(job, kernel, modules, disk);
	if (wrong)
		fail("machine", wrong);
	power_off();
}

int main(void)
{
	static char text[JOB_BYTES + 1];
	static struct job job;
	const char *wrong;

	mount_all();
	if (iopl(3) < 0)
		return 1;
	console_say("init tsc=%llu", (unsigned long long)read_tsc());
	if (access("/irqbypass.ko", R_OK) == 0)
		load("/irqbypass.ko", "");
	load("/kvm.ko", "");
	touch_memory();
	qemu_warm_up();
	checkpoint();
	console_say("go tsc=%llu", (unsigned long long)read_tsc());
	if (!drive_read(0, text, JOB_BYTES))
		fail("job", "the second disk can't be read");
	wrong = job_parse(&job, text);
	if (wrong)
		fail("job", wrong);
	run(&job);
}
