/* SPDX-License-Identifier: BSD-2-Clause */
/* One virtual machine over /dev/kvm. */
#ifndef KVM_VM_H
#define KVM_VM_H

#include "job.h"
#include "multiboot.h"

/*
 * Runs L1 to its end and says how it ended ("end ..."). Returns what is wrong if it couldn't be started, else NULL.
 * The kernel's log is relayed meanwhile.
 */
const char *vm_run(const struct job *job, struct blob kernel, const struct blob *modules, struct blob disk);

#endif
