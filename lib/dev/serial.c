// SPDX-License-Identifier: BSD-2-Clause
#include "dev/serial.h"

#include "arch/cpu.h"

#define COM1 0x3f8
#define UART_DATA (COM1 + 0)
#define UART_IER (COM1 + 1)
#define UART_FCR (COM1 + 2)
#define UART_LCR (COM1 + 3)
#define UART_MCR (COM1 + 4)
#define UART_LSR (COM1 + 5)
#define UART_SCRATCH (COM1 + 7)

#define LCR_8N1 0x03
#define LCR_DLAB 0x80
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define FIFO_BYTES 16
#define WAIT_MAX 1000000u /* polls; a UART that is stuck must not stop us */

static bool present;

void serial_init(void)
{
	out8(UART_SCRATCH, 0x5a);
	present = in8(UART_SCRATCH) == 0x5a;
	if (!present)
		return;
	out8(UART_IER, 0);
	out8(UART_LCR, LCR_DLAB | LCR_8N1);
	out8(UART_DATA, 1); /* divisor: 115200 */
	out8(UART_IER, 0);
	out8(UART_LCR, LCR_8N1);
	out8(UART_FCR, 0x07); /* FIFOs on and empty */
	out8(UART_MCR, 0x03);
}

static void wait_for(u8 bit)
{
	for (u32 i = 0; i < WAIT_MAX && !(in8(UART_LSR) & bit); i++)
		cpu_pause();
}

void serial_write(const char *text, size_t n)
{
	if (!present)
		return;
	for (size_t i = 0; i < n; i++) {
		if (i % FIFO_BYTES == 0)
			wait_for(LSR_THRE);
		out8(UART_DATA, (u8)text[i]);
	}
}

void serial_drain(void)
{
	if (present)
		wait_for(LSR_TEMT);
}
