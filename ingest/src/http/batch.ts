import type { AppendReceipt, LogError } from '@millrace/core';
import type { WallClock } from '../clock.ts';
import type { IngestCounts } from '../counts.ts';
import type { Exchange } from './exchange.ts';
import { refuseByLog } from './refusals.ts';

export const BATCH_CONTENT_TYPES = /^application\/(x-ndjson|ndjson|jsonl|x-jsonlines|json-lines)\s*(;|$)/i;

/** The lines of a body, views without their line ends; the last may lack its line end. null if there are too many. */
export function splitLines(body: Uint8Array, linesMax: number): Uint8Array[] | null {
  const lines: Uint8Array[] = [];
  for (let from = 0; from < body.length; ) {
    let end = body.indexOf(10, from);
    if (end < 0) end = body.length;
    if (lines.length === linesMax) return null;
    lines.push(body.subarray(from, body[end - 1] === 13 && end > from ? end - 1 : end));
    from = end + 1;
  }
  return lines;
}

/** The content type that a line's first character tells: a SenML pack is an array, other JSON an object. */
export function contentTypeOfLine(line: Uint8Array): string | null {
  let at = 0;
  while (line[at] === 32 || line[at] === 9) at++;
  if (line[at] === 0x5b) return 'application/senml+json';
  return line[at] === 0x7b ? 'application/json' : null;
}

/** Waits for all messages of a batch and answers once: 202 when every one is durable, else the first refusal. */
export class BatchReceipt implements AppendReceipt {
  readonly ids: string[] = [];
  readonly #exchange: Exchange;
  readonly #counts: IngestCounts;
  readonly #clock: WallClock;
  readonly #receivedUs: number;
  readonly #bytes: number;
  readonly #count: number;
  #left: number;
  #appended = 0;
  #refusal: LogError | null = null;

  constructor(
    exchange: Exchange,
    counts: IngestCounts,
    count: number,
    bytes: number,
    receivedUs: number,
    clock: WallClock,
  ) {
    this.#exchange = exchange;
    this.#counts = counts;
    this.#count = count;
    this.#left = count;
    this.#bytes = bytes;
    this.#receivedUs = receivedUs;
    this.#clock = clock;
  }

  appended(): void {
    this.#appended++;
    this.#counts.accepted(this.#bytes / this.#count, (this.#clock.nowUs() - this.#receivedUs) / 1_000_000);
    this.#settle();
  }

  refused(error: LogError): void {
    this.#refusal ??= error;
    this.#settle();
  }

  #settle(): void {
    this.#counts.inFlightMessages--;
    if (--this.#left > 0) return;
    this.#counts.inFlightBytes -= this.#bytes;
    if (this.#refusal !== null) refuseByLog(this.#exchange, this.#refusal, this.#appended > 0);
    else {
      const ids = this.ids.map((id) => `"${id}"`).join(',');
      this.#exchange.json(202, `{"response":"messages sent","count":${this.#count},"ids":[${ids}]}`);
    }
  }
}
