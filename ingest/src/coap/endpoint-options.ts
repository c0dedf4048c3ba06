import type { CoapIngestConfig } from './config.ts';
import type { EndpointOptions } from './endpoint/endpoint.ts';

/** What the message layer is configured with. */
export function endpointOptions(config: CoapIngestConfig): Partial<EndpointOptions> {
  return {
    dedupEntries: config.MILLRACE_COAP_DEDUPLICATION_ENTRIES_MAX,
    dedupBytes: config.MILLRACE_COAP_DEDUPLICATION_BYTES_MAX,
    exchangeLifetimeMs: config.MILLRACE_COAP_EXCHANGE_LIFETIME_MS,
    ackTimeoutMs: config.MILLRACE_COAP_ACK_TIMEOUT_MS,
    maxRetransmit: config.MILLRACE_COAP_RETRANSMIT_MAX,
    underWayMax: config.MILLRACE_COAP_REQUESTS_MAX,
    underWayPerPeerMax: config.MILLRACE_COAP_REQUESTS_PER_PEER_MAX,
    bodyBytesMax: config.MILLRACE_COAP_PAYLOAD_BYTES_MAX,
    transfersMax: config.MILLRACE_COAP_TRANSFERS_MAX,
    transferBytesMax: config.MILLRACE_COAP_TRANSFER_BYTES_MAX,
    observersMax: config.MILLRACE_COAP_OBSERVERS_MAX,
    observersPerPeerMax: config.MILLRACE_COAP_OBSERVERS_PER_PEER_MAX,
    confirmEvery: config.MILLRACE_COAP_OBSERVE_CONFIRM_EVERY,
    confirmIntervalMs: config.MILLRACE_COAP_OBSERVE_CONFIRM_SECONDS * 1_000,
    proof: config.MILLRACE_COAP_ADDRESS_PROOF,
  };
}
