; SPDX-License-Identifier: BSD-2-Clause
; Power-on of L0: multiboot entry of the first CPU, trampoline of the others.
; .boot runs at its physical address; everything else at the image's address, through paging.
%include "asm.inc"

extern nest_main, ap_main, image_start, boot_end

; --- Multiboot header (Multiboot Specification 0.6.96: "The layout of Multiboot header") ---
%define MB_FLAGS 0x3            ; modules on page boundaries, memory information
section .multiboot progbits alloc exec write
align 4
  dd 0x1badb002, MB_FLAGS, -(0x1badb002 + MB_FLAGS)

section .boot progbits alloc exec write align=4096
%ifdef AMD64
boot_pml4: times 4096 db 0
boot_pdpt_high: times 4096 db 0
boot_pd_high: times 4096 db 0
%endif
boot_pdpt: times 4096 db 0
boot_pd:   times 4 * 4096 db 0  ; 2 MiB pages, identity, 4 GiB
boot_pt:   times 4096 db 0      ; the image's window, 2 MiB
boot_stack: times 512 db 0
boot_stack_top:

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
boot_gdt_end:
boot_gdtr:
  dw boot_gdt_end - boot_gdt - 1
  dd boot_gdt

bits 32
; eax = multiboot magic, ebx = multiboot information
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
  mov ebx, boot_pd              ; present, writable, 2 MiB
  mov eax, 0x83
.fill:
  mov [ebx], eax
  add ebx, 8
  add eax, 0x200000
  jnc .fill
  mov ebx, boot_pt
  mov eax, boot_end + 3
  mov ecx, 512
.window:
  mov [ebx], eax
  add ebx, 8
  add eax, 0x1000
  loop .window
  mov ebx, boot_pdpt            ; PAE PDPTEs have no writable bit, amd64's need it
  mov eax, boot_pd + (3 * AMD64_OR_0) + (1 - AMD64_OR_0)
  mov ecx, 4
.pdpt:
  mov [ebx], eax
  add eax, 4096
  add ebx, 8
  loop .pdpt
%ifdef AMD64
  mov dword [boot_pml4], boot_pdpt + 3
  mov dword [boot_pml4 + 511 * 8], boot_pdpt_high + 3
  mov dword [boot_pdpt_high + 510 * 8], boot_pd_high + 3
  mov dword [boot_pd_high], boot_pt + 3
  mov eax, boot_pml4
%else
  mov dword [boot_pd + 3 * 4096 + 384 * 8], boot_pt + 3 ; 0xf0000000
  mov eax, boot_pdpt
%endif
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
%ifdef AMD64
  jmp SEL_CODE:.go
bits 64
.go:
  mov rsp, first_stack_top
  mov edi, edi
  mov esi, esi
  xchg edi, esi                 ; nest_main(magic, information)
  mov rax, nest_main
  call rax
%else
  mov esp, first_stack_top
  push edi
  push esi
  mov eax, nest_main
  call eax
%endif

section .bss
align 4096
first_stack: resb 8192          ; part of the image: it moves with it
first_stack_top:

section .text
; void boot_move(u8 *to, const u8 *from, ulong bytes, ulong cr3): copies the image, this stack included, and
; switches to tables that map the copy where the original was. Returns in the copy.
FN boot_move
%ifdef AMD64
  mov rax, rcx
  mov rcx, rdx
  rep movsb
  mov cr3, rax
%else
  push esi
  push edi
  mov edi, [esp + 12]
  mov esi, [esp + 16]
  mov ecx, [esp + 20]
  mov eax, [esp + 24]
  rep movsb
  mov cr3, eax
  pop edi
  pop esi
%endif
  ret

; --- The other CPUs: copied to AP_BASE by smp.c, which saves and restores what was there; SIPI starts them here ---
%define AP_BASE 0x8000
global ap_trampoline, ap_trampoline_end, ap_cr3, ap_stacks
section .data
align 16
ap_trampoline:
bits 16
  cli
  cld
  xor ax, ax
  mov ds, ax
  lgdt [AP_BASE + (ap_gdtr - ap_trampoline)]
  mov eax, cr0
  or al, 1
  mov cr0, eax
  jmp dword SEL_CODE32:AP_BASE + (ap_flat - ap_trampoline)
bits 32
ap_flat:
  mov eax, SEL_DATA
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov fs, eax
  mov gs, eax
  ; A ticket is an index in the list of stacks; 0 stands behind the last.
  mov ebx, 1
  lock xadd [AP_BASE + (ap_ticket - ap_trampoline)], ebx
  cmp ebx, 64
  jae .too_many
  mov esp, [AP_BASE + (ap_stacks - ap_trampoline) + 4 * ebx]
  test esp, esp
  jz .too_many
  mov eax, [AP_BASE + (ap_cr3 - ap_trampoline)]
  mov cr3, eax
  mov eax, cr4
  or eax, 0x20
  mov cr4, eax
%ifdef AMD64
  mov ecx, 0xc0000080
  rdmsr
  or eax, 0x100
  wrmsr
%endif
  mov eax, cr0
  and eax, ~0x6000000c
  or eax, 0x80010023
  mov cr0, eax
%ifdef AMD64
  jmp SEL_CODE:AP_BASE + (.go - ap_trampoline)
bits 64
.go:
  mov esp, esp
  mov edi, ebx
  mov rax, ap_main
  call rax
%else
  sub esp, 12
  push ebx
  mov eax, ap_main
  call eax
%endif
bits 32
.too_many:
  cli
  hlt
  jmp .too_many
align 8
ap_gdt:
  dq 0
%ifdef AMD64
  dq 0x00af9b000000ffff
%else
  dq 0x00cf9b000000ffff
%endif
  dq 0x00cf93000000ffff
  dq 0, 0
  dq 0x00cf9b000000ffff
ap_gdt_end:
ap_gdtr:
  dw ap_gdt_end - ap_gdt - 1
  dd AP_BASE + (ap_gdt - ap_trampoline)
align 4
ap_cr3: dd 0
ap_ticket: dd 1
ap_stacks: times 64 dd 0
ap_trampoline_end:
