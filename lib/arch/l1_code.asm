; SPDX-License-Identifier: BSD-2-Clause
; Runs a few instructions in L1 in any mode, with any registers and segments, until the exception that ends them
; (testcases/l1_code.c). While they run, the IDT's first 32 gates are l1_code_stubs.
%include "asm.inc"

%define STUB_SIZE 16

; struct l1_state of testcases/l1_code.h, in words
%define S(n)     WORD_SIZE * (n)
%ifdef AMD64
  %define REGS   16
%else
  %define REGS   8
%endif
%define S_SP     S(4)
%define S_DI     S(7)
%define S_IP     S(REGS)
%define S_FLAGS  S(REGS + 1)
%define S_CS     S(REGS + 2)
%define S_SS     S(REGS + 3)
%define S_DS     S(REGS + 4)
%define S_ES     S(REGS + 5)
%define S_FS     S(REGS + 6)
%define S_GS     S(REGS + 7)
%define S_VECTOR S(REGS + 8)
%define S_ERROR  S(REGS + 9)

%define FLAGS_VM 0x20000

section .text
global l1_code_stubs
align 16
l1_code_stubs:
%assign v 0
%rep 32
  align STUB_SIZE
  ; As in isr.asm: these come with an error code.
  %if v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21
  %else
    push strict dword 0
  %endif
    push strict dword v
    jmp strict near l1_code_end
  %assign v v + 1
%endrep

; void l1_code_enter(struct l1_state *s, u32 *tss_sp0)
; Loads all of s, and stores all of it when the code ends. Interrupts and exceptions from CPL 3 land below this frame.
;
;   *tss_sp0, [l1_saved] -> callee-saved registers, return address
FN l1_code_enter
%ifdef AMD64
  PUSH_CALLEE
  sub rsp, 8                    ; a 16-byte boundary
  mov [l1_state], rdi
  mov [l1_saved], rsp
  mov [rsi], rsp
  mov rax, [rdi + S_ES]
  mov es, eax
  mov rax, [rdi + S_FS]
  mov fs, eax
  mov rax, [rdi + S_GS]
  mov gs, eax
  mov rax, [rdi + S_DS]
  mov ds, eax
  push qword [rdi + S_SS]
  push qword [rdi + S_SP]
  push qword [rdi + S_FLAGS]
  push qword [rdi + S_CS]
  push qword [rdi + S_IP]
  mov rax, [rdi + S(0)]
  mov rcx, [rdi + S(1)]
  mov rdx, [rdi + S(2)]
  mov rbx, [rdi + S(3)]
  mov rbp, [rdi + S(5)]
  mov rsi, [rdi + S(6)]
%assign n 8
%rep 8
  mov r %+ n, [rdi + S(n)]
  %assign n n + 1
%endrep
  mov rdi, [rdi + S_DI]
  iretq

;   stack: vector error ip cs flags sp ss
l1_code_end:
  push rdi
  mov rdi, [l1_state]
  mov [rdi + S(0)], rax
  mov [rdi + S(1)], rcx
  mov [rdi + S(2)], rdx
  mov [rdi + S(3)], rbx
  mov [rdi + S(5)], rbp
  mov [rdi + S(6)], rsi
%assign n 8
%rep 8
  mov [rdi + S(n)], r %+ n
  %assign n n + 1
%endrep
  pop qword [rdi + S_DI]
  pop qword [rdi + S_VECTOR]
  pop qword [rdi + S_ERROR]
  pop qword [rdi + S_IP]
  pop qword [rdi + S_CS]
  pop qword [rdi + S_FLAGS]
  pop qword [rdi + S_SP]
  pop qword [rdi + S_SS]
  mov eax, SEL_DATA
  mov ss, eax
  mov rsp, [l1_saved]
  mov ds, eax
  mov es, eax
  mov fs, eax
  mov gs, eax
  push 2
  popfq
  add rsp, 8
%else
  PUSH_CALLEE
  mov edi, [esp + 16 + 4]
  mov esi, [esp + 16 + 8]
  mov [l1_state], edi
  mov [l1_saved], esp
  mov [esi], esp
  test dword [edi + S_FLAGS], FLAGS_VM
  jnz .virtual_8086
  test dword [edi + S_CS], 3
  jnz .outer
  ; The frame stands on the stack that the code will have. The code segment can be read in every case.
  mov ss, [edi + S_SS]
  mov esp, [edi + S_SP]
  jmp .segments
.virtual_8086:
  push dword [edi + S_GS]
  push dword [edi + S_FS]
  push dword [edi + S_DS]
  push dword [edi + S_ES]
  push dword [edi + S_SS]
  push dword [edi + S_SP]
  jmp .frame
.outer:
  push dword [edi + S_SS]
  push dword [edi + S_SP]
.segments:
  mov es, [edi + S_ES]
  mov fs, [edi + S_FS]
  mov gs, [edi + S_GS]
  mov ds, [edi + S_DS]
.frame:
  push dword [cs:edi + S_FLAGS]
  push dword [cs:edi + S_CS]
  push dword [cs:edi + S_IP]
  mov eax, [cs:edi + S(0)]
  mov ecx, [cs:edi + S(1)]
  mov edx, [cs:edi + S(2)]
  mov ebx, [cs:edi + S(3)]
  mov ebp, [cs:edi + S(5)]
  mov esi, [cs:edi + S(6)]
  mov edi, [cs:edi + S_DI]
  iretd

;   stack: vector error ip cs flags [sp ss, from CPL 3]
l1_code_end:
  push edi
  mov edi, SEL_DATA
  mov ds, edi
  mov edi, [l1_state]
  mov [edi + S(0)], eax
  mov [edi + S(1)], ecx
  mov [edi + S(2)], edx
  mov [edi + S(3)], ebx
  mov [edi + S(5)], ebp
  mov [edi + S(6)], esi
  pop dword [edi + S_DI]
  pop dword [edi + S_VECTOR]
  pop dword [edi + S_ERROR]
  pop dword [edi + S_IP]
  pop dword [edi + S_CS]
  pop dword [edi + S_FLAGS]
  test dword [edi + S_FLAGS], FLAGS_VM
  jnz .from_outer
  test dword [edi + S_CS], 3
  jnz .from_outer
  mov [edi + S_SP], esp
  mov [edi + S_SS], ss
  jmp .back
.from_outer:
  pop dword [edi + S_SP]
  pop dword [edi + S_SS]
.back:
  mov eax, SEL_DATA
  mov ss, eax
  mov esp, [l1_saved]
  mov es, eax
  mov fs, eax
  mov gs, eax
  push 2
  popfd
%endif
  POP_CALLEE
  ret

section .bss
align 8
l1_state: resb WORD_SIZE
l1_saved: resb WORD_SIZE
