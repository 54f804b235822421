/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * aml.h - writes ACPI Machine Language (ACPI 6.4 section 20), for the DSDT.
 *
 * Everything that contains something is opened and closed with aml_end(), nested
 * as in ASL.  The writer allocates; a failure sticks and is reported by
 * aml_finish(), so callers check once.  Names are of up to four characters, padded
 * with '_'; paths as in ASL ("\\_SB.PCI0").
 */
#ifndef VMM_PLATFORM_AML_H
#define VMM_PLATFORM_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_DEPTH	16

struct aml {
	uint8_t *buf;
	size_t len;
	size_t room;
	int err;
	size_t open[AML_DEPTH];		/* where the package lengths go */
	unsigned int depth;
	size_t buffer_size;		/* of the resource template: where its size is patched */
	size_t buffer_start;
};

void aml_init(struct aml *aml);
/* *buf is malloc'ed and the caller's.  -EINVAL: something was left open. */
int aml_finish(struct aml *aml, uint8_t **buf, size_t *len);

void aml_scope(struct aml *aml, const char *path);
void aml_device(struct aml *aml, const char *name);
void aml_method(struct aml *aml, const char *name, unsigned int args);
void aml_package(struct aml *aml, unsigned int count);
/* If (value of @name), and its Else right after the aml_end() of the If. */
void aml_if_name(struct aml *aml, const char *name);
void aml_else(struct aml *aml);
void aml_end(struct aml *aml);

/* Terms, also as elements of a package or operand of what was written before. */
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
void aml_path(struct aml *aml, const char *path);
void aml_arg(struct aml *aml, unsigned int n);
void aml_return(struct aml *aml);	/* the term that follows */
void aml_store(struct aml *aml);	/* two terms follow: what, where */

/* Name (@name, ...); aml_name() is followed by a term. */
void aml_name(struct aml *aml, const char *name);
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_string(struct aml *aml, const char *name, const char *text);
void aml_name_eisaid(struct aml *aml, const char *name, const char *id);	/* "PNP0501" */

/* Name (@name, ResourceTemplate () {...}); ACPI 6.4 section 6.4. */
void aml_resources(struct aml *aml, const char *name);
void aml_resources_end(struct aml *aml);
void aml_resource_io(struct aml *aml, uint16_t min, uint16_t max, uint8_t align, uint8_t len);
void aml_resource_irq(struct aml *aml, unsigned int irq);
void aml_resource_memory32(struct aml *aml, uint32_t base, uint32_t len, bool writable);
/* Windows that a bridge produces; @last inclusive. */
void aml_resource_bus_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_resource_io_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_resource_memory_window(struct aml *aml, uint64_t first, uint64_t last);

#endif
