# The yardsticks on the kernel's stack: echo-server, nginx and HAProxy in node a's namespace of the lab,
# so behind the very veth that a node would have, with the same offload settings; sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the other parts use what is set here

WWW=$LAB_DIR/www
KERNEL_ADDRESS=10.77.0.1
KERNEL_ADDRESS6=fd77::1
HAPROXY_PORT=8007

in_ns() {
    local namespace=hf-$1
    shift
    ip netns exec "$namespace" "$@"
}

# serve_from_kernel: the lab with no node, and all three servers on the server's core.
serve_from_kernel() {
    "$LAB" up
    in_ns a ip address replace "$KERNEL_ADDRESS/24" dev lan0
    in_ns a sysctl -qw net.ipv6.conf.lan0.disable_ipv6=0 net.ipv6.conf.lan0.accept_ra=0
    in_ns a ip address replace "$KERNEL_ADDRESS6/64" dev lan0 nodad
    # What the client sends is received on the server's core, as a node does it with its own.
    in_ns a sh -c "echo $((1 << SERVER_CORE)) >/sys/class/net/lan0/queues/rx-0/rps_cpus"
    prepare_client
    use_cubic a
    in_ns a sysctl -qw net.ipv4.ip_local_port_range="1024 65000" net.ipv4.tcp_tw_reuse=1 # HAProxy, towards its server
    spawn echo-server ip netns exec hf-a taskset -c "$SERVER_CORE" "$ECHO_SERVER" --listen "$KERNEL_ADDRESS" \
        --congestion cubic
    spawn echo-server6 ip netns exec hf-a taskset -c "$SERVER_CORE" "$ECHO_SERVER" --listen "$KERNEL_ADDRESS6" \
        --congestion cubic
    write_nginx_config
    spawn nginx ip netns exec hf-a taskset -c "$SERVER_CORE" nginx -c "$WORK/nginx.conf" -e "$WORK/nginx.log"
    write_haproxy_config
    spawn haproxy ip netns exec hf-a taskset -c "$SERVER_CORE" haproxy -db -f "$WORK/haproxy.cfg"
    for server in echo-server:7 nginx:80 "haproxy:$HAPROXY_PORT"; do
        until_true 5 "${server%:*} to listen" listens "${server#*:}"
        must_run "${server%:*}"
    done
    until_true 5 "echo-server6 to listen" listens6 7
    must_run echo-server6
}

listens() { in_ns a ss -4Hltn "sport = :$1" | grep -q .; }
listens6() { in_ns a ss -6Hltn "sport = :$1" | grep -q .; }

# Connections that the client has closed keep their ports for a minute: it needs more than one address has.
CLIENT_SOURCES=10.77.0.150-10.77.0.179
prepare_client() {
    use_cubic client
    for last in {150..179}; do echo "address replace 10.77.0.$last/24 dev lan"; done | ip -netns hf-client -batch -
}

# Holdfast's default; the kernel's may be another.
use_cubic() { in_ns "$1" sysctl -qw net.ipv4.tcp_congestion_control=cubic 2>/dev/null || true; }

write_nginx_config() {
    cat >"$WORK/nginx.conf" <<CONF
daemon off;
master_process off;
worker_processes 1;
pid $WORK/nginx.pid;
error_log stderr crit;
events { worker_connections 15000; }
http {
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=100;
    client_body_temp_path $WORK/nginx-body;
    proxy_temp_path $WORK/nginx-proxy;
    fastcgi_temp_path $WORK/nginx-fastcgi;
    uwsgi_temp_path $WORK/nginx-uwsgi;
    scgi_temp_path $WORK/nginx-scgi;
    server {
        listen $KERNEL_ADDRESS:80 backlog=4096;
        root $WWW;
    }
}
CONF
}

# Its own side of each connection, and echo-server's behind it, are on the server's core too.
write_haproxy_config() {
    cat >"$WORK/haproxy.cfg" <<CONF
global
    nbthread 1
    maxconn 8000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen echo
    bind $KERNEL_ADDRESS:$HAPROXY_PORT
    server echo $KERNEL_ADDRESS:7
CONF
}
