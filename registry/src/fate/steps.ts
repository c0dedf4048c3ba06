import { GONE_PARTITION_MIN, type MessageFate, protocolNames } from '@millrace/core';
import { receivedText } from '../http/messages.ts';
import type { Found } from './log-scan.ts';
import { advise, explain } from './reasons.ts';

/** One step of a message's way. */
export interface Step {
  readonly what:
    | 'accepted'
    | 'durable'
    | 'waiting'
    | 'decided'
    | 'processed'
    | 'stored'
    | 'dead'
    | 'dropped'
    | 'delivered';
  readonly at?: string;
  readonly detail: string;
  /** A path of the API. */
  readonly link?: string;
}
/** A dead letter of the message, as its fate tells of it. */
export interface DeadPart {
  readonly id: string;
  readonly index: number | null;
  readonly reason: string;
  readonly detail: string;
  readonly state: string;
  readonly replays: readonly string[];
}

interface Came {
  readonly protocol: string;
  readonly publisher: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly contentType: string;
  readonly receivedUs: string;
  readonly size: number;
  readonly partition: number;
  readonly offset: number;
}

function begun(of: Came): Step[] {
  const type = of.contentType === '' ? '' : ` of ${of.contentType}`;
  const where = of.subtopic === '' ? '' : `, subtopic ${of.subtopic}`;
  return [
    {
      what: 'accepted',
      at: receivedText(of.receivedUs),
      detail: `${of.size} bytes${type} by ${of.protocol} from ${of.publisher}${where}.`,
    },
    {
      what: 'durable',
      detail:
        of.partition >= GONE_PARTITION_MIN
          ? 'In a log that is gone: it comes from a backup.'
          : `In the log, partition ${of.partition} at ${of.offset}; only then was it acknowledged.`,
    },
  ];
}

const DELIVERED: Step = {
  what: 'delivered',
  detail: 'To whom it was delivered is not recorded; who subscribed with ?from= can ask for it again.',
};

/** Of a message that is processed. */
export function storedSteps(fate: MessageFate, dead: readonly DeadPart[], repeats: string | null): Step[] {
  const steps: Step[] = [...begun(fate), { what: 'decided', detail: DECISIONS[fate.decision] }];
  if (fate.decision === 'forbidden') return [...steps, deadStep(fate), DELIVERED];
  if (fate.reason === 'duplicate') {
    const of = repeats === null ? '' : ` It is ${repeats}.`;
    const link = repeats === null ? {} : { link: `/messages/${repeats}` };
    return [...steps, { what: 'dropped', detail: `${explain('duplicate')}${of}`, ...link }, DELIVERED];
  }
  const records = dead.filter(({ index }) => index !== null);
  if (fate.reason !== '' && fate.reason !== 'filtered' && records.length === 0)
    return [...steps, deadStep(fate), DELIVERED];
  steps.push({ what: 'processed', detail: processed(fate, records) });
  if (fate.reason === 'filtered')
    steps.push({ what: 'dropped', detail: `${explain('filtered')} ${advise('filtered')}` });
  else if (fate.stored !== 'nothing') steps.push(storedStep(fate));
  else if (fate.deadLetters === 0)
    steps.push({ what: 'dropped', detail: `${explain('nothing')} ${advise('nothing')}` });
  if (records.length > 0) steps.push(deadStep({ ...fate, reason: records[0]?.reason as MessageFate['reason'] }));
  return [...steps, DELIVERED];
}

const DECISIONS: Readonly<Record<MessageFate['decision'], string>> = {
  admitted: 'The gate let it in when it came.',
  enforced: 'It bore no admission, as what others write to the log; the policy let it pass when it was processed.',
  forbidden: 'It bore no admission, and the policy did not let it pass.',
  unreadable: 'It is no envelope: nobody could be asked.',
};

function processed({ readings }: MessageFate, records: readonly DeadPart[]): string {
  const good = `${readings} reading${readings === 1 ? '' : 's'}`;
  if (records.length === 0) return `${good}.`;
  const counts = new Map<string, number>();
  for (const { reason } of records) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const bad = [...counts].map(([reason, count]) => `${count} ${reason}`).join(', ');
  return `${good}; dead records: ${bad}.`;
}

function storedStep({ id, stored, channel, publisher, subtopic, readings }: MessageFate): Step {
  if (stored === 'payload') return { what: 'stored', detail: 'Kept as it came.', link: `/messages/${id}/payload` };
  const query = new URLSearchParams({ publisher, ...(subtopic === '' ? {} : { subtopic }) });
  return {
    what: 'stored',
    detail: `As ${readings} reading${readings === 1 ? '' : 's'}, ordered by the time that the device gave.`,
    link: `/channels/${channel}/messages?${query}`,
  };
}

const deadStep = ({ id, reason }: MessageFate): Step => ({
  what: 'dead',
  detail: `${reason}: ${explain(reason)} ${advise(reason)}`,
  link: `/dead-letters?message=${id}&state=all`,
});

/** Of a message that is on the log and not processed yet. */
export function waitingSteps({ reader, partition, offset, before }: Found, seconds: number): Step[] {
  return [
    ...begun({
      protocol: protocolNames[reader.protocol] ?? 'unknown',
      publisher: reader.publisher,
      channel: reader.channel,
      subtopic: reader.subtopic,
      contentType: reader.contentType,
      receivedUs: String(reader.receivedUs),
      size: reader.payload.length,
      partition,
      offset,
    }),
    {
      what: 'decided',
      detail:
        reader.mac === null
          ? 'It bears no admission: the policy is asked when it is processed.'
          : `The gate let it in when it came, by version ${reader.admissionVersion} of the policy.`,
    },
    {
      what: 'waiting',
      detail:
        before === 0
          ? 'It is the next to be processed.'
          : `${before} message${before === 1 ? ' is' : 's are'} processed before it; the first of them has waited for ${seconds} s.`,
    },
    DELIVERED,
  ];
}
