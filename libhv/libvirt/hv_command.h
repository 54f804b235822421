/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_command.h - a domain as the vmm's configuration, and back.
 */
#ifndef HV_COMMAND_H
#define HV_COMMAND_H

#include "domain_conf.h"

struct json_object;

/* The name of that format for virConnectDomainXMLToNative(). */
#define HV_NATIVE_FORMAT	"vmm-json"

/**
 * hv_command_config() - the configuration tree of `vmm run --config`, the caller's
 * to put.  The names of its keys are those of `vmm run --help-keys`.  NULL with an
 * error set.
 */
struct json_object *hv_command_config(const virDomainDef *def);

/** hv_command_text() - the same as text, the caller's. */
char *hv_command_text(const virDomainDef *def);

/** hv_command_xml() - domain XML from such a text, the caller's; NULL with an error set. */
char *hv_command_xml(const char *config);

#endif /* HV_COMMAND_H */
