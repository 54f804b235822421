/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control.h - the control socket of a guest (Documentation/control.rst).
 *
 * Runs on the main loop.  A client never holds the guest up: what it does not
 * read is bounded and then dropped with a note.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include <stddef.h>

struct json_object;
struct vm;

/* Listens on @path, which this process has locked (rundir.h). */
int control_create(struct vm *vm, const char *path);
void control_destroy(struct vm *vm);
/* The last events must reach their readers: tries for a short, bounded time. */
void control_flush(struct vm *vm);
/* Any thread; see vm_event(). */
void control_event(struct vm *vm, const char *event, struct json_object *data);

/*
 * One command.  Returns the result (the caller's), or NULL with @error set to a
 * line.  @fd: where a command hands a descriptor to the client, else left at -1.
 */
struct json_object *control_command(struct vm *vm, const char *command, struct json_object *args,
				    int *fd, const char **code, char *error, size_t len);
/* Facts about the guest, for info and for `vmm list`. */
struct json_object *control_status(struct vm *vm);

#endif
