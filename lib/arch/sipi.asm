; SPDX-License-Identifier: BSD-2-Clause
; A CPU that is restarted by INIT and SIPI and goes on where it was (testcases/smp.c). lhv copies sipi_code to the page
; at SIPI_BASE; it writes down how it found the CPU, and returns on the stack that sipi_wait left.
%include "asm.inc"

extern boot_gdtr, paging_on

%define SIPI_BASE   0x9000      ; below 1 MiB; the same number stands in lhv/mem.h
; The page, behind the code; struct sipi_page of testcases/smp.c.
%define P_LOCK      0x800
%define P_COUNT     0x804
%define P_GDTR      0x808
%define P_NOW       0x820       ; record being made
%define P_RECORDS   0x900
%define RECORD      96          ; bytes
%define RECORDS_MAX 16

section .rodata
global sipi_code, sipi_code_end
bits 16
; The CPU must be as INIT left it: real mode, CS:IP = SIPI_BASE / 16 : 0. Several CPUs may come at once, and until the
; registers are saved none of them may be changed: all that BTS changes is CF.
sipi_code:
  lock bts word [cs:P_LOCK], 0
  jc sipi_code
  mov [cs:P_NOW + 0], eax
  mov [cs:P_NOW + 4], ebx
  mov [cs:P_NOW + 8], ecx
  mov [cs:P_NOW + 12], edx
  mov [cs:P_NOW + 16], esi
  mov [cs:P_NOW + 20], edi
  mov [cs:P_NOW + 24], ebp
  mov [cs:P_NOW + 28], esp
  mov eax, cs
  mov [cs:P_NOW + 32], eax
  mov eax, ds
  mov [cs:P_NOW + 36], eax
  mov eax, es
  mov [cs:P_NOW + 40], eax
  mov eax, ss
  mov [cs:P_NOW + 44], eax
  mov eax, fs
  mov [cs:P_NOW + 48], eax
  mov eax, gs
  mov [cs:P_NOW + 52], eax
  mov eax, cs                   ; a stack of its own, below P_LOCK; MOV leaves the flags alone
  mov ss, ax
  mov esp, P_LOCK
  pushfd
  pop dword [cs:P_NOW + 56]
  mov eax, cr0
  mov [cs:P_NOW + 60], eax
  mov eax, cr2
  mov [cs:P_NOW + 64], eax
  mov eax, cr3
  mov [cs:P_NOW + 68], eax
  mov eax, cr4
  mov [cs:P_NOW + 72], eax
  o32 sgdt [cs:P_NOW + 76]
  o32 sidt [cs:P_NOW + 84]
  mov eax, 1
  cpuid
  shr ebx, 24
  mov [cs:P_NOW + 92], ebx
  mov ax, cs
  mov ds, ax
  mov es, ax
  mov ax, [P_COUNT]
  inc word [P_COUNT]
  cmp ax, RECORDS_MAX - 1
  jbe .fits
  mov ax, RECORDS_MAX - 1
.fits:
  mov cx, RECORD
  mul cx
  add ax, P_RECORDS
  mov di, ax
  mov si, P_NOW
  mov cx, RECORD / 4
  cld
  rep movsd
  mov word [P_LOCK], 0
  o32 lgdt [P_GDTR]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword SEL_CODE32:sipi_flat
sipi_code_end:

section .text
bits 32
sipi_flat:
  mov eax, SEL_DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov fs, eax
  mov gs, eax
  mov esp, [sipi_resume + WORD_SIZE * ebx]
  call paging_on                ; below RSP is nothing of ours
%ifdef AMD64
  jmp SEL_CODE:.go
bits 64
.go:
  mov rsp, [sipi_resume + 8 * rbx]
%endif
  POP_CALLEE
  xor eax, eax
  ret

; u32 sipi_wait(u32 apic_id, volatile u32 *state, u32 waiting, u32 in_root)
; Says so in *state and waits for INIT and SIPI: returns 0 after them; or 1 when somebody writes ~0 to *state.
; in_root: at first it stays in VMX root operation and counts in sipi_alive until *state changes. Then *state becomes
; waiting + 2, and VMXOFF is executed.
FN sipi_wait
%ifdef AMD64
  PUSH_CALLEE
  mov eax, edi
  mov ebx, ecx
  mov rcx, rsi
%else
  PUSH_CALLEE
  mov eax, [esp + 16 + 4]
  mov ecx, [esp + 16 + 8]
  mov edx, [esp + 16 + 12]
  mov ebx, [esp + 16 + 16]
%endif
  mov [sipi_resume + WORD_SIZE * RAX], RSP
  mov [RCX], edx
  test ebx, ebx
  jz .wait
.in_root:
  inc dword [sipi_alive]
  cmp [RCX], edx
  je .in_root
  add edx, 2
  mov [RCX], edx
  vmxoff
.wait:
  pause
  cmp dword [RCX], -1
  jne .wait
  POP_CALLEE
  mov eax, 1
  ret

section .bss
align 8
global sipi_alive
sipi_alive: resb 8
sipi_resume: resb 256 * WORD_SIZE ; by APIC ID: stack of sipi_wait
