/* SPDX-License-Identifier: BSD-2-Clause */
/* Selectors and descriptor bits (SDM: "Segment Descriptors"). lib/arch/asm.inc has the selectors for NASM. */
#ifndef X86_SEG_H
#define X86_SEG_H

#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_USER_CODE 0x1b
#define SEL_USER_DATA 0x23
#define SEL_CODE32 0x28
#define SEL_DATA32 0x30
#define SEL_TSS1 0x38 /* L1's; 16 bytes on amd64 */
#define SEL_TSS2 0x48 /* L2's */
#define GDT_ENTRIES 11

/* Access rights in the VMCS's format (SDM: "Guest Register State"). */
#define AR_CODE32 0xc09b
#define AR_CODE64 0xa09b
#define AR_CODE16 0x009b
#define AR_DATA32 0xc093
#define AR_DATA16 0x0093
#define AR_TSS_BUSY 0x008b
#define AR_TSS16_BUSY 0x0083
#define AR_UNUSABLE 0x10000

#define RFLAGS_FIXED 0x2u
#define RFLAGS_CF 0x1u
#define RFLAGS_ZF 0x40u
#define RFLAGS_IF 0x200u
#define RFLAGS_VM 0x20000u
#define RFLAGS_ARITH 0x8d5u /* CF PF AF ZF SF OF */

#endif
