/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_stats.h - figures of a running domain: from its vmm, /proc, its cgroup and the
 * host's end of its interfaces.
 */
#ifndef HV_STATS_H
#define HV_STATS_H

#include "hv_domain.h"

struct json_object;

struct hv_block_stats {
	unsigned long long reads, read_bytes, writes, write_bytes, flushes, errors;
};

struct hv_cpu_time {
	unsigned long long total, user, system;		/* ns */
};

/* Statistics that virConnectGetAllDomainStats() has for us. */
#define HV_STATS_ALL	(VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL | \
			 VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_VCPU | \
			 VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK)

/**
 * hv_stats_get() - the vmm's answer to `stats`, the caller's to put.  Needs a job; lets
 * the domain's lock go.  NULL with an error set, also if the domain has ended meanwhile.
 */
struct json_object *hv_stats_get(virDomainObj *vm);

/** hv_stats_block() - of disk number @disk; all zero if the vmm does not tell. */
void hv_stats_block(struct json_object *stats, size_t disk, struct hv_block_stats *out);

/** hv_stats_disk_index() - of a disk given by target or path; -1 with an error set. */
int hv_stats_disk_index(const virDomainDef *def, const char *name);

/** hv_stats_interface_index() - of an interface given by tap device or MAC address. */
int hv_stats_interface_index(virDomainDef *def, const char *name);

/** hv_stats_interface() - of interface number @net.  @stats may be NULL for tap devices. */
int hv_stats_interface(virDomainObj *vm, struct json_object *stats, size_t net,
		       virDomainInterfaceStatsPtr out);

/** hv_stats_cpu() - time of all threads of the vmm. */
int hv_stats_cpu(virDomainObj *vm, struct hv_cpu_time *out);

/** hv_stats_memory_rss() - memory of the host that the vmm has in use, in KiB. */
int hv_stats_memory_rss(virDomainObj *vm, unsigned long long *kib);

/** hv_stats_vcpus() - as virDomainGetVcpus(); @wait may be NULL: ns in the run queue. */
int hv_stats_vcpus(virDomainObj *vm, virVcpuInfoPtr info, unsigned long long *wait, int max,
		   unsigned char *maps, int maplen);

/** hv_stats_block_info() - size of a disk's file and what it takes; of any domain. */
int hv_stats_block_info(const virDomainDiskDef *disk, virDomainBlockInfoPtr out);

/**
 * hv_stats_record() - everything of @wanted (VIR_DOMAIN_STATS_*) as typed parameters.
 * @stats: what hv_stats_get() gave, or NULL: what only the vmm knows is left out.
 */
int hv_stats_record(virDomainObj *vm, struct json_object *stats, unsigned int wanted,
		    virTypedParameterPtr *params, int *nparams);

#endif /* HV_STATS_H */
