# Runs a command as a container of the rendered pods runs it: as user 1000 without any capability, on a file system that
# cannot be written but for the mounts of the pod, which are memory here. Needs root, and leaves nothing behind.
#
#   unshare --mount --pid --fork --kill-child --mount-proc bash confine.sh ROOT HOME PYTHON_PREFIX MOUNT… -- COMMAND…
set -euo pipefail
root=$1 home=$2 prefix=$3
shift 3

mount --make-rprivate /
mount --rbind / "$root"
while read -r place; do
  mount -o remount,bind,ro "$place" 2>/dev/null || true # not all of /proc and /sys can be
done < <(findmnt --raw --noheadings --output TARGET --submounts "$root")

# The interpreter may lie where only root may go: show it and its folder alone.
if ! setpriv --reuid=1000 --regid=1000 --clear-groups test -x "$prefix/bin"; then
  top=/$(cut -d / -f 2 <<<"$prefix")
  mount -t tmpfs -o mode=0755 folder "$root$top"
  mkdir -p "$root$prefix"
  mount --bind "$prefix" "$root$prefix"
  mount -o remount,bind,ro "$root$prefix"
  mount -o remount,ro "$root$top"
fi

while [[ $1 != -- ]]; do
  if [[ ! -d $root$1 ]] && ! mkdir "$root$1" 2>/dev/null; then # such as the image's home
    mount -t tmpfs -o mode=0755 parent "$root$(dirname "$1")"
    mkdir "$root$1"
  fi
  mount -t tmpfs -o mode=0770,uid=1000,gid=1000 volume "$root$1"
  shift
done
shift
exec chroot "$root" setpriv --reuid=1000 --regid=1000 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
  env --chdir="$home" HOME="$home" "$@"
