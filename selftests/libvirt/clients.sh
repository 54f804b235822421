# SPDX-License-Identifier: GPL-2.0-only
#
# Stock clients of libvirt on hv:///system, for real guests and without: virt-install, Pacemaker's
# VirtualDomain agent, prometheus-libvirt-exporter, collectd, python3-libvirt. To be sourced after env.sh, with
# virthvd and libvirtd running, in $TMPDIR.
#
#	clients KERNEL INITRD DISK	# a guest that powers off by its button; clients_cases cases
clients_cases=44

state()
{
	v domstate "$1" 2>/dev/null | head -n 1
}

state_of()
{
	[ "$(state "$1")" = "$2" ]
}

# run WHAT COMMAND...: its output is shown if it fails.
run()
{
	what=$1
	shift
	if "$@" >"$TMPDIR/run.out" 2>&1; then
		ok "$what"
	else
		sed 's/^/# /' "$TMPDIR/run.out"
		not_ok "$what"
	fi
}

install_clients()
{
	run "virt-install --import" virt-install --connect hv:///system --name vi --memory 64 --vcpus 2 \
		--import --disk "path=$3,bus=virtio,format=raw" --boot "kernel=$1,initrd=$2" \
		--osinfo generic --graphics none --network none --memballoon none --noautoconsole
	check "it runs" state_of vi running
	check "it is persistent" sh -c "virsh -c hv:///system dominfo vi | grep -q 'Persistent: *yes'"
	run "virsh destroy" v destroy vi
	run "virsh undefine" v undefine vi
	run "virt-install with kernel, initrd and command line" virt-install --connect hv:///system \
		--name vk --memory 64 --vcpus 1 --disk none --network none --graphics none \
		--boot "kernel=$1,initrd=$2,kernel_args=console=ttyS0 quiet" --osinfo generic \
		--memballoon none --rng /dev/urandom --import --noautoconsole
	check "its command line is that" sh -c "virsh -c hv:///system dumpxml vk |
		grep -q '<cmdline>console=ttyS0 quiet</cmdline>'"
	v destroy vk >/dev/null
	v undefine vk >/dev/null
	said=$(virt-install --connect hv:///system --name vd --memory 64 --disk "path=$3" --import \
		--boot "kernel=$1" --osinfo generic --graphics none --noautoconsole --network none 2>&1)
	check "its defaults are refused, naming what to give" sh -c \
		'echo "$1" | grep -q "bus=.*virtio"' sh "$said"
	equal "and leave nothing" "" "$(v list --all --name)"
}

# ra ACTION: Pacemaker's agent, with the status that it gives.
ra()
{
	OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=guest OCF_RESOURCE_TYPE=VirtualDomain \
	OCF_RESKEY_config="$TMPDIR/ra.xml" OCF_RESKEY_hypervisor=hv:///system \
	OCF_RESKEY_CRM_meta_timeout=90000 HA_LOGFACILITY=none HA_RSCTMP="$TMPDIR/rsctmp" \
		/usr/lib/ocf/resource.d/heartbeat/VirtualDomain "$1" >"$TMPDIR/ra.out" 2>&1
}

# ra_gives STATUS ACTION WHAT
ra_gives()
{
	ra "$2"
	status=$?
	[ $status = "$1" ] || sed 's/^/# /' "$TMPDIR/ra.out"
	equal "VirtualDomain $2: $3" "$1" $status
}

pacemaker_clients()
{
	mkdir -p "$TMPDIR/rsctmp"
	cat >"$TMPDIR/ra.xml" <<END
<domain type='kvm'>
  <name>guest</name>
  <uuid>8f0c1c70-0000-4000-8000-0000000000aa</uuid>
  <memory unit='MiB'>64</memory>
  <os>
    <type>hvm</type>
    <kernel>$1</kernel>
    <initrd>$2</initrd>
  </os>
  <devices>
    <serial type='pty'/>
  </devices>
</domain>
END
	ra_gives 7 monitor "not running"
	ra_gives 0 start "started"
	ra_gives 0 monitor "running"
	ra_gives 0 start "already running"
	ra_gives 0 stop "stopped"
	ra_gives 7 monitor "not running"
	ra_gives 0 start "started again"
	kill -9 "$(vmm_pid guest)"
	wait_for 30 sh -c '! virsh -q -c hv:///system list --name | grep -q guest'
	ra_gives 7 monitor "a killed guest is not running"
	ra_gives 0 start "and can be started"
	ra_gives 0 stop "and stopped"
}

fetch()
{
	/usr/bin/python3 -c 'import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())' "$1"
}

monitoring_clients()
{
	v define "$TMPDIR/ra.xml" >/dev/null
	v start guest >/dev/null
	prometheus-libvirt-exporter --libvirt.uri=hv:///system --web.listen-address=127.0.0.1:9177 \
		>"$TMPDIR/exporter.out" 2>&1 &
	exporter=$!
	wait_for 30 sh -c 'fetch() { /usr/bin/python3 -c "import urllib.request
urllib.request.urlopen(\"http://127.0.0.1:9177/\")" 2>/dev/null; }; fetch'
	fetch http://127.0.0.1:9177/metrics >"$TMPDIR/metrics" 2>&1
	kill $exporter
	wait $exporter 2>/dev/null
	for m in 'libvirt_up 1' 'libvirt_domain_info_virtual_cpus.*guest.* 1$' \
		'libvirt_domain_info_maximum_memory_bytes.*guest.* 6.7108864e+07'; do
		check "prometheus-libvirt-exporter: $m" grep -q "$m" "$TMPDIR/metrics"
	done
	mkdir -p "$TMPDIR/csv"
	cat >"$TMPDIR/collectd.conf" <<END
Hostname "host"
FQDNLookup false
BaseDir "$TMPDIR"
PIDFile "$TMPDIR/collectd.pid"
TypesDB "/usr/share/collectd/types.db"
Interval 1
LoadPlugin csv
LoadPlugin virt
<Plugin csv>
  DataDir "$TMPDIR/csv"
</Plugin>
<Plugin virt>
  Connection "hv:///system"
  HostnameFormat name
</Plugin>
END
	/usr/sbin/collectd -f -C "$TMPDIR/collectd.conf" >"$TMPDIR/collectd.out" 2>&1 &
	collectd=$!
	check "collectd: CPU time of the guest" wait_for 60 sh -c "ls '$TMPDIR'/csv/guest/virt/virt_cpu_total-* >/dev/null 2>&1"
	check "collectd: its memory" wait_for 30 sh -c "ls '$TMPDIR'/csv/guest/virt/memory-* >/dev/null 2>&1"
	kill $collectd
	wait $collectd 2>/dev/null
	v destroy guest >/dev/null
	run "undefine" v undefine guest
}

# Networks and storage, which libvirtd answers through virthvd.
proxy_clients()
{
	mkdir -p "$TMPDIR/pool"
	run "pool-define through hv:///system" v pool-define-as hvtest dir --target "$TMPDIR/pool"
	run "vol-create" sh -c 'virsh -c hv:///system pool-start hvtest && virsh -c hv:///system vol-create-as hvtest a.img 1M --format raw'
	check "vol-list" sh -c "virsh -q -c hv:///system vol-list hvtest | grep -q a.img"
	echo "<network><name>hvtest</name><forward mode='bridge'/><bridge name='hvtest0'/></network>" >"$TMPDIR/net.xml"
	run "net-create" v net-create "$TMPDIR/net.xml"
	sed "s#<devices>#&<interface type='network'><source network='hvtest'/></interface>#" \
		"$TMPDIR/ra.xml" >"$TMPDIR/net-guest.xml"
	ip link add hvtest0 type bridge && ip link set hvtest0 up
	run "a guest on a network of libvirtd's" v create "$TMPDIR/net-guest.xml"
	check "its tap device is in the network's bridge" sh -c 'ip link show master hvtest0 | grep -q vnet'
	check "domiflist names the network" sh -c "virsh -q -c hv:///system domiflist guest | grep -q 'hvtest.*virtio'"
	run "its addresses are asked of the network" v domifaddr guest --source lease
	check "and its name" sh -c 'virsh -c hv:///system domhostname guest --source lease 2>&1 |
		grep -q "no network has a lease"'
	check "the network knows its port" sh -c "virsh -q -c hv:///system net-port-list hvtest | grep -q -- -"
	run "destroy" v destroy guest
	check "the tap device is gone" sh -c '! ip link show master hvtest0 | grep -q vnet'
	# The line of the documentation, with files that are here.
	sed 's#hvtest</name>#default</name>#' "$TMPDIR/net.xml" >"$TMPDIR/default.xml"
	v net-create "$TMPDIR/default.xml" >/dev/null
	run "virt-install as in Documentation/libvirt.rst" sh -c "$(
		sed -n '/^	virt-install --connect/,/--noautoconsole$/p' "$HV_TREE/Documentation/libvirt.rst" |
			tr -d '\\\n' | sed "s#/srv/web.img#$3#; s#/srv/vmlinuz#$1#; s#/srv/initrd.img#$2#")"
	check "it runs" state_of web running
	v destroy web >/dev/null
	v undefine web >/dev/null
	v net-destroy default >/dev/null
	# A modular daemon comes first; here it is libvirtd by another name.
	mv /run/libvirt/libvirt-sock /run/libvirt/virtnetworkd-sock
	run "networks of a modular daemon" v net-info hvtest
	mv /run/libvirt/virtnetworkd-sock /run/libvirt/libvirt-sock
	run "net-destroy" v net-destroy hvtest
	check "a guest on a network that is not there: the error is libvirtd's" sh -c "
		virsh -q -c hv:///system create '$TMPDIR/net-guest.xml' 2>&1 | grep -i 'network.*hvtest'"
	v pool-destroy hvtest >/dev/null
	run "pool-undefine" v pool-undefine hvtest
}

# Every method of the driver, by python3-libvirt.
methods_client()
{
	cat >"$TMPDIR/methods.xml" <<END
<domain type='hv'>
  <name>methods</name>
  <uuid>8f0c1c70-0000-4000-8000-0000000000ab</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>2</vcpu>
  <os>
    <type>hvm</type>
    <kernel>$1</kernel>
  </os>
  <devices>
    <disk type='file'>
      <source file='$3'/>
      <target dev='vda'/>
    </disk>
    <interface type='ethernet'/>
    <serial type='pty'/>
  </devices>
</domain>
END
	run "every method of Documentation/libvirt.rst" /usr/bin/python3 \
		"$HV_TREE/selftests/libvirt/methods.py" "$TMPDIR/methods.xml"
}

clients()
{
	install_clients "$@"
	pacemaker_clients "$@"
	monitoring_clients
	proxy_clients "$@"
	methods_client "$@"
}
