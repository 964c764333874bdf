; SPDX-License-Identifier: BSD-2-Clause
; A boot loader for one multiboot kernel whose place in memory is known when the disk is made (direct.py).
;
;   sector 0     this code's first part, loaded by the BIOS to 0x7c00; partition table
;   sector 1-2   its second part, to 0x7e00
;   sector 3-4   entry point and list of pieces, behind it
;
; A piece is: first sector, number of sectors, physical address, bytes to clear behind it (a multiple of 4).
; The multiboot information is a piece too; only what the BIOS knows about memory is filled in here.

INFO    equ 0x10000             ; direct.py knows this address
MMAP    equ 0xe000              ; in INFO's segment: the memory map, up to the segment's end
MMAP_END equ 0xffe0
BUFFER  equ 0x20000             ; where the BIOS reads to; no chunk may cross 64 KiB
CHUNK   equ 127                 ; sectors; some BIOSes read no more at a time

; Offsets in the multiboot information.
MEM_LOWER equ 4
MEM_UPPER equ 8
MMAP_LENGTH equ 44

SEL_DATA equ 8
SEL_CODE32 equ 16

bits 16
org 0x7c00
	jmp 0:start
start:
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7c00
	cld
	mov [drive], dl
	mov si, packet
	call read
	jmp body

; si = disk address packet
read:
	mov ah, 0x42
	mov dl, [drive]
	int 0x13
	mov si, t_read
	jc fail
	ret

; si = message
fail:
	lodsb
	test al, al
	jz .halt
	mov ah, 0x0e
	mov bx, 7
	int 0x10
	jmp fail
.halt:
	cli
	hlt
	jmp .halt

drive:	db 0
align 4
packet:
	db 16, 0
.count:	dw 4
.to:	dw 0x7e00, 0
.lba:	dq 1
mem_lower: dd 0
mem_upper: dd 0
mmap_length: dd 0
t_read:	db 'lhv: disk read error', 0
t_memory: db 'lhv: not enough memory', 0
	times 0x1b8 - ($ - $$) db 0
	times 512 - ($ - $$) db 0

body:
	mov ax, 0x2401          ; A20 by the BIOS, and by port for those that can't
	int 0x15
	in al, 0x92
	test al, 2
	jnz .a20
	or al, 2
	and al, 0xfe            ; bit 0 would reset the machine
	out 0x92, al
.a20:
	call memory
	mov word [packet.to], 0
	mov word [packet.to + 2], BUFFER >> 4
	mov bp, pieces
.piece:
	cmp dword [bp + 8], 0
	je enter
	call check
	call load
	add bp, 16
	jmp .piece

; Does the piece at bp fit into memory?
check:
	mov eax, [bp + 4]
	shl eax, 9
	add eax, [bp + 8]
	add eax, [bp + 12]
	shr eax, 10
	sub eax, 1024
	jb .low
	cmp eax, [mem_upper]
	mov si, t_memory
	jae fail
.low:	ret

; Loads the piece at bp.
load:
	mov eax, [bp + 4]
	test eax, eax
	jz clear
	cmp eax, CHUNK
	jbe .last
	mov eax, CHUNK
.last:
	mov [packet.count], ax
	mov ecx, [bp]
	mov [packet.lba], ecx
	add [bp], eax
	sub [bp + 4], eax
	push eax
	mov si, packet
	call read
	pop ecx
	shl ecx, 9
	mov esi, BUFFER
	mov edi, [bp + 8]
	add [bp + 8], ecx
	shr ecx, 2
	call flat
	a32 rep movsd
	call real
	jmp load

clear:
	mov ecx, [bp + 12]
	shr ecx, 2
	mov edi, [bp + 8]
	xor eax, eax
	call flat
	a32 rep stosd

; Back from flat. Changes bx, dx.
real:
	mov ebx, cr0
	and bl, 0xfe
	mov cr0, ebx
	xor bx, bx
	mov ds, bx
	mov es, bx
	sti
	ret

; Protected mode for ds and es alone, so that they reach all memory; the code stays where it is. Changes bx, dx.
flat:
	cli
	lgdt [gdtr]
	mov ebx, cr0
	or bl, 1
	mov cr0, ebx
	mov bx, SEL_DATA
	mov ds, bx
	mov es, bx
	ret

; Asks the BIOS for the memory map, in multiboot's format: each entry preceded by its size.
memory:
	push INFO >> 4
	pop es
	mov di, MMAP
	xor ebx, ebx
.next:
	mov dword [es:di], 20
	mov eax, 0xe820
	mov ecx, 20
	mov edx, 0x534d4150     ; "SMAP"
	add di, 4
	int 0x15
	jc .end
	cmp eax, 0x534d4150
	jne .end
	call upper
	add di, 20
	cmp di, MMAP_END
	ja .full
	test ebx, ebx
	jnz .next
.full:	add di, 4
.end:	sub di, MMAP + 4
	movzx edi, di
	mov [mmap_length], edi
	int 0x12
	movzx eax, ax
	mov [mem_lower], eax
	push 0
	pop es
	ret

; If the entry at es:di has the memory at 1 MiB: upper memory is from there to its end, in KiB.
upper:
	cmp dword [es:di + 16], 1
	jne .no
	cmp dword [es:di + 4], 0
	jne .no
	mov eax, [es:di]
	cmp eax, 0x100000
	ja .no
	mov edx, [es:di + 12]
	add eax, [es:di + 8]
	adc edx, 0
	jz .below4g
	or eax, -1
.below4g:
	sub eax, 0x100000
	jbe .no
	shr eax, 10
	mov [mem_upper], eax
.no:	ret

enter:
	push INFO >> 4
	pop es
	mov eax, [mem_lower]
	mov [es:MEM_LOWER], eax
	mov eax, [mem_upper]
	mov [es:MEM_UPPER], eax
	mov eax, [mmap_length]
	mov [es:MMAP_LENGTH], eax
	cli
	lgdt [gdtr]
	mov eax, cr0
	or al, 1
	mov cr0, eax
	jmp dword SEL_CODE32:protected
bits 32
protected:
	mov ax, SEL_DATA
	mov ds, ax
	mov es, ax
	mov fs, ax
	mov gs, ax
	mov ss, ax
	mov eax, 0x2badb002
	mov ebx, INFO
	jmp [entry]

align 8
gdt:	dq 0
	dq 0x00cf93000000ffff   ; SEL_DATA
	dq 0x00cf9b000000ffff   ; SEL_CODE32
gdtr:	dw gdtr - gdt - 1
	dd gdt
	times 3 * 512 - ($ - $$) db 0
entry:
pieces	equ entry + 16
