import type { Admission, DeliveredMessage, Position } from '@millrace/core';
import { Protocol } from '@millrace/core';
import { parsePublishTopic } from '../topic.ts';
import type { InFlightEntry } from './in-flight.ts';
import { untilDone } from './retry.ts';
import type { ClientSession } from './session.ts';

/** Sends again what the client has not acknowledged, in the order of sending: PUBREL for what it has, the rest as
 *  PUBLISH with DUP=1 from the log. What the log keeps no longer, or the client may not read any more, is given up.
 *  @returns where those are whose channel is disabled: its filters begin there once it is enabled
 *  @source MQTT 3.1.1 §4.4 */
export async function resend(session: ClientSession): Promise<readonly Position[]> {
  const { record, node } = session;
  const left: Position[] = [];
  for (const entry of record.inFlight.entries()) {
    if (record.persistent && entry.qos === 2) await record.whenDurable(entry.mark);
    await session.output.room();
    if (session.gone) return left;
    if (!record.inFlight.has(entry)) continue;
    if (entry.released) {
      session.output.pubrel(entry.packetId);
      continue;
    }
    const found = await untilDone(
      () => session.gone,
      () => messageOf(session, entry),
    );
    if (found === null) return left;
    if (!record.inFlight.has(entry) || entry.released) continue;
    if (typeof found.value === 'string') {
      if (found.value === 'disabled') left.push({ partition: entry.partition, offset: entry.offset });
      else node.tally.dropped(found.value);
      record.inFlight.drop(entry);
      node.touch(record);
    } else session.output.publishAgain(found.value, entry.topic, entry.qos, entry.packetId);
  }
  return left;
}

type Unsent = 'not_kept' | 'denied' | 'disabled';
const whyUnsent = ({ reason }: Extract<Admission, { kind: 'deny' }>): Unsent =>
  reason === 'channel_disabled' ? 'disabled' : 'denied';

async function messageOf(session: ClientSession, entry: InFlightEntry): Promise<DeliveredMessage | Unsent> {
  const { delivery, gate } = session.node;
  const message = (await delivery.at(entry)) ?? (await retainedAt(session, entry));
  if (message === null) return 'not_kept';
  const { principal, context } = session;
  const admission = await gate.may(principal, 'subscribe', message.channel, message.subtopic, context);
  if (admission.kind === 'allow') return message;
  return whyUnsent(admission);
}

/** A retained message may be older than what the log keeps. */
async function retainedAt(session: ClientSession, entry: InFlightEntry): Promise<DeliveredMessage | null> {
  const { retained, gate, lookups } = session.node;
  const parsed = parsePublishTopic(entry.topic);
  if (retained === null || parsed.kind !== 'channel') return null;
  const { principal, context } = session;
  const admission = await gate.may(principal, 'subscribe', parsed.channel, parsed.subtopic, context);
  if (admission.kind === 'deny') return null;
  const query = {
    owner: principal.subject.id,
    channel: admission.channel.id,
    prefix: parsed.subtopic,
    exact: true,
    limit: 1,
  };
  const [found] = await lookups.through(() => retained.find(query));
  if (found === undefined || found.partition !== entry.partition || found.offset !== entry.offset) return null;
  return { ...found, protocol: Protocol.unknown, retain: true, encoded: new Map() };
}
