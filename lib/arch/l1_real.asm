; SPDX-License-Identifier: BSD-2-Clause
; L1 in real-address mode, for a few instructions (testcases/insn_real.c). lhv copies l1_real_code to the page at BASE and writes
; the rest of struct real_page there.
%include "asm.inc"

%define BASE          0x9000    ; SIPI_PAGE of lhv/mem.h
%define SEL_CODE16    0x58      ; L1_SEL_CODE16 and L1_SEL_DATA16 of testcases/l1_code.h
%define SEL_DATA16    0x60
; struct real_page of testcases/insn_real.c
%define P_HANDLERS    0x100
%define P_SNIPPET     0x300
%define P_OPERAND     0x320
%define P_AX          0x340
%define P_VECTOR      0x344
%define P_IP          0x346
%define P_IDTR        0x348
%define P_STACK       0xf00
%define HANDLER_BYTES 16
%define VECTORS       32

section .rodata
global l1_real_code, l1_real_code_end
bits 16
; From a 16-bit code segment that begins at 0, without paging.
l1_real_code:
  mov ax, SEL_DATA16            ; 64 KiB, and a stack by SP: real-address mode keeps what isn't base
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov eax, cr0
  and al, 0xfe
  mov cr0, eax
  jmp (BASE >> 4):(.real - l1_real_code)
.real:
  mov ax, cs
  mov ds, ax
  mov es, ax
  mov fs, ax
  mov gs, ax
  mov ss, ax
  mov esp, P_STACK
  o32 lidt [P_IDTR]
  mov eax, [P_AX]
  mov bx, P_OPERAND
  mov di, bx
  jmp near l1_real_code + P_SNIPPET
; Every exception ends it.
.out:
  pop word [cs:P_IP]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword SEL_CODE32:l1_real_back
  times P_HANDLERS - ($ - l1_real_code) db 0
%assign v 0
%rep VECTORS
  mov byte [cs:P_VECTOR], v
  jmp near .out
  times P_HANDLERS + HANDLER_BYTES * (v + 1) - ($ - l1_real_code) db 0
  %assign v v + 1
%endrep
l1_real_code_end:

section .text
%ifdef AMD64
bits 64
%else
bits 32
%endif
; void l1_real_enter(void): outside of VMX operation, interrupts off, GDTR with SEL_CODE16; IDTR is changed.
FN l1_real_enter
  PUSH_CALLEE
  mov [l1_real_sp], RSP
%ifdef AMD64
  push SEL_CODE32
  push .leave
  retfq
bits 32
.leave:
%endif
  mov eax, cr0
  and eax, 0x7fffffff
  mov cr0, eax
  jmp SEL_CODE16:BASE

bits 32
l1_real_back:
  mov eax, SEL_DATA
  mov ds, eax
  mov es, eax
  mov fs, eax
  mov gs, eax
  mov ss, eax
  mov eax, cr0
  or eax, 0x80000000
  mov cr0, eax
%ifdef AMD64
  jmp SEL_CODE:.go
bits 64
.go:
%endif
  mov RSP, [l1_real_sp]
  POP_CALLEE
  ret

section .bss
align 8
l1_real_sp: resb WORD_SIZE
