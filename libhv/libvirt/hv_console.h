/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_console.h - who has a guest's console.
 *
 * The vmm gives its console to several at once; libvirt's clients expect to have it
 * alone.
 */
#ifndef HV_CONSOLE_H
#define HV_CONSOLE_H

#include "datatypes.h"

struct hv_console;

struct hv_console *hv_console_new(void);
void hv_console_free(struct hv_console *console);

/**
 * hv_console_attach() - let a client's stream have the console.
 * @fd:		the vmm's end of it; taken, also on failure.
 * @force:	whoever has it loses it.
 *
 * -1 with an error set: another client has it, or the stream cannot be used.
 */
int hv_console_attach(struct hv_console *console, virStreamPtr stream, int fd, bool force);

/** hv_console_forget() - the guest has ended; the stream ends by itself, with its data. */
void hv_console_forget(struct hv_console *console);

#endif /* HV_CONSOLE_H */
