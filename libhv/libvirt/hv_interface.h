/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hv_interface.h - the host's end of a guest's network interfaces: tap devices and
 * ports of libvirt's networks.
 */
#ifndef HV_INTERFACE_H
#define HV_INTERFACE_H

#include "domain_conf.h"

/**
 * hv_interface_start() - make what the interfaces of a starting domain need; their
 * names are then in @vm's definition.  -1 with an error set; hv_interface_stop()
 * takes back what was made.
 */
int hv_interface_start(virDomainObj *vm);

/** hv_interface_stop() - remove it all again; reports nothing. */
void hv_interface_stop(virDomainObj *vm);

/** hv_interface_reconnect() - tell libvirt's networks that the domain still runs. */
void hv_interface_reconnect(virDomainObj *vm);

/** hv_interface_network() - a connection to the network driver, the caller's to close. */
virConnectPtr hv_interface_network(void);

/** hv_interface_network_close() - close it, and keep the error that is set. */
void hv_interface_network_close(virConnectPtr conn);

#endif /* HV_INTERFACE_H */
