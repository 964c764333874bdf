; SPDX-License-Identifier: BSD-2-Clause
; L2 of testcases/inject.c: instructions that cause an event, and the handler of all events. L1 enters at the labels
; and gives AX and DX; nothing here uses the stack but the event itself and its handler.
%include "asm.inc"

%define L2_RETURN 0x4c320000
%define L2_STEP   0x4c320007

section .bss
align 8
global inject_count, inject_frame
inject_count: resb 8
inject_frame: resb 6 * WORD_SIZE ; error code (0 if none), IP, CS, flags, SP, SS

section .text

%macro AT 1
  global %1
%1:
%endmacro

AT inject_ud2
  ud2
  jmp nothing_came
AT inject_int
  int 0x41
  jmp nothing_came
AT inject_int3
  int3
  jmp nothing_came
AT inject_int1
  db 0xf1
  jmp nothing_came
AT inject_bad_selector
  mov es, eax
  jmp nothing_came
AT inject_read
  mov eax, [RDX]
  jmp nothing_came
AT inject_ipi                   ; AX to the APIC's ICR at DX
  mov [RDX], eax
  sti
  nop
AT inject_ipi_arrives           ; STI's shadow is over
  nop
  jmp nothing_came
AT inject_ipi_hlt
  mov [RDX], eax
  sti
  hlt
AT inject_hlt_ends
  nop
  jmp nothing_came
AT inject_nmi                   ; may take its time
  mov [RDX], eax
%rep 32
  nop
%endrep
AT inject_nothing               ; L1 injects the event here
  nop

nothing_came:
  cli
  mov eax, L2_RETURN
  mov edx, [inject_count]
  vmcall
  jmp nothing_came

; Stack at .frame: error IP CS flags [SP SS]. Tells L1 twice, so that an event that comes again has two chances.
FN inject_handler
  push 0
FN inject_handler_error
  push RAX
  push RDX
  inc dword [inject_count]
%assign n 0
%rep 6
  mov RAX, [RSP + (2 + n) * WORD_SIZE]
  mov [inject_frame + n * WORD_SIZE], RAX
  %assign n n + 1
%endrep
  mov eax, L2_STEP
  vmcall
  sti
  nop
  nop
  jmp nothing_came
