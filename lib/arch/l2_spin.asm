; SPDX-License-Identifier: BSD-2-Clause
; An L2 that runs until it's told to stop, with a pattern in every general register that it doesn't need (testcases/smp.c).
%include "asm.inc"

%define L2_REGISTERS 0x4c320002
%define PATTERN      0x5ca1ab00 ; lhv/guest.h

section .bss
align 8
global l2_spin_alive
l2_spin_alive: resb 8

section .text
; ulong l2_spin_registers(const u32 *stop)
FN l2_spin_registers
  ARG RAX, 0
  PUSH_CALLEE
  mov ecx, PATTERN + 1
  mov edx, PATTERN + 2
  mov ebx, PATTERN + 3
  mov ebp, PATTERN + 4
  mov esi, PATTERN + 5
  mov edi, PATTERN + 6
%ifdef AMD64
%assign n 8
%rep 8
  mov r %+ n %+ d, PATTERN + n - 1
  %assign n n + 1
%endrep
%endif
.spin:
  inc dword [l2_spin_alive]
  cmp dword [RAX], 0
  je .spin
  mov eax, L2_REGISTERS
  vmcall
  POP_CALLEE
  xor eax, eax
  ret
