/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * control.h - the control side of libhv: client of a running guest's socket.
 *
 * Documentation/control.rst describes the protocol and every command.  Values
 * are json-c objects (<json-c/json.h>).  A client belongs to one thread at a
 * time.  Functions returning int give 0 or a negative errno and print nothing.
 */
#ifndef _HV_CONTROL_H
#define _HV_CONTROL_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_object;
struct hv_client;

#define HV_CONTROL_PROTOCOL	1	/* major version in the greeting */

/**
 * hv_control_dir() - where the caller's guests have their sockets.
 * /run/hv for root, else $XDG_RUNTIME_DIR/hv, else /run/user/UID/hv.
 * -ENOENT: there is none of these; -ENAMETOOLONG.
 */
int hv_control_dir(char *buf, size_t len);

/** hv_control_path() - the socket of guest @name.  -EINVAL: not a possible name. */
int hv_control_path(const char *name, char *buf, size_t len);

/** hv_control_name_valid() - 1 if @name can name a guest: letters, digits, . _ - */
int hv_control_name_valid(const char *name);

/**
 * hv_control_each() - call @fn for the name of every socket in hv_control_dir().
 * A name may be that of a guest that was killed: opening it gives -ECONNREFUSED.
 * Stops and returns what @fn returns when that is not 0.
 */
int hv_control_each(int (*fn)(const char *name, void *opaque), void *opaque);

/**
 * hv_client_open() - connect to guest @name.
 * hv_client_open_path() - connect to the socket at @path.
 *
 * -ENOENT: no such guest; -ECONNREFUSED: its process is gone; -EACCES: another
 * user's; -EPROTO: not a vmm, or a protocol this library does not know;
 * -ETIMEDOUT: no greeting within 10 seconds.
 */
int hv_client_open(const char *name, struct hv_client **client);
int hv_client_open_path(const char *path, struct hv_client **client);
void hv_client_close(struct hv_client *client);

/** hv_client_fd() - for poll(2): readable when hv_client_event() may have something. */
int hv_client_fd(const struct hv_client *client);

/** hv_client_greeting() - the greeting's object; the client's. */
struct json_object *hv_client_greeting(const struct hv_client *client);

/**
 * hv_client_call() - one command and its answer.
 * @args:	its arguments, the caller's; may be NULL.
 * @result:	the answer, the caller's to put; may be NULL.
 * @fd:		a descriptor that came with the answer, or -1; may be NULL.
 *
 * -EREMOTEIO: the vmm refused; hv_client_error() has its line.
 * -EPIPE: the guest's process is gone.  -ETIMEDOUT: no answer for 60 seconds.
 */
int hv_client_call(struct hv_client *client, const char *command, struct json_object *args,
		   struct json_object **result, int *fd);

/** hv_client_error() - code and line of the last refusal: "busy: a job is running". */
const char *hv_client_error(const struct hv_client *client);

/**
 * hv_client_event() - the next event, also those that came during a call.
 * @timeout_ms:	as in poll(2).
 * @event:	the caller's to put.
 *
 * -EAGAIN: none in time; -EPIPE: the guest's process is gone.
 */
int hv_client_event(struct hv_client *client, int timeout_ms, struct json_object **event);

#ifdef __cplusplus
}
#endif

#endif /* _HV_CONTROL_H */
