import type { CommandOutcome, Commands, Logger } from '@millrace/core';
import { MillraceError } from '@millrace/core';
import type { LoraEvent } from '../events/lora-event.ts';
import type { SentDownlink } from './sent-downlinks.ts';

const RETRY_MS = 2_000;
const TRIES_MAX = 5;

/** What an event says of the downlink that it is about; null: nothing that would end it or bring it further. Pure. */
export function outcomeOf(event: LoraEvent, { confirmed }: SentDownlink): CommandOutcome | null {
  if (event.type === 'txack') {
    const result = { f_cnt_down: event.fCntDown, gateway: event.gateway };
    // Without an acknowledgement of the device, that is all one will ever know.
    return { state: confirmed ? 'acknowledged' : 'done', result };
  }
  if (event.type === 'ack') {
    const result = { f_cnt_down: event.fCntDown, acknowledged: event.acknowledged };
    return event.acknowledged
      ? { state: 'done', result }
      : { state: 'failed', result, detail: 'The device did not acknowledge it.' };
  }
  if (event.type !== 'log' || event.level !== 'ERROR') return null;
  return { state: 'failed', detail: `${event.code}: ${event.description}` };
}

/** Writes down what became of a downlink; a registry that is away is asked again for a while.
 *  @param thing whose event it is: the network server is somebody's, and may name any command
 *  @throws never */
export async function settleDownlink(
  commands: Commands,
  event: LoraEvent,
  thing: string,
  sent: SentDownlink,
  logger: Logger,
): Promise<void> {
  const outcome = outcomeOf(event, sent);
  if (outcome === null) return;
  for (let tries = 1; ; tries++) {
    try {
      await commands.settle(sent.command, outcome, thing);
      return;
    } catch (error) {
      const later = error instanceof MillraceError && error.retry !== 'never' && tries < TRIES_MAX;
      if (!later) {
        logger.warn({ err: error, command: sent.command }, 'lora: what became of a downlink is not written down');
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
    }
  }
}
