; SPDX-License-Identifier: BSD-2-Clause
; Power-on of the hypervisor: multiboot entry of the first CPU, trampoline of the others.
%include "asm.inc"

extern boot_main, ap_main

; --- Multiboot header (Multiboot Specification 0.6.96: "The layout of Multiboot header") ---
%define MB_FLAGS 0x3            ; modules on page boundaries, memory information
section .multiboot
align 4
  dd 0x1badb002, MB_FLAGS, -(0x1badb002 + MB_FLAGS)

section .bss
align 4096
global boot_pml4, boot_pdpt, boot_pd
%ifdef AMD64
boot_pml4: resb 4096
%endif
boot_pdpt: resb 4096
boot_pd:   resb 4 * 4096        ; 2 MiB pages, identity, 4 GiB
boot_stack: resb 4096
boot_stack_top:

section .data
align 8
boot_gdt:
  dq 0
%ifdef AMD64
  dq 0x00af9b000000ffff         ; SEL_CODE
%else
  dq 0x00cf9b000000ffff
%endif
  dq 0x00cf93000000ffff         ; SEL_DATA
  dq 0, 0
  dq 0x00cf9b000000ffff         ; SEL_CODE32
  dq 0x00cf93000000ffff         ; SEL_DATA32
boot_gdt_end:
global boot_gdtr
boot_gdtr:
  dw boot_gdt_end - boot_gdt - 1
  dd boot_gdt
  dd 0
%ifdef AMD64
%define BOOT_CR3 boot_pml4
%else
%define BOOT_CR3 boot_pdpt
%endif

section .text
bits 32
; First CPU. Stack: none yet. eax = multiboot magic, ebx = multiboot information.
global _start
_start:
  cli
  cld
  mov esp, boot_stack_top
  mov esi, eax
  mov edi, ebx
  lgdt [boot_gdtr]
  jmp SEL_CODE32:.flat
.flat:
  mov eax, SEL_DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov fs, eax
  mov gs, eax
  mov ebx, boot_pd              ; present, writable, user, 2 MiB
  mov eax, 0x87
.fill:
  mov [ebx], eax
  mov dword [ebx + 4], 0
  add ebx, 8
  add eax, 0x200000
  jnc .fill
  mov ebx, boot_pdpt            ; PAE PDPTEs have no writable or user bit, amd64's need them
  mov eax, boot_pd + (7 * AMD64_OR_0) + (1 - AMD64_OR_0)
  mov ecx, 4
.pdpt:
  mov [ebx], eax
  add eax, 4096
  add ebx, 8
  loop .pdpt
%ifdef AMD64
  mov dword [boot_pml4], boot_pdpt + 7
%endif
  call paging_on
%ifdef AMD64
  jmp SEL_CODE:.go
bits 64
.go:
  mov edi, edi
  mov esi, esi
  xchg edi, esi                 ; boot_main(magic, information)
  call boot_main
%else
  push edi
  push esi
  call boot_main
%endif
.dead:
  cli
  hlt
  jmp .dead

bits 32
; Turns paging on with the boot tables; the caller jumps to SEL_CODE on amd64.
; Flat 32-bit segments, paging off. Clobbers eax, ecx, edx.
global paging_on
paging_on:
  mov eax, BOOT_CR3
  mov cr3, eax
  mov eax, cr4
  or eax, 0x20                  ; PAE
  mov cr4, eax
%ifdef AMD64
  mov ecx, 0xc0000080
  rdmsr
  or eax, 0x100                 ; LME
  wrmsr
%endif
  mov eax, cr0
  and eax, ~0x6000000c          ; CD, NW, TS, EM off
  or eax, 0x80010023            ; PG, WP, NE, MP, PE
  mov cr0, eax
  ret

; --- The other CPUs: copied to AP_BASE (below 1 MiB), started there by SIPI in real mode ---
%define AP_BASE 0x8000
global ap_trampoline, ap_trampoline_end, ap_ticket, ap_stack_tops
bits 16
ap_trampoline:
  cli
  cld
  xor ax, ax
  mov ds, ax
  lgdt [AP_BASE + (ap_gdtr - ap_trampoline)]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword SEL_CODE32:ap_flat
align 4
ap_gdtr:
  dw boot_gdt_end - boot_gdt - 1
  dd boot_gdt
ap_trampoline_end:

bits 32
ap_flat:
  mov eax, SEL_DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov fs, eax
  mov gs, eax
  ; A ticket is a CPU number; those too many go to sleep (ap_stack_tops has 0 for them).
  mov ebx, 1
  lock xadd [ap_ticket], ebx
  cmp ebx, 8
  jae .too_many
  mov esp, [ap_stack_tops + 4 * ebx]
  test esp, esp
  jz .too_many
  call paging_on
%ifdef AMD64
  jmp SEL_CODE:.go
bits 64
.go:
  mov edi, ebx
  call ap_main
%else
  sub esp, 12
  push ebx
  call ap_main
%endif
.dead:
  cli
  hlt
  jmp .dead
bits 32
.too_many:
  cli
  hlt
  jmp .too_many

section .data
align 4
ap_ticket: dd 1                 ; CPU 0 is the first CPU
ap_stack_tops: times 8 dd 0     ; physical addresses; ap_main(number) starts with this stack
