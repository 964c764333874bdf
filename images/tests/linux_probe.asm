; SPDX-License-Identifier: BSD-2-Clause
; A bzImage that does nothing but say what its boot loader gave it: command line, initramfs (size, sum of its dwords).
; The header: Linux, Documentation/arch/x86/boot.rst.
org 0
SETUP_SECTS equ 1
LOADED_AT equ 0x100000

	times 0x1f1 - ($ - $$) db 0
	db SETUP_SECTS
	dw 0				; root_flags
	dd (end_section - start) / 16	; syssize
	dw 0, 0, 0
	db 0x55, 0xaa
	db 0xeb, 0x66			; jump: the header's end
	db 'HdrS'
	dw 0x20c
	dd 0
	dw 0
	dw version - 0x200
	db 0
	db 1				; loadflags: loaded high
	dw 0
	dd LOADED_AT			; code32_start
	dd 0, 0, 0
	dw 0
	db 0, 0
	dd 0
	dd 0x7fffffff			; initrd_addr_max
	dd 0x100000			; kernel_alignment
	db 0, 0
	dw 1				; xloadflags: 64-bit entry point (for tests of who reads it; there is none)
	dd 4095				; cmdline_size
	dd 0
	dq 0
	dd 0, 0
	dq 0
	dq LOADED_AT			; pref_address
	dd 0x100000			; init_size
	dd 0
version: db '6.1.0-probe-cloud-amd64 (a test) #1 SMP', 0
	times (SETUP_SECTS + 1) * 512 - ($ - $$) db 0

protected:
section protected vstart=LOADED_AT align=1
bits 32
start:	mov ebx, esi			; boot_params
	mov esp, stack_top
	mov dx, 0x3fb
	mov al, 3
	out dx, al
	mov esi, t_size
	call puts
	mov eax, [ebx + 0x21c]
	call hex
	mov esi, t_sum
	call puts
	mov esi, [ebx + 0x218]
	mov ecx, [ebx + 0x21c]
	shr ecx, 2
	xor edx, edx
	jecxz .done
.sum:	lodsd
	add edx, eax
	dec ecx
	jnz .sum
.done:	mov eax, edx
	call hex
	mov esi, t_cmd
	call puts
	mov esi, [ebx + 0x228]
	call puts
	mov esi, t_end
	call puts
	jmp off

%include "say.inc"

t_size:	db 'linux initrd=', 0
t_sum:	db ' sum=', 0
t_cmd:	db ' cmdline=', 0
t_end:	db 13, 10, 0
	align 16, db 0
end_section:
stack_top equ LOADED_AT + 0x8000
