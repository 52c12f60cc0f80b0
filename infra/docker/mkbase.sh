#!/usr/bin/env bash
# Make a base image for prediction servers where no registry can be reached: Python and the
# libraries it links to, from the Debian mirror this machine already uses. No shell, no apt inside.
#
#   infra/docker/mkbase.sh [TAG]      needs Debian, dpkg-deb, an apt index and a Docker engine
set -euo pipefail
export LC_ALL=C

tag=${1:-andon/base:python3}
# Same packages, same layer: nothing in the archive depends on when or by whom it was made.
epoch=1700000000
# In the packages' dependencies, but only to install or to document them.
unneeded='^(debconf|cdebconf|dpkg|tar|install-info|readline-common|perl|libperl|libgdbm|mailcap|mime-support|libmd0|libacl|libselinux|libpcre)'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debs=$work/debs
root=$work/root
mkdir "$debs" "$root"
chmod 755 "$root"

closure() { # the packages, and whatever they depend on
    apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances "$@" | grep -E '^[a-z]' | grep -vE "$unneeded" | sort -u
}

download() {
    local python packages
    python=$(apt-cache depends python3-minimal | grep -oE 'python3\.[0-9]+-minimal' | head -n 1)
    python=${python%-minimal}
    # base-files: Debian's release and licence files; tzdata: its data, not its questions.
    mapfile -t packages < <(closure "$python-minimal" "lib$python-stdlib" libstdc++6 netbase)
    packages+=(base-files tzdata)
    # apt-get gives up the root user's rights to download, so the folder must be open to it.
    chmod 755 "$work"
    chmod 777 "$debs"
    (cd "$debs" && apt-get download -qq "${packages[@]}")
}

unpack() {
    local deb folder
    # Debian's merged /usr: packages still ship files in /lib, and tar must follow the link.
    for folder in bin sbin lib lib64; do
        mkdir -p "$root/usr/$folder"
        ln -s "usr/$folder" "$root/$folder"
    done
    # A package list without dpkg: what scanners read in images like this one.
    mkdir -p "$root/var/lib/dpkg/status.d"
    for deb in "$debs"/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$root"
        dpkg-deb -f "$deb" >"$root/var/lib/dpkg/status.d/$(dpkg-deb -f "$deb" Package)"
    done
}

finish() {
    local python
    python=$(basename "$root"/usr/bin/python3.*)
    ln -sf "$python" "$root/usr/bin/python3"
    ln -sf python3 "$root/usr/bin/python"
    echo 'root:x:0:0:root:/nonexistent:/usr/sbin/nologin' >"$root/etc/passwd"
    echo 'andon:x:10001:10001::/nonexistent:/usr/sbin/nologin' >>"$root/etc/passwd"
    printf 'root:x:0:\nandon:x:10001:\n' >"$root/etc/group"
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
    mkdir -p "$root"/{dev,proc,sys,tmp}
    chmod 1777 "$root/tmp"
    rm -rf "$root"/usr/share/{bug,doc,info,lintian,locale,man} \
        "$root"/usr/lib/python3*/{ensurepip,idlelib,lib2to3,test,__pycache__}
}

import() {
    tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -C "$root" -c . |
        docker import --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' - "$tag" >/dev/null
}

download
unpack
finish
import
echo "$tag: $(docker image inspect --format '{{.Id}}, {{.Size}} bytes' "$tag")"
