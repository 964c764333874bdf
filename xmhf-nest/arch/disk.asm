; SPDX-License-Identifier: BSD-2-Clause
; Real-mode code that L1 gets when it comes from a disk. Copied into L1's memory by l1_disk.c; runs there.
section .rodata

; Read the first sector of a drive to 0:7c00 and go there, as the BIOS does it.
global disk_stub, disk_stub_end, disk_stub_drive
bits 16
disk_stub:
  cli
  xor ax, ax
  mov ds, ax
  mov es, ax
  mov ss, ax
  mov sp, 0x7c00
  sti
  mov ax, 0x0201
  mov bx, 0x7c00
  mov cx, 1
  db 0xba                       ; mov dx, drive
disk_stub_drive:
  dw 0
  push dx
  int 0x13
  pop dx
  jc .failed
  cmp word [0x7dfe], 0xaa55
  jne .failed
  jmp 0:0x7c00
.failed:
  vmcall                        ; l1_disk.c knows the place: no disk
.dead:
  hlt
  jmp .dead
disk_stub_end:

; INT 15h: what tells about memory is answered by L0 (VMCALL), everything else by the BIOS.
global disk_int15, disk_int15_end, disk_int15_old, disk_int15_call
disk_int15:
  cmp ax, 0xe820
  je int15_ours
  cmp ax, 0xe801
  je int15_ours
  cmp ax, 0xe881
  je int15_ours
  cmp ah, 0x88
  je int15_ours
  db 0xea                       ; jmp far to the BIOS
disk_int15_old:
  dd 0
int15_ours:
disk_int15_call:
  vmcall
  iret
disk_int15_end:
