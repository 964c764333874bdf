/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's log, record by record, as it comes. */
#ifndef KVM_KLOG_H
#define KVM_KLOG_H

/* From here on; what was logged before is passed over. */
void klog_open(void);
/* Prints what is new (console_log). One thread at a time. */
void klog_drain(void);

#endif
