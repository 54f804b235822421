#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# packages.test's part in the emulated host: packages.sh DIRECTORY-OF-PACKAGES KDIR. The disk with
# the fresh system is /dev/vda. Prints KTAP.
. "$HV_TREE/selftests/ktap.sh"
debs=$1
kdir=$2
release=$(uname -r)
root=/run/fresh
mkdir -p $root
mount /dev/vda $root || exit 1
for d in proc sys dev dev/pts run; do
	case $d in
	run) mount -t tmpfs tmpfs $root/run ;;
	*) mount --bind /$d $root/$d ;;
	esac || exit 1
done
# Only what a machine would have: the kernel's headers, at the place its modules name. They lie
# in the cache.
cache=${kdir%/kernels/*}
mkdir -p "$root$cache" $root/packages $root/guests "$root/lib/modules/$release"
mount --bind "$cache" "$root$cache"
mount --bind "$debs" $root/packages
mount --bind "$HV_BUILD/selftests/guests" $root/guests
cp "/lib/modules/$release"/modules.builtin* "/lib/modules/$release/modules.order" \
	"$root/lib/modules/$release"
ln -s "$kdir" "$root/lib/modules/$release/build"

# udev would have nothing to do with a chroot.
in_root()
{
	env -i SYSTEMD_IGNORE_CHROOT=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive chroot $root "$@"
}

# as USER COMMAND...: with its groups, without any right of root's.
as()
{
	in_root setpriv --reuid="$1" --regid="$1" --init-groups --bounding-set=-all --inh-caps=-all \
		env HOME=/home/"$1" XDG_RUNTIME_DIR=/run/user-"$1" sh -c "cd; $2"
}

plan 21
in_root /lib/systemd/systemd-udevd --daemon 2>/dev/null
in_root sh -c 'exec apt-get -q -y install /packages/*.deb' >"$TMPDIR/install" 2>&1
equal "the packages are installed" 0 $?
sed 's/^/# /' "$TMPDIR/install" | tail -n 30
sed 's/^/# make.log: /' $root/var/lib/dkms/hv/*/build/make.log 2>/dev/null | tail -n 20
in_root udevadm settle

in_root dkms status hv >"$TMPDIR/out"
check "DKMS built the module for this kernel" grep -q "$release.*: installed" "$TMPDIR/out"
equal "where modprobe finds it" "/lib/modules/$release/updates/dkms/hv.ko" \
	"$(in_root modinfo -k "$release" -n hv)"
in_root modinfo -k "$release" -F alias hv >"$TMPDIR/out"
check "and udev, by the CPU's features" grep -q '^cpu:type:x86' "$TMPDIR/out"
check "signed by this machine's key" test -n "$(in_root modinfo -k "$release" -F sig_key hv)"
check "it is loaded" test -d /sys/module/hv
equal "the device is its group's" "root hv 660" "$(in_root stat -c '%U %G %a' /dev/hv)"

for u in member other; do
	in_root useradd -m $u
	install -d -o "$(in_root id -u $u)" -m 700 $root/run/user-$u
done
in_root usermod -a -G hv member
equal "no root: what the tests below have of it" 0 "$(as member 'sed -n "s/^CapEff:[ \t0]*$/0/p" /proc/self/status')"
as member 'vmm info --host' >"$TMPDIR/out"
check "a member of the group is told that hv is ready" grep -q '^hv: ready' "$TMPDIR/out"
: >"$TMPDIR/out"
{
	# The guest powers off when it reads this.
	for i in $(seq 300); do
		grep -q '^ready' "$TMPDIR/out" && break
		sleep 0.2
	done
	echo p
} | as member 'vmm run --name mine --kernel /guests/vmm_control.elf --memory 64M' \
	>"$TMPDIR/out" 2>"$TMPDIR/err"
equal "and runs a guest until it powers off" 0 $?
check "which was there" grep -q '^ready' "$TMPDIR/out"
sed 's/^/# /' "$TMPDIR/out" "$TMPDIR/err" | head -n 10
as other 'vmm run --name mine --kernel /guests/vmm_control.elf --memory 64M' \
	</dev/null >"$TMPDIR/out" 2>"$TMPDIR/err"
equal "another user does not" 1 $?
check "and is told why" grep -q 'no permission for /dev/hv' "$TMPDIR/err"

cat >$root/home/member/ready.c <<'END'
#include <hv/hv.h>
#include <stdio.h>

int main(void)
{
	struct hv_dev *dev;

	if (hv_open(NULL, &dev))
		return 1;
	puts("opened");
	hv_close(dev);
	return 0;
}
END
# pkg-config is to be run inside.
# shellcheck disable=SC2016
equal "a member's program builds with libhv-dev and opens the device" opened \
	"$(as member 'gcc -Wall -o ready ready.c $(pkg-config --cflags --libs libhv) && ./ready' 2>&1)"
check "the manual is there" test -f $root/usr/share/man/man1/vmm.1.gz

in_root dpkg -L hv-vmm libhv-dev libhv0 hv-dkms >"$TMPDIR/files"
in_root apt-get -q -y purge hv-vmm libhv-dev libhv0 hv-dkms >"$TMPDIR/purge" 2>&1
equal "the packages are removed" 0 $?
grep -iE 'warn|error' "$TMPDIR/purge" | sed 's/^/# /'
check "the module is out" test ! -d /sys/module/hv
check "and gone" test ! -e "$root/lib/modules/$release/updates/dkms/hv.ko"
equal "no file of theirs stays" "" \
	"$(while read -r f; do [ ! -f "$root$f" ] || echo "$f"; done <"$TMPDIR/files")"
equal "nor a built one" "" "$(ls -d $root/var/lib/dkms/hv $root/usr/src/hv-* 2>/dev/null)"
equal "nothing half installed" "" "$(in_root dpkg --audit)"
in_root udevadm control --exit
finish
