import { z } from 'zod';

const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

/** What delivery to subscribers is configured with. */
export const DeliveryConfig = z.object({
  MILLRACE_DELIVERY_SUBSCRIPTIONS_MAX: count(1, 50_000_000)
    .default(500_000)
    .describe('Subscriptions of all subscribers of this node, of every protocol; further ones are refused.'),
  MILLRACE_DELIVERY_SUBSCRIBER_SUBSCRIPTIONS_MAX: count(1, 1_000_000)
    .default(1_000)
    .describe('Subscriptions of one subscriber (session, socket, event stream); further ones are refused.'),
  MILLRACE_DELIVERY_READ_BYTES_MAX: count(4_096, 64 * 1_048_576)
    .default(262_144)
    .describe('Bytes of the log that are read at once for delivery, by each partition.'),
  MILLRACE_DELIVERY_INDEX_BYTES_MAX: count(0, 4_096 * 1_048_576)
    .default(16 * 1_048_576)
    .describe(
      'Memory for the index that tells which channels occur where in the log, so that catching up reads little.',
    ),
});
export type DeliveryConfig = Readonly<z.infer<typeof DeliveryConfig>>;

export interface DeliveryLimits {
  readonly subscriptionsMax: number;
  readonly subscriberSubscriptionsMax: number;
  readonly readBytesMax: number;
  readonly indexBytesMax: number;
  /** Offsets of one block of the index. */
  readonly indexBlockOffsets: number;
  /** Delivery gives the event loop back after so long. One message is offered to all its subscribers in one turn. */
  readonly sliceMs: number;
  /** A partition that nobody needs is followed for so long. */
  readonly lingerMs: number;
  /** How often what was granted is looked at again. */
  readonly patrolMs: number;
  /** The first pause after a fault of log or gate; doubled up to `retryMsMax`. */
  readonly retryMsMin: number;
  readonly retryMsMax: number;
}

export function deliveryLimits(config: DeliveryConfig = DeliveryConfig.parse({})): DeliveryLimits {
  return {
    subscriptionsMax: config.MILLRACE_DELIVERY_SUBSCRIPTIONS_MAX,
    subscriberSubscriptionsMax: config.MILLRACE_DELIVERY_SUBSCRIBER_SUBSCRIPTIONS_MAX,
    readBytesMax: config.MILLRACE_DELIVERY_READ_BYTES_MAX,
    indexBytesMax: config.MILLRACE_DELIVERY_INDEX_BYTES_MAX,
    indexBlockOffsets: 2_048,
    sliceMs: 2,
    lingerMs: 60_000,
    patrolMs: 200,
    retryMsMin: 50,
    retryMsMax: 2_000,
  };
}
