import { port } from '@millrace/core';
import { z } from 'zod';
import { isProxies } from '../http/proxies.ts';

const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const MIB = 1_048_576;

/** What the CoAP ingress is configured with. */
export const CoapIngestConfig = z.object({
  MILLRACE_COAP_PORT: port.default(5683).describe('CoAP port (UDP); 0 picks a free one, off leaves the listener out.'),
  MILLRACE_COAP_FD: count(3, 65_535)
    .optional()
    .describe(
      'A UDP socket that a parent has opened and bound (SO_REUSEPORT, so that several nodes share a port), by its file descriptor. Takes the place of MILLRACE_COAP_PORT, as sockets of systemd do (LISTEN_FDS).',
    ),
  MILLRACE_COAP_BALANCERS: z
    .string()
    .default('')
    .refine(isProxies, 'must be addresses and networks, separated by commas, as 10.0.0.0/8,::1')
    .describe(
      'Balancers of UDP (addresses and networks, comma-separated) that pass on CoAP and CoAPS, each client from a port of its own: what slows an address slows one client then, and no condition on addresses holds of it.',
    ),
  MILLRACE_COAP_RECEIVE_BUFFER_BYTES: count(65_536, 256 * MIB)
    .default(4 * MIB)
    .describe(
      "Receive buffer of the socket; the kernel gives no more than net.core.rmem_max (Linux's default is 208 KiB).",
    ),
  MILLRACE_COAP_SEND_QUEUE_BYTES_MAX: count(65_536, 1_024 * MIB)
    .default(8 * MIB)
    .describe('Bytes of datagrams that wait for the kernel to take them; further ones are dropped and counted.'),
  MILLRACE_COAP_PAYLOAD_BYTES_MAX: count(1_024, 64 * MIB)
    .default(MIB)
    .describe('Largest message, joined from blocks, in bytes; larger ones are refused with 4.13 and Size1.'),
  MILLRACE_COAP_PEERS_MAX: count(64, 10_000_000)
    .default(65_536)
    .describe('Addresses and ports that are remembered; the ones that were quiet for longest are forgotten.'),
  MILLRACE_COAP_DEDUPLICATION_ENTRIES_MAX: count(1_024, 2 ** 26)
    .default(2 ** 19)
    .describe('Messages that are remembered to know a repeat, 63 bytes each, taken at the start.'),
  MILLRACE_COAP_DEDUPLICATION_BYTES_MAX: count(65_536, 4_096 * MIB)
    .default(16 * MIB)
    .describe('Bytes of answers over 28 bytes that are remembered with them, to be given again.'),
  MILLRACE_COAP_EXCHANGE_LIFETIME_MS: count(1_000, 3_600_000)
    .default(247_000)
    .describe('For so long a repeated datagram is told by its message id, while the memory suffices.'),
  MILLRACE_COAP_REQUESTS_MAX: count(1, 10_000_000)
    .default(16_384)
    .describe('Requests under way at once, most of them waiting for the log; further ones are answered 5.03.'),
  MILLRACE_COAP_REQUESTS_PER_PEER_MAX: count(1, 65_536)
    .default(256)
    .describe('Requests of one address and port under way at once; further ones are answered 4.29.'),
  MILLRACE_COAP_TRANSFERS_MAX: count(1, 1_000_000)
    .default(4_096)
    .describe('Messages and answers that are being moved block by block.'),
  MILLRACE_COAP_TRANSFER_BYTES_MAX: count(65_536, 16_384 * MIB)
    .default(64 * MIB)
    .describe('Their bytes, in each direction.'),
  MILLRACE_COAP_IN_FLIGHT_BYTES_MAX: count(65_536, 64 * 1_024 * MIB)
    .default(128 * MIB)
    .describe('Bytes of messages that may wait for the log at once; further ones are answered 5.03.'),
  MILLRACE_COAP_READS_WAITING_MAX: count(1, 1_000_000)
    .default(8_192)
    .describe(
      'Reads (GET and FETCH) that wait for the store, which is asked four at a time, one of each client in turn; further ones: 5.03, and so are those of one client beyond a sixteenth (at least 64).',
    ),
  MILLRACE_COAP_OBSERVERS_MAX: count(1, 10_000_000)
    .default(100_000)
    .describe('Observations of this node; further ones are answered once and not begun.'),
  MILLRACE_COAP_OBSERVERS_PER_PEER_MAX: count(1, 65_536).default(32).describe('Observations of one address and port.'),
  MILLRACE_COAP_OBSERVERS_PER_CLIENT_MAX: count(1, 10_000_000)
    .default(1_024)
    .describe('Observations of one thing, user or API key on this node, whatever addresses they come from.'),
  MILLRACE_COAP_OBSERVE_CONFIRM_EVERY: count(1, 10_000)
    .default(10)
    .describe('Each n-th notification is confirmable: an observer that does not acknowledge it is dropped.'),
  MILLRACE_COAP_OBSERVE_CONFIRM_SECONDS: count(1, 86_400)
    .default(3_600)
    .describe(
      'The first notification after so long is confirmable too; who is sent none in that time is asked whether it still lives.',
    ),
  MILLRACE_COAP_ACK_TIMEOUT_MS: count(100, 60_000)
    .default(2_000)
    .describe('A confirmable datagram is sent again after this time (up to half as much more), then after twice that.'),
  MILLRACE_COAP_RETRANSMIT_MAX: count(1, 8).default(4).describe('How often it is sent again.'),
  MILLRACE_COAP_MAX_AGE_S: count(0, 86_400)
    .default(60)
    .describe('Max-Age of messages: for so long a client or proxy may take them for the latest.'),
  MILLRACE_COAP_RATE_PER_SECOND: z.coerce
    .number()
    .min(0)
    .default(0)
    .describe('Messages a second that one client may publish on this node; beyond it 4.29. 0: no limit.'),
  MILLRACE_COAP_RATE_BURST: count(1, 1_000_000)
    .default(1_000)
    .describe('Messages that a client may publish at once before MILLRACE_COAP_RATE_PER_SECOND counts.'),
  MILLRACE_COAP_ADDRESS_PROOF: z
    .enum(['ping', 'echo'])
    .default('ping')
    .describe(
      'How an address shows that it is its own before it is sent anything large: it answers a ping, as every client does, or repeats its request with the Echo option of a 4.01 (RFC 9175), which few do.',
    ),
  MILLRACE_COAP_FLOOD_PER_SECOND: z.coerce
    .number()
    .min(1)
    .max(1_000_000)
    .default(20)
    .describe(
      'Malformed datagrams and requests without a valid credential that an address (IPv6: a /64) may send a second; beyond it all of its datagrams are ignored for seconds.',
    ),
  MILLRACE_COAP_FLOOD_BURST: count(1, 1_000_000).default(100).describe('How many of them it may send at once.'),
  MILLRACE_COAP_FLOOD_MS_MAX: count(1_000, 60_000)
    .default(10_000)
    .describe('For so long at most an address is ignored; the first time a second, then twice as long each time.'),
});
export type CoapIngestConfig = Readonly<z.infer<typeof CoapIngestConfig>>;
