#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Installs the Debian packages named as arguments that are missing, and says which.
# With everything present it needs neither network nor root.
set -eu

missing=
for package in "$@"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "deps: this isn't a Debian system; please install what these packages bring:$missing" >&2
	exit 3
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "deps: not root and no sudo; as root: apt-get install$missing" >&2
		exit 3
	fi
	sudo=sudo
fi
echo "deps: installing$missing" >&2
# shellcheck disable=SC2086 # one word per package
if ! { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive \
	apt-get install -qq -y --no-install-recommends $missing >/dev/null; }; then
	echo "deps: apt-get couldn't install:$missing" >&2
	exit 3
fi
