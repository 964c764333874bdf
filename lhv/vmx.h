/* SPDX-License-Identifier: BSD-2-Clause */
/* VMX instructions as outcomes, and MSRs. L1, any CPU. */
#ifndef LHV_VMX_H
#define LHV_VMX_H

#include "arch/vmx.h"
#include "core/outcome.h"
#include "core/vmcs.h"
#include "core/vmxcap.h"
#include "lhv/cpu.h"

struct inv_descriptor {
	u64 a, b;
};

#define INVEPT_SINGLE 1
#define INVEPT_ALL 2
#define INVVPID_ADDRESS 0
#define INVVPID_SINGLE 1
#define INVVPID_ALL 2
#define INVVPID_SINGLE_GLOBALS 3

/* Physical addresses; any value, the instruction judges it. */
struct outcome vmxon(u64 pa);
struct outcome vmxoff(void);
struct outcome vmclear(u64 pa);
struct outcome vmptrld(u64 pa);
struct outcome vmptrst(u64 *pa);
struct outcome invept(ulong type, u64 eptp, u64 reserved);
struct outcome invvpid(ulong type, u64 vpid, u64 address);
/* One register's width: on i386 a 64-bit field's low half. */
struct outcome vmread_raw(u32 field, ulong *value);
struct outcome vmwrite_raw(u32 field, ulong value);
/* Outcome of a *_raw function's return value (lib/arch/vmx.asm). */
struct outcome vmx_outcome(u32 raw);

/* Whole fields, both halves on i386; panic with the field's name if there is no such field. */
u64 vmread(enum vmcs_field field);
void vmwrite(enum vmcs_field field, u64 value);
void vmwrite_bits(enum vmcs_field field, u64 clear, u64 set);

/* MSRs: the outcome, or a panic. */
struct outcome msr_read_try(u32 msr, u64 *value);
struct outcome msr_write_try(u32 msr, u64 value);
u64 msr_read(u32 msr);
void msr_write(u32 msr, u64 value);

/* What the host offers; all CPUs alike. Zero if there is no VMX. */
extern struct vmx_caps vmx_caps;
extern bool vmx_present;
void vmx_detect(void);

/* Does the host offer `name`: a control's name in the SDM, "VMX", or one of the names in lhv/caps.c? */
bool cap_have(const char *name);
/* Number of names that cap_have knows beyond the controls, and each of them; for cap lines. */
const char *cap_name(u32 index); /* NULL behind the last */
/* A list, separated by "; ": the first name that isn't offered, copied to missing. */
bool cap_all(const char *names, char *missing, size_t size);

/* Allows VMX in FEATURE_CONTROL and CR4 and executes VMXON with the CPU's region. */
struct outcome vmx_on(struct cpu *c);
struct outcome vmx_off(struct cpu *c);

#endif
