import { z } from 'zod';

const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

/** What the LoRaWAN ingress is configured with. The network servers themselves are made by people: see docs/lora.md. */
export const LoraConfig = z.object({
  MILLRACE_LORA: z
    .enum(['on', 'off'])
    .default('on')
    .describe(
      'Whether this node connects to the network servers that organisations have, and takes their HTTP events.',
    ),
  MILLRACE_LORA_PRIVATE_ADDRESSES: z
    .enum(['on', 'off'])
    .optional()
    .describe(
      'Whether brokers and APIs of network servers may have private addresses (loopback, RFC 1918, link-local). Unset: on while bound to loopback, off otherwise.',
    ),
  MILLRACE_LORA_NODE: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{0,64}$/, 'letters, digits, _ . - and at most 64 of them')
    .default('')
    .describe(
      'What brokers know this node by, at the end of its client ids; it should outlive a restart. The host name if unset.',
    ),
  MILLRACE_LORA_EVENTS_IN_FLIGHT_MAX: count(1, 65_535)
    .default(256)
    .describe('Events of one network server that may wait for the log at once; then its connection is not read.'),
  MILLRACE_LORA_EVENT_BYTES_MAX: count(1_024, 16 * 1_048_576)
    .default(262_144)
    .describe('Largest event in bytes; a broker that sends a larger one is disconnected.'),
  MILLRACE_LORA_HTTP_EVENTS_MAX: count(1, 1_000_000)
    .default(4_096)
    .describe('Events by HTTP that may be under way at once; beyond them 503.'),
  MILLRACE_LORA_RECENT_EVENTS_MAX: count(0, 10_000_000)
    .default(65_536)
    .describe('Events remembered so that one which a network server tells again is not appended again.'),
  MILLRACE_LORA_RECENT_EVENTS_S: count(1, 86_400)
    .default(600)
    .describe('How long an event is remembered. What comes later, or to another node, is dropped by the processors.'),
  MILLRACE_LORA_SESSION_EXPIRY_S: count(0, 30 * 86_400)
    .default(3_600)
    .describe('How long a broker shall keep events for a node that is away (MQTT 5; older brokers decide themselves).'),
  MILLRACE_LORA_RECONNECT_MS_MAX: count(100, 3_600_000)
    .default(60_000)
    .describe('Longest pause between two attempts to connect to a broker.'),
  MILLRACE_LORA_KNOWN_DEVICES_MAX: count(100, 10_000_000)
    .default(65_536)
    .describe('Devices, applications and codecs whose records are kept in memory.'),
  MILLRACE_LORA_DOWNLINK_EXPIRY_S: count(1, 30 * 86_400)
    .default(86_400)
    .describe('A downlink that says nothing else is not begun later than this.'),
});
export type LoraConfig = Readonly<z.infer<typeof LoraConfig>>;
