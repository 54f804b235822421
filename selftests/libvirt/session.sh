# SPDX-License-Identifier: GPL-2.0-only
#
# A session with virsh on virthvd alone, over a vmm without a guest, as a test of its own: for a
# driver of another build (HV_LIBVIRT_DRIVER).
. "$HV_TREE/selftests/ktap.sh"
. "$HV_TREE/selftests/libvirt/env.sh"
. "$HV_TREE/selftests/libvirt/transcript.sh"
own_host "$0"
export PATH="$HV_TREE/selftests/libvirt:$PATH"	# its vmm
cd "$TMPDIR" || exit 1
truncate -s 1M disk.img
sed "s#@DIR@#$TMPDIR#; s#@KERNEL@#$HV_TREE/README.md#; s#<name>.*</name>#<name>tr</name>#" \
	"$HV_TREE/selftests/libvirt/stress.xml" >tr.xml
plan $transcript_cases
daemon_start
transcript tr.xml "$TMPDIR/disk.img"
daemon_stop
finish
