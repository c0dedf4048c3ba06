import type { AppendReceipt, LogError } from '@millrace/core';
import type { WallClock } from '../clock.ts';
import type { IngestCounts } from '../counts.ts';
import { sentAnswer } from './answer.ts';
import type { Exchange } from './exchange.ts';
import { refuseByLog } from './refusals.ts';

// hot
/** Waits for one message. */
export class PublishReceipt implements AppendReceipt {
  readonly #exchange: Exchange;
  readonly #counts: IngestCounts;
  readonly #clock: WallClock;
  readonly #id: string;
  readonly #bytes: number;
  readonly #receivedUs: number;

  constructor(
    exchange: Exchange,
    counts: IngestCounts,
    clock: WallClock,
    id: string,
    bytes: number,
    receivedUs: number,
  ) {
    this.#exchange = exchange;
    this.#counts = counts;
    this.#clock = clock;
    this.#id = id;
    this.#bytes = bytes;
    this.#receivedUs = receivedUs;
  }

  appended(): void {
    const counts = this.#counts;
    counts.inFlightMessages--;
    counts.inFlightBytes -= this.#bytes;
    counts.accepted(this.#bytes, (this.#clock.nowUs() - this.#receivedUs) / 1_000_000);
    const exchange = this.#exchange;
    const { route } = exchange.head;
    if (route?.kind === 'publish' && route.first) exchange.json(202, '{"response":"message sent"}');
    else exchange.answer(sentAnswer(this.#id, exchange.lines));
  }

  refused(error: LogError): void {
    const counts = this.#counts;
    counts.inFlightMessages--;
    counts.inFlightBytes -= this.#bytes;
    refuseByLog(this.#exchange, error);
  }
}
