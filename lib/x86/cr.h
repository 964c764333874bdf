/* SPDX-License-Identifier: BSD-2-Clause */
/* Control registers (SDM: "Control Registers"). */
#ifndef X86_CR_H
#define X86_CR_H

#define CR0_PE 0x1u
#define CR0_MP 0x2u
#define CR0_EM 0x4u
#define CR0_TS 0x8u
#define CR0_ET 0x10u
#define CR0_NE 0x20u
#define CR0_WP 0x10000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u

#define CR4_VME 0x1u
#define CR4_TSD 0x4u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_DE 0x8u
#define CR4_PGE 0x80u
#define CR4_LA57 0x1000u
#define CR4_VMXE 0x2000u
#define CR4_SMXE 0x4000u
#define CR4_PCIDE 0x20000u
#define CR4_OSXSAVE 0x40000u
#define CR4_SMEP 0x100000u
#define CR4_SMAP 0x200000u
#define CR4_CET 0x800000u

#define DR6_FIXED 0xffff0ff0u
#define DR7_FIXED 0x400u

#define PTE_P 0x1ull
#define PTE_W 0x2ull
#define PTE_U 0x4ull
#define PTE_PCD 0x10ull
#define PTE_A 0x20ull
#define PTE_D 0x40ull
#define PTE_PS 0x80ull
#define PTE_ADDR 0x000ffffffffff000ull

#define VEC_DE 0
#define VEC_DB 1
#define VEC_NMI 2
#define VEC_BP 3
#define VEC_UD 6
#define VEC_NM 7
#define VEC_DF 8
#define VEC_TS 10
#define VEC_NP 11
#define VEC_SS 12
#define VEC_GP 13
#define VEC_PF 14
#define VEC_VE 20

#endif
