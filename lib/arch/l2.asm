; SPDX-License-Identifier: BSD-2-Clause
; What L2 runs that C can't say. Declared in lhv/guest.h.
%include "asm.inc"

%define L2_RETURN      0x4c320000
%define L2_REGISTERS   0x4c320002
%define L2_PAGING_OFF  0x4c320003
%define PATTERN        0x5ca1ab00
%define PATTERN2       0xbedab1e0

section .text

; First instruction of L2: AX = function, DX = argument, empty stack.
FN l2_start
%ifdef AMD64
  mov rdi, rdx
  xor ebp, ebp
  call rax
%else
  xor ebp, ebp
  sub esp, 12
  push edx
  call eax
%endif
  mov RDX, RAX
  mov eax, L2_RETURN
  vmcall
.dead:
  hlt
  jmp .dead

; ulong l2_call(ulong code, ulong argument)
FN l2_call
  ARG RAX, 0
  ARG RDX, 1
  vmcall
  ret

; void l2_call4(ulong code, ulong dx, ulong cx, ulong bx)
FN l2_call4
  push RBX
%ifdef AMD64
  mov rax, rdi
  mov rbx, rcx
  mov rcx, rdx
  mov rdx, rsi
%else
  mov eax, [esp + 8]
  mov edx, [esp + 12]
  mov ecx, [esp + 16]
  mov ebx, [esp + 20]
%endif
  vmcall
  pop RBX
  ret

; ulong l2_registers(ulong unused)
%macro CHECK_REG 2              ; register, number
  mov RAX, PATTERN2 + %2
  cmp %1, RAX
  setne al
  movzx eax, al
  shl eax, %2
  or [RSP], RAX
%endmacro
FN l2_registers
  PUSH_CALLEE
  push 0                        ; bits of the registers that are wrong
  mov eax, L2_REGISTERS
  mov ecx, PATTERN + 1
  mov edx, PATTERN + 2
  mov ebx, PATTERN + 3
  mov ebp, PATTERN + 4
  mov esi, PATTERN + 5
  mov edi, PATTERN + 6
%ifdef AMD64
  mov r8d, PATTERN + 7
  mov r9d, PATTERN + 8
  mov r10d, PATTERN + 9
  mov r11d, PATTERN + 10
  mov r12d, PATTERN + 11
  mov r13d, PATTERN + 12
  mov r14d, PATTERN + 13
  mov r15d, PATTERN + 14
%endif
  vmcall
  push RCX                      ; CHECK_REG needs AX only, but AX itself must be looked at first
  mov ecx, PATTERN2
  cmp RAX, RCX
  pop RCX
  setne al
  movzx eax, al
  or [RSP], RAX
%ifdef AMD64
  %define CHECK64 1
%endif
  CHECK_REG RCX, 1
  CHECK_REG RDX, 2
  CHECK_REG RBX, 3
  CHECK_REG RBP, 4
  CHECK_REG RSI, 5
  CHECK_REG RDI, 6
%ifdef AMD64
  CHECK_REG r8, 7
  CHECK_REG r9, 8
  CHECK_REG r10, 9
  CHECK_REG r11, 10
  CHECK_REG r12, 11
  CHECK_REG r13, 12
  CHECK_REG r14, 13
  CHECK_REG r15, 14
%endif
  pop RAX
  POP_CALLEE
  ret

; ulong paging_off_on(ulong call)
FN paging_off_on
%ifdef AMD64
  push rbx
  push rbp
  mov ebp, edi
  push SEL_CODE32
  push .compat
  retfq
bits 32
.compat:                        ; compatibility mode; the stack is below 4 GiB
  mov ecx, cr0
  and ecx, 0x7fffffff
  mov cr0, ecx                  ; leaves long mode: LMA = 0
  mov ebx, cr0
  test ebp, ebp
  jz .on
  mov eax, L2_PAGING_OFF
  mov edx, ebx
  vmcall
.on:
  mov ecx, cr0
  or ecx, 0x80000000
  mov cr0, ecx                  ; LME is still 1: LMA = 1
  jmp SEL_CODE:.back
bits 64
.back:
  mov eax, ebx
  pop rbp
  pop rbx
  ret
%else
  push ebx
  mov ecx, cr0
  and ecx, 0x7fffffff
  mov cr0, ecx
  mov ebx, cr0
  cmp dword [esp + 8], 0
  je .on
  mov eax, L2_PAGING_OFF
  mov edx, ebx
  vmcall
.on:
  mov ecx, cr0
  or ecx, 0x80000000
  global paging_on_instruction
paging_on_instruction:
  mov cr0, ecx                  ; loads the PDPTEs
  mov eax, ebx
  pop ebx
  ret
%endif

; What L2 of vmx_trips_raw stands at.
FN bench_vmcall
  vmcall
FN bench_rdmsr
  rdmsr

FN l2_halt_once
  sti
  hlt
  cli
  ret

; ulong try_read(volatile u32 *address)
FN try_read
  ARG RCX, 0
  EX .faulted
  mov eax, [RCX]
  ret
.faulted:
  mov eax, 0xfa017ed0
  ret

FN try_rdmsr
  ARG RCX, 0
  EX try_3
  rdmsr
  xor eax, eax
  ret
FN try_hlt
  EX try_3
  hlt
  xor eax, eax
  ret
FN try_cli
  EX try_3
  cli
  xor eax, eax
  ret
FN try_read_cr0
  EX try_3
  mov RAX, cr0
  xor eax, eax
  ret
FN try_ud2
  EX try_3
  global try_ud2_instruction
try_ud2_instruction:
  ud2
  xor eax, eax
  ret
try_3:
  mov eax, 3
  ret
