#!/bin/busybox sh
# First program of the guest: mounts the read-only root disk under a tmpfs and goes there. Fails loudly: the kernel then
# panics, and QEMU ends.
set -e
busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do busybox insmod "$module"; done
busybox mount -t erofs -o ro /dev/vda /lower
busybox mount -t tmpfs -o mode=755 rw /rw
busybox mkdir /rw/upper /rw/work
busybox mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /root
busybox mount -t devtmpfs dev /root/dev
exec busybox switch_root /root /bin/sh /guest/init.sh
