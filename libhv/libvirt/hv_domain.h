/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_domain.h - a domain as the driver sees it: parsed, checked, and what hangs
 * off a running one.
 */
#ifndef HV_DOMAIN_H
#define HV_DOMAIN_H

#include "hv_conf.h"
#include "vircgroup.h"

struct hv_console;
struct hv_monitor;

/*
 * A domain's private data, guarded by its lock.  Members from mon on mean
 * something only while it runs.
 */
struct hv_domain {
	struct hv_driver *driver;
	struct hv_console *console;
	struct hv_monitor *mon;		/* NULL: no connection to the vmm */
	virCgroup *cgroup;		/* NULL: none */
	char *machine_name;		/* of systemd-machined */
	unsigned long long start_time;	/* of its process: tells a reused pid */
	int end_reason;			/* virDomainShutoffReason that the vmm gave; -1: none */
	bool restart;			/* on_*: start it again once it has ended */
	bool autodestroy;
	pid_t *vcpu_tid;		/* one for each vCPU */
	size_t nr_vcpu_tid;
};

static inline struct hv_domain *hv_domain(virDomainObj *vm)
{
	return vm->privateData;
}

/** hv_domain_xmlopt_new() - libvirt's parser with our defaults and checks. */
virDomainXMLOption *hv_domain_xmlopt_new(struct hv_driver *driver);

/**
 * hv_domain_parse() - a domain from a client's XML, or NULL with an error set.
 * @flags: VIR_DOMAIN_DEF_PARSE_*.
 */
virDomainDef *hv_domain_parse(struct hv_driver *driver, const char *xml, unsigned int flags);

/** hv_domain_name_check() - can a domain have that name?  -1 with an error set. */
int hv_domain_name_check(const char *name);

/** hv_domain_get() - the domain of a client's handle, locked; NULL with an error set. */
virDomainObj *hv_domain_get(virDomainPtr dom);

/** hv_domain_save_status() - of a running domain, for the next virthvd. */
int hv_domain_save_status(virDomainObj *vm);

/** hv_domain_save_config() - of a persistent domain, what the next start takes. */
int hv_domain_save_config(virDomainObj *vm);

/** hv_domain_event() - send it to the clients; NULL is none. */
void hv_domain_event(struct hv_driver *driver, virObjectEvent *event);
void hv_domain_event_lifecycle(virDomainObj *vm, int type, int detail);

#endif /* HV_DOMAIN_H */
