; SPDX-License-Identifier: BSD-2-Clause
; MONITOR and MWAIT (testcases/state_activity.c).
%include "asm.inc"


section .bss
align 64
monitor_line: resb 64

section .text
; void monitor_arm(void)
FN monitor_arm
  mov RAX, monitor_line
  xor ecx, ecx
  xor edx, edx
  db 0x0f, 0x01, 0xc8           ; MONITOR
  ret

; void mwait_irq_on(void): STI; MWAIT; CLI
FN mwait_irq_on
  xor eax, eax
  xor ecx, ecx
  sti
  db 0x0f, 0x01, 0xc9           ; MWAIT
  cli
  ret
