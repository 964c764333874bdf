/* SPDX-License-Identifier: BSD-2-Clause */
/* xmhf-nest's own interface to its L1 (docs/xmhf-nest.md): found by CPUID, called by VMCALL. */
#ifndef X86_NEST_CALL_H
#define X86_NEST_CALL_H

/* CPUID leaf: EBX, ECX, EDX spell "XMHFnestXMHF"; EAX is the last leaf. */
#define NEST_LEAF_SIGNATURE 0x40000000u
#define NEST_SIGNATURE_EBX 0x46484d58u
#define NEST_SIGNATURE_ECX 0x7473656eu
#define NEST_SIGNATURE_EDX 0x46484d58u
/* CPUID leaf: EAX has a bit per feature. */
#define NEST_LEAF_FEATURES 0x40000001u
#define NEST_FEATURE_PRIVATE 0x1u

/* VMCALL at CPL 0: EAX magic, EBX operation, ECX number of the first page, EDX number of pages. EAX: result. */
#define NEST_CALL_MAGIC 0x4e455354u
#define NEST_CALL_HIDE 1u /* pages become private: neither L1 nor L2 of any CPU has them when this returns */
#define NEST_CALL_SHOW 2u /* gives back a range, as it was hidden */
#define NEST_CALL_OK 0u
#define NEST_CALL_INVALID 1u /* not L1's memory, or no such range */
#define NEST_CALL_FULL 2u    /* too many ranges */

#endif
