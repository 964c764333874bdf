/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KVM_MODULES_H
#define KVM_MODULES_H

/* Loads a kernel module from a file; 0, or an errno. */
int module_load(const char *path, const char *parameters);
/*
 * The first of "NAME=VALUE ..." that isn't a parameter of kvm_intel, which is loaded; the kernel itself only logs it.
 * NULL: all are. The text is cut into its names.
 */
const char *module_lacks_parameter(char *parameters);
/* Says the values of kvm_intel's parameters, as the kernel took them. */
void module_say_parameters(void);

#endif
