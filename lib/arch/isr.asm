; SPDX-License-Identifier: BSD-2-Clause
; Interrupt and exception entry, the exception table, user mode.
%include "asm.inc"

extern isr_dispatch

; A stub is STUB_SIZE bytes, so that the IDT is filled by arithmetic.
%define STUB_SIZE 16

section .text
;  stack at isr_common:   [ss esp, from user mode; always on amd64] flags cs ip error vector
global isr_stubs
align 16
isr_stubs:
%assign v 0
%rep 256
  align STUB_SIZE
  ; These push an error code themselves (SDM: "Error Code").
  %if v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21
  %else
    push strict dword 0
  %endif
    push strict dword v
    jmp strict near isr_common
  %assign v v + 1
%endrep

align 16
isr_common:
%ifdef AMD64
  push rax
  push rcx
  push rdx
  push rbx
  push rbp
  push rsi
  push rdi
  push r8
  push r9
  push r10
  push r11
  push r12
  push r13
  push r14
  push r15
  mov rdi, rsp
  cld
  call isr_dispatch             ; 22 words pushed on a 16-byte boundary: aligned
  pop r15
  pop r14
  pop r13
  pop r12
  pop r11
  pop r10
  pop r9
  pop r8
  pop rdi
  pop rsi
  pop rbp
  pop rbx
  pop rdx
  pop rcx
  pop rax
  add rsp, 16
  iretq
%else
  push eax
  push ecx
  push edx
  push ebx
  push ebp
  push esi
  push edi
  mov ebx, esp
  cld
  and esp, ~15
  sub esp, 12
  push ebx
  call isr_dispatch
  mov esp, ebx
  pop edi
  pop esi
  pop ebp
  pop ebx
  pop edx
  pop ecx
  pop eax
  add esp, 8
  iretd
%endif

; --- User mode ---
; ulong user_run(ulong (*fn)(ulong), ulong arg, ulong user_stack_top, ulong *tss_sp0, ulong flags)
; Runs fn(arg) at CPL 3 with these RFLAGS and returns what it returns. Interrupts and faults from
; user mode land on this stack, right below this frame.
;
;   *tss_sp0 -> callee-saved registers, return address          <- restored by user_return_gate
;               ss, sp, flags, cs, ip  for IRET (this frame's place is reused by interrupts)
FN user_run
%ifdef AMD64
  PUSH_CALLEE                   ; 6 words + return address: 8 more make a 16-byte boundary
  sub rsp, 8
  mov [rcx], rsp
  lea rdx, [rdx - 8]
  mov rax, user_return
  mov [rdx], rax
  push 0x23
  push rdx
  push r8
  push 0x1b
  push rdi
  mov rdi, rsi
  iretq
%else
  mov eax, [esp + 4]            ; fn
  mov ecx, [esp + 8]            ; arg
  mov edx, [esp + 12]           ; user stack
  PUSH_CALLEE
  mov ebx, [esp + 16 + 16]      ; tss_sp0
  mov esi, [esp + 16 + 20]      ; flags
  mov [ebx], esp
  sub edx, 24
  mov dword [edx], user_return
  mov [edx + 4], ecx
  push 0x23
  push edx
  push esi
  push 0x1b
  push eax
  mov ax, 0x23
  mov ds, ax
  mov es, ax
  iretd
%endif

; fn returns to here, at CPL 3.
user_return:
  int 0x80

; Entry of the gate 0x80 (DPL 3): drop the frame that the CPU pushed, it starts at *tss_sp0.
FN user_return_gate
%ifdef AMD64
  add rsp, 40 + 8
%else
  add esp, 20
  mov dx, SEL_DATA
  mov ds, dx
  mov es, dx
%endif
  POP_CALLEE
  ret

; void switch_stack(ulong top, void (*fn)(void *), void *arg): never returns
FN switch_stack
  ARG RAX, 0
%ifdef AMD64
  mov rsp, rax
  mov rax, rsi
  mov rdi, rdx
  xor ebp, ebp
  call rax
%else
  ARG ecx, 1
  ARG edx, 2
  mov esp, eax
  xor ebp, ebp
  sub esp, 12
  push edx
  call ecx
%endif
.dead:
  cli
  hlt
  jmp .dead
