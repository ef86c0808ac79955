/* What bindgen reads: DPDK's headers, and the shim over what they define inline. */
#ifndef SHIM_H
#define SHIM_H

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* Receives one message of DPDK's log; not terminated by NUL. */
typedef void (*shim_log_sink)(uint32_t level, const char *text, size_t length);

/* Sends DPDK's log to the sink, for the rest of the process. 0, or a negative errno. */
int shim_log_to(shim_log_sink sink);

int shim_errno(void);

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool);
int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int count);
void shim_mbuf_free(struct rte_mbuf *frame);
int shim_mbuf_linearize(struct rte_mbuf *frame);

/* Whether the calling thread has an lcore id, and so a mempool cache. */
bool shim_thread_is_registered(void);

/* RTE_BIT64 and shifted-constant macros, which bindgen does not see. */
extern const uint64_t shim_rx_offload_ipv4_cksum;
extern const uint64_t shim_rx_offload_udp_cksum;
extern const uint64_t shim_rx_offload_tcp_cksum;
extern const uint64_t shim_rx_offload_rss_hash;
extern const uint64_t shim_tx_offload_ipv4_cksum;
extern const uint64_t shim_tx_offload_udp_cksum;
extern const uint64_t shim_tx_offload_tcp_cksum;
extern const uint64_t shim_rss_tcp;

#endif
