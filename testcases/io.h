/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of I/O instructions share. L1, CPU 0. */
#ifndef TESTCASES_IO_H
#define TESTCASES_IO_H

#include "testcases/judge.h"
#include "testcases/snippet.h"

/* The exit qualification (SDM: "Exit Qualification for I/O Instructions"). */
#define IO_SIZE 7u
#define IO_IN 8u
#define IO_STRING 0x10u
#define IO_REP 0x20u
#define IO_IMMEDIATE 0x40u
#define IO_RESERVED (~0xffff007full)
#define IO_PORT_SHIFT 16

/* Opcodes; bit 0: the operand size instead of a byte. */
#define OP_INS 0x6c
#define OP_OUTS 0x6e
#define OP_IN_IMMEDIATE 0xe4
#define OP_OUT_IMMEDIATE 0xe6
#define OP_IN_DX 0xec
#define OP_OUT_DX 0xee

struct io_insn {
	u8 opcode;
	bool rep, other_size, other_address;
	u8 prefix; /* one more, or 0: a segment override, REX */
	u16 port;
};

/* Writes it; the length. */
u32 io_encode(const struct io_insn *i, u8 *code);
/* L2 stands before it, with the port in DX. */
void io_put(struct snippet *s, const struct io_insn *i);
/* What the qualification must be. */
u64 io_qualification(enum snip_mode mode, const struct io_insn *i);
/* An I/O exit whose qualification, part by part, is that; the test has all rules about it. */
bool io_judge_exit(struct snippet *s, const struct io_insn *i, const struct exit *e);
void io_unconditional(struct snippet *s, bool on);
/* Port at CPL 3: IOPL. */
#define RFLAGS_IOPL3 0x3000u

#define IO_TOLD \
	"exit.info.io io.size io.direction io.string io.rep io.immediate io.port io.reserved io.length io.no-effect"

#endif
