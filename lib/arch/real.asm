; SPDX-License-Identifier: BSD-2-Clause
; A real-mode guest. lhv copies real_code to the start of a 16 KiB piece of low memory, which is its CS, DS, ES
; and SS; struct shared in lhv/opts/real_mode.c is the layout of the data that it shares with L1.
%include "asm.inc"

%define L2_REAL_MODE      0x4c320004
%define L2_PROTECTED_MODE 0x4c320005

; Offsets in the segment; see there.
%define SHARED       0x3000
%define S_A          SHARED + 0
%define S_B          SHARED + 4
%define S_PRODUCT    SHARED + 8
%define S_INT_COUNT  SHARED + 12
%define S_OPEN       SHARED + 16
%define S_GDTR       SHARED + 20
%define S_IRQ_COUNTS SHARED + 26
%define IRQ_KINDS    5

section .rodata
global real_code, real_code_end, real_int_handler, real_irq_handlers
bits 16
real_code:
  mov eax, [S_A]
  mul dword [S_B]
  mov [S_PRODUCT], eax
  int 0x40                      ; through the IVT
  mov cx, [S_OPEN]              ; how long to leave interrupts on; 0: not at all
  jcxz .closed
  sti
.wait:
  loop .wait
  cli
.closed:
  mov eax, L2_REAL_MODE
  mov edx, [S_PRODUCT]
  vmcall
  o32 lgdt [S_GDTR]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword SEL_CODE32:real_protected
real_int_handler:
  inc dword [S_INT_COUNT]
  iret
align 8
real_irq_handlers:              ; one of 8 bytes per kind of interrupt
%assign k 0
%rep IRQ_KINDS
  align 8
  inc dword [S_IRQ_COUNTS + 4 * k]
  iret
%assign k k + 1
%endrep
real_code_end:

section .text
bits 32
; 32-bit protected mode without paging, in the image itself.
real_protected:
  mov eax, SEL_DATA32
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov eax, L2_PROTECTED_MODE
  mov edx, cr0
  vmcall
.dead:
  hlt
  jmp .dead
