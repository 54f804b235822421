# SPDX-License-Identifier: GPL-2.0-only
#
# A session with virsh, for a real guest and for one without a vmm alike. The guest is one that
# powers off when its power button is pressed. transcript XML DISK runs transcript_cases cases.
transcript_cases=78

# t STATUS PATTERN ARG...: what virsh ARG... ends with, and what it must say.
t()
{
	want=$1
	pattern=$2
	shift 2
	said=$(virsh -c hv:///system "$@" 2>&1)
	status=$?
	if [ $status = "$want" ] && echo "$said" | grep -Eq -- "$pattern"; then
		ok "virsh $*"
	else
		echo "# status $status, expected $want and /$pattern/:"
		echo "$said" | sed 's/^/# /'
		not_ok "virsh $*"
	fi
}

state_is()
{
	[ "$(v domstate tr 2>/dev/null | head -n 1)" = "$1" ]
}

transcript()
{
	xml=$1
	disk=$2
	t 0 'Running hypervisor: HV [0-9]' version
	t 0 '^hv:///system$' uri
	t 0 '' hostname
	t 0 'CPU model: *x86_64' nodeinfo
	t 0 'CPUs present' nodecpumap
	t 0 'idle' nodecpustats
	t 0 'free' nodememstats
	t 0 'KiB' freecell
	t 0 "<domain type='kvm'" capabilities
	t 0 "<value>virtio</value>" domcapabilities
	t 0 '^64$' maxvcpus
	t 0 '^$' list --all --name
	t 1 "no domain with name 'tr'|failed to get domain" dominfo tr
	t 0 "Domain 'tr' defined" define --validate "$xml"
	t 0 'tr +shut off' list --all
	t 0 "Persistent: +yes" dominfo tr
	t 0 "machine='hv'" dumpxml tr
	t 0 '"cpus": 2' domxml-to-native vmm-json --domain tr
	t 0 '.' domuuid tr
	t 1 'not running' suspend tr
	t 1 'not running' shutdown tr
	t 0 '' autostart tr
	t 0 'Autostart: +enable' dominfo tr
	t 0 '' autostart --disable tr
	t 0 '' desc tr --title 'A title'
	t 0 '^A title$' desc tr --title
	t 0 '' metadata tr http://example.org/x --key x --set '<a b="1"/>'
	t 0 '<a b="1"/>' metadata tr http://example.org/x
	t 0 'no state|cannot|shut off|2' vcpucount tr
	t 0 "Domain 'tr' started" start tr
	t 1 'already active' start tr
	t 0 'running' domstate tr
	t 0 'booted' domstate --reason tr
	t 0 'tr' list
	t 0 '^[0-9]+$' domid tr
	t 0 "<domain type='kvm' id='[0-9]+'" dumpxml tr
	t 0 'ok' domcontrol tr
	t 0 'CPU: +[0-9]' vcpuinfo tr
	t 0 '^2$' vcpucount tr --current --live
	t 0 '' vcpupin tr 0 0
	t 0 ' 0 +0$' vcpupin tr
	t 0 '' emulatorpin tr 0 --live
	t 0 '0' emulatorpin tr
	t 0 'hard_limit' memtune tr
	t 0 'cpu_shares' schedinfo tr
	t 0 'cpu_shares +: 512' schedinfo tr --config --set cpu_shares=512
	t 1 'cpu_shares must be in range' schedinfo tr --config --set cpu_shares=1
	t 1 'vcpu_quota must be in range' schedinfo tr --config --set vcpu_quota=5
	t 1 'global_period must be in range' schedinfo tr --config --set global_period=1
	t 0 'rss [1-9]' dommemstat tr
	t 0 'vda +'"$disk" domblklist tr
	t 0 'Capacity: +[0-9]' domblkinfo tr vda
	t 0 'rd_req [0-9]' domblkstat tr vda
	t 0 'rd_req [0-9]' domblkstat tr
	t 1 "no disk 'sda'" domblkstat tr sda
	t 0 'user|virtio|Interface' domiflist tr
	t 0 'cpu_time' cpu-stats tr --total
	t 0 'vcpu.1.exits.sum=[0-9]' domstats tr
	t 0 'state.state=1' domstats --state --nowait
	t 0 "suspended" suspend tr
	t 0 'paused \(user\)' domstate --reason tr
	t 1 'paused' shutdown tr
	t 0 'resumed' resume tr
	t 0 'running \(unpaused\)' domstate --reason tr
	t 0 'reset' reset tr
	t 1 'not supported' managedsave tr
	t 1 'not supported' snapshot-create-as tr s1
	t 1 'not supported' setmem tr 64M
	t 1 'not supported' attach-interface tr bridge br0
	t 1 'not supported' domjobinfo tr
	t 0 'defined' define "$xml"
	t 0 'undefined' undefine tr
	t 0 'Persistent: +no' dominfo tr
	t 0 'defined' define "$xml"
	t 0 'being shutdown' shutdown tr
	check "the guest shuts down" wait_for 60 state_is 'shut off'
	t 0 'shut off \(shutdown\)' domstate --reason tr
	t 0 'undefined' undefine --managed-save --nvram tr
}
