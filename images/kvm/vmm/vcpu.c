// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "console.h"
#include "vm_internal.h"

#define MSR_FEATURE_CONTROL 0x3a
#define FEATURE_LOCKED_VMX 5 /* lock, VMX outside SMX: what firmware leaves */
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MSR_MTRR_BASE0 0x200
#define MSR_MTRR_MASK0 0x201
#define MSR_MTRR_FIX64K 0x250
#define MSR_MTRR_FIX16K_80000 0x258
#define MSR_MTRR_FIX16K_A0000 0x259
#define MSR_MTRR_FIX4K 0x268
#define FIX4K_COUNT 8
#define ALL_WB 0x0606060606060606ull
#define ALL_WP 0x0505050505050505ull

static void put_msr(struct kvm_msrs *m, uint32_t index, uint64_t data)
{
	m->entries[m->nmsrs].index = index;
	m->entries[m->nmsrs].data = data;
	m->nmsrs++;
}

/* What firmware does before it boots anything: VMX allowed, memory write-back, VGA and everything from 3 GiB uncached. */
static const char *set_firmware_msrs(struct vcpu *v)
{
	static char wrong[80];
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry room[32];
	} m = { 0 };
	uint32_t phys_bits = 36;
	int done;

	for (unsigned i = 0; i < v->vm->cpuid->nent; i++)
		if (v->vm->cpuid->entries[i].function == 0x80000008)
			phys_bits = v->vm->cpuid->entries[i].eax & 0xff;
	put_msr(&m.head, MSR_FEATURE_CONTROL, FEATURE_LOCKED_VMX);
	put_msr(&m.head, MSR_MTRR_FIX64K, ALL_WB);
	put_msr(&m.head, MSR_MTRR_FIX16K_80000, ALL_WB);
	put_msr(&m.head, MSR_MTRR_FIX16K_A0000, 0);
	for (uint32_t i = 0; i < FIX4K_COUNT; i++)
		put_msr(&m.head, MSR_MTRR_FIX4K + i, ALL_WP);
	put_msr(&m.head, MSR_MTRR_BASE0, 0xc0000000u);
	put_msr(&m.head, MSR_MTRR_MASK0, (((1ull << phys_bits) - 1) & ~0x3fffffffull) | 0x800);
	put_msr(&m.head, MSR_MTRR_DEF_TYPE, 0xc06);
	done = ioctl(v->fd, KVM_SET_MSRS, &m);
	if (done == (int)m.head.nmsrs)
		return NULL;
	snprintf(wrong, sizeof(wrong), "MSR 0x%x can't be set%s", done < 0 ? 0 : m.room[done].index,
		 done == 0 ? ": nested virtualization is off" : "");
	return wrong;
}

static const char *set_cpuid(struct vcpu *v)
{
	struct kvm_cpuid2 *all = v->vm->cpuid;

	for (unsigned i = 0; i < all->nent; i++) {
		struct kvm_cpuid_entry2 *e = &all->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | v->index << 24;
		if (e->function == 0xb || e->function == 0x1f)
			e->edx = v->index;
	}
	return ioctl(v->fd, KVM_SET_CPUID2, all) < 0 ? "KVM_SET_CPUID2" : NULL;
}

/* Multiboot Specification, "Machine state". */
static const char *set_entry_state(struct vcpu *v)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_segment data = code;
	struct kvm_regs regs = { .rflags = 2, .rsp = 0x8000 };
	struct kvm_sregs s;

	data.type = 3;
	data.selector = 16;
	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return "KVM_GET_SREGS";
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = 0x11;
	s.cr4 = s.efer = 0;
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return "KVM_SET_SREGS";
	regs.rip = v->vm->boot.entry;
	regs.rax = MULTIBOOT_MAGIC;
	regs.rbx = v->vm->boot.info;
	return ioctl(v->fd, KVM_SET_REGS, &regs) < 0 ? "KVM_SET_REGS" : NULL;
}

const char *vcpu_create(struct vm *vm, unsigned index)
{
	struct vcpu *v = &vm->cpus[index];
	const char *wrong;

	v->vm = vm;
	v->index = index;
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	if (v->fd < 0)
		return "KVM_CREATE_VCPU";
	v->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		return "no memory for a vCPU";
	wrong = set_cpuid(v);
	if (!wrong)
		wrong = set_firmware_msrs(v);
	if (!wrong && index == 0)
		wrong = set_entry_state(v);
	return wrong;
}

/* REP INS and OUTS come as one exit with many items. */
static void handle_io(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned size = run->io.size;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	struct vm *vm = v->vm;

	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint32_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, size);
			devices_out(&vm->devices, run->io.port, value, size);
		} else {
			value = devices_in(&vm->devices, run->io.port, size);
			memcpy(data, &value, size);
		}
	}
}

static void handle_internal_error(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned n = run->internal.ndata;
	char data[96] = "";

	for (unsigned i = 0, at = 0; i < n && i < 4; i++)
		at += (unsigned)snprintf(data + at, sizeof(data) - at, " %llx",
					 (unsigned long long)run->internal.data[i]);
	vm_end(v->vm, "internal-error cpu=%u suberror=%u data=%s", v->index, run->internal.suberror, data);
}

/* lock held */
static void handle_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (run->io.direction == KVM_EXIT_IO_OUT &&
		    (run->io.port == EXIT_PORT || run->io.port == SHUTDOWN_PORT))
			vm_end(v->vm, "port value=%u", *((uint8_t *)run + run->io.data_offset));
		else
			handle_io(v);
		break;
	case KVM_EXIT_MMIO:
		if (!run->mmio.is_write)
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		vm_end(v->vm, "shutdown cpu=%u", v->index);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		handle_internal_error(v);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		vm_end(v->vm, "failed-entry cpu=%u reason=0x%llx", v->index,
		       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		vm_end(v->vm, "unknown-exit cpu=%u reason=%u", v->index, run->exit_reason);
		break;
	}
}

void *vcpu_run(void *arg)
{
	struct vcpu *v = arg;
	struct vm *vm = v->vm;
	int over = 0;

	while (!over) {
		int result = ioctl(v->fd, KVM_RUN, 0);
		int error = errno;

		atomic_fetch_add_explicit(&vm->exits, 1, memory_order_relaxed);
		pthread_mutex_lock(&vm->lock);
		vm_flush_serial(vm); /* what came before this exit */
		if (result == 0)
			handle_exit(v);
		else if (error != EINTR && error != EAGAIN)
			vm_end(vm, "run-error cpu=%u %s reason=%u", v->index, strerror(error), v->run->exit_reason);
		over = vm->over;
		pthread_mutex_unlock(&vm->lock);
	}
	return NULL;
}

void vcpu_say_state(struct vcpu *v)
{
	struct kvm_mp_state mp = { 0 };
	struct kvm_sregs s;
	struct kvm_regs r;

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return;
	ioctl(v->fd, KVM_GET_MP_STATE, &mp);
	console_say("cpu %u rip=0x%llx rsp=0x%llx rflags=0x%llx cr0=0x%llx cr3=0x%llx cr4=0x%llx efer=0x%llx state=%u",
		    v->index, r.rip, r.rsp, r.rflags, s.cr0, s.cr3, s.cr4, s.efer, mp.mp_state);
	console_say("cpu %u cs=0x%x base=0x%llx l=%u db=%u type=0x%x ss=0x%x type=0x%x idt=0x%llx gdt=0x%llx", v->index,
		    s.cs.selector, s.cs.base, s.cs.l, s.cs.db, s.cs.type, s.ss.selector, s.ss.type, s.idt.base,
		    s.gdt.base);
}
