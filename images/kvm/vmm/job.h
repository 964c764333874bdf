/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What to do after the checkpoint, from the second disk. Its first JOB_SECTORS sectors are text, lines of a word and its
 * arguments, that end with a line "end"; offsets are in sectors from the disk's start, sizes in bytes:
 *
 *	lhv-job 1
 *	kernel OFFSET SIZE TEXT		a multiboot kernel and its command line
 *	module OFFSET SIZE TEXT		any number up to JOB_MODULES_MAX
 *	disk OFFSET SIZE		L1's disk; else it has none
 *	memory MIB
 *	cpus N
 *	stall SECONDS			emulated time without a byte from L1 after which it is stopped; 0: never
 *	param TEXT			of kvm_intel
 *	end
 *
 * Pure.
 */
#ifndef KVM_JOB_H
#define KVM_JOB_H

#include <stddef.h>
#include <stdint.h>

#define SECTOR 512u
#define JOB_SECTORS 32u
#define JOB_BYTES (JOB_SECTORS * SECTOR)
#define JOB_MODULES_MAX 8
#define JOB_CPUS_MAX 4
#define JOB_MEMORY_MAX 1024 /* MiB */
#define JOB_FILE_MAX (256u << 20)

struct job_file {
	uint32_t lba, size; /* size 0: there is none */
	const char *text;
};

struct job {
	struct job_file kernel, modules[JOB_MODULES_MAX], disk;
	unsigned module_count, memory_mb, cpus, stall;
	char *params; /* of kvm_intel: "NAME=VALUE ..." */
};

/* text: JOB_BYTES, and room for one more; it is cut into strings, which the job points to. NULL if it is one, else what is wrong. */
const char *job_parse(struct job *job, char *text);

#endif
