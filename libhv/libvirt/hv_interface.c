// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hv_interface.c - the host's end of a guest's network interfaces
 * (hv_interface.h).
 *
 * The vmm opens tap devices by name, so they are made persistent and removed when
 * the guest has ended.
 */
#include <config.h>

#include "hv_interface.h"

#include <unistd.h>

#include "configmake.h"
#include "datatypes.h"
#include "hv_domain.h"
#include "virerror.h"
#include "virfile.h"
#include "virlog.h"
#include "virnetdev.h"
#include "virnetdevtap.h"

#define VIR_FROM_THIS HV_FROM

VIR_LOG_INIT("hv.hv_interface");

#define TAP_FLAGS	(VIR_NETDEV_TAP_CREATE_IFUP | VIR_NETDEV_TAP_CREATE_PERSIST | \
			 VIR_NETDEV_TAP_CREATE_VNET_HDR)

/*
 * libvirt would look for virtnetworkd only, and Debian 12 has none: there libvirtd
 * has the networks (see virthvd_sockets.c, which does the same for clients).
 */
virConnectPtr hv_interface_network(void)
{
	if (geteuid() || virFileExists(RUNSTATEDIR "/libvirt/virtnetworkd-sock") ||
	    !virFileExists(RUNSTATEDIR "/libvirt/libvirt-sock"))
		return virGetConnectNetwork();
	return virConnectOpen("network:///system?socket=" RUNSTATEDIR "/libvirt/libvirt-sock");
}

/* Closing a connection forgets the error of what was asked for on it. */
void hv_interface_network_close(virConnectPtr conn)
{
	virErrorPtr error;

	virErrorPreserveLast(&error);
	virConnectClose(conn);
	virErrorRestore(&error);
}

static bool made_by_us(const virDomainNetDef *net)
{
	return net->type != VIR_DOMAIN_NET_TYPE_USER && net->managed_tap != VIR_TRISTATE_BOOL_NO;
}

static int network_allocate(virDomainObj *vm, virDomainNetDef *net)
{
	virConnectPtr conn = hv_interface_network();
	int type, ret;

	if (!conn)
		return -1;
	ret = virDomainNetAllocateActualDevice(conn, vm->def, net);
	hv_interface_network_close(conn);
	if (ret < 0)
		return -1;
	type = virDomainNetGetActualType(net);
	if (type != VIR_DOMAIN_NET_TYPE_NETWORK && type != VIR_DOMAIN_NET_TYPE_BRIDGE) {
		virReportError(VIR_ERR_CONFIG_UNSUPPORTED,
			       _("network '%s' is not on a bridge; hv supports no other"),
			       net->data.network.name);
		return -1;
	}
	return 0;
}

static void network_release(virDomainObj *vm, virDomainNetDef *net)
{
	virConnectPtr conn = hv_interface_network();

	if (!conn)
		return;
#if LIBVIR_VERSION_NUMBER >= 11000000
	(void)vm;
	virDomainNetReleaseActualDevice(conn, net);
#else
	virDomainNetReleaseActualDevice(conn, vm->def, net);
#endif
	hv_interface_network_close(conn);
}

static int bridge_start(virDomainObj *vm, virDomainNetDef *net)
{
	const char *bridge = virDomainNetGetActualBridgeName(net);
	int fd = -1;

	if (!bridge) {
		virReportError(VIR_ERR_INTERNAL_ERROR, "%s", _("interface without a bridge"));
		return -1;
	}
	/* It gives the host's end the guest's address with 0xfe in front, which no bridge takes. */
	if (virNetDevTapCreateInBridgePort(bridge, &net->ifname, &net->mac, vm->def->uuid, NULL,
					   &fd, 1, NULL, NULL, VIR_TRISTATE_BOOL_ABSENT, NULL, 0,
					   NULL, TAP_FLAGS) < 0)
		return -1;
	VIR_FORCE_CLOSE(fd);
	return 0;
}

static int tap_start(virDomainNetDef *net)
{
	virMacAddr mac;
	int fd = -1;

	if (virNetDevTapCreate(&net->ifname, NULL, &fd, 1, TAP_FLAGS) < 0)
		return -1;
	VIR_FORCE_CLOSE(fd);
	mac = net->mac;
	mac.addr[0] = 0xfe;	/* not the guest's own */
	if (virNetDevSetMAC(net->ifname, &mac) < 0 || virNetDevSetOnline(net->ifname, true) < 0)
		return -1;
	return 0;
}

int hv_interface_start(virDomainObj *vm)
{
	size_t i;

	for (i = 0; i < vm->def->nnets; i++) {
		virDomainNetDef *net = vm->def->nets[i];
		int ret = 0;

		if (net->type == VIR_DOMAIN_NET_TYPE_NETWORK && network_allocate(vm, net) < 0)
			return -1;
		if (net->type == VIR_DOMAIN_NET_TYPE_ETHERNET && made_by_us(net))
			ret = tap_start(net);
		else if (made_by_us(net))
			ret = bridge_start(vm, net);
		/* After each of them: a virthvd that ends here knows what to remove. */
		if (ret < 0 || (made_by_us(net) && hv_domain_save_status(vm) < 0))
			return -1;
	}
	return 0;
}

void hv_interface_stop(virDomainObj *vm)
{
	virErrorPtr error;
	size_t i;

	virErrorPreserveLast(&error);
	for (i = 0; i < vm->def->nnets; i++) {
		virDomainNetDef *net = vm->def->nets[i];

		if (made_by_us(net) && net->ifname && virNetDevExists(net->ifname) > 0 &&
		    virNetDevTapDelete(net->ifname, NULL) < 0)
			VIR_WARN("cannot remove tap device %s", net->ifname);
		if (net->type == VIR_DOMAIN_NET_TYPE_NETWORK)
			network_release(vm, net);
	}
	virErrorRestore(&error);
}

void hv_interface_reconnect(virDomainObj *vm)
{
	virConnectPtr conn;
	size_t i;

	for (i = 0; i < vm->def->nnets; i++) {
		virDomainNetDef *net = vm->def->nets[i];

		if (net->ifname)
			virNetDevReserveName(net->ifname);
		if (net->type != VIR_DOMAIN_NET_TYPE_NETWORK)
			continue;
		conn = hv_interface_network();
		if (!conn)
			continue;
		virDomainNetNotifyActualDevice(conn, vm->def, net);
		hv_interface_network_close(conn);
	}
}
