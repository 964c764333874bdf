/* SPDX-License-Identifier: BSD-2-Clause */
/* What vm.c (the machine) and vcpu.c (its CPUs) share. */
#ifndef KVM_VM_INTERNAL_H
#define KVM_VM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "devices.h"
#include "job.h"
#include "multiboot.h"

struct vcpu {
	struct vm *vm;
	unsigned index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	int started;
};

struct vm {
	int kvm, fd;
	size_t run_bytes; /* of each vCPU's mapping */
	struct guest_memory mem;
	struct boot_state boot;
	struct kvm_cpuid2 *cpuid;
	struct vcpu cpus[JOB_CPUS_MAX];
	unsigned count;

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t over_changed;
	struct devices devices;
	struct kvm_coalesced_mmio_ring
		*ring;      /* writes to COM1's data port that made no exit; NULL: every one makes one */
	uint64_t last_byte; /* when L1 wrote one: CLOCK_MONOTONIC, ns */
	int over;
	char end[160]; /* how it ended, if it is over */
	atomic_ulong exits;
};

#define MAX_CPUID 256

uint64_t now_ns(void);
/* The first to call it says how the machine ended. */
void vm_end(struct vm *vm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes what COM1 has collected; lock held. */
void vm_flush_serial(struct vm *vm);

/* Creates the CPU in the state that the loader has to hand over (the first), or waiting for SIPI. NULL, or what is wrong. */
const char *vcpu_create(struct vm *vm, unsigned index);
/* A thread's function: runs the CPU until the machine is over. */
void *vcpu_run(void *vcpu);
/* For the log: where it is. In its own thread or when that has ended. */
void vcpu_say_state(struct vcpu *v);

#endif
