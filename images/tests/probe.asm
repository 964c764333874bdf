; SPDX-License-Identifier: BSD-2-Clause
; A multiboot kernel that does nothing but say when it got control and what it was given:
; time-stamp counter, eax, flags, upper memory, modules and command line, on Bochs' port 0xe9 and COM1.
; It measures boot loaders (in Bochs the counter counts emulated instructions) and tests images.
bits 32
org 0x100000

FLAGS equ 0x00010003
header:	dd 0x1badb002, FLAGS, -(0x1badb002 + FLAGS)
	dd header, header, end_file, end_bss, start

start:	mov esi, eax
	rdtsc
	mov edi, eax
	mov ebp, edx
	mov esp, stack_top
	push esi
	mov dx, 0x3fb
	mov al, 3
	out dx, al
	mov esi, t_tsc
	call puts
	mov eax, ebp
	call hex
	mov eax, edi
	call hex
	mov esi, t_magic
	call puts
	pop eax
	call hex
	mov esi, t_upper
	call puts
	mov eax, [ebx + 8]
	call hex
	mov ecx, 0
	test byte [ebx], 8
	jz .nomods
	mov ecx, [ebx + 20]
	mov edi, [ebx + 24]
.nomods:
	mov esi, t_mods
	call puts
	mov eax, ecx
	call hex
.mod:	jecxz .cmd
	mov esi, t_mod
	call puts
	mov esi, [edi + 8]
	call puts
	mov al, ':'
	call putc
	mov eax, [edi + 4]
	sub eax, [edi]
	call hex
	mov al, ':'
	call putc
	mov edx, [edi]
	mov eax, [edx]
	call hex
	add edi, 16
	dec ecx
	jmp .mod
.cmd:	mov esi, t_cmd
	call puts
	mov esi, [ebx + 16]
	call puts
	mov esi, t_end
	call puts
	jmp off

%include "say.inc"

t_tsc:	db 'probe tsc=', 0
t_magic: db ' magic=', 0
t_upper: db ' upper=', 0
t_mods:	db ' mods=', 0
t_mod:	db ' mod=', 0
t_cmd:	db ' cmdline=', 0
t_end:	db 13, 10, 0
end_file:
end_bss equ end_file + 4096
stack_top equ end_bss
