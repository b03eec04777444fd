#!/usr/bin/env bash
# Becomes the first process of a machine: systemd, with namespaces and folders of its own.
#
#   boot.sh FOLDER PREFIX LIBRARY...
#
# Started in new namespaces of mounts, processes, cgroups, System V IPC and host names. FOLDER is the machine's, and holds
# `opt`, `etc`, `bin` (its /usr/local/bin), `lib` (its /var/lib), `srv` and `dev`. PREFIX is a Python installation and is there
# as /opt/python; each LIBRARY is a folder of modules and is there as /opt/modules/0 and so on.
set -euo pipefail
folder=$1
prefix=$2
shift 2

mount --make-rprivate /
mount --mkdir --bind "$prefix" "$folder/opt/python"
number=0
for library in "$@"; do
  mount --mkdir --bind "$library" "$folder/opt/modules/$number"
  number=$((number + 1))
done

# What systemd and its tools write there is not to be the host's.
cp --archive /etc/. "$folder/etc"
rm -rf "$folder"/etc/systemd/system/*
printf '[Journal]\nStorage=volatile\nAudit=no\nReadKMsg=no\n' >"$folder/etc/systemd/journald.conf"
mount --rbind "$folder/opt" /opt
mount --bind "$folder/etc" /etc
mount --bind "$folder/bin" /usr/local/bin
mount --bind "$folder/lib" /var/lib
mount --bind "$folder/srv" /srv
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/targets
for unit in sysinit basic multi-user network network-online shutdown umount; do
  cp "/lib/systemd/system/$unit.target" /run/targets
done
cp /lib/systemd/system/systemd-journald.{service,socket} /run/targets
mkdir /run/targets/sysinit.target.wants
ln -s ../systemd-journald.service /run/targets/sysinit.target.wants

mount -t tmpfs -o mode=755 tmpfs "$folder/dev"
for device in null zero full random urandom tty; do
  cp --archive "/dev/$device" "$folder/dev"
done
ln -s /proc/self/fd "$folder/dev/fd"
ln -s pts/ptmx "$folder/dev/ptmx"
mkdir "$folder"/dev/{shm,pts}
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$folder/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$folder/dev/shm"
mount --rbind "$folder/dev" /dev

# Of the cgroups only what is below this machine's.
umount --recursive /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup

mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys

export container=test SYSTEMD_UNIT_PATH=/etc/systemd/system:/run/targets
exec /lib/systemd/systemd --system --unit=multi-user.target --show-status=false --log-target=journal
