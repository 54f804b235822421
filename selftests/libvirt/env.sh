# SPDX-License-Identifier: GPL-2.0-only
#
# For tests of the libvirt driver: . "$HV_TREE/selftests/libvirt/env.sh", after ktap.sh. Skips the
# test where the driver was not built.
#
#	own_host "$@"		# first: this test again in a mount and network namespace of its own,
#				# so that the machine's /run/libvirt and /etc/libvirt are out of reach
#	daemon_start; daemon_stop; daemon_kill
#	v ARG...		# virsh on hv:///system
#	wait_for SECONDS COMMAND...
#	vmm_pid NAME		# of the running domain's vmm
driver=
version=$(dpkg-query -W -f '${Version}' libvirt0 2>/dev/null)
[ -z "$version" ] || driver=$HV_BUILD/libvirt-${version%%-*}
driver=${HV_LIBVIRT_DRIVER:-$driver}
[ -f "$driver/libvirt_driver_hv.so" ] && [ -x "$driver/virthvd" ] ||
	skip_all "the libvirt driver was not built (make libvirt)"
export LIBVIRT_DRIVER_DIR="$driver"
unset LIBVIRT_DEFAULT_URI LIBVIRT_SRC
# virsh asks polkit for an agent, which is neither here nor needed.
export LIBVIRT_AUTH_FILE=/dev/null

own_host()
{
	[ -z "${HV_OWN_HOST-}" ] || return 0
	[ "$(id -u)" = 0 ] || skip_all "needs root"
	unshare -mn true 2>/dev/null || skip_all "no namespaces may be made here"
	export HV_OWN_HOST=1
	exec unshare -mn sh -c '
		mkdir -p /run/libvirt /etc/libvirt /var/log/libvirt
		for d in /run /etc/libvirt /var/log; do mount -t tmpfs hv-test $d || exit 1; done
		mkdir -p /run/libvirt /var/log/libvirt
		ip link set lo up
		exec sh "$@"' sh "$@"
}

wait_for()
{
	left=$(($1 * 10 * ${HV_SLOW:-1}))
	shift
	until "$@"; do
		left=$((left - 1))
		[ $left -gt 0 ] || return 1
		sleep 0.1
	done
}

# The machine's other tests have domains of the same names: only those of this mount namespace.
vmm_pid()
{
	pgrep --ns $$ --nslist mnt -f "run --config /run/libvirt/hv/$1.json" | head -n 1
}

daemon_start()
{
	cat >"$TMPDIR/virthvd.conf" <<END
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "1:file:$TMPDIR/virthvd.log"
log_filters = "1:hv.hv_"
END
	${VIRTHVD_UNDER-} "$driver/virthvd" -f "$TMPDIR/virthvd.conf" >>"$TMPDIR/virthvd.out" 2>&1 3>&- &
	daemon=$!
	wait_for 60 daemon_answers || { echo "# virthvd does not answer:"; sed 's/^/# /' "$TMPDIR/virthvd.out"; }
}

daemon_answers()
{
	[ -S /run/libvirt/virthvd-sock ] && virsh -q -c 'hv:///system?mode=direct' uri >/dev/null 2>&1
}

daemon_stop()
{
	kill "$daemon"
	wait "$daemon"
}

daemon_kill()
{
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null
}

# What the vmm of a domain has said, and virthvd, for whoever reads why a test has failed.
logs_show()
{
	[ "$ktap_bad" = 0 ] && return
	sed 's/^/# vmm: /' "/var/log/libvirt/hv/$1.log"
	grep -v ' info : ' "$TMPDIR/virthvd.log" | sed 's/^/# virthvd: /' | tail -n 40
}

v()
{
	virsh -q -c hv:///system "$@"
}

# Stock libvirtd for networks and storage, without hypervisors: its qemu driver wants a user that
# only Debian's libvirt-daemon-system makes.
libvirtd_start()
{
	drivers=$(echo /usr/lib/*/libvirt/connection-driver)
	mkdir -p "$TMPDIR/drivers"
	for d in interface network nodedev nwfilter secret storage; do
		ln -sf "$drivers/libvirt_driver_$d.so" "$TMPDIR/drivers/"
	done
	printf 'auth_unix_ro = "none"\nauth_unix_rw = "none"\n' >"$TMPDIR/libvirtd.conf"
	LIBVIRT_DRIVER_DIR="$TMPDIR/drivers" /usr/sbin/libvirtd -f "$TMPDIR/libvirtd.conf" \
		>"$TMPDIR/libvirtd.out" 2>&1 &
	libvirtd=$!
	wait_for 60 virsh -q -c 'storage:///system?socket=/run/libvirt/libvirt-sock' uri >/dev/null 2>&1
}

libvirtd_stop()
{
	kill "$libvirtd"
	wait "$libvirtd"
}

# There, or nobody is left who could read it.
talk_has()
{
	grep -qs "$1" "$TMPDIR/said" || ! grep -q '^State:	[^ZX]' "/proc/$talker/status" 2>/dev/null
}

# talk DOMAIN GREETING KEYS PATTERN: on the domain's console types KEYS once GREETING is there,
# waits for PATTERN unless it is empty, and leaves. What was there to read is in $TMPDIR/said.
talk()
{
	rm -f "$TMPDIR/keys" "$TMPDIR/said"
	mkfifo "$TMPDIR/keys"
	timeout $((120 * ${HV_SLOW:-1})) script -qefc "virsh -q -c hv:///system console $1" \
		"$TMPDIR/said" <"$TMPDIR/keys" >/dev/null 2>&1 &
	talker=$!
	exec 4>"$TMPDIR/keys"
	wait_for 90 talk_has "$2"
	# Whoever reads may have gone: then the words are not there, which is told below.
	(trap '' PIPE; printf '%s' "$3" >&4) 2>/dev/null
	# virsh drops what it has not sent when it is told to leave: without an answer to wait for the
	# guest's end, which closes the console, is the answer.
	if [ "$4" ]; then
		wait_for 60 talk_has "$4"
	elif [ "$3" ]; then
		timeout $((20 * ${HV_SLOW:-1})) tail --pid=$talker -f /dev/null
	fi
	(trap '' PIPE; printf '\035' >&4) 2>/dev/null
	exec 4>&-
	wait $talker
	grep -q "$2" "$TMPDIR/said" && { [ -z "$4" ] || grep -q "$4" "$TMPDIR/said"; }
}
