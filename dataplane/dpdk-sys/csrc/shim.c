#include "shim.h"

#include <errno.h>
#include <stdio.h>

static ssize_t forward_log(void *cookie, const char *text, size_t length)
{
	/* rte_vlog flushes after each message, in the thread that logs: the level is still known. */
	int level = rte_log_cur_msg_loglevel();

	((shim_log_sink)cookie)(level < 0 ? RTE_LOG_INFO : (uint32_t)level, text, length);
	return (ssize_t)length;
}

int shim_log_to(shim_log_sink sink)
{
	cookie_io_functions_t functions = { .write = forward_log };
	FILE *stream = fopencookie((void *)sink, "w", functions);

	if (stream == NULL)
		return -errno;
	return rte_openlog_stream(stream);
}

int shim_errno(void)
{
	return rte_errno;
}

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, frames, count);
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, frames, count);
}

uint16_t shim_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_prepare(port, queue, frames, count);
}

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, frames, count);
}

void shim_mbuf_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

int shim_mbuf_linearize(struct rte_mbuf *frame)
{
	return rte_pktmbuf_linearize(frame);
}

bool shim_thread_is_registered(void)
{
	return rte_lcore_id() != LCORE_ID_ANY;
}

const uint64_t shim_rx_offload_ipv4_cksum = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
const uint64_t shim_rx_offload_udp_cksum = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
const uint64_t shim_rx_offload_tcp_cksum = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
const uint64_t shim_rx_offload_rss_hash = RTE_ETH_RX_OFFLOAD_RSS_HASH;
const uint64_t shim_tx_offload_ipv4_cksum = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
const uint64_t shim_tx_offload_udp_cksum = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
const uint64_t shim_tx_offload_tcp_cksum = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
const uint64_t shim_rss_tcp = RTE_ETH_RSS_TCP;
