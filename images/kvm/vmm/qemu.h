/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU as the VMM, where the appliance has one. */
#ifndef KVM_QEMU_H
#define KVM_QEMU_H

#include "job.h"
#include "multiboot.h"

int qemu_is_here(void);
/* Starts it once for nothing, so that its pages are in memory at the checkpoint. */
void qemu_warm_up(void);
/* Like vm_run(). */
const char *qemu_run(const struct job *job, struct blob kernel, const struct blob *modules, struct blob disk);

#endif
