// SPDX-License-Identifier: BSD-2-Clause
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "klog.h"
#include "vm_internal.h"

#define PAGE_SIZE 4096u          /* KVM_COALESCED_MMIO_MAX wants the name */
#define TSS_ADDRESS 0xfffbd000ul /* where KVM keeps what real mode needs: below the BIOS' place */
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull
#define WATCH_NS 100000000ull
#define STOP_NS 1000000000ull /* for a thread to leave the kernel */

static struct vm the_vm; /* what the devices' interrupts belong to */

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
}

void vm_end(struct vm *vm, const char *format, ...)
{
	va_list args;

	if (vm->over)
		return;
	va_start(args, format);
	vsnprintf(vm->end, sizeof(vm->end), format, args);
	va_end(args);
	vm->over = 1;
	pthread_cond_signal(&vm->over_changed);
}

void device_irq(unsigned irq, int level)
{
	struct kvm_irq_level l = { .irq = irq, .level = (uint32_t)level };

	ioctl(the_vm.fd, KVM_IRQ_LINE, &l);
}

/* The kernel's messages go in front of the line that L1 wrote after them. */
void device_serial(uint8_t byte)
{
	if (console_at_line_start())
		klog_drain();
	the_vm.last_byte = now_ns();
	console_write(&byte, 1);
}

void vm_flush_serial(struct vm *vm)
{
	struct kvm_coalesced_mmio_ring *ring = vm->ring;
	uint32_t last;

	if (!ring)
		return;
	last = __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE);
	while (ring->first != last) {
		struct kvm_coalesced_mmio *m = &ring->coalesced_mmio[ring->first];
		uint32_t value = 0;

		memcpy(&value, m->data, m->len <= 4 ? m->len : 4);
		devices_out(&vm->devices, (uint16_t)m->phys_addr, value, m->len);
		__atomic_store_n(&ring->first, (ring->first + 1) % KVM_COALESCED_MMIO_MAX, __ATOMIC_RELEASE);
	}
}

static struct kvm_cpuid2 *supported_cpuid(int kvm)
{
	struct kvm_cpuid2 *out = calloc(1, sizeof(*out) + MAX_CPUID * sizeof(out->entries[0]));

	if (!out)
		return NULL;
	out->nent = MAX_CPUID;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, out) < 0) {
		free(out);
		return NULL;
	}
	return out;
}

static const char *add_chips_and_memory(struct vm *vm)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = IDENTITY_MAP_ADDRESS;
	struct kvm_userspace_memory_region region = { .memory_size = vm->mem.size,
						      .userspace_addr = (uintptr_t)vm->mem.bytes };

	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0)
		return "KVM_SET_TSS_ADDR";
	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return "KVM_SET_IDENTITY_MAP_ADDR";
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return "KVM_CREATE_IRQCHIP";
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return "KVM_CREATE_PIT2";
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return "KVM_SET_USER_MEMORY_REGION";
	return NULL;
}

/* Without it every byte of L1's output is an exit to us: several times as slow. */
static void collect_serial(struct vm *vm)
{
	int page = ioctl(vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
	struct kvm_coalesced_mmio_zone zone = { .addr = COM1, .size = 1, .pio = 1 };

	if (page <= 0 || ioctl(vm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) <= 0)
		return;
	if (ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone) == 0)
		vm->ring = (void *)((uint8_t *)vm->cpus[0].run + (size_t)page * PAGE_SIZE);
}

static const char *create(struct vm *vm, const struct job *job)
{
	const char *wrong;
	int run_bytes;

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		return "no /dev/kvm";
	vm->cpuid = supported_cpuid(vm->kvm);
	run_bytes = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (!vm->cpuid || run_bytes <= 0 || vm->fd < 0)
		return "KVM_CREATE_VM";
	vm->run_bytes = (size_t)run_bytes;
	wrong = add_chips_and_memory(vm);
	vm->count = job->cpus;
	for (unsigned i = 0; i < vm->count && !wrong; i++)
		wrong = vcpu_create(vm, i);
	if (!wrong)
		collect_serial(vm);
	return wrong;
}

static void interrupt(int number)
{
	(void)number; /* KVM_RUN returns */
}

static const char *start(struct vm *vm)
{
	struct sigaction action = { .sa_handler = interrupt };

	sigaction(SIGUSR1, &action, NULL);
	for (unsigned i = 0; i < vm->count; i++) {
		if (pthread_create(&vm->cpus[i].thread, NULL, vcpu_run, &vm->cpus[i]))
			return "pthread_create";
		vm->cpus[i].started = 1;
	}
	return NULL;
}

/* Until the machine is over; a machine that says nothing for too long is. */
static void watch(struct vm *vm, unsigned stall)
{
	pthread_mutex_lock(&vm->lock);
	vm->last_byte = now_ns();
	while (!vm->over) {
		struct timespec until = to_timespec(now_ns() + WATCH_NS);

		pthread_cond_timedwait(&vm->over_changed, &vm->lock, &until);
		vm_flush_serial(vm);
		if (console_at_line_start())
			klog_drain();
		if (stall && now_ns() - vm->last_byte > stall * 1000000000ull)
			vm_end(vm, "hang seconds=%u", stall);
	}
	pthread_mutex_unlock(&vm->lock);
}

/* False: a thread is stuck in the kernel. */
static int stop(struct vm *vm)
{
	struct timespec until;
	int all = 1;

	for (unsigned i = 0; i < vm->count; i++)
		if (vm->cpus[i].started) {
			vm->cpus[i].run->immediate_exit = 1;
			pthread_kill(vm->cpus[i].thread, SIGUSR1);
		}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(STOP_NS / 1000000000u);
	for (unsigned i = 0; i < vm->count; i++)
		if (vm->cpus[i].started && pthread_timedjoin_np(vm->cpus[i].thread, NULL, &until)) {
			console_say("cpu %u is stuck in the kernel", i);
			all = 0;
		}
	return all;
}

static void destroy(struct vm *vm)
{
	for (unsigned i = 0; i < vm->count; i++) {
		munmap(vm->cpus[i].run, vm->run_bytes);
		close(vm->cpus[i].fd);
	}
	close(vm->fd);
	close(vm->kvm);
}

const char *vm_run(const struct job *job, struct blob kernel, const struct blob *modules, struct blob disk)
{
	struct vm *vm = &the_vm;
	pthread_condattr_t monotonic;
	const char *wrong;

	pthread_mutex_init(&vm->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&vm->over_changed, &monotonic);
	vm->mem.size = (size_t)job->memory_mb << 20;
	vm->mem.bytes = mmap(NULL, vm->mem.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->mem.bytes == MAP_FAILED)
		return "no memory for the machine";
	wrong = multiboot_load(vm->mem, kernel, modules, job->module_count, &vm->boot);
	if (wrong)
		return wrong;
	devices_init(&vm->devices, disk.bytes, disk.size);
	wrong = create(vm, job);
	if (wrong)
		return wrong;
	console_say("start cpus=%u memory=%u tsc=%llu", vm->count, job->memory_mb, (unsigned long long)read_tsc());
	wrong = start(vm);
	if (wrong)
		return wrong;
	watch(vm, job->stall);
	if (stop(vm)) {
		vm_flush_serial(vm);
		for (unsigned i = 0; i < vm->count; i++)
			vcpu_say_state(&vm->cpus[i]);
		destroy(vm);
	}
	klog_drain();
	console_say("exits=%lu tsc=%llu", atomic_load(&vm->exits), (unsigned long long)read_tsc());
	console_say("end %s", vm->end);
	return NULL;
}
