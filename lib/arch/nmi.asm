; SPDX-License-Identifier: BSD-2-Clause
; NMIs that testcases/nmi.h counts. No handler of them executes IRET: NMIs stay blocked until nmi_unblock does. One CPU only.
%include "asm.inc"

section .bss
align 8
global nmi_count, nmi_ip, nmi_vector_count, nmi_vector_ip
nmi_ip: resb 2 * WORD_SIZE      ; where L1, L2 stood
nmi_vector_ip: resb WORD_SIZE
nmi_count: resd 2               ; taken by L1, L2
nmi_vector_count: resd 1

section .text
%ifdef AMD64
  %define WORD_AT qword
%else
  %define WORD_AT dword
%endif

; Leaves as it came: every register and all flags.
%macro HANDLER 2                ; name, 0 for L1, 1 for L2
FN %1
  pop WORD_AT [nmi_ip + %2 * WORD_SIZE]
  add RSP, WORD_SIZE            ; CS
  inc dword [nmi_count + %2 * 4]
%ifdef AMD64
  popfq
  pop rsp                       ; SS may stay on the stack
%else
  popfd
%endif
  jmp WORD_AT [nmi_ip + %2 * WORD_SIZE]
%endmacro
HANDLER nmi_handler_l1, 0
HANDLER nmi_handler_l2, 1

; An interrupt that L1 injects into L2.
FN nmi_vector_handler
  inc dword [nmi_vector_count]
  push RAX
  mov RAX, [RSP + WORD_SIZE]
  mov [nmi_vector_ip], RAX
  pop RAX
%ifdef AMD64
  iretq
%else
  iretd
%endif

; void nmi_unblock(void): IRET to the next instruction
FN nmi_unblock
%ifdef AMD64
  mov rax, rsp
  mov ecx, ss
  push rcx
  push rax
  pushfq
%else
  pushfd
%endif
  mov ecx, cs
  push RCX
  push nmi_unblocked
%ifdef AMD64
  iretq
%else
  iretd
%endif
global nmi_unblocked
nmi_unblocked:
  ret
