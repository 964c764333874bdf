// SPDX-License-Identifier: BSD-2-Clause
/*
 * Makes a Bochs with debugger save its state when it stops at a magic breakpoint: its prompt asks readline() for a
 * command, and this one, preloaded, saves to the folder BOCHS_CHECKPOINT and says "quit". Such a build exports its
 * functions for plugins, so they are found by name.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* bool bx_real_sim_c::save_state(const char *), a method of the object that SIM points to; in 2.7 and 3.0 */
#define SAVE_STATE "_ZN13bx_real_sim_c10save_stateEPKc"

char *readline(const char *prompt);

char *readline(const char *prompt)
{
	const char *folder = getenv("BOCHS_CHECKPOINT");
	_Bool (*save)(void *, const char *);
	void **sim = dlsym(RTLD_DEFAULT, "SIM");

	(void)prompt;
	*(void **)&save = dlsym(RTLD_DEFAULT, SAVE_STATE);
	if (folder && sim && save)
		fprintf(stderr, "checkpoint %s\n", save(*sim, folder) ? "saved" : "failed");
	else
		fprintf(stderr, "checkpoint not possible: no folder, or this Bochs doesn't export what is needed\n");
	return strdup("quit");
}
