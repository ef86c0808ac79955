#!/usr/bin/env bash
# OpenSSH: a file fetched and echoes exchanged through a port that a server of this namespace forwards to the VIP. Its keys and
# its configuration are made for this run alone.
set -euo pipefail

keys=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$keys"' EXIT
ssh-keygen -q -t ed25519 -N '' -f "$keys/host"
ssh-keygen -q -t ed25519 -N '' -f "$keys/user"
cp "$keys/user.pub" "$keys/authorized"
mkdir -p /run/sshd
cat >"$keys/sshd_config" <<CONF
ListenAddress 127.0.0.1:2222
HostKey $keys/host
PidFile none
AuthorizedKeysFile $keys/authorized
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
AllowTcpForwarding local
CONF
/usr/sbin/sshd -D -f "$keys/sshd_config" -E "$keys/sshd.log" &
pids+=($!)
ssh_options=(-F none -i "$keys/user" -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR
    -o ExitOnForwardFailure=yes -o ConnectionAttempts=20)
ssh "${ssh_options[@]}" -N -L "8080:$AT:$HTTP_PORT" -L "8007:$AT:$ECHO_PORT" root@127.0.0.1 &
pids+=($!)
curl -sf --retry 50 --retry-delay 0 --retry-all-errors --retry-max-time 10 -o "$keys/file" http://127.0.0.1:8080/1m.bin
cmp "$keys/file" "$WWW/1m.bin"
test "$(echo hello | busybox nc -w 2 127.0.0.1 8007)" = hello
echo "a file and an echo through a forwarded port"
